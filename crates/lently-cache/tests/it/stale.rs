//! A value that is no longer fresh: when it is served, what it says of itself, who fetches it anew, and what a caller may want
//! otherwise.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lently_cache::{
    AcceptStale, Allowance, Answer, Budget, Controls, Cost, FailureClass, FetchError, FetchFailure, Fetched,
    Lookup, Outcome, Policy, RemoteConfig, StaleReason, Tags,
};
use lently_testing::{RedisServer, wait_until};
use tempfile::TempDir;

use crate::support::{
    BOUND, Bench, Gate, THING, Upstream, config, in_memory, look, manual_clock, on_disk, on_redis, open_with,
    policy, put, tracks, until_gone,
};

const FRESH: Duration = Duration::from_secs(60);
const STALE: Outcome = Outcome::Stale(StaleReason::Refreshing);

/// The same on memory alone, on a disk file and on Redis.
async fn everywhere(story: impl AsyncFn(&Bench)) {
    let folder = TempDir::new().expect("a folder");
    let server = RedisServer::start().await;
    story(&in_memory().await).await;
    story(&on_disk(&folder.path().join("cache.sqlite")).await).await;
    let bench = on_redis(&server).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().tracking).await;
    story(&bench).await;
}

async fn ask(bench: &Bench, controls: &Controls, upstream: &Upstream) -> Result<Answer, FetchError> {
    bench.cache.get_or_set_with("thing:1", &policy(), controls, upstream.fetch("new")).await
}

async fn is_new(bench: &Bench) {
    let new = async || look(&bench.cache, "thing:1").await.is_some_and(|(value, _)| value == "new");
    wait_until("the new value is there", BOUND, new).await;
}

fn failing(
    class: FailureClass,
) -> impl FnOnce() -> std::future::Ready<Result<Fetched, FetchFailure>> + Send + 'static {
    move || std::future::ready(Err(FetchFailure::new(class, std::io::Error::other("no"))))
}

#[tokio::test]
async fn a_stale_value_is_served_at_once_while_one_fetch_goes_on_behind() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", "old").await;
        bench.clock.advance(FRESH);
        let gate = Gate::new();
        for _ in 0..20 {
            let answer = bench.cache.get_or_set("thing:1", &policy(), gate.fetch("new")).await;
            let answer = answer.expect("an answer");
            assert_eq!((&answer.entry.value[..], answer.outcome), (&b"old"[..], STALE));
            assert_eq!(answer.entry.staleness(bench.clock.now()), Duration::ZERO);
        }
        gate.reached().await;
        gate.open();
        is_new(bench).await;
        assert_eq!(gate.calls(), 1);
        let stats = bench.cache.stats();
        assert_eq!((stats.stale, stats.refreshes, stats.fetches), (20, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn beyond_the_policys_staleness_callers_wait_for_the_fetch() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", "old").await;
        bench.clock.advance(FRESH * 2);
        let answer = ask(bench, &Controls::DEFAULT, &Upstream::default()).await.expect("an answer");
        assert_eq!(
            (&answer.entry.value[..], answer.outcome),
            (&b"new"[..], Outcome::Fetched { stored: true })
        );
    })
    .await;
}

#[tokio::test]
async fn within_its_retention_a_value_stands_in_for_a_fetch_that_fails_and_not_beyond() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", "old").await;
        bench.clock.advance(FRESH * 3);
        let until = "2100-01-01T00:00:00Z".parse().expect("a time");
        let class = FailureClass::QuotaExhausted { until };
        for _ in 0..3 {
            let answer = bench.cache.get_or_set("thing:1", &policy(), failing(class)).await;
            let answer = answer.expect("an answer");
            assert_eq!(
                (&answer.entry.value[..], answer.outcome),
                (&b"old"[..], Outcome::Stale(StaleReason::Failed(class)))
            );
            assert_eq!(answer.entry.staleness(bench.clock.now()), FRESH * 2);
        }
        assert_eq!(bench.cache.stats().fetches, 1, "the failure is remembered");
        bench.clock.advance(Duration::from_secs(3600));
        let error = bench.cache.get_or_set("thing:1", &policy(), failing(class)).await.expect_err("an error");
        assert_eq!(error.class(), class);
    })
    .await;
}

