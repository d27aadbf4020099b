//! What holds whichever remote tier stands behind memory: the same tests for none, disk and Redis.

use std::time::Duration;

use bytes::Bytes;
use lently_cache::{
    CacheError, Cost, FailureClass, FetchError, FetchFailure, Fetched, Lookup, MissReason, Outcome, Pattern,
    Policy, Tier, WarmEntry,
};
use lently_testing::RedisServer;
use tempfile::TempDir;

use crate::support::{self, Bench, THING, Upstream, is_missing, look, policy, put};

macro_rules! for_every_remote_tier {
    ($($name:ident)*) => {
        mod memory_alone {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::support::in_memory().await).await;
            })*
        }
        mod disk {
            $(#[tokio::test]
            async fn $name() {
                let folder = super::TempDir::new().expect("a folder");
                super::$name(&super::support::on_disk(&folder.path().join("cache.sqlite")).await).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                let server = super::RedisServer::start().await;
                super::$name(&super::support::on_redis(&server).await).await;
            })*
        }
    };
}

for_every_remote_tier! {
    what_is_set_is_found_until_it_is_no_longer_fresh
    a_deleted_key_is_gone_and_counted_once
    get_or_set_fetches_once_and_then_hits
    refresh_fetches_although_there_is_a_value
    a_failed_fetch_stores_nothing_and_tells_its_class
    exists_and_ttl_agree_with_get
    a_pattern_deletes_what_it_matches_and_measures_it_before
    glob_characters_in_a_key_delete_nothing_else
    flush_empties_the_cache
    warming_stores_many_and_counts_what_it_could_not
    a_value_may_live_shorter_than_its_policy_says
    nothing_lives_beyond_its_retention
    unusable_keys_are_refused_everywhere
    a_large_value_comes_back_byte_by_byte
}

async fn what_is_set_is_found_until_it_is_no_longer_fresh(bench: &Bench) {
    put(&bench.cache, "thing:1", "{\"a\":1}").await;
    let Lookup::Fresh(entry) = bench.cache.get(THING, "thing:1").await else { panic!("expected a hit") };
    assert_eq!((&entry.value[..], entry.tier), (&b"{\"a\":1}"[..], Tier::Memory));
    bench.clock.advance(Duration::from_secs(20));
    let entry = bench.cache.get(THING, "thing:1").await.entry().expect("still fresh");
    assert_eq!(entry.age(bench.clock.now()), Duration::from_secs(20));
    assert_eq!(entry.ttl(bench.clock.now()), Duration::from_secs(40));
    bench.clock.advance(Duration::from_secs(40));
    assert_eq!(bench.cache.get(THING, "thing:1").await, Lookup::Missing(MissReason::Expired));
    assert_eq!(bench.cache.get(THING, "thing:2").await, Lookup::Missing(MissReason::Absent));
}

async fn a_deleted_key_is_gone_and_counted_once(bench: &Bench) {
    put(&bench.cache, "thing:1", "1").await;
    assert_eq!(bench.cache.delete("thing:1").await.expect("a delete"), 1);
    assert!(is_missing(&bench.cache.get(THING, "thing:1").await));
    assert_eq!(bench.cache.delete("thing:1").await.expect("a delete"), 0);
    assert_eq!(bench.cache.stats().deletes, 1);
}

async fn get_or_set_fetches_once_and_then_hits(bench: &Bench) {
    let upstream = Upstream::default();
    let cost = Cost { quota_units: 7, ..Cost::default() };
    let fetch = {
        let upstream = upstream.clone();
        move || async move {
            upstream.count();
            Ok(Fetched::new("[1]").with_cost(cost))
        }
    };
    let answer = bench.cache.get_or_set("thing:1", &policy(), fetch.clone()).await.expect("an answer");
    assert_eq!(answer.outcome, Outcome::Fetched { stored: true });
    let again = bench.cache.get_or_set("thing:1", &policy(), fetch).await.expect("an answer");
    assert_eq!(again.outcome, Outcome::Hit);
    assert_eq!(again.entry.value, answer.entry.value);
    assert_eq!(again.entry.cost.quota_units, 7);
    assert_eq!(again.entry.etag, answer.entry.etag);
    assert_eq!(upstream.calls(), 1);
}

async fn refresh_fetches_although_there_is_a_value(bench: &Bench) {
    put(&bench.cache, "thing:1", "1").await;
    let upstream = Upstream::default();
    let answer = bench.cache.refresh("thing:1", &policy(), upstream.fetch("2")).await.expect("an answer");
    assert_eq!((answer.outcome, upstream.calls()), (Outcome::Fetched { stored: true }, 1));
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").0, "2");
}

async fn a_failed_fetch_stores_nothing_and_tells_its_class(bench: &Bench) {
    let failing = || async {
        Err(FetchFailure::new(FailureClass::NotFound, std::io::Error::other("there is no such video")))
    };
    let error = bench.cache.get_or_set("thing:1", &policy(), failing).await.expect_err("a failure");
    assert_eq!(error.to_string(), "there is no such video");
    assert!(matches!(error, FetchError::Failed(failure) if failure.class == FailureClass::NotFound));
    assert!(!bench.cache.exists("thing:1").await);
}

