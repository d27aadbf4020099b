//! A failure is an answer: shared, remembered for as long as its class says, and forgotten when the key is changed.

use std::time::Duration;

use lently_cache::{Controls, FailureClass, FailureTtl, FetchError, FetchFailure, Fetched, Pattern, Policy};
use lently_testing::{RedisServer, wait_until};
use tempfile::TempDir;

use crate::support::{BOUND, Bench, Upstream, in_memory, on_disk, on_redis, policy, put};

fn failing(
    upstream: &Upstream,
    class: FailureClass,
) -> impl FnOnce() -> std::future::Ready<Result<Fetched, FetchFailure>> + Send + 'static {
    let upstream = upstream.clone();
    move || {
        upstream.count();
        std::future::ready(Err(
            FetchFailure::new(class, std::io::Error::other("no")).with_detail("{\"why\":1}")
        ))
    }
}

fn told(error: &FetchError) -> (FailureClass, Option<&str>) {
    let FetchError::Failed(failure) = error else { panic!("{error:?}") };
    (failure.class, failure.detail.as_deref())
}

fn is_remembered(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(failure) if failure.remembered)
}

/// Redis counts by its own clock, which no test moves: lives so short that they pass.
fn short() -> Policy {
    let not_found = Duration::from_millis(300);
    Policy { failures: FailureTtl { not_found, ..FailureTtl::default() }, ..policy() }
}

#[tokio::test]
async fn a_failure_is_remembered_for_its_life_and_then_probed_once() {
    let folder = TempDir::new().expect("a folder");
    for bench in [in_memory().await, on_disk(&folder.path().join("cache.sqlite")).await] {
        let upstream = Upstream::default();
        for asked in 0..5 {
            let fetch = failing(&upstream, FailureClass::NotFound);
            let error = bench.cache.get_or_set("thing:1", &policy(), fetch).await.expect_err("a failure");
            assert_eq!(told(&error), (FailureClass::NotFound, Some("{\"why\":1}")));
            assert_eq!(is_remembered(&error), asked > 0);
        }
        assert_eq!((upstream.calls(), bench.cache.stats().remembered_failures), (1, 4));
        bench.clock.advance(Duration::from_secs(600));
        let answer = bench.cache.get_or_set("thing:1", &policy(), upstream.fetch("1")).await;
        assert_eq!((answer.expect("an answer").entry.value.clone(), upstream.calls()), ("1".into(), 2));
    }
}

#[tokio::test]
async fn a_failure_on_one_node_spares_the_others() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    for bench in [&here, &there] {
        wait_until("the link is up", BOUND, async || bench.cache.health().tracking).await;
    }
    let upstream = Upstream::default();
    for (asked, cache) in [&here.cache, &there.cache, &here.cache].into_iter().enumerate() {
        let fetch = failing(&upstream, FailureClass::Forbidden);
        let error = cache.get_or_set("thing:1", &policy(), fetch).await.expect_err("a failure");
        assert_eq!(told(&error), (FailureClass::Forbidden, Some("{\"why\":1}")));
        assert_eq!((error.to_string().as_str(), is_remembered(&error)), ("no", asked > 0));
    }
    assert_eq!(upstream.calls(), 1);
    // It is no entry: nothing is there to look at, to count or to flush.
    assert!(!here.cache.exists("thing:1").await);
    assert_eq!(here.cache.measure_pattern(&Pattern::any()).await.expect("a report").keys, 0);
}

#[tokio::test]
async fn what_redis_remembers_ends_by_itself() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().tracking).await;
    let upstream = Upstream::default();
    let fetch = failing(&upstream, FailureClass::NotFound);
    assert!(bench.cache.get_or_set("thing:1", &short(), fetch).await.is_err());
    wait_until("it is forgotten", BOUND, async || {
        bench.cache.get_or_set("thing:1", &short(), upstream.fetch("1")).await.is_ok()
    })
    .await;
    assert_eq!(upstream.calls(), 2);
}

/// Runs a change after a remembered failure, and expects that the next caller fetches.
async fn forgets(bench: &Bench, key: &str, change: impl AsyncFnOnce(&Bench)) {
    let upstream = Upstream::default();
    let fetch = failing(&upstream, FailureClass::NotFound);
    assert!(bench.cache.get_or_set(key, &policy(), fetch).await.is_err());
    change(bench).await;
    bench.cache.get_or_set(key, &policy(), upstream.fetch("1")).await.expect("an answer");
}

#[tokio::test]
async fn changing_the_key_forgets_its_failure() {
    let server = RedisServer::start().await;
    let redis = on_redis(&server).await;
    wait_until("the link is up", BOUND, async || redis.cache.health().tracking).await;
    for bench in [in_memory().await, redis] {
        forgets(&bench, "thing:1", async |bench: &Bench| {
            bench.cache.delete("thing:1").await.expect("a delete");
        })
        .await;
        forgets(&bench, "thing:2", async |bench: &Bench| {
            let pattern = Pattern::parse("thing:2*").expect("a pattern");
            bench.cache.delete_pattern(&pattern).await.expect("a delete");
        })
        .await;
        forgets(&bench, "thing:3", async |bench: &Bench| {
            bench.cache.flush_all().await.expect("a flush");
        })
        .await;
        forgets(&bench, "thing:4", async |bench: &Bench| put(&bench.cache, "thing:4", "set").await).await;
    }
}

#[tokio::test]
async fn a_refresh_does_not_mind_a_remembered_failure() {
    let server = RedisServer::start().await;
    let redis = on_redis(&server).await;
    wait_until("the link is up", BOUND, async || redis.cache.health().tracking).await;
    for bench in [in_memory().await, redis] {
        forgets(&bench, "thing:1", async |bench: &Bench| {
            bench
                .cache
                .get_or_set_with("thing:1", &policy(), &Controls::NO_CACHE, Upstream::default().fetch("2"))
                .await
                .expect("an answer");
        })
        .await;
    }
}

#[tokio::test]
async fn while_redis_is_away_each_process_remembers_for_itself() {
    let mut server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    server.kill();
    wait_until("the loss is noticed", BOUND, async || !bench.cache.health().is_up()).await;
    let upstream = Upstream::default();
    for _ in 0..5 {
        let fetch = failing(&upstream, FailureClass::NotFound);
        assert!(bench.cache.get_or_set("thing:1", &policy(), fetch).await.is_err());
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_life_of_zero_remembers_nothing() {
    let bench = in_memory().await;
    let failures = FailureTtl { transient: Duration::ZERO, ..FailureTtl::default() };
    let (forgetful, upstream) = (Policy { failures, ..policy() }, Upstream::default());
    for _ in 0..3 {
        let fetch = failing(&upstream, FailureClass::Transient);
        assert!(bench.cache.get_or_set("thing:1", &forgetful, fetch).await.is_err());
    }
    assert_eq!(upstream.calls(), 3);
}