#[tokio::test]
async fn a_fetch_that_panics_or_takes_too_long_is_stood_in_for_too() {
    let bench = in_memory().await;
    put(&bench.cache, "thing:1", "old").await;
    bench.clock.advance(FRESH * 3);
    let expected = Outcome::Stale(StaleReason::Failed(FailureClass::Transient));
    let answer = bench
        .cache
        .get_or_set("thing:1", &policy(), || async { panic!("it panics") })
        .await
        .expect("an answer");
    assert_eq!(answer.outcome, expected);
    let hasty = Policy { fetch_timeout: Duration::from_millis(10), ..policy() };
    let answer =
        bench.cache.get_or_set("thing:1", &hasty, Gate::new().fetch("new")).await.expect("an answer");
    assert_eq!(answer.outcome, expected);
}

#[tokio::test]
async fn a_failed_refresh_leaves_the_stale_value_and_rests() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", "old").await;
        bench.clock.advance(FRESH);
        let refused = failing(FailureClass::RateLimited { retry_after: Some(Duration::from_secs(30)) });
        let answer = bench.cache.get_or_set("thing:1", &policy(), refused).await.expect("an answer");
        assert_eq!(answer.outcome, STALE);
        let upstream = Upstream::default();
        wait_until("the refresh has failed", BOUND, async || {
            let answer = ask(bench, &Controls::DEFAULT, &upstream).await.expect("an answer");
            assert_eq!(answer.entry.value, "old");
            answer.outcome != STALE
        })
        .await;
        assert_eq!(upstream.calls(), 0, "the rate limit is remembered");
    })
    .await;
}

#[tokio::test]
async fn what_its_source_says_is_gone_is_not_served_any_longer() {
    everywhere(async |bench| {
        for class in [FailureClass::NotFound, FailureClass::Forbidden] {
            put(&bench.cache, "thing:1", "old").await;
            bench.clock.advance(FRESH);
            let answer = bench.cache.get_or_set("thing:1", &policy(), failing(class)).await;
            assert_eq!(answer.expect("an answer").outcome, STALE, "it is not known yet");
            let gone = async || matches!(bench.cache.get(THING, "thing:1").await, Lookup::Missing(_));
            wait_until("the value is gone", BOUND, gone).await;
            let error = ask(bench, &Controls::DEFAULT, &Upstream::default()).await.expect_err("a failure");
            assert_eq!(error.class(), class);
        }
    })
    .await;
}

#[tokio::test]
async fn a_permanent_failure_is_told_once_the_policys_staleness_is_over() {
    let bench = in_memory().await;
    put(&bench.cache, "thing:1", "old").await;
    bench.clock.advance(FRESH * 3);
    let answer = bench.cache.get_or_set("thing:1", &policy(), failing(FailureClass::Permanent)).await;
    assert_eq!(answer.expect_err("an error").class(), FailureClass::Permanent);
    assert!(matches!(bench.cache.get(THING, "thing:1").await, Lookup::Stale(_)), "it is kept");
}