async fn exists_and_ttl_agree_with_get(bench: &Bench) {
    assert!(!bench.cache.exists("thing:1").await);
    assert_eq!(bench.cache.ttl("thing:1").await, None);
    put(&bench.cache, "thing:1", "1").await;
    assert!(bench.cache.exists("thing:1").await);
    let ttl = bench.cache.ttl("thing:1").await.expect("a ttl");
    assert!(ttl > Duration::from_secs(50) && ttl <= Duration::from_secs(60), "{ttl:?}");
    assert_eq!(bench.cache.stats().total_requests, 0, "neither is a request");
}

async fn a_pattern_deletes_what_it_matches_and_measures_it_before(bench: &Bench) {
    let cost = Cost { quota_units: 2, micro_dollars: 5, ..Cost::default() };
    for key in ["thing:a:1", "thing:a:2", "thing:b:1"] {
        bench.cache.set(key, &policy(), Bytes::from_static(b"1"), cost).await.expect("a set");
    }
    let pattern = Pattern::parse("thing:a:*").expect("a pattern");
    let report = bench.cache.measure_pattern(&pattern).await.expect("a report");
    assert_eq!((report.keys, report.cost.quota_units, report.cost.micro_dollars), (2, 4, 10));
    assert!(report.bytes >= 2);
    assert_eq!(bench.cache.delete_pattern(&pattern).await.expect("a delete"), 2);
    assert!(!bench.cache.exists("thing:a:1").await && bench.cache.exists("thing:b:1").await);
    assert_eq!(bench.cache.measure_pattern(&pattern).await.expect("a report").keys, 0);
}

async fn glob_characters_in_a_key_delete_nothing_else(bench: &Bench) {
    let keys = ["thing:*", "thing:?", "thing:[a-z]", "thing:a", "thing:\\", "thing:[^a]", "thing:ab"];
    for key in keys {
        put(&bench.cache, key, "1").await;
    }
    for (already_deleted, key) in keys.iter().enumerate() {
        let pattern = Pattern::parse(&Pattern::escape(key)).expect("a pattern");
        assert_eq!(bench.cache.delete_pattern(&pattern).await.expect("a delete"), 1, "{key}");
        let left = bench.cache.measure_pattern(&Pattern::any()).await.expect("a report").keys;
        assert_eq!(left as usize, keys.len() - already_deleted - 1);
    }
}

async fn flush_empties_the_cache(bench: &Bench) {
    for key in ["thing:1", "thing:2", "other:3"] {
        put(&bench.cache, key, "1").await;
    }
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 3);
    assert!(is_missing(&bench.cache.get(THING, "thing:1").await));
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 0);
}

async fn warming_stores_many_and_counts_what_it_could_not(bench: &Bench) {
    let entry = |key: &str, value: Vec<u8>| WarmEntry {
        key: key.to_owned(),
        policy: policy(),
        value: Bytes::from(value),
    };
    let entries = vec![
        entry("thing:1", b"1".to_vec()),
        entry("thing:2", b"2".to_vec()),
        entry("", b"3".to_vec()),
        entry("thing:4", vec![b'4'; (1 << 20) + 1]),
    ];
    let report = bench.cache.warm(entries).await;
    assert_eq!((report.stored, report.failed), (2, 2));
    assert_eq!(look(&bench.cache, "thing:2").await.expect("a hit").0, "2");
}

async fn a_value_may_live_shorter_than_its_policy_says(bench: &Bench) {
    let short = || async { Ok(Fetched { fresh: Some(Duration::from_secs(5)), ..Fetched::new("1") }) };
    bench.cache.get_or_set("thing:1", &policy(), short).await.expect("an answer");
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.cache.get(THING, "thing:1").await, Lookup::Missing(MissReason::Expired));
}

async fn nothing_lives_beyond_its_retention(bench: &Bench) {
    let greedy = Policy { fresh: Duration::from_secs(1000), retention: Duration::from_secs(10), ..policy() };
    bench.cache.set("thing:1", &greedy, Bytes::from_static(b"1"), Cost::default()).await.expect("a set");
    bench.clock.advance(Duration::from_secs(10));
    assert!(is_missing(&bench.cache.get(THING, "thing:1").await));
}

async fn unusable_keys_are_refused_everywhere(bench: &Bench) {
    for key in [String::new(), "a\nb".to_owned(), "k".repeat(1025)] {
        let cache = &bench.cache;
        assert_eq!(cache.get(THING, &key).await, Lookup::Missing(MissReason::Absent));
        assert!(matches!(cache.delete(&key).await, Err(CacheError::BadKey(_))));
        let set = cache.set(&key, &policy(), Bytes::from_static(b"1"), Cost::default()).await;
        assert!(matches!(set, Err(CacheError::BadKey(_))));
        let upstream = Upstream::default();
        let answer = cache.get_or_set(&key, &policy(), upstream.fetch("1")).await;
        assert!(matches!(answer, Err(FetchError::BadKey(_))));
        assert_eq!(upstream.calls(), 0);
    }
}

async fn a_large_value_comes_back_byte_by_byte(bench: &Bench) {
    let value: Bytes = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    bench.cache.set("thing:1", &policy(), value.clone(), Cost::default()).await.expect("a set");
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").0, value);
}
