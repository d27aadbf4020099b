//! What Redis could not be told is told late: nothing that was paid for is paid for again, nothing that was deleted comes back.

use std::time::Duration;

use bytes::Bytes;
use lently_cache::{
    CacheError, CacheService, Change, Clock, Controls, Cost, Event, Heard, NextStep, Outcome, OwedReport,
    Pattern, Policy, RedisConfig, RemoteConfig, Tags, What,
};
use lently_testing::{Proxy, RedisServer, Wire, wait_until};

use crate::support::{
    BOUND, Bench, Gate, THING, Upstream, config, look, manual_clock, open_with, policy, put, redis,
    redis_config, tracks,
};

/// A node whose wire to Redis can be cut, and one whose wire is whole.
struct Split {
    server: RedisServer,
    proxy: Proxy,
    cut_off: Bench,
    other: Bench,
}

impl Split {
    async fn start() -> Self {
        Self::start_by(manual_clock).await
    }

    async fn start_by(clock: fn() -> Clock) -> Self {
        let server = RedisServer::start().await;
        let proxy = Proxy::to(server.address()).await;
        let behind = RedisConfig { port: proxy.address().port(), ..redis_config(&server) };
        let cut_off = open_with(config(RemoteConfig::Redis(behind), clock())).await;
        let other = open_with(config(redis(&server), clock())).await;
        tracks(&cut_off).await;
        tracks(&other).await;
        Self { server, proxy, cut_off, other }
    }

    async fn cut(&self) {
        self.proxy.set(Wire::Cut);
        wait_until("the loss is noticed", BOUND, async || !self.cut_off.cache.health().is_up()).await;
    }

    /// Until all that was owed is settled.
    async fn heal(&self) {
        self.proxy.set(Wire::Whole);
        wait_until("what was owed is made good", BOUND, async || self.cut_off.cache.repairs().owed == 0)
            .await;
    }

    fn has(&self, key: &str) -> bool {
        self.server.cli(&["EXISTS", &format!("lently-test:{key}")]) == "1"
    }
}

async fn ask(
    cache: &CacheService,
    key: &str,
    policy: &Policy,
    upstream: &Upstream,
    value: &'static str,
) -> Bytes {
    cache.get_or_set(key, policy, upstream.fetch(value)).await.expect("an answer").entry.value.clone()
}

async fn sees(cache: &CacheService, key: &str) -> Option<Bytes> {
    look(cache, key).await.map(|(value, _)| value)
}

#[tokio::test]
async fn a_value_paid_for_while_redis_was_away_reaches_it_and_is_paid_for_once() {
    let split = Split::start().await;
    split.cut().await;
    let upstream = Upstream::default();
    assert_eq!(ask(&split.cut_off.cache, "thing:1", &policy(), &upstream, "1").await, "1");
    let owed = split.cut_off.cache.repairs();
    assert_eq!((owed.owed, owed.owed_bytes), (1, 1));
    split.heal().await;
    assert_eq!(ask(&split.other.cache, "thing:1", &policy(), &upstream, "2").await, "1");
    assert_eq!(upstream.calls(), 1);
    assert_eq!(split.cut_off.cache.repairs().made, 1);
}