#[tokio::test]
async fn a_key_in_use_is_fetched_ahead_of_its_end_and_never_found_stale() {
    everywhere(async |bench| {
        let ahead = Policy { refresh_ahead: Duration::from_secs(20), ..policy() };
        let upstream = Upstream::default();
        let ask = async |value| {
            let answer = bench.cache.get_or_set("thing:1", &ahead, upstream.fetch(value)).await;
            answer.expect("an answer").outcome
        };
        assert_eq!(ask("old").await, Outcome::Fetched { stored: true });
        bench.clock.advance(Duration::from_secs(39));
        assert_eq!((ask("never").await, bench.cache.stats().refreshes), (Outcome::Hit, 0), "too early");
        bench.clock.advance(Duration::from_secs(11));
        assert_eq!((ask("new").await, bench.cache.stats().refreshes), (Outcome::Hit, 1));
        is_new(bench).await;
        assert_eq!((upstream.calls(), bench.cache.stats().refreshes), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn a_refresh_is_made_once_in_the_cluster() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    for bench in [&here, &there] {
        wait_until("the link is up", BOUND, async || bench.cache.health().tracking).await;
    }
    put(&here.cache, "thing:1", "old").await;
    for bench in [&here, &there] {
        assert!(look(&bench.cache, "thing:1").await.is_some(), "both have it in memory");
        bench.clock.advance(FRESH + Duration::from_secs(1));
    }
    let gate = Gate::new();
    for bench in [&here, &there, &here, &there] {
        let answer = bench.cache.get_or_set("thing:1", &policy(), gate.fetch("new")).await;
        assert_eq!(answer.expect("an answer").outcome, STALE);
    }
    gate.reached().await;
    gate.open();
    is_new(&here).await;
    is_new(&there).await;
    assert_eq!(gate.calls(), 1);
}

#[tokio::test]
async fn a_budget_that_says_no_widens_what_is_tolerated_and_spares_refreshes() {
    let spare = Arc::new(AtomicBool::new(true));
    let budget = {
        let spare = spare.clone();
        Budget::new(move |kind, cost| {
            assert_eq!((kind, cost.quota_units), (THING, 0));
            if spare.load(Ordering::SeqCst) {
                Allowance::Spare { stale_for: FRESH * 10 }
            } else {
                Allowance::Refresh
            }
        })
    };
    let bench =
        open_with(lently_cache::CacheConfig { budget, ..config(RemoteConfig::None, manual_clock()) }).await;
    let upstream = Upstream::default();
    put(&bench.cache, "thing:1", "old").await;
    // In the policy's own time, long after it, and in the last moment.
    for step in [FRESH, FRESH * 5, FRESH * 5 - Duration::from_secs(1)] {
        bench.clock.advance(step);
        let answer = ask(&bench, &Controls::DEFAULT, &upstream).await.expect("an answer");
        assert_eq!(answer.outcome, Outcome::Stale(StaleReason::Budget));
    }
    assert_eq!(upstream.calls(), 0);
    bench.clock.advance(Duration::from_secs(1));
    let answer = ask(&bench, &Controls::DEFAULT, &upstream).await.expect("an answer");
    assert_eq!((answer.outcome, upstream.calls()), (Outcome::Fetched { stored: true }, 1));
    bench.clock.advance(FRESH);
    let if_need_be = Controls { stale: AcceptStale::AfterFailure, ..Controls::DEFAULT };
    let answer = ask(&bench, &if_need_be, &upstream).await.expect("an answer");
    assert_eq!(
        (answer.outcome, upstream.calls()),
        (Outcome::Stale(StaleReason::Budget), 1),
        "as after a failure"
    );
    let strict = Controls { stale: AcceptStale::Within(Duration::ZERO), ..Controls::DEFAULT };
    let answer = ask(&bench, &strict, &upstream).await.expect("an answer");
    assert_eq!(
        (answer.outcome, upstream.calls()),
        (Outcome::Fetched { stored: true }, 2),
        "it was asked for"
    );
    spare.store(false, Ordering::SeqCst);
    bench.clock.advance(FRESH);
    assert_eq!(ask(&bench, &Controls::DEFAULT, &upstream).await.expect("an answer").outcome, STALE);
}

#[tokio::test]
async fn max_age_wants_a_young_value_and_shares_the_fetch() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", "old").await;
        bench.clock.advance(Duration::from_secs(30));
        let upstream = Upstream::default();
        let aged = |seconds| Controls { max_age: Some(Duration::from_secs(seconds)), ..Controls::DEFAULT };
        assert_eq!(ask(bench, &aged(30), &upstream).await.expect("an answer").outcome, Outcome::Hit);
        let answer = ask(bench, &aged(29), &upstream).await.expect("an answer");
        assert_eq!((&answer.entry.value[..], upstream.calls()), (&b"new"[..], 1));
        assert_eq!(look(&bench.cache, "thing:1").await.expect("it is kept").0, "new");
    })
    .await;
}

