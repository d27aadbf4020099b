//! One fetch per key, whoever comes, leaves, fails or deletes meanwhile.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures::{future::join_all, poll};
use lently_cache::{
    Controls, Cost, FailureClass, FetchError, FetchFailure, Fetched, Outcome, Pattern, Policy, Tier,
};
use lently_testing::RedisServer;
use tempfile::TempDir;

use crate::support::{
    Bench, Gate, THING, Upstream, in_memory, is_missing, look, on_disk, on_redis, policy, put, tracks,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_callers_cause_one_fetch() {
    let Bench { cache, .. } = in_memory().await;
    let gate = Gate::new();
    let callers = (0..2000).map(|_| {
        let (cache, fetch) = (cache.clone(), gate.fetch("1"));
        async move { cache.get_or_set("thing:1", &policy(), fetch).await.expect("an answer").outcome }
    });
    let opener = async {
        gate.reached().await;
        gate.open();
    };
    let (outcomes, ()) = tokio::join!(join_all(callers), opener);
    assert_eq!(gate.calls(), 1);
    let fetched = outcomes.iter().filter(|outcome| **outcome == Outcome::Fetched { stored: true }).count();
    assert_eq!(fetched, 1);
    let stats = cache.stats();
    assert_eq!((stats.fetches, stats.total_requests), (1, 2000));
    assert_eq!(stats.misses, stats.collapsed + 1, "who joined missed too");
}

/// Two nodes: what the first has put there is not in the memory of the second.
async fn with_a_value_in_redis() -> (RedisServer, Bench) {
    let server = RedisServer::start().await;
    let first = on_redis(&server).await;
    tracks(&first).await;
    put(&first.cache, "thing:1", "1").await;
    let second = on_redis(&server).await;
    tracks(&second).await;
    (server, second)
}

#[tokio::test]
async fn a_hit_in_redis_is_its_callers_own_work_and_no_tasks() {
    let (_server, bench) = with_a_value_in_redis().await;
    let (policy, upstream) = (policy(), Upstream::default());
    let mut asking = pin!(bench.cache.get_or_set("thing:1", &policy, upstream.fetch("2")));
    assert!(poll!(asking.as_mut()).is_pending(), "Redis is being asked");
    assert!(bench.tasks.is_empty());
    let answer = asking.await.expect("an answer");
    assert_eq!((answer.outcome, answer.entry.tier, upstream.calls()), (Outcome::Hit, Tier::Redis, 0));
}

#[tokio::test]
async fn a_crowd_asks_redis_twice_at_most_and_waits_for_nobody_who_stands_still() {
    let (server, bench) = with_a_value_in_redis().await;
    let reads = || {
        let told = server.cli(&["INFO", "commandstats"]);
        let calls = told.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")?.split_once(','));
        calls.map_or(0, |(calls, _)| calls.parse::<u64>().expect("a number"))
    };
    let (policy, upstream, before) = (policy(), Upstream::default(), reads());
    // The first of them asks, and then does not look whether there is an answer.
    let mut still = pin!(bench.cache.get_or_set("thing:1", &policy, upstream.fetch("2")));
    assert!(poll!(still.as_mut()).is_pending());
    let crowd = (0..100).map(|_| bench.cache.get_or_set("thing:1", &policy, upstream.fetch("2")));
    for answer in join_all(crowd).await {
        assert_eq!(answer.expect("an answer").entry.value, "1");
    }
    assert!((1..=2).contains(&(reads() - before)), "{} reads", reads() - before);
    assert_eq!(still.await.expect("an answer").entry.value, "1");
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_kill_the_fetch_it_began() {
    let Bench { cache, tasks, .. } = in_memory().await;
    let gate = Gate::new();
    let (own_policy, fetch) = (policy(), gate.fetch("1"));
    let caller = cache.get_or_set("thing:1", &own_policy, fetch);
    assert!(tokio::time::timeout(Duration::from_millis(20), caller).await.is_err(), "the caller left");
    gate.reached().await;
    gate.open();
    tasks.close();
    tasks.wait().await;
    assert_eq!(look(&cache, "thing:1").await.expect("a hit").0, "1");
}

#[tokio::test]
async fn who_waits_is_freed_when_the_fetch_panics_and_the_next_caller_fetches_anew() {
    let Bench { cache, .. } = in_memory().await;
    let gate = Gate::new();
    let panicking = {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            if gate.calls() > 0 {
                panic!("a fetch that panics");
            }
            Ok(Fetched::new("never"))
        }
    };
    let upstream = Upstream::default();
    let (first, second) = (policy(), policy());
    let leader = cache.get_or_set("thing:1", &first, panicking);
    let follower = async {
        gate.reached().await;
        let waiting = cache.get_or_set("thing:1", &second, upstream.fetch("joined"));
        gate.open();
        waiting.await
    };
    let (leader, follower) = tokio::join!(leader, follower);
    assert!(matches!(leader, Err(FetchError::Abandoned)));
    assert!(follower.is_err() || upstream.calls() == 1);
    let answer = cache.get_or_set("thing:1", &policy(), Upstream::default().fetch("2")).await;
    assert!(answer.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_takes_too_long_frees_everyone() {
    let Bench { cache, .. } = in_memory().await;
    let gate = Gate::new();
    let callers = (0..10).map(|_| {
        let (cache, fetch) = (cache.clone(), gate.fetch("1"));
        async move { cache.get_or_set("thing:1", &policy(), fetch).await }
    });
    for answer in join_all(callers).await {
        assert!(matches!(answer, Err(FetchError::TimedOut { after }) if after == policy().fetch_timeout));
    }
    assert_eq!(gate.calls(), 1);
}

#[tokio::test]
async fn a_failure_is_shared_by_all_who_waited() {
    let Bench { cache, .. } = in_memory().await;
    let gate = Gate::new();
    let callers = (0..100).map(|_| {
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let fetch = move || async move {
                gate.pass().await;
                Err(FetchFailure::new(FailureClass::Transient, std::io::Error::other("try later")))
            };
            cache.get_or_set("thing:1", &policy(), fetch).await
        }
    });
    let opener = async {
        gate.reached().await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(join_all(callers), opener);
    assert!(answers.iter().all(|answer| matches!(answer, Err(FetchError::Failed(_)))));
    assert_eq!(gate.calls(), 1);
}

/// Runs a fetch, deletes while it is under way, and looks at what became of it.
async fn deleted_while_fetching(bench: &Bench, delete: impl AsyncFnOnce(&Bench)) {
    let gate = Gate::new();
    let leader_policy = policy();
    let leader = bench.cache.get_or_set("thing:1", &leader_policy, gate.fetch("old"));
    let deleter = async {
        gate.reached().await;
        delete(bench).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(leader, deleter);
    let answer = answer.expect("who waited gets the value");
    assert_eq!(answer.entry.value, "old");
    assert_eq!(answer.outcome, Outcome::Fetched { stored: false });
    assert!(is_missing(&bench.cache.get(THING, "thing:1").await), "no tier kept it");
}

#[tokio::test]
async fn a_value_deleted_while_it_is_fetched_is_not_stored() {
    let folder = TempDir::new().expect("a folder");
    let server = RedisServer::start().await;
    let disk = folder.path().join("cache.sqlite");
    for bench in [in_memory().await, on_disk(&disk).await, on_redis(&server).await] {
        deleted_while_fetching(&bench, async |bench: &Bench| {
            bench.cache.delete("thing:1").await.expect("a delete");
        })
        .await;
        deleted_while_fetching(&bench, async |bench: &Bench| {
            let pattern = Pattern::parse("thing:*").expect("a pattern");
            bench.cache.delete_pattern(&pattern).await.expect("a delete");
        })
        .await;
        deleted_while_fetching(&bench, async |bench: &Bench| {
            bench.cache.flush_all().await.expect("a flush");
        })
        .await;
    }
}

#[tokio::test]
async fn a_pattern_that_does_not_match_leaves_the_fetch_alone() {
    let Bench { cache, .. } = in_memory().await;
    let gate = Gate::new();
    let leader_policy = policy();
    let leader = cache.get_or_set("thing:1", &leader_policy, gate.fetch("1"));
    let deleter = async {
        gate.reached().await;
        cache.delete_pattern(&Pattern::parse("other:*").expect("a pattern")).await.expect("a delete");
        gate.open();
    };
    let (answer, ()) = tokio::join!(leader, deleter);
    assert_eq!(answer.expect("an answer").outcome, Outcome::Fetched { stored: true });
}

#[tokio::test]
async fn who_comes_after_the_delete_begins_a_fetch_of_its_own() {
    let Bench { cache, .. } = in_memory().await;
    let (gate, upstream) = (Gate::new(), Upstream::default());
    let leader_policy = policy();
    let leader = cache.get_or_set("thing:1", &leader_policy, gate.fetch("old"));
    let later = async {
        gate.reached().await;
        cache.delete("thing:1").await.expect("a delete");
        let answer = cache.get_or_set("thing:1", &policy(), upstream.fetch("new")).await.expect("an answer");
        assert_eq!(answer.entry.value, "new");
        gate.open();
    };
    let (old, ()) = tokio::join!(leader, later);
    assert_eq!(old.expect("an answer").entry.value, "old");
    assert_eq!(look(&cache, "thing:1").await.expect("a hit").0, "new", "the old one did not overwrite it");
}

#[tokio::test]
async fn a_set_wins_over_the_fetch_under_way() {
    let Bench { cache, .. } = in_memory().await;
    let gate = Gate::new();
    let leader_policy = policy();
    let leader = cache.get_or_set("thing:1", &leader_policy, gate.fetch("fetched"));
    let setter = async {
        gate.reached().await;
        cache.set("thing:1", &policy(), Bytes::from_static(b"set"), Cost::default()).await.expect("a set");
        gate.open();
    };
    let (answer, ()) = tokio::join!(leader, setter);
    assert_eq!(answer.expect("an answer").entry.value, "fetched");
    assert_eq!(look(&cache, "thing:1").await.expect("a hit").0, "set");
}

#[tokio::test]
async fn refreshes_at_the_same_moment_share_one_fetch() {
    let Bench { cache, .. } = in_memory().await;
    let gate = Gate::new();
    let callers = (0..20).map(|_| {
        let (cache, fetch) = (cache.clone(), gate.fetch("1"));
        async move {
            cache.get_or_set_with("thing:1", &policy(), &Controls::NO_CACHE, fetch).await.expect("an answer")
        }
    });
    let opener = async {
        gate.reached().await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(join_all(callers), opener);
    assert!(answers.iter().all(|answer| answer.outcome != Outcome::Hit));
    assert_eq!(gate.calls(), 1);
}

#[tokio::test]
async fn a_value_over_the_limit_is_answered_and_not_stored() {
    let Bench { cache, .. } = in_memory().await;
    let large = || async { Ok(Fetched::new(vec![b' '; (1 << 20) + 1])) };
    let answer = cache.get_or_set("thing:1", &policy(), large).await.expect("an answer");
    assert_eq!(answer.outcome, Outcome::Fetched { stored: false });
    assert!(!cache.exists("thing:1").await);
}

#[tokio::test]
async fn a_runtime_that_ends_frees_who_waits() {
    let Bench { cache, .. } = in_memory().await;
    let own = Policy { fetch_timeout: Duration::from_secs(3600), ..policy() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let gate = Gate::new();
    let (other, fetch) = (cache.clone(), gate.fetch("1"));
    let leader = runtime.spawn(async move { other.get_or_set("thing:1", &own, fetch).await });
    gate.reached().await;
    let follower = {
        let cache = cache.clone();
        async move { cache.get_or_set("thing:1", &policy(), Upstream::default().fetch("2")).await }
    };
    let ender = async { runtime.shutdown_background() };
    let (answer, ()) = tokio::join!(follower, ender);
    assert!(matches!(answer, Err(FetchError::Abandoned)) || answer.is_ok());
    drop(leader);
}
