//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How often the condition is looked at.
const EVERY: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within `bound`; the message tells `what` was waited for. Choose a bound that only a broken program
/// reaches, on a slow machine too.
pub async fn wait_until(what: &str, bound: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < bound, "waited {bound:?} in vain until {what}");
        tokio::time::sleep(EVERY).await;
    }
}
