//! Tags and expiry: what one change makes invalid or stale, on every tier and node, and what it leaves alone.

use std::time::Duration;

use bytes::Bytes;
use lently_cache::{
    CacheError, CacheService, Controls, Cost, FetchError, Lookup, MAX_TAG_BYTES, MAX_TAGS, MissReason,
    Outcome, Policy, RemoteConfig, StaleReason, Tags, Tier,
};
use lently_testing::{RedisServer, wait_until};
use tempfile::TempDir;

use crate::support::{
    BOUND, Bench, Gate, THING, Upstream, config, everywhere, look, manual_clock, on_a_strict_redis, on_disk,
    on_redis, open_with, policy, redis, tracks,
};

const INVALIDATED: Lookup = Lookup::Missing(MissReason::Invalidated);

fn tagged(tags: &[&str]) -> Policy {
    Policy { tags: Tags::new(tags), ..policy() }
}

async fn put(cache: &CacheService, key: &str, tags: &[&str]) {
    let stored = cache.set(key, &tagged(tags), Bytes::from_static(b"old"), Cost::default()).await;
    assert!(stored.expect("a set").anywhere());
}

async fn is_there(bench: &Bench, key: &str) -> bool {
    look(&bench.cache, key).await.is_some()
}

#[tokio::test]
async fn one_invalidation_takes_every_entry_with_the_tag_and_no_other() {
    everywhere(async |bench| {
        for n in 0..20 {
            put(&bench.cache, &format!("thing:a{n}"), &["a", &format!("n{n}")]).await;
            put(&bench.cache, &format!("thing:b{n}"), &["b"]).await;
        }
        put(&bench.cache, "thing:plain", &[]).await;
        assert!(is_there(bench, "thing:a7").await);
        bench.cache.invalidate_tag("a").await.expect("invalidated");
        for n in 0..20 {
            assert_eq!(bench.cache.get(THING, &format!("thing:a{n}")).await, INVALIDATED, "a{n}");
            assert!(!bench.cache.exists(&format!("thing:a{n}")).await);
            assert!(is_there(bench, &format!("thing:b{n}")).await, "b{n}");
        }
        assert!(is_there(bench, "thing:plain").await);
        // What is stored since is valid, and either tag of it makes it invalid.
        put(&bench.cache, "thing:a7", &["a", "n7"]).await;
        assert!(is_there(bench, "thing:a7").await && bench.cache.exists("thing:a7").await);
        bench.cache.invalidate_tag("n7").await.expect("invalidated");
        assert_eq!(bench.cache.get(THING, "thing:a7").await, INVALIDATED);
        bench.cache.invalidate_tag("a tag that nobody uses").await.expect("nothing to do");
    })
    .await;
}

#[tokio::test]
async fn an_expired_tag_makes_its_entries_stale_and_they_are_fetched_anew_once() {
    everywhere(async |bench| {
        let policy = tagged(&["a"]);
        put(&bench.cache, "thing:1", &["a"]).await;
        put(&bench.cache, "thing:2", &["b"]).await;
        bench.clock.advance(Duration::from_secs(1));
        bench.cache.expire_tag("a").await.expect("expired");
        assert!(matches!(bench.cache.get(THING, "thing:1").await, Lookup::Stale(_)));
        assert!(!bench.cache.exists("thing:1").await && bench.cache.exists("thing:2").await);
        let gate = Gate::new();
        for _ in 0..3 {
            let answer =
                bench.cache.get_or_set("thing:1", &policy, gate.fetch("new")).await.expect("an answer");
            assert_eq!(
                (&answer.entry.value[..], answer.outcome),
                (&b"old"[..], Outcome::Stale(StaleReason::Refreshing))
            );
        }
        gate.reached().await;
        gate.open();
        let new = async || look(&bench.cache, "thing:1").await.is_some_and(|(value, _)| value == "new");
        wait_until("the new value is there", BOUND, new).await;
        assert_eq!(gate.calls(), 1);
        // Stale for as long as it would have been, and not longer.
        put(&bench.cache, "thing:3", &["c"]).await;
        bench.cache.expire_tag("c").await.expect("expired");
        bench.cache.expire_tag("c").await.expect("expired twice");
        bench.clock.advance(Duration::from_secs(59));
        let upstream = Upstream::default();
        let policy = tagged(&["c"]);
        let fresh = bench.cache.get_or_set("thing:3", &policy, upstream.fetch("new"));
        assert!(matches!(fresh.await.expect("an answer").outcome, Outcome::Stale(_)));
        wait_until("it is fetched", BOUND, async || upstream.calls() == 1).await;
        put(&bench.cache, "thing:4", &["c"]).await;
        bench.cache.expire_tag("c").await.expect("expired");
        bench.clock.advance(Duration::from_secs(60));
        let late = bench.cache.get_or_set("thing:4", &policy, Upstream::default().fetch("new"));
        assert!(matches!(late.await.expect("an answer").outcome, Outcome::Fetched { .. }));
    })
    .await;
}