#[tokio::test]
async fn a_value_is_told_before_somebody_else_is_asked_for_it() {
    let split = Split::start().await;
    split.cut().await;
    let upstream = Upstream::default();
    ask(&split.cut_off.cache, "thing:1", &policy(), &upstream, "1").await;
    split.proxy.set(Wire::Whole);
    wait_until("the link is up", BOUND, async || split.cut_off.cache.health().is_up()).await;
    // Stale by now: who asks for a fresh one begins with what Redis has.
    assert_eq!(ask(&split.cut_off.cache, "thing:1", &policy(), &upstream, "2").await, "1");
    split.heal().await;
    assert!(split.has("thing:1"));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn values_without_room_in_memory_are_answered_from_what_is_owed() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let config = RedisConfig { port: proxy.address().port(), ..redis_config(&server) };
    let mut config = crate::support::config(RemoteConfig::Redis(config), manual_clock());
    config.memory_bytes = 0;
    let bench = open_with(config).await;
    tracks(&bench).await;
    proxy.set(Wire::Cut);
    wait_until("the loss is noticed", BOUND, async || !bench.cache.health().is_up()).await;
    let upstream = Upstream::default();
    for _ in 0..3 {
        assert_eq!(ask(&bench.cache, "thing:1", &policy(), &upstream, "1").await, "1");
        let explained = bench.cache.explain("thing:1", &policy()).await.expect("an explanation");
        assert_eq!(explained.next.step, NextStep::Serve, "{explained:#?}");
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_delete_that_failed_is_repeated_and_shows_nothing_old_before() {
    let split = Split::start().await;
    put(&split.cut_off.cache, "thing:1", "old").await;
    put(&split.cut_off.cache, "thing:2", "kept").await;
    split.cut().await;
    split.cut_off.cache.delete("thing:1").await.expect_err("Redis cannot be told");
    split.proxy.set(Wire::Whole);
    wait_until("the link is up", BOUND, async || split.cut_off.cache.health().is_up()).await;
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await, None, "told before it is read");
    split.heal().await;
    assert!(!split.has("thing:1"));
    assert_eq!(sees(&split.other.cache, "thing:1").await, None);
    assert_eq!(sees(&split.cut_off.cache, "thing:2").await.expect("untouched"), "kept");
}

#[tokio::test]
async fn a_pattern_that_failed_is_repeated_and_shows_nothing_old_before() {
    let split = Split::start().await;
    put(&split.cut_off.cache, "thing:1", "old").await;
    put(&split.cut_off.cache, "other:1", "kept").await;
    split.cut().await;
    let pattern = Pattern::parse("thing:*").expect("a pattern");
    split.cut_off.cache.delete_pattern(&pattern).await.expect_err("Redis cannot be told");
    // Newer than the deletion: it stays.
    put(&split.cut_off.cache, "thing:2", "new").await;
    split.proxy.set(Wire::Whole);
    wait_until("the link is up", BOUND, async || split.cut_off.cache.health().is_up()).await;
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await, None);
    assert_eq!(sees(&split.cut_off.cache, "thing:2").await.expect("the new one"), "new");
    split.heal().await;
    assert_eq!(sees(&split.other.cache, "thing:1").await, None);
    assert_eq!(sees(&split.other.cache, "thing:2").await.expect("the new one"), "new");
    assert!(split.has("other:1"));
}

#[tokio::test]
async fn an_expiry_that_failed_is_repeated() {
    let split = Split::start().await;
    put(&split.cut_off.cache, "thing:1", "1").await;
    split.cut().await;
    split.cut_off.cache.expire("thing:1").await.expect_err("Redis cannot be told");
    split.heal().await;
    assert!(split.has("thing:1"), "stale, and not gone");
    assert_eq!(split.other.cache.ttl("thing:1").await, None);
}

#[tokio::test]
async fn a_tag_whose_invalidation_failed_is_invalid_here_at_once_and_everywhere_after() {
    let split = Split::start().await;
    let tagged = Policy { tags: Tags::new(["red"]), ..policy() };
    let upstream = Upstream::default();
    ask(&split.other.cache, "thing:1", &tagged, &upstream, "old").await;
    assert_eq!(ask(&split.cut_off.cache, "thing:1", &tagged, &upstream, "-").await, "old");
    split.cut().await;
    split.cut_off.cache.invalidate_tag("red").await.expect_err("Redis cannot be told");
    split.proxy.set(Wire::Whole);
    wait_until("the link is up", BOUND, async || split.cut_off.cache.health().is_up()).await;
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await, None, "told before it is read");
    split.heal().await;
    assert_eq!(sees(&split.other.cache, "thing:1").await, None);
    assert_eq!(split.cut_off.cache.repairs().made, 1);
}

/// The last change of a key is the one that is told.
#[tokio::test]
async fn of_many_changes_the_last_one_is_told() {
    let split = Split::start().await;
    for key in ["thing:set", "thing:deleted", "thing:both"] {
        put(&split.cut_off.cache, key, "old").await;
    }
    split.cut().await;
    let cache = &split.cut_off.cache;
    put(cache, "thing:set", "1").await;
    split.cut_off.clock.advance(Duration::from_secs(1));
    put(cache, "thing:set", "2").await;
    put(cache, "thing:deleted", "1").await;
    cache.delete("thing:deleted").await.expect_err("Redis cannot be told");
    cache.delete("thing:both").await.expect_err("Redis cannot be told");
    put(cache, "thing:both", "new").await;
    assert_eq!(cache.repairs().owed, 3);
    split.heal().await;
    let other = &split.other.cache;
    assert_eq!(sees(other, "thing:set").await.expect("the last"), "2");
    assert_eq!(sees(other, "thing:deleted").await, None);
    assert_eq!(sees(other, "thing:both").await.expect("the last"), "new");
    assert_eq!(cache.repairs().made, 3);
}