#[tokio::test]
async fn max_stale_takes_an_old_value_and_zero_takes_none_whatever_fails() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", "old").await;
        bench.clock.advance(FRESH * 3);
        let within = |limit| Controls { stale: AcceptStale::Within(limit), ..Controls::DEFAULT };
        let gate = Gate::new();
        let fetch = gate.fetch("new");
        let answer = bench.cache.get_or_set_with("thing:1", &policy(), &within(FRESH * 3), fetch).await;
        assert_eq!(answer.expect("an answer").outcome, STALE);
        gate.reached().await;
        // A fetch is under way: who takes nothing stale waits for it.
        let strict = within(Duration::ZERO);
        let own = policy();
        let waiting = bench.cache.get_or_set_with("thing:1", &own, &strict, gate.fetch("never"));
        let (answer, ()) = tokio::join!(waiting, async { gate.open() });
        let answer = answer.expect("an answer");
        assert_eq!((&answer.entry.value[..], answer.outcome), (&b"new"[..], Outcome::Collapsed));
        bench.clock.advance(FRESH);
        let failed = failing(FailureClass::Transient);
        let answer = bench.cache.get_or_set_with("thing:1", &policy(), &strict, failed).await;
        assert_eq!(answer.expect_err("an error").class(), FailureClass::Transient);
    })
    .await;
}

#[tokio::test]
async fn a_caller_may_take_a_stale_value_only_if_the_fetch_fails() {
    let bench = in_memory().await;
    let controls = Controls { stale: AcceptStale::AfterFailure, ..Controls::DEFAULT };
    put(&bench.cache, "thing:1", "old").await;
    bench.clock.advance(FRESH);
    let failed = failing(FailureClass::Transient);
    let answer = bench.cache.get_or_set_with("thing:1", &policy(), &controls, failed).await;
    let reason = StaleReason::Failed(FailureClass::Transient);
    assert_eq!(answer.expect("an answer").outcome, Outcome::Stale(reason));
    bench.clock.advance(Duration::from_secs(2));
    let answer = ask(&bench, &controls, &Upstream::default()).await.expect("an answer");
    assert_eq!((&answer.entry.value[..], answer.outcome), (&b"new"[..], Outcome::Fetched { stored: true }));
}

