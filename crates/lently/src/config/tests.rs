use super::*;

#[test]
fn nothing_set_is_usable() {
    let config = Config::from_env(&Env::from_pairs([("HOME", "/somewhere")])).expect("a configuration");
    assert!(config.listen.ip().is_loopback());
}
