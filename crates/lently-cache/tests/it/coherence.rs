//! What others change in Redis leaves no copy behind in memory, and a node that may have missed a change knows it.
//!
//! The clocks of these caches stand still: a copy that goes, goes because of a notice. Where trust is lost, the system's clock is
//! told by too, whose coarse ticks decide how often a copy's claim is looked at.

use bytes::Bytes;
use lently_cache::{Clock, LinkState, MEMORY_TRUST, Outcome, RedisConfig, RemoteConfig, Tier};
use lently_testing::{Proxy, RedisServer, Wire, wait_until};

use crate::support::{
    BOUND, Bench, THING, Upstream, config, is_missing, look, manual_clock, on_a_strict_redis, open_with,
    policy, put, redis, redis_config, until_gone,
};

/// Until the link is up and changes are told.
async fn listening(bench: &Bench) {
    wait_until("changes are told", BOUND, async || {
        let health = bench.cache.health();
        health.state == LinkState::Up && health.tracking
    })
    .await;
}

async fn node(server: &RedisServer) -> Bench {
    node_by(server, manual_clock()).await
}

async fn node_by(server: &RedisServer, clock: Clock) -> Bench {
    let bench = open_with(config(redis(server), clock)).await;
    listening(&bench).await;
    bench
}

/// Reads until the value comes from memory.
async fn held(bench: &Bench, key: &str, value: &'static str) {
    wait_until("memory has it", BOUND, async || {
        look(&bench.cache, key).await == Some((Bytes::from_static(value.as_bytes()), Tier::Memory))
    })
    .await;
}

#[tokio::test]
async fn what_another_node_changes_or_deletes_leaves_no_copy() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    put(&here.cache, "thing:1", "1").await;
    assert_eq!(
        look(&here.cache, "thing:1").await.expect("a hit").1,
        Tier::Memory,
        "its own write is no news"
    );
    held(&there, "thing:1", "1").await;
    put(&there.cache, "thing:1", "2").await;
    wait_until("the new value is seen", BOUND, async || {
        look(&here.cache, "thing:1").await.expect("a hit").0 == "2"
    })
    .await;
    here.cache.delete("thing:1").await.expect("a delete");
    until_gone(&there, "thing:1").await;
}

#[tokio::test]
async fn what_redis_cli_changes_flushes_or_lets_expire_leaves_no_copy() {
    for clock in [manual_clock(), Clock::system()] {
        let server = RedisServer::start().await;
        let bench = node_by(&server, clock).await;
        for change in [
            &["DEL", "lently-test:thing:1"][..],
            &["PEXPIRE", "lently-test:thing:1", "20"],
            &["FLUSHDB"],
            &["FLUSHALL", "ASYNC"],
            &["RENAME", "lently-test:thing:1", "elsewhere"],
        ] {
            put(&bench.cache, "thing:1", "1").await;
            held(&bench, "thing:1", "1").await;
            server.cli(change);
            until_gone(&bench, "thing:1").await;
        }
    }
}