#[tokio::test]
async fn only_if_cached_never_fetches() {
    everywhere(async |bench| {
        let controls = Controls { only_if_cached: true, ..Controls::DEFAULT };
        let upstream = Upstream::default();
        let absent = ask(bench, &controls, &upstream).await;
        assert!(matches!(absent, Err(FetchError::NotCached)), "{absent:?}");
        put(&bench.cache, "thing:1", "old").await;
        assert_eq!(ask(bench, &controls, &upstream).await.expect("an answer").outcome, Outcome::Hit);
        bench.clock.advance(FRESH);
        let answer = ask(bench, &controls, &upstream).await.expect("an answer");
        assert_eq!(answer.outcome, Outcome::Stale(StaleReason::OnlyIfCached));
        bench.clock.advance(FRESH);
        assert!(matches!(ask(bench, &controls, &upstream).await, Err(FetchError::NotCached)));
        assert_eq!((upstream.calls(), bench.cache.stats().refreshes), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn no_store_leaves_no_copy_unless_another_caller_waits_for_the_same() {
    everywhere(async |bench| {
        let controls = Controls { no_store: true, ..Controls::DEFAULT };
        let answer = ask(bench, &controls, &Upstream::default()).await.expect("an answer");
        assert_eq!(answer.outcome, Outcome::Fetched { stored: false });
        assert!(look(&bench.cache, "thing:1").await.is_none());
        let gate = Gate::new();
        let own = policy();
        let first = bench.cache.get_or_set_with("thing:1", &own, &controls, gate.fetch("new"));
        let second = async {
            gate.reached().await;
            let joining = bench.cache.get_or_set("thing:1", &own, gate.fetch("never"));
            tokio::join!(joining, async { gate.open() }).0
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first.expect("an answer").outcome, Outcome::Fetched { stored: true });
        assert_eq!(second.expect("an answer").outcome, Outcome::Collapsed);
        assert_eq!(look(&bench.cache, "thing:1").await.expect("it is kept").0, "new");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_key_is_not_brought_back_by_its_refresh() {
    everywhere(async |bench| {
        put(&bench.cache, "thing:1", "old").await;
        bench.clock.advance(FRESH);
        let gate = Gate::new();
        let answer = bench.cache.get_or_set("thing:1", &policy(), gate.fetch("new")).await;
        assert_eq!(answer.expect("an answer").outcome, STALE);
        gate.reached().await;
        assert_eq!(bench.cache.delete("thing:1").await.expect("a delete"), 1);
        gate.open();
        bench.tasks.close();
        bench.tasks.wait().await;
        assert!(matches!(bench.cache.get(THING, "thing:1").await, Lookup::Missing(_)));
    })
    .await;
}

#[tokio::test]
async fn what_was_fetched_without_redis_replaces_the_stale_value_there() {
    let mut server = RedisServer::start_with(lently_testing::RedisOptions {
        persistent: true,
        ..lently_testing::RedisOptions::default()
    })
    .await;
    let bench = on_redis(&server).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().tracking).await;
    put(&bench.cache, "thing:1", "old").await;
    server.kill();
    bench.clock.advance(FRESH * 2);
    let gate = Gate::new();
    let own = policy();
    let fetching = bench.cache.get_or_set("thing:1", &own, gate.fetch("new"));
    let story = async {
        gate.reached().await;
        server.restart().await;
        wait_until("the link is up", BOUND, async || bench.cache.health().is_up()).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(fetching, story);
    assert_eq!(answer.expect("an answer").outcome, Outcome::Fetched { stored: true });
    assert!(server.cli(&["GET", "lently-test:thing:1"]).ends_with("new"));
}

#[tokio::test]
async fn what_another_node_deletes_does_not_stand_in_for_a_fetch_that_fails() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    tracks(&here).await;
    tracks(&there).await;
    put(&here.cache, "thing:1", "old").await;
    here.clock.advance(FRESH * 2);
    let (gate, cache) = (Gate::new(), here.cache.clone());
    let fetch = gate.failing(FailureClass::Transient);
    let waiting = here.tasks.spawn(async move { cache.get_or_set("thing:1", &policy(), fetch).await });
    gate.reached().await;
    assert_eq!(there.cache.delete("thing:1").await.expect("deleted"), 1);
    until_gone(&here, "thing:1").await;
    gate.open();
    let answer = waiting.await.expect("a caller");
    assert!(answer.is_err(), "the deleted value: {answer:?}");
}

#[tokio::test]
async fn what_a_tag_invalidates_does_not_stand_in_for_a_fetch_that_fails() {
    everywhere(async |bench| {
        let tagged = Policy { tags: Tags::new(["a"]), ..policy() };
        let value = Bytes::from_static(b"old");
        bench.cache.set("thing:1", &tagged, value, Cost::default()).await.expect("stored");
        bench.clock.advance(FRESH * 2);
        let (gate, cache, policy) = (Gate::new(), bench.cache.clone(), tagged.clone());
        let fetch = gate.failing(FailureClass::Transient);
        let waiting = bench.tasks.spawn(async move { cache.get_or_set("thing:1", &policy, fetch).await });
        gate.reached().await;
        bench.cache.invalidate_tag("a").await.expect("invalidated");
        gate.open();
        let answer = waiting.await.expect("a caller");
        assert!(answer.is_err(), "the invalidated value: {answer:?}");
    })
    .await;
}
