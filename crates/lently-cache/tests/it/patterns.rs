//! A pattern means the same to us and to Redis.

use std::time::Duration;

use lently_cache::{CacheConfig, Cost, Pattern};
use lently_testing::RedisServer;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::support::{config, manual_clock, open_with, policy, redis};

/// Our matcher against Redis' own, on patterns and keys made of what is special in a glob.
#[tokio::test]
async fn our_matcher_agrees_with_redis() {
    let server = RedisServer::start().await;
    // Without memory, so that only Redis matches when a pattern is measured.
    let bench = open_with(CacheConfig { memory_bytes: 0, ..config(redis(&server), manual_clock()) }).await;
    let mut runner = TestRunner::deterministic();
    let draw = |strategy: &str, runner: &mut TestRunner| {
        proptest::string::string_regex(strategy).expect("a regex").new_tree(runner).expect("a tree").current()
    };
    let mut keys = std::collections::BTreeSet::new();
    while keys.len() < 300 {
        keys.insert(draw(r"[ab\-\^\]\[*?\\é]{1,5}", &mut runner));
    }
    for key in &keys {
        let set = bench.cache.set(key, &policy(), "1".into(), Cost::default()).await;
        assert!(set.expect("a set").remote);
    }
    let (mut tried, mut hits) = (0, 0);
    while tried < 400 {
        let Ok(pattern) =
            Pattern::parse(&draw(r"([ab\-\^\]\[*?é]|\\[*?ab\[\]\\]|\[\^?[ab\-]{1,3}\]){1,5}", &mut runner))
        else {
            continue;
        };
        tried += 1;
        let ours = keys.iter().filter(|key| pattern.matches(key)).count() as u64;
        let theirs = bench.cache.measure_pattern(&pattern).await.expect("a report").keys;
        assert_eq!(ours, theirs, "pattern {pattern}");
        hits += u64::from(ours > 0);
    }
    assert!(hits > 100, "the patterns hit something: {hits} of {tried}");
}

proptest::proptest! {
    #[test]
    fn an_escaped_text_matches_itself_alone(text in r"[ab\-\^\]\[*?\\]{1,8}", other in r"[ab\-\^\]\[*?\\]{1,8}") {
        let pattern = Pattern::parse(&Pattern::escape(&text)).expect("a pattern");
        assert!(pattern.matches(&text));
        assert_eq!(pattern.matches(&other), text == other);
    }

    #[test]
    fn parsing_never_panics_and_matching_ends(text in ".{0,40}", key in ".{0,200}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            let began = std::time::Instant::now();
            std::hint::black_box(pattern.matches(&key));
            assert!(began.elapsed() < Duration::from_secs(5));
        }
    }
}
