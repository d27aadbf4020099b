//! Redis absent, killed, stopped, replaced, full, refusing: callers are answered, and the cache heals by itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lently_cache::{
    CacheConfig, Controls, Cost, Event, Heard, LinkState, Lookup, MissReason, Outcome, RedisConfig,
    RemoteConfig, Tier, TlsConfig, What,
};
use lently_testing::{Proxy, RedisOptions, RedisServer, Wire, wait_until};

use crate::support::{
    BOUND, Bench, Gate, THING, Upstream, config, look, manual_clock, on_redis, open, open_with, policy, put,
    redis, redis_config, tracks,
};

/// Far above what an answer without Redis takes, far below what a hung one would.
const BOUNDED: Duration = Duration::from_secs(5);

async fn up(bench: &Bench) {
    wait_until("Redis is in use", BOUND, async || bench.cache.health().state == LinkState::Up).await;
}

async fn down(bench: &Bench) {
    wait_until("the loss is noticed", BOUND, async || bench.cache.health().state != LinkState::Up).await;
}

/// Until a value makes the way through Redis and back.
async fn in_use(bench: &Bench, server: &RedisServer) {
    wait_until("values reach Redis again", BOUND, async || {
        put(&bench.cache, "thing:probe", "1").await;
        server.cli(&["EXISTS", "lently-test:thing:probe"]) == "1"
    })
    .await;
}

/// Many requests for as many keys, each answered in time.
async fn everyone_is_answered(bench: &Bench, round: &str) {
    let requests = (0..100).map(|n| {
        let (cache, key) = (bench.cache.clone(), format!("thing:{round}:{n}"));
        async move {
            let began = Instant::now();
            let answer = cache.get_or_set(&key, &policy(), Upstream::default().fetch("1")).await;
            assert_eq!(answer.expect("an answer").entry.value, "1");
            cache.get(THING, &key).await.entry().expect("memory has it");
            assert!(began.elapsed() < BOUNDED);
        }
    });
    futures::future::join_all(requests).await;
}

#[tokio::test]
async fn redis_may_be_absent_at_the_start_and_is_used_once_it_is_there() {
    let mut server = RedisServer::absent();
    let began = Instant::now();
    let bench = on_redis(&server).await;
    assert!(began.elapsed() < BOUNDED, "opening does not wait for it");
    assert_ne!(bench.cache.health().state, LinkState::Up);
    assert_eq!(bench.cache.get(THING, "thing:1").await, Lookup::Missing(MissReason::TierResting));
    everyone_is_answered(&bench, "absent").await;
    assert!(bench.cache.stats().errors > 0, "swallowed, and counted");
    server.restart().await;
    in_use(&bench, &server).await;
}

#[tokio::test]
async fn a_killed_redis_is_done_without_and_used_again_when_it_is_back() {
    let mut server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    up(&bench).await;
    put(&bench.cache, "thing:before", "1").await;
    server.kill();
    everyone_is_answered(&bench, "killed").await;
    down(&bench).await;
    assert!(look(&bench.cache, "thing:before").await.is_some(), "memory serves what it has");
    bench.clock.advance(Duration::from_secs(30));
    assert!(
        look(&bench.cache, "thing:before").await.is_some(),
        "beyond its trust, while nobody can be asked"
    );
    let health = bench.cache.health();
    assert!(health.swallowed_errors > 0 && health.last_error.is_some());
    server.restart().await;
    in_use(&bench, &server).await;
}

#[tokio::test]
async fn a_stopped_redis_delays_nobody_for_long() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    up(&bench).await;
    server.stop();
    everyone_is_answered(&bench, "stopped").await;
    down(&bench).await;
    // Once it is known, nobody waits for it any more: a hundred lookups take less than a few command timeouts.
    let began = Instant::now();
    for n in 0..100 {
        let lookup = bench.cache.get(THING, &format!("thing:unknown:{n}")).await;
        assert_eq!(lookup, Lookup::Missing(MissReason::TierResting));
    }
    assert!(began.elapsed() < BOUNDED);
    server.cont();
    in_use(&bench, &server).await;
}

