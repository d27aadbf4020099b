//! The counters, as JSON and as numbers that add up.

use std::time::Duration;

use lently_cache::{
    Clock, Cost, FailureClass, FetchFailure, Fetched, Outcome, Policy, RemoteConfig, StaleReason, Tier,
};
use lently_testing::wait_until;

use crate::support::{BOUND, Gate, THING, Upstream, config, fixed_clock, in_memory, open_with, policy, put};

#[tokio::test]
async fn hits_misses_sets_and_deletes_add_up_and_can_be_reset() {
    let bench = in_memory().await;
    let cache = &bench.cache;
    cache.get(THING, "thing:1").await;
    cache.get_or_set("thing:1", &policy(), Upstream::default().fetch("1")).await.expect("an answer");
    for _ in 0..3 {
        cache.get(THING, "thing:1").await;
    }
    cache.get_or_set("thing:1", &policy(), Upstream::default().fetch("1")).await.expect("an answer");
    put(cache, "thing:2", "2").await;
    cache.delete("thing:2").await.expect("a delete");
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.sets, stats.deletes, stats.errors), (4, 2, 2, 1, 0));
    assert_eq!((stats.total_requests, stats.fetches, stats.collapsed), (6, 1, 0));
    assert_eq!(stats.hit_rate_str, "66.7%");
    assert_eq!(stats.by_kind["thing"].hits, 4);
    assert_eq!(stats.by_tier["memory"], 4);
    cache.reset();
    assert_eq!(cache.stats().total_requests + cache.stats().sets + cache.stats().deletes, 0);
}

/// A thread counts for itself, as long as not too many have come before it.
#[test]
fn every_hit_of_every_thread_is_counted() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bench = runtime.block_on(open_with(config(RemoteConfig::None, Clock::system())));
    runtime.block_on(put(&bench.cache, "thing:1", "1"));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let lookup = runtime.block_on(bench.cache.get(THING, "thing:1"));
                    assert_eq!(lookup.entry().map(|entry| entry.tier), Some(Tier::Memory));
                }
            });
        }
    });
    let stats = bench.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.by_tier["memory"]), (5000, 0, 5000));
}

#[tokio::test]
async fn stats_and_health_have_the_shape_they_are_served_in() {
    let bench = open_with(config(RemoteConfig::None, fixed_clock())).await;
    put(&bench.cache, "thing:1", "1").await;
    bench.cache.get(THING, "thing:1").await;
    insta::assert_json_snapshot!("stats", bench.cache.stats());
    insta::assert_json_snapshot!("health", bench.cache.health());
}

/// A fetch that costs what a video costs, in a second.
fn paid() -> std::future::Ready<Result<Fetched, FetchFailure>> {
    let cost = Cost { quota_units: 3, micro_dollars: 50, milliseconds: 1000, ..Cost::default() };
    std::future::ready(Ok(Fetched::new("1").with_cost(cost)))
}

#[tokio::test]
async fn every_answer_that_paid_for_no_fetch_saved_what_the_entry_cost() {
    let bench = in_memory().await;
    let (cache, gate) = (&bench.cache, Gate::new());
    let fetch = || {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            paid().await
        }
    };
    // One fetches, three join.
    let (first, policy) = (policy(), policy());
    let leader = bench.tasks.spawn({
        let (cache, fetch) = (cache.clone(), fetch());
        async move { cache.get_or_set("thing:1", &first, fetch).await }
    });
    gate.reached().await;
    let mut joined = futures::future::join_all((0..3).map(|_| cache.get_or_set("thing:1", &policy, fetch())));
    assert!(futures::poll!(&mut joined).is_pending());
    gate.open();
    leader.await.expect("no panic").expect("an answer");
    joined.await;
    // Two hits by one verb, one by the other.
    for _ in 0..2 {
        cache.get_or_set("thing:1", &policy, paid).await.expect("an answer");
    }
    cache.get(THING, "thing:1").await;
    // A stale one, and the refresh behind it.
    bench.clock.advance(Duration::from_secs(61));
    let stale = cache.get_or_set("thing:1", &policy, paid).await.expect("an answer");
    assert_eq!(stale.outcome, Outcome::Stale(StaleReason::Refreshing));
    wait_until("it is refreshed", BOUND, async || cache.stats().fetches == 2).await;
    bench.tasks.close();
    bench.tasks.wait().await;

    let times = |n: u64| Cost {
        quota_units: 3 * n,
        micro_dollars: 50 * n,
        milliseconds: 1000 * n,
        ..Cost::default()
    };
    let stats = cache.stats();
    assert_eq!((stats.saved, stats.by_kind["thing"].saved), (times(7), times(7)));
    assert_eq!(stats.by_kind["other"].saved, Cost::default());
    cache.reset();
    assert_eq!(cache.stats().saved, Cost::default());
}

/// What a failure is answered with was paid for once, and not again.
#[tokio::test]
async fn a_stale_value_in_the_place_of_a_failure_saved_its_cost_too() {
    let bench = in_memory().await;
    let policy = Policy { stale: Duration::ZERO, ..policy() };
    bench.cache.get_or_set("thing:1", &policy, paid).await.expect("an answer");
    bench.clock.advance(Duration::from_secs(61));
    let failing = || async { Err(FetchFailure::new(FailureClass::Transient, std::io::Error::other("no"))) };
    let answer = bench.cache.get_or_set("thing:1", &policy, failing).await.expect("an answer");
    assert_eq!(answer.outcome, Outcome::Stale(StaleReason::Failed(FailureClass::Transient)));
    assert_eq!(bench.cache.stats().saved.quota_units, 3);
}