#[tokio::test]
async fn an_expired_key_is_stale_and_serves_where_its_fetch_fails() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", &[]).await;
        assert!(!bench.cache.expire("thing:none").await.expect("expired"));
        bench.clock.advance(Duration::from_secs(5));
        assert!(bench.cache.expire("thing:1").await.expect("expired"));
        let Lookup::Stale(entry) = bench.cache.get(THING, "thing:1").await else { panic!("it is not stale") };
        assert_eq!((&entry.value[..], entry.age(bench.clock.now())), (&b"old"[..], Duration::from_secs(5)));
        assert!(bench.cache.expire("thing:1").await.expect("expired again"));
        let (policy, nothing) = (policy(), Controls { only_if_cached: true, ..Controls::DEFAULT });
        let fetch = Upstream::default().fetch("new");
        let kept = bench.cache.get_or_set_with("thing:1", &policy, &nothing, fetch).await;
        assert_eq!(kept.expect("an answer").outcome, Outcome::Stale(StaleReason::OnlyIfCached));
        bench.clock.advance(Duration::from_secs(3595));
        assert_eq!(
            bench.cache.get(THING, "thing:1").await,
            Lookup::Missing(MissReason::Expired),
            "its retention is what it was"
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_fetched_while_its_tag_or_key_is_changed_goes_to_those_who_wait_alone() {
    everywhere(async |bench| {
        for (n, how) in ["invalidate the tag", "expire the tag", "expire the key"].iter().enumerate() {
            let (key, tag, gate) = (format!("thing:{n}"), format!("tag {n}"), Gate::new());
            let policy = tagged(&[&tag]);
            let waiting = bench.cache.get_or_set(&key, &policy, gate.fetch("old"));
            let change = async {
                gate.reached().await;
                match n {
                    0 => bench.cache.invalidate_tag(&tag).await.expect("invalidated"),
                    1 => bench.cache.expire_tag(&tag).await.expect("expired"),
                    _ => drop(bench.cache.expire(&key).await.expect("expired")),
                }
                // Whoever comes now does not join.
                let upstream = Upstream::default();
                let newcomer = bench.cache.get_or_set(&key, &policy, upstream.fetch("new")).await;
                assert_eq!(newcomer.expect("an answer").entry.value, "new", "{how}");
                gate.open();
            };
            let (waiting, ()) = tokio::join!(waiting, change);
            let answer = waiting.expect("an answer");
            assert_eq!(
                (&answer.entry.value[..], answer.outcome),
                (&b"old"[..], Outcome::Fetched { stored: false }),
                "{how}"
            );
            let kept = bench.cache.get_or_set(&key, &policy, Upstream::default().fetch("new")).await;
            assert_eq!(kept.expect("an answer").entry.value, "new", "{how}");
        }
    })
    .await;
}

#[tokio::test]
async fn other_nodes_serve_nothing_of_an_invalidated_tag() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    for bench in [&here, &there] {
        tracks(bench).await;
    }
    put(&here.cache, "thing:1", &["a"]).await;
    assert_eq!(look(&there.cache, "thing:1").await.map(|(_, tier)| tier), Some(Tier::Redis));
    assert_eq!(look(&there.cache, "thing:1").await.map(|(_, tier)| tier), Some(Tier::Memory));
    here.cache.invalidate_tag("a").await.expect("invalidated");
    let gone = async || there.cache.get(THING, "thing:1").await == INVALIDATED;
    wait_until("the other node serves it no more", BOUND, gone).await;
    // Both use the tag again, and agree on its version.
    put(&there.cache, "thing:1", &["a"]).await;
    wait_until("the first node finds it", BOUND, async || is_there(&here, "thing:1").await).await;
    here.cache.expire_tag("a").await.expect("expired");
    let stale = async || matches!(there.cache.get(THING, "thing:1").await, Lookup::Stale(_));
    wait_until("it is stale there", BOUND, stale).await;
}

#[tokio::test]
async fn a_version_that_is_lost_makes_its_entries_a_miss_and_never_comes_back() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    tracks(&bench).await;
    put(&bench.cache, "thing:1", &["a"]).await;
    put(&bench.cache, "thing:2", &["b"]).await;
    let versions = server.cli(&["KEYS", "*~tag:*"]);
    assert_eq!(versions.lines().count(), 2, "{versions}");
    server.cli(&["DEL", "lently-test:~tag:a"]);
    let gone = async || bench.cache.get(THING, "thing:1").await == INVALIDATED;
    wait_until("it is a miss", BOUND, gone).await;
    assert!(is_there(&bench, "thing:2").await);
    // The next use of the tag draws another version.
    put(&bench.cache, "thing:3", &["a"]).await;
    assert_eq!(bench.cache.get(THING, "thing:1").await, INVALIDATED);
    assert!(is_there(&bench, "thing:3").await);
    let lives: i64 = server.cli(&["PTTL", "lently-test:~tag:a"]).trim().parse().expect("a life");
    assert!(lives > 3_600_000, "{lives} ms: shorter than an entry lives");
}