#[tokio::test]
async fn a_copy_is_believed_as_long_as_it_is_fresh_while_changes_are_told() {
    let server = RedisServer::start().await;
    let bench = node(&server).await;
    put(&bench.cache, "thing:1", "1").await;
    bench.clock.advance(MEMORY_TRUST * 10);
    let before = server.cli(&["INFO", "commandstats"]);
    for _ in 0..100 {
        assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").1, Tier::Memory);
    }
    let gets = |stats: &str| stats.lines().find(|line| line.contains("cmdstat_get:")).map(str::to_owned);
    assert_eq!(gets(&before), gets(&server.cli(&["INFO", "commandstats"])), "Redis was not asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_in_flight_while_the_key_changes_never_keeps_the_old_value() {
    for clock in [manual_clock(), Clock::system()] {
        let server = RedisServer::start().await;
        let (reader, writer) = (node_by(&server, clock).await, node(&server).await);
        for round in 0..400_u32 {
            let value = format!("{round}");
            let reads = (0..8).map(|_| reader.cache.get(THING, "thing:1"));
            let own = policy();
            let stored = writer.cache.set("thing:1", &own, value.clone().into(), Default::default());
            let (_, stored) = tokio::join!(futures::future::join_all(reads), stored);
            assert!(stored.expect("a set").remote);
            // A notice is on its way for a moment; an old value that was kept would stay for good.
            wait_until("the new value is seen", BOUND, async || {
                look(&reader.cache, "thing:1").await.is_some_and(|(seen, _)| seen == value)
            })
            .await;
            assert_eq!(
                look(&reader.cache, "thing:1").await.expect("a hit").0,
                value,
                "and never the old one again"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_at_once_leave_memory_with_what_redis_has() {
    let server = RedisServer::start().await;
    let bench = node(&server).await;
    for round in 0..300 {
        let writes = (0..6).map(|n| {
            let cache = bench.cache.clone();
            let value = format!("{round}.{n}");
            async move { cache.set("thing:1", &policy(), value.into(), Default::default()).await }
        });
        futures::future::join_all(writes).await;
        let seen = look(&bench.cache, "thing:1").await.expect("a hit").0;
        let stored = server.bytes_of("lently-test:thing:1");
        assert!(stored.ends_with(&seen), "memory has {seen:?}, Redis {stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_a_hundred_thousand_changes_loses_none() {
    let server = RedisServer::start().await;
    let bench = node(&server).await;
    let keys = 20_000;
    for n in 0..keys {
        put(&bench.cache, &format!("thing:{n}"), "1").await;
    }
    // Five rounds, and not one script: a server that is busy for long would be given up.
    for _ in 0..5 {
        let set = "for n = 0, 19999 do redis.call('SET', 'lently-test:thing:' .. n, '{}', 'EX', 600) end";
        server.cli(&["EVAL", set, "0"]);
    }
    server.cli(&["EVAL", "for n = 0, 19999 do redis.call('DEL', 'lently-test:thing:' .. n) end", "0"]);
    until_gone(&bench, "thing:19999").await;
    for n in 0..keys {
        until_gone(&bench, &format!("thing:{n}")).await;
    }
}

/// A node whose wire to Redis a test can cut.
async fn behind_a_proxy(server: &RedisServer, clock: Clock) -> (Proxy, Bench) {
    let proxy = Proxy::to(server.address()).await;
    let redis = RedisConfig { port: proxy.address().port(), ..redis_config(server) };
    let bench = open_with(config(RemoteConfig::Redis(redis), clock)).await;
    listening(&bench).await;
    (proxy, bench)
}

#[tokio::test]
async fn after_a_cut_wire_nothing_old_is_served() {
    for clock in [manual_clock(), Clock::system()] {
        let server = RedisServer::start().await;
        let (proxy, bench) = behind_a_proxy(&server, clock).await;
        let other = node(&server).await;
        put(&bench.cache, "thing:1", "1").await;
        held(&bench, "thing:1", "1").await;
        proxy.set(Wire::Cut);
        wait_until("the loss is noticed", BOUND, async || !bench.cache.health().tracking).await;
        put(&other.cache, "thing:1", "2").await;
        proxy.set(Wire::Whole);
        listening(&bench).await;
        assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").0, "2");
    }
}

/// The kernel acknowledges and nothing arrives: only the missing answer to a ping tells.
#[tokio::test]
async fn a_half_open_wire_is_distrusted_within_the_bound_and_healed_without_serving_anything_old() {
    for clock in [manual_clock(), Clock::system()] {
        let server = RedisServer::start().await;
        let (proxy, bench) = behind_a_proxy(&server, clock).await;
        let other = node(&server).await;
        put(&bench.cache, "thing:1", "1").await;
        held(&bench, "thing:1", "1").await;
        proxy.set(Wire::Stalled);
        put(&other.cache, "thing:1", "2").await;
        wait_until("the silence is noticed", BOUND, async || !bench.cache.health().tracking).await;
        // Nobody can be asked: the copy is all there is, and it is still served.
        assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").0, "1");
        proxy.set(Wire::Whole);
        listening(&bench).await;
        assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").0, "2");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_made_again_and_hears_again() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    for round in ["1", "2", "3"] {
        put(&here.cache, "thing:1", round).await;
        held(&there, "thing:1", round).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        listening(&here).await;
        wait_until("a write reaches Redis", BOUND, async || {
            let stored = here.cache.set("thing:1", &policy(), "\"new\"".into(), Default::default()).await;
            stored.expect("a set").remote
        })
        .await;
        listening(&there).await;
        wait_until("the new value is seen", BOUND, async || {
            look(&there.cache, "thing:1").await.is_some_and(|(value, _)| value == "\"new\"")
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_to_tell_is_asked_again_after_the_trust_in_a_copy() {
    let (server, bench) = on_a_strict_redis().await;
    assert!(!bench.cache.health().tracking);
    put(&bench.cache, "thing:1", "1").await;
    assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").1, Tier::Memory);
    server.cli(&["DEL", "lently-test:thing:1"]);
    bench.clock.advance(MEMORY_TRUST);
    assert!(is_missing(&bench.cache.get(THING, "thing:1").await));
    let upstream = Upstream::default();
    let answer = bench.cache.get_or_set("thing:1", &policy(), upstream.fetch("2")).await.expect("an answer");
    assert_eq!(answer.outcome, Outcome::Fetched { stored: true });
}

#[tokio::test]
async fn with_an_empty_prefix_changes_of_our_kinds_are_told() {
    let server = RedisServer::start().await;
    let config = lently_cache::CacheConfig {
        prefix: String::new(),
        ..crate::support::config(crate::support::redis(&server), crate::support::manual_clock())
    };
    let bench = crate::support::open_with(config).await;
    listening(&bench).await;
    put(&bench.cache, "thing:1", "1").await;
    held(&bench, "thing:1", "1").await;
    server.cli(&["DEL", "thing:1"]);
    until_gone(&bench, "thing:1").await;
}

#[tokio::test]
async fn a_change_whose_caller_leaves_is_carried_to_its_end() {
    let server = RedisServer::start().await;
    let bench = node(&server).await;
    put(&bench.cache, "thing:1", "old").await;
    held(&bench, "thing:1", "old").await;
    let own = policy();
    let set = bench.cache.set("thing:1", &own, "new".into(), Default::default());
    assert!(futures::future::FutureExt::now_or_never(set).is_none(), "the caller left in the middle");
    wait_until("the new value is there", BOUND, async || {
        look(&bench.cache, "thing:1").await.is_some_and(|(value, _)| value == "new")
    })
    .await;
    assert!(server.bytes_of("lently-test:thing:1").ends_with(b"new"));
    assert!(futures::future::FutureExt::now_or_never(bench.cache.flush_all()).is_none());
    until_gone(&bench, "thing:1").await;
}