#[tokio::test]
async fn a_redis_replaced_by_an_empty_one_is_filled_again() {
    let mut server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    up(&bench).await;
    put(&bench.cache, "thing:1", "1").await;
    server.replace_by_empty().await;
    in_use(&bench, &server).await;
    bench.clock.advance(Duration::from_secs(3));
    let upstream = Upstream::default();
    let answer = bench.cache.get_or_set("thing:1", &policy(), upstream.fetch("2")).await.expect("an answer");
    assert_eq!((answer.outcome, upstream.calls()), (Outcome::Fetched { stored: true }, 1));
    assert_eq!(server.cli(&["EXISTS", "lently-test:thing:1"]), "1");
}

/// The connection is open, the kernel acknowledges, and nothing ever comes back: no client library notices.
#[tokio::test]
async fn a_wire_that_swallows_everything_is_noticed_and_replaced() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let bench =
        open(RemoteConfig::Redis(RedisConfig { port: proxy.address().port(), ..RedisConfig::default() }))
            .await;
    up(&bench).await;
    proxy.set(Wire::Stalled);
    everyone_is_answered(&bench, "stalled").await;
    down(&bench).await;
    proxy.set(Wire::Whole);
    in_use(&bench, &server).await;
    proxy.set(Wire::Cut);
    everyone_is_answered(&bench, "cut").await;
    down(&bench).await;
    proxy.set(Wire::Whole);
    in_use(&bench, &server).await;
}