#[tokio::test]
async fn tags_hold_without_notices_and_scripts() {
    let (_server, bench) = on_a_strict_redis().await;
    put(&bench.cache, "thing:1", &["a"]).await;
    assert!(is_there(&bench, "thing:1").await);
    bench.cache.expire_tag("a").await.expect("invalidated instead");
    assert_eq!(bench.cache.get(THING, "thing:1").await, INVALIDATED);
    put(&bench.cache, "thing:1", &["a"]).await;
    assert!(bench.cache.expire("thing:1").await.expect("deleted instead"));
    assert!(!is_there(&bench, "thing:1").await);
}

#[tokio::test]
async fn without_redis_a_tag_is_invalidated_here_and_the_error_says_that_it_is_not_elsewhere() {
    let mut server = RedisServer::start().await;
    let bench = open_with(config(redis(&server), manual_clock())).await;
    tracks(&bench).await;
    put(&bench.cache, "thing:1", &["a"]).await;
    put(&bench.cache, "thing:2", &["b"]).await;
    server.kill();
    wait_until("the link is down", BOUND, async || !bench.cache.health().is_up()).await;
    assert!(is_there(&bench, "thing:1").await, "without Redis what memory has is served");
    assert!(matches!(bench.cache.invalidate_tag("a").await, Err(CacheError::Resting { .. })));
    assert!(!is_there(&bench, "thing:1").await);
    assert!(is_there(&bench, "thing:2").await);
    // What is stored meanwhile can be invalidated, too.
    put(&bench.cache, "thing:3", &["c"]).await;
    assert!(is_there(&bench, "thing:3").await);
    bench.cache.invalidate_tag("c").await.expect_err("resting");
    assert!(!is_there(&bench, "thing:3").await);
}

#[tokio::test]
async fn flushing_and_patterns_count_entries_and_not_versions() {
    let folder = TempDir::new().expect("a folder");
    let server = RedisServer::start().await;
    for bench in [on_disk(&folder.path().join("cache.sqlite")).await, on_redis(&server).await] {
        put(&bench.cache, "thing:1", &["a", "b", "c"]).await;
        let any = "*".parse().expect("a pattern");
        assert_eq!(bench.cache.measure_pattern(&any).await.expect("measured").keys, 1);
        assert_eq!(bench.cache.flush_all().await.expect("flushed"), 1);
    }
}

#[tokio::test]
async fn unusable_tags_are_refused() {
    let bench = open_with(config(RemoteConfig::None, manual_clock())).await;
    let many: Vec<String> = (0..=MAX_TAGS).map(|n| n.to_string()).collect();
    let long = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|tag| tag.repeat(MAX_TAG_BYTES));
    for tags in [
        Tags::new([""]),
        Tags::new(["a\n"]),
        Tags::new(["a".repeat(MAX_TAG_BYTES + 1)]),
        Tags::new(many),
        Tags::new(long),
    ] {
        let policy = Policy { tags, ..policy() };
        let set = bench.cache.set("thing:1", &policy, Bytes::new(), Cost::default()).await;
        assert!(matches!(set, Err(CacheError::BadKey(_))), "{policy:?}");
        let answer = bench.cache.get_or_set("thing:1", &policy, Upstream::default().fetch("1")).await;
        assert!(matches!(answer, Err(FetchError::BadKey(_))), "{policy:?}");
    }
    assert!(matches!(bench.cache.invalidate_tag("").await, Err(CacheError::BadKey(_))));
    let most = Policy { tags: Tags::new((0..MAX_TAGS).map(|n| format!("\"tag\" {n}"))), ..policy() };
    bench.cache.set("thing:1", &most, Bytes::from_static(b"1"), Cost::default()).await.expect("a set");
    assert!(look(&bench.cache, "thing:1").await.is_some());
}

#[tokio::test]
async fn a_tag_is_remembered_for_as_long_as_what_is_fetched_with_it() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    tracks(&bench).await;
    put(&bench.cache, "thing:other", &["a"]).await;
    let policy = tagged(&["a"]);
    let left = |key: &str| server.cli(&["PTTL", key]).parse::<u128>().expect("a life");
    // Enough for what is stored now, and not for what is stored in a moment.
    let (retention, now) = (policy.retention.as_millis(), policy.retention.as_millis() + 200);
    server.cli(&["PEXPIRE", "lently-test:~tag:a", &now.to_string()]);
    let gate = Gate::new();
    let answer = bench.cache.get_or_set("thing:1", &policy, gate.fetch("1"));
    let slowly = async {
        gate.reached().await;
        wait_until("the tag is kept for longer, or for too short", BOUND, async || {
            !(retention..=now).contains(&left("lently-test:~tag:a"))
        })
        .await;
        gate.open();
    };
    tokio::join!(answer, slowly).0.expect("an answer");
    assert!(left("lently-test:thing:1") <= left("lently-test:~tag:a"));
}