/// The others were told of these, and the node that was cut off was not.
#[tokio::test]
async fn what_was_deleted_meanwhile_does_not_come_back() {
    type Change = for<'a> fn(&'a CacheService) -> futures::future::BoxFuture<'a, Result<u64, CacheError>>;
    let changes: [Change; 3] = [
        |cache| Box::pin(cache.delete("thing:1")),
        |cache| Box::pin(async { cache.delete_pattern(&Pattern::parse("thing:*").expect("one")).await }),
        |cache| Box::pin(cache.flush_all()),
    ];
    for change in changes {
        let split = Split::start().await;
        split.cut().await;
        let upstream = Upstream::default();
        ask(&split.cut_off.cache, "thing:1", &policy(), &upstream, "old").await;
        change(&split.other.cache).await.expect("a change");
        split.heal().await;
        assert!(!split.has("thing:1"));
        assert_eq!(sees(&split.cut_off.cache, "thing:1").await, None);
        assert_eq!(split.cut_off.cache.repairs().outrun, 1);
    }
}

/// A fetch during which the node is cut off for longer than its lease lasts, and back in time to store what it brings: in what has
/// happened `meanwhile` it had no say.
async fn fetched_with_a_lease_that_ended(meanwhile: impl AsyncFnOnce(&Split)) -> Split {
    let split = Split::start().await;
    put(&split.cut_off.cache, "thing:1", "old").await;
    // Long before: what is fetched now is newer.
    split.cut_off.clock.advance(Duration::from_secs(30));
    split.other.clock.advance(Duration::from_secs(30));
    let gate = Gate::new();
    let (policy, fetch) = (policy(), gate.fetch("1"));
    let asking = split.cut_off.cache.get_or_set_with("thing:1", &policy, &Controls::NO_CACHE, fetch);
    let outage = async {
        gate.reached().await;
        let leased = || !split.server.cli(&["KEYS", "lently-test:~lease:*"]).is_empty();
        assert!(leased());
        split.cut().await;
        wait_until("the lease ends", BOUND, async || !leased()).await;
        meanwhile(&split).await;
        split.proxy.set(Wire::Whole);
        tracks(&split.cut_off).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(asking, outage);
    assert_eq!(answer.expect("an answer").entry.value, "1");
    // Where the link is still on trial, what it brought is owed for a moment.
    split.heal().await;
    split
}

#[tokio::test]
async fn what_was_paid_for_is_stored_though_the_lease_ended_if_nobody_came_between() {
    let split = fetched_with_a_lease_that_ended(async |_| ()).await;
    let upstream = Upstream::default();
    assert_eq!(ask(&split.other.cache, "thing:1", &policy(), &upstream, "2").await, "1");
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn what_came_between_while_the_lease_had_ended_is_not_overwritten() {
    let split = fetched_with_a_lease_that_ended(async |split| {
        split.other.cache.delete("thing:1").await.expect("a delete");
    })
    .await;
    assert!(!split.has("thing:1"));
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await, None);
    let split = fetched_with_a_lease_that_ended(async |split| {
        split.other.cache.delete_pattern(&Pattern::parse("thing:*").expect("one")).await.expect("a delete");
    })
    .await;
    assert!(!split.has("thing:1"));
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await, None);
    let split = fetched_with_a_lease_that_ended(async |split| {
        let fetch = Upstream::default().fetch("2");
        let anew = split.other.cache.get_or_set_with("thing:1", &policy(), &Controls::NO_CACHE, fetch).await;
        assert_eq!(anew.expect("an answer").outcome, Outcome::Fetched { stored: true });
    })
    .await;
    assert_eq!(sees(&split.other.cache, "thing:1").await.expect("the successor's"), "2");
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await.expect("the successor's"), "2");
}