#[tokio::test]
async fn a_full_redis_costs_its_values_a_place_there_and_no_second_fetch() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    up(&bench).await;
    // Everything is too much from now on: writes are refused, reads answered.
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let upstream = Upstream::default();
    for _ in 0..3 {
        let answer =
            bench.cache.get_or_set("thing:1", &policy(), upstream.fetch("1")).await.expect("an answer");
        assert_eq!(answer.entry.value, "1");
        bench.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(upstream.calls(), 1, "memory keeps what Redis refused");
    let told = bench.cache.health().last_error.expect("an error");
    assert!(told.contains("OOM"), "{told}");
    assert_eq!(bench.cache.health().state, LinkState::Up, "it still answers reads");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    in_use(&bench, &server).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_without_the_password_and_fails_nobody() {
    let options = RedisOptions { password: Some("right-one".to_owned()), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let with = |password: &str| {
        RemoteConfig::Redis(RedisConfig {
            password: Some(password.to_owned().into()),
            ..redis_config(&server)
        })
    };
    let wrong = open(with("not-the-right-one")).await;
    everyone_is_answered(&wrong, "wrong").await;
    let health = wrong.cache.health();
    let told = format!("{health:?} {:?}", redis_config(&server));
    assert_ne!(health.state, LinkState::Up);
    assert!(health.last_error.is_some() && !told.contains("not-the-right-one"), "{told}");
    assert!(!format!("{:?}", with("not-the-right-one")).contains("not-the-right-one"));
    let right = open(with("right-one")).await;
    up(&right).await;
}

#[tokio::test]
async fn an_acl_user_that_may_touch_only_our_prefix_is_enough() {
    // As docs/redis.md gives them.
    let rules = ">secret resetkeys ~lently-test:* -@all \
                 +get +set +unlink +exists +pttl +scan +ping +strlen +getrange +select";
    let options =
        RedisOptions { user: Some(("lently".to_owned(), rules.to_owned())), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let bench = open(RemoteConfig::Redis(RedisConfig {
        username: Some("lently".to_owned()),
        password: Some("secret".to_owned().into()),
        ..redis_config(&server)
    }))
    .await;
    up(&bench).await;
    put(&bench.cache, "thing:1", "1").await;
    bench.clock.advance(Duration::from_secs(3));
    assert_eq!(look(&bench.cache, "thing:1").await, Some((Bytes::from_static(b"1"), Tier::Redis)));
    assert!(bench.cache.ttl("thing:1").await.is_some());
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 1);
    assert_eq!(bench.cache.health().swallowed_errors, 0, "{:?}", bench.cache.health());
}

#[tokio::test]
async fn tls_is_spoken_with_a_private_authority_and_refused_without_it() {
    let server = RedisServer::start_with(RedisOptions { tls: true, ..RedisOptions::default() }).await;
    let with = |tls: TlsConfig| RemoteConfig::Redis(RedisConfig { tls: Some(tls), ..redis_config(&server) });
    let trusting = open(with(TlsConfig { ca_file: Some(server.ca_file()) })).await;
    up(&trusting).await;
    in_use(&trusting, &server).await;
    let doubting = open(with(TlsConfig::default())).await;
    everyone_is_answered(&doubting, "untrusted").await;
    assert_ne!(doubting.cache.health().state, LinkState::Up);
}

/// A few failures in a row open the breaker: from then on nobody asks, and memory answers at once.
#[tokio::test]
async fn errors_from_redis_open_the_breaker_and_it_closes_by_itself() {
    let options = RedisOptions {
        user: Some(("lently".to_owned(), ">secret ~* +@all".to_owned())),
        ..RedisOptions::default()
    };
    let server = RedisServer::start_with(options).await;
    let bench = open(RemoteConfig::Redis(RedisConfig {
        username: Some("lently".to_owned()),
        password: Some("secret".to_owned().into()),
        ..redis_config(&server)
    }))
    .await;
    up(&bench).await;
    server.cli(&["ACL", "SETUSER", "lently", "-get", "-set"]);
    for n in 0..5 {
        bench.cache.get(THING, &format!("thing:{n}")).await;
    }
    assert_eq!(bench.cache.health().state, LinkState::Resting);
    everyone_is_answered(&bench, "resting").await;
    server.cli(&["ACL", "SETUSER", "lently", "+get", "+set"]);
    in_use(&bench, &server).await;
    up(&bench).await;
}

#[tokio::test]
async fn a_redis_without_memory_in_front_still_answers_everyone_when_it_dies() {
    let mut server = RedisServer::start().await;
    let bare = CacheConfig { memory_bytes: 0, ..config(redis(&server), manual_clock()) };
    let bench = open_with(bare).await;
    up(&bench).await;
    put(&bench.cache, "thing:1", "1").await;
    assert_eq!(look(&bench.cache, "thing:1").await.expect("a hit").1, Tier::Redis);
    server.kill();
    let answer = bench
        .cache
        .get_or_set("thing:1", &policy(), Upstream::default().fetch("2"))
        .await
        .expect("an answer");
    assert_eq!(answer.outcome, Outcome::Fetched { stored: false });
}

#[tokio::test]
async fn a_delete_that_redis_cannot_be_told_is_an_error_and_memory_forgets_anyway() {
    let mut server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    up(&bench).await;
    bench.cache.set("thing:1", &policy(), Bytes::from_static(b"1"), Cost::default()).await.expect("a set");
    server.kill();
    assert!(bench.cache.delete("thing:1").await.is_err());
    assert_eq!(look(&bench.cache, "thing:1").await, None);
}

/// The wire breaks between the end of the fetch and the answer to its commit: nobody knows whether Redis has the value.
#[tokio::test]
async fn a_value_paid_for_is_kept_although_the_wire_breaks_while_it_is_stored() {
    for wire in [Wire::Stalled, Wire::Cut] {
        let server = RedisServer::start().await;
        let proxy = std::sync::Arc::new(Proxy::to(server.address()).await);
        let config = RedisConfig { port: proxy.address().port(), ..redis_config(&server) };
        let bench = open(RemoteConfig::Redis(config)).await;
        up(&bench).await;
        let (breaking, calls) = (proxy.clone(), Upstream::default());
        let counted = calls.clone();
        let fetch = move || async move {
            counted.count();
            breaking.set(wire);
            Ok(lently_cache::Fetched::new("1"))
        };
        let answer = bench.cache.get_or_set("thing:1", &policy(), fetch).await.expect("an answer");
        assert_eq!(answer.outcome, Outcome::Fetched { stored: true }, "{wire:?}");
        down(&bench).await;
        assert!(look(&bench.cache, "thing:1").await.is_some(), "{wire:?}");
        proxy.set(Wire::Whole);
        up(&bench).await;
        let again = bench.cache.get_or_set("thing:1", &policy(), calls.fetch("2")).await.expect("an answer");
        assert_eq!((again.entry.value.clone(), calls.calls()), (Bytes::from_static(b"1"), 1), "{wire:?}");
    }
}

#[tokio::test]
async fn who_wants_it_fetched_anew_does_not_take_what_was_fetched_before_it_came() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let config = RedisConfig { port: proxy.address().port(), ..redis_config(&server) };
    let bench = open(RemoteConfig::Redis(config)).await;
    tracks(&bench).await;
    let (gate, cache) = (Gate::new(), bench.cache.clone());
    let fetch = gate.fetch("old");
    let before = bench.tasks.spawn(async move { cache.get_or_set("thing:1", &policy(), fetch).await });
    gate.reached().await;
    let mut events = bench.cache.events();
    proxy.set(Wire::Stalled);
    gate.open();
    // It is fetched, and on its way to a Redis that does not answer.
    while !matches!(events.next().await, Some(Heard::Event(Event { what: What::FetchEnded { .. }, .. }))) {}
    let upstream = Upstream::default();
    let own = policy();
    let anew = bench.cache.get_or_set_with("thing:1", &own, &Controls::NO_CACHE, upstream.fetch("new"));
    assert_eq!(anew.await.expect("an answer").entry.value, "new");
    assert_eq!(before.await.expect("a caller").expect("an answer").entry.value, "old");
}

/// What says that it was deleted needs less room than the value did.
#[tokio::test]
async fn a_deletion_is_noted_in_a_full_redis_where_it_makes_room_itself() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    up(&bench).await;
    let random = |n: u32| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 24) as u8 % 64);
    let large: String = (0..900_000).map(random).collect();
    bench.cache.set("thing:1", &policy(), large.into(), Cost::default()).await.expect("a set");
    let memory = server.cli(&["INFO", "memory"]);
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok());
    let stored = server.bytes_of("lently-test:thing:1").len() as u64;
    server.cli(&["CONFIG", "SET", "maxmemory", &(used.expect("a size") - stored / 2).to_string()]);
    assert!(server.cli(&["SET", "lently-test:thing:2", "1"]).contains("OOM"));
    assert_eq!(bench.cache.delete("thing:1").await.expect("a deletion"), 1);
    assert_eq!(bench.cache.repairs().owed, 0);
    assert!(server.cli(&["KEYS", "lently-test:~gone:*"]).ends_with("thing:1"));
}

/// A node may hold a value that Redis did not take, and would store it later over the deletion.
#[tokio::test]
async fn a_deletion_that_a_full_redis_cannot_note_is_refused_and_told_later() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    up(&here).await;
    up(&there).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    put(&here.cache, "thing:1", "old").await;
    assert_eq!(here.cache.repairs().owed, 1);
    let refused = there.cache.delete("thing:1").await.expect_err("nobody would know of it");
    assert!(refused.to_string().contains("OOM"), "{refused}");
    assert_eq!(there.cache.repairs().owed, 1);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until("all is told", BOUND, async || {
        here.cache.repairs().owed == 0 && there.cache.repairs().owed == 0
    })
    .await;
    wait_until("it is gone for all", BOUND, async || {
        look(&here.cache, "thing:1").await.is_none() && look(&there.cache, "thing:1").await.is_none()
    })
    .await;
}
