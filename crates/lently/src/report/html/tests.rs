//! What a page is made of, without a browser; what a browser makes of it is in the integration tests.

use super::*;

#[test]
fn the_policy_knows_the_style_and_the_script_by_hash() {
    assert_eq!(POLICY.matches("'sha256-").count(), 2);
    assert!(!POLICY.contains("unsafe"));
}