#[tokio::test]
async fn what_is_being_fetched_while_redis_is_emptied_is_not_stored() {
    let split = Split::start().await;
    let gate = Gate::new();
    let (policy, fetch) = (policy(), gate.fetch("1"));
    let asking = split.cut_off.cache.get_or_set("thing:1", &policy, fetch);
    let emptying = async {
        gate.reached().await;
        split.server.cli(&["FLUSHDB"]);
        gate.open();
    };
    let (answer, ()) = tokio::join!(asking, emptying);
    assert_eq!(answer.expect("an answer").outcome, Outcome::Fetched { stored: false });
    assert!(!split.has("thing:1"));
}

#[tokio::test]
async fn what_was_set_meanwhile_by_another_stays() {
    let split = Split::start().await;
    split.cut().await;
    put(&split.cut_off.cache, "thing:1", "old").await;
    split.other.clock.advance(Duration::from_secs(1));
    put(&split.other.cache, "thing:1", "new").await;
    split.heal().await;
    assert_eq!(sees(&split.other.cache, "thing:1").await.expect("the newer"), "new");
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await.expect("the newer"), "new");
}

/// It ended later, and may have seen what was there before the other looked.
#[tokio::test]
async fn what_another_fetched_since_a_slow_fetch_began_stays() {
    let split = Split::start_by(Clock::system).await;
    split.cut().await;
    let (gate, policy) = (Gate::new(), policy());
    let asking = split.cut_off.cache.get_or_set("thing:1", &policy, gate.fetch("old"));
    let overtaking = async {
        gate.reached().await;
        ask(&split.other.cache, "thing:1", &policy, &Upstream::default(), "new").await;
        assert!(split.has("thing:1"));
        gate.open();
    };
    assert_eq!(tokio::join!(asking, overtaking).0.expect("an answer").entry.value, "old");
    split.heal().await;
    assert_eq!(sees(&split.other.cache, "thing:1").await.expect("the newer"), "new");
    assert_eq!(sees(&split.cut_off.cache, "thing:1").await.expect("the newer"), "new");
}

#[tokio::test]
async fn a_full_redis_deletes_and_is_told_the_rest_once_there_is_room() {
    let split = Split::start().await;
    put(&split.cut_off.cache, "thing:old", "1").await;
    split.server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let upstream = Upstream::default();
    for _ in 0..3 {
        assert_eq!(ask(&split.cut_off.cache, "thing:1", &policy(), &upstream, "1").await, "1");
    }
    // The value goes at once; that it was deleted cannot be noted for a node that may want to store it late.
    split.cut_off.cache.delete("thing:old").await.expect_err("a deletion that is owed");
    assert!(!split.has("thing:old"));
    assert_eq!(sees(&split.cut_off.cache, "thing:old").await, None);
    let pattern = Pattern::parse("thing:*").expect("a pattern");
    split.other.cache.delete_pattern(&pattern).await.expect_err("a deletion that is owed");
    put(&split.cut_off.cache, "other:1", "2").await;
    assert!(split.cut_off.cache.repairs().owed > 0);
    split.server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    split.heal().await;
    wait_until("the other node has told it too", BOUND, async || split.other.cache.repairs().owed == 0).await;
    assert!(split.has("other:1"));
    assert!(!split.has("thing:1"), "fetched before the pattern was deleted");
    assert_eq!(upstream.calls(), 1);
}

