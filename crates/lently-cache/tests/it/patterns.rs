//! A pattern means the same to us and to Redis.

use std::{collections::BTreeSet, time::Duration};

use lently_cache::{CacheConfig, Cost, Pattern};
use lently_testing::RedisServer;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

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

/// Key by key, by what `KEYS` tells of several thousand patterns in one round trip.
#[tokio::test]
async fn a_pattern_matches_the_very_keys_that_it_matches_in_redis() {
    const KEYS: usize = 400;
    const PATTERNS: usize = 3000;
    let server = RedisServer::start().await;
    let mut rng = SmallRng::seed_from_u64(1);
    let mut text = |longest: usize| -> String {
        let alphabet = ["a", "a", "b", "c", "-", "]", "[", "*", "*", "?", "^", "\\", "é", ":"];
        (0..rng.random_range(1..=longest)).map(|_| *alphabet.choose(&mut rng).expect("a character")).collect()
    };
    let keys: Vec<String> = (0..KEYS).map(|_| text(7)).collect();
    let patterns: Vec<Pattern> = std::iter::repeat_with(|| text(9))
        .filter_map(|text| Pattern::parse(&text).ok())
        .take(PATTERNS)
        .collect();

    let client = ::redis::Client::open(format!("redis://{}", server.address())).expect("a client");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut pipe = ::redis::pipe();
    for key in &keys {
        pipe.set(key, "1").ignore();
    }
    for pattern in &patterns {
        pipe.keys(pattern.as_str());
    }
    let told: Vec<BTreeSet<String>> = pipe.query_async(&mut connection).await.expect("answers");

    let mut hits = 0;
    for (pattern, theirs) in patterns.iter().zip(told) {
        let ours: BTreeSet<String> = keys.iter().filter(|key| pattern.matches(key)).cloned().collect();
        assert_eq!(ours, theirs, "{pattern}");
        hits += usize::from(!theirs.is_empty());
    }
    assert!(hits > PATTERNS / 10, "only {hits} patterns matched anything");
}