/// The wire breaks between a commit and its answer: it was stored, and nobody was told.
#[tokio::test]
async fn a_value_whose_commit_was_answered_into_the_void_counts_as_told() {
    let split = Split::start().await;
    let upstream = Upstream::default();
    split.server.cli(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let answer = split.cut_off.cache.get_or_set("thing:1", &policy(), upstream.fetch("1")).await;
    assert_eq!(answer.expect("an answer").outcome, Outcome::Fetched { stored: true });
    assert_eq!(split.cut_off.cache.repairs().owed, 1);
    split.server.cli(&["CLIENT", "UNPAUSE"]);
    split.heal().await;
    assert!(split.has("thing:1"));
    assert_eq!(ask(&split.other.cache, "thing:1", &policy(), &upstream, "2").await, "1");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn no_more_than_its_bounds_is_owed_and_what_is_given_up_is_counted() {
    let split = Split::start().await;
    let cache = &split.cut_off.cache;
    put(cache, "thing:old", "1").await;
    split.cut().await;
    for n in 0..10_010 {
        put(cache, &format!("thing:{n}"), "1").await;
    }
    cache.delete("thing:old").await.expect_err("Redis cannot be told");
    let repairs = cache.repairs();
    assert_eq!((repairs.owed, repairs.dropped), (10_000, 11));
    let big = Bytes::from(vec![b'x'; 1 << 20]);
    for n in 0..100 {
        cache.set(&format!("other:{n}"), &policy(), big.clone(), Cost::default()).await.expect("a set");
    }
    let repairs = cache.repairs();
    assert!(repairs.owed_bytes <= 64 << 20, "{repairs:?}");
    split.heal().await;
    assert!(!split.has("thing:old"));
    assert!(split.has("other:99"));
    assert_eq!(cache.get(THING, "thing:old").await.entry(), None);
}

#[tokio::test]
async fn what_is_owed_of_a_key_is_explained_and_nothing_of_another() {
    let split = Split::start().await;
    let cache = &split.cut_off.cache;
    let tagged = Policy { tags: Tags::new(["red"]), ..policy() };
    cache.set("thing:4", &tagged, Bytes::from_static(b"4"), Cost::default()).await.expect("set");
    put(cache, "thing:5", "5").await;
    split.cut().await;
    put(cache, "thing:1", "one").await;
    cache.delete("thing:2").await.expect_err("Redis cannot be told");
    cache.delete_pattern(&Pattern::parse("other:*").expect("a pattern")).await.expect_err("the same");
    cache.invalidate_tag("red").await.expect_err("the same");
    let owed = async |key: &str| cache.explain(key, &policy()).await.expect("an explanation").owed;
    let changes = async |key: &str| {
        let tell = |owed: OwedReport| (owed.change, owed.by, owed.bytes);
        owed(key).await.into_iter().map(tell).collect::<Vec<_>>()
    };
    assert_eq!(changes("thing:1").await, [(Change::Value, None, 3)]);
    assert_eq!(changes("thing:2").await, [(Change::Delete, None, 0)]);
    assert_eq!(changes("other:9").await, [(Change::DeletePattern, Some("other:*".to_owned()), 0)]);
    assert_eq!(changes("thing:4").await, [(Change::InvalidateTag, Some("red".to_owned()), 0)]);
    assert_eq!(changes("thing:5").await, []);
    // Whoever reads it tries to tell it first.
    wait_until("it was tried", BOUND, async || {
        let _ = cache.get(THING, "thing:2").await;
        owed("thing:2").await[0].attempts > 0
    })
    .await;
    let told = serde_json::to_value(&owed("thing:2").await[0]).expect("JSON");
    assert!(told["change"] == "delete" && told["age_ms"].is_u64() && told.get("by").is_none(), "{told}");
    split.heal().await;
    for key in ["thing:1", "thing:2", "thing:4", "other:9"] {
        assert_eq!(owed(key).await, [], "{key}");
    }
}

#[tokio::test]
async fn a_listener_hears_what_is_owed_and_when_it_is_told() {
    let split = Split::start().await;
    let cache = &split.cut_off.cache;
    split.cut().await;
    let mut events = cache.events();
    put(cache, "thing:1", "1").await;
    cache.delete("thing:2").await.expect_err("Redis cannot be told");
    cache.delete_pattern(&Pattern::parse("other:*").expect("a pattern")).await.expect_err("the same");
    cache.expire_tag("red").await.expect_err("the same");
    split.heal().await;
    let mut repairs = Vec::new();
    while let Some(heard) = events.try_next() {
        let Heard::Event(Event { kind, digest, what, .. }) = heard else { panic!("{heard:?}") };
        if matches!(what, What::Owed { .. } | What::ToldLate { .. } | What::GivenUp { .. }) {
            repairs.push((kind, digest.expect("a digest"), what));
        }
    }
    let is = |kind, text: &str, what| (kind, Event::digest_of(text), what);
    let changes = [
        (Some("thing"), "thing:1", Change::Value),
        (Some("thing"), "thing:2", Change::Delete),
        (None, "other:*", Change::DeletePattern),
        (None, "red", Change::ExpireTag),
    ];
    let owed = changes.map(|(kind, text, change)| is(kind, text, What::Owed { change }));
    // What takes values away comes first.
    let told = [2, 3, 1, 0].map(|n| changes[n]);
    let told = told.map(|(kind, text, change)| is(kind, text, What::ToldLate { change }));
    assert_eq!(repairs, [owed, told].concat());
}
