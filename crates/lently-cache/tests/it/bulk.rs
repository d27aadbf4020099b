//! Many keys at once: what is said of each is what would be said of it alone.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use lently_cache::{
    Answer, Batch, Batching, Bulk, CacheError, CacheService, Controls, Cost, FailureClass, FetchError,
    FetchFailure, Fetched, Lookup, MissReason, Outcome, Policy, StaleReason, Tags, Tier, Wanted, WarmEntry,
};
use lently_testing::{ClusterDeployment, RedisServer, wait_until};

use crate::{
    redis_cluster,
    support::{
        BOUND, Bench, Gate, PREFIX, THING, Upstream, everywhere, is_missing, look, on_a_strict_redis,
        on_redis, policy, put, tracks,
    },
};

fn keys(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("thing:{n}")).collect()
}

fn entry(key: &str, value: impl Into<Bytes>) -> WarmEntry {
    WarmEntry { key: key.to_owned(), policy: policy(), value: value.into(), cost: Cost::default() }
}

#[tokio::test]
async fn of_many_keys_each_is_found_as_it_would_be_alone() {
    everywhere(async |Bench { cache, clock, .. }| {
        let tagged = Policy { tags: Tags::new(["a"]), ..policy() };
        let brief = Policy { retention: Duration::from_secs(70), ..policy() };
        put(cache, "thing:stale", "1").await;
        cache.set("thing:gone", &brief, "2".into(), Cost::default()).await.expect("a set");
        clock.advance(Duration::from_secs(90));
        put(cache, "thing:fresh", "3").await;
        cache.set("thing:invalid", &tagged, "4".into(), Cost::default()).await.expect("a set");
        cache.invalidate_tag("a").await.expect("invalidated");
        cache.set("thing:tagged", &tagged, "5".into(), Cost::default()).await.expect("a set");
        let keys = [
            "thing:fresh",
            "thing:stale",
            "",
            "thing:gone",
            "thing:invalid",
            "thing:never",
            "thing:tagged",
            "thing:fresh",
            "a\nb",
        ];
        let many = cache.get_many(THING, &keys).await;
        assert_eq!(many.len(), keys.len());
        let told = |lookup: &Lookup| match lookup {
            Lookup::Fresh(entry) => format!("fresh {:?}", entry.value),
            Lookup::Stale(entry) => format!("stale {:?}", entry.value),
            Lookup::Missing(MissReason::Invalidated) => "invalidated".to_owned(),
            _ => "missing".to_owned(),
        };
        let many: Vec<String> = many.iter().map(told).collect();
        let expected = [
            "fresh b\"3\"",
            "stale b\"1\"",
            "missing",
            "missing",
            "invalidated",
            "missing",
            "fresh b\"5\"",
            "fresh b\"3\"",
            "missing",
        ];
        assert_eq!(many, expected);
        assert!(cache.get_many(THING, &[""; 0]).await.is_empty());
        // Who fetches next what is missing finds the same and is not counted twice. What was found invalid may be gone by then.
        let before = cache.stats();
        let peeked: Vec<String> = cache.peek_many(THING, &keys).await.iter().map(told).collect();
        assert!(matches!(&*peeked[4], "invalidated" | "missing"), "{peeked:?}");
        assert_eq!((&peeked[..4], &peeked[5..]), (&many[..4], &many[5..]));
        let after = cache.stats();
        assert_eq!((after.hits - before.hits, after.misses - before.misses), (3, 0));
    })
    .await;
}

#[tokio::test]
async fn what_was_read_together_is_in_memory_and_leaves_it_when_another_node_changes_it() {
    let server = RedisServer::start().await;
    let (one, other) = (on_redis(&server).await, on_redis(&server).await);
    tracks(&one).await;
    tracks(&other).await;
    let keys = keys(0..500);
    let stored = one.cache.set_many(keys.iter().map(|key| entry(key, key.clone())).collect()).await;
    assert!(stored.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    let lookups = other.cache.get_many(THING, &keys).await;
    for (key, lookup) in keys.iter().zip(&lookups) {
        let Lookup::Fresh(entry) = lookup else { panic!("{key}: {lookup:?}") };
        assert_eq!((&entry.value[..], entry.tier), (key.as_bytes(), Tier::Redis));
    }
    // The other's notices of what it wrote may still arrive.
    wait_until("all are in memory", BOUND, async || {
        let lookups = other.cache.get_many(THING, &keys).await;
        lookups.into_iter().all(|lookup| lookup.entry().is_some_and(|entry| entry.tier == Tier::Memory))
    })
    .await;
    assert_eq!(other.cache.stats().misses, 0);
    // A change is heard of by its key, whichever way the copy came.
    put(&one.cache, "thing:7", "new").await;
    wait_until("the change is heard of", BOUND, async || {
        look(&other.cache, "thing:7").await.is_some_and(|(value, _)| value == "new")
    })
    .await;
}

#[tokio::test]
async fn a_key_that_cannot_be_read_costs_the_others_nothing() {
    let server = RedisServer::start().await;
    let Bench { cache, .. } = on_redis(&server).await;
    server.cli(&["RPUSH", &format!("{PREFIX}thing:list"), "1"]);
    server.put(&format!("{PREFIX}thing:garbage"), b"{\"lently\":", 600);
    server.put(&format!("{PREFIX}thing:2"), b"{}", 600);
    let lookups = cache.get_many(THING, &["thing:list", "thing:garbage", "thing:2"]).await;
    let unreadable = Lookup::Missing(MissReason::Unreadable);
    assert_eq!(lookups[..2], [unreadable.clone(), unreadable]);
    assert_eq!(lookups[2].clone().entry().expect("a bare value").value, "{}");
    assert_eq!(cache.stats().errors, 0, "none of it is Redis' fault");
}

#[tokio::test]
async fn many_are_read_and_written_by_a_user_who_may_do_nothing_else() {
    let (_server, Bench { cache, .. }) = on_a_strict_redis().await;
    let keys = keys(0..60);
    let stored = cache.set_many(keys.iter().map(|key| entry(key, "1")).collect()).await;
    assert!(stored.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    assert_eq!(cache.get_many(THING, &keys).await.iter().filter(|lookup| is_fresh(lookup)).count(), 60);
    assert_eq!(cache.stats().errors, 0);
}

/// Each key where it is, also while its slot is on the way and some of its keys have arrived.
#[tokio::test]
async fn many_are_read_and_written_at_every_primary_of_a_cluster_while_a_slot_is_moved() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (redis_cluster::on(&cluster).await, redis_cluster::on(&cluster).await);
    let mut keys = keys(0..100);
    keys.extend((0..20).map(|n| format!("thing:{{moved}}:{n}")));
    let put = async || here.cache.set_many(keys.iter().map(|key| entry(key, key.clone())).collect()).await;
    let read = async || {
        there
            .cache
            .get_many(THING, &keys)
            .await
            .into_iter()
            .zip(&keys)
            .all(|(lookup, key)| lookup.entry().is_some_and(|entry| entry.value == key))
    };
    assert!(put().await.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    let place = format!("{PREFIX}thing:{{moved}}:0");
    let (slot, from) = (cluster.slot_of(&place), cluster.owner_of(&place));
    let to = cluster.servers[..3].iter().find(|server| server.port() != from.port()).expect("another");
    cluster.begin_to_move(&slot, from, to);
    assert_eq!(cluster.move_keys(&slot, 10, from, to), 10);
    assert!(read().await);
    assert!(put().await.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    cluster.move_keys(&slot, 100, from, to);
    cluster.end_to_move(&slot, from, to);
    assert!(read().await);
    assert_eq!(here.cache.health().swallowed_errors + there.cache.health().swallowed_errors, 0);
}

fn is_fresh(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Fresh(_))
}

#[tokio::test]
async fn without_redis_many_are_served_from_memory_and_the_others_are_said_to_be_out_of_reach() {
    let mut server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    tracks(&bench).await;
    let cache = bench.cache;
    put(&cache, "thing:0", "1").await;
    server.kill();
    let stored = cache.set_many(vec![entry("thing:1", "1"), entry("thing:2", "2")]).await;
    assert!(stored.into_iter().all(|stored| stored.is_ok_and(|stored| stored.memory && !stored.remote)));
    let lookups = cache.get_many(THING, &keys(0..4)).await;
    let resting = Lookup::Missing(MissReason::TierResting);
    assert!(lookups[..3].iter().all(is_fresh), "{lookups:?}");
    assert_eq!(lookups[3], resting);
    assert!(cache.stats().errors > 0);
}

#[tokio::test]
async fn of_many_values_each_is_stored_or_refused_by_itself() {
    everywhere(async |Bench { cache, .. }| {
        let tagged = Policy { tags: Tags::new(["a"]), ..policy() };
        let cost = Cost { quota_units: 3, ..Cost::default() };
        let entries = vec![
            entry("thing:1", "1"),
            entry("", "2"),
            entry("thing:3", vec![b'3'; (1 << 20) + 1]),
            WarmEntry { policy: tagged, cost, ..entry("thing:4", "4") },
        ];
        let stored = cache.set_many(entries).await;
        assert!(stored[0].as_ref().is_ok_and(|stored| stored.anywhere()));
        assert!(matches!(stored[1], Err(CacheError::BadKey(_))));
        assert!(matches!(stored[2], Err(CacheError::TooLarge { .. })));
        assert!(stored[3].is_ok());
        let found = cache.get(THING, "thing:4").await.entry().expect("a hit");
        assert_eq!((found.cost.quota_units, found.tagged.tags().collect::<Vec<_>>()), (3, vec!["a"]));
        assert!(cache.set_many(Vec::new()).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_keep_the_rest_from_being_written() {
    let server = RedisServer::start().await;
    let Bench { cache, tasks, .. } = on_redis(&server).await;
    let writing = cache.set_many(keys(0..500).iter().map(|key| entry(key, "1")).collect());
    assert!(futures::FutureExt::now_or_never(writing).is_none(), "the caller left");
    tasks.close();
    tasks.wait().await;
    assert_eq!(server.cli(&["DBSIZE"]), "500");
}

/// An upstream of many ids that notes what it was asked for. Ids that begin with `gone` it does not know, those with `bad` fail.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Vec<String>>>>);

impl Calls {
    /// A loader that goes out when it has so many ids, and otherwise after a time that no test waits for.
    fn of(&self, cache: &CacheService, max_ids: usize) -> Bulk<String> {
        self.within(cache, max_ids, Duration::from_secs(5), Gate::opened())
    }

    fn within(&self, cache: &CacheService, max_ids: usize, window: Duration, gate: Gate) -> Bulk<String> {
        let calls = self.clone();
        cache.bulk(Batching { max_ids, window }, move |ids: Vec<String>| {
            let (calls, gate) = (calls.clone(), gate.clone());
            async move {
                calls.0.lock().expect("the calls").push(ids.clone());
                gate.pass().await;
                Ok(ids.into_iter().filter_map(told).collect::<Batch<String>>())
            }
        })
    }

    fn sizes(&self) -> Vec<usize> {
        self.0.lock().expect("the calls").iter().map(Vec::len).collect()
    }

    /// All ids that were asked for, in order, as often as they were.
    fn ids(&self) -> Vec<String> {
        let mut ids = self.0.lock().expect("the calls").concat();
        ids.sort();
        ids
    }
}

fn told(id: String) -> Option<(String, Result<Fetched, FetchFailure>)> {
    if id.starts_with("gone") {
        return None;
    }
    let failure = || FetchFailure::new(FailureClass::Forbidden, std::io::Error::other("private"));
    let answer = if id.starts_with("bad") { Err(failure()) } else { Ok(Fetched::new(id.clone())) };
    Some((id, answer))
}

fn wanted<T: ToString>(ids: impl IntoIterator<Item = T>) -> Vec<Wanted<String>> {
    let ids = ids.into_iter().map(|id| id.to_string());
    ids.map(|id| Wanted { key: format!("thing:{id}"), id, policy: policy() }).collect()
}

fn values(answers: &[Result<Answer, FetchError>]) -> Vec<String> {
    let value = |answer: &Result<Answer, FetchError>| match answer {
        Ok(answer) => String::from_utf8_lossy(&answer.entry.value).into_owned(),
        Err(error) => error.class().name().to_owned(),
    };
    answers.iter().map(value).collect()
}

#[tokio::test]
async fn what_is_missing_is_fetched_in_one_call_and_then_found() {
    everywhere(async |Bench { cache, .. }| {
        let calls = Calls::default();
        put(cache, "thing:1", "1").await;
        let asked = wanted(0..6);
        let answers = cache.get_or_set_many(&asked, &calls.of(cache, 5)).await;
        assert_eq!(values(&answers), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(calls.ids(), ["0", "2", "3", "4", "5"]);
        assert_eq!(calls.sizes(), [5]);
        let fetched = Outcome::Fetched { stored: true };
        let outcomes: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|one| one.outcome)).collect();
        assert!(outcomes.iter().enumerate().all(|(n, outcome)| {
            outcome.as_ref().is_ok_and(|outcome| *outcome == if n == 1 { Outcome::Hit } else { fetched })
        }));
        let again = cache.get_or_set_many(&asked, &calls.of(cache, 5)).await;
        assert!(again.iter().all(|answer| answer.as_ref().is_ok_and(|one| one.outcome == Outcome::Hit)));
        assert_eq!(calls.sizes(), [5]);
        assert!(cache.get_or_set_many(&[], &calls.of(cache, 5)).await.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_asked_for_within_the_window_go_out_together_and_a_full_batch_at_once() {
    let Bench { cache, .. } = crate::support::in_memory().await;
    let calls = Calls::default();
    let bulk = calls.within(&cache, 50, Duration::from_millis(5), Gate::opened());
    // A thousand callers, each for one of its own.
    let own = policy();
    let callers = (0..1000).map(|n| {
        let (bulk, key) = (bulk.clone(), format!("thing:{n}"));
        let (cache, own) = (&cache, &own);
        async move { cache.get_or_set(&key, own, move || bulk.fetch(n.to_string())).await }
    });
    assert!(join_all(callers).await.iter().all(Result::is_ok));
    assert_eq!(calls.sizes(), [50; 20]);
    // Those that come later than the window form another batch, each alone.
    let began = tokio::time::Instant::now();
    for n in 1000..1002 {
        let alone = wanted([n]);
        assert!(cache.get_or_set_many(&alone, &bulk).await[0].is_ok());
    }
    assert_eq!(calls.sizes()[20..], [1, 1]);
    assert_eq!(began.elapsed().as_millis() / 2, 5, "by the clock that the test moves");
    // More than the most: in as many calls as are needed.
    let many = wanted(2000..2120);
    assert!(cache.get_or_set_many(&many, &bulk).await.iter().all(Result::is_ok));
    assert_eq!(calls.sizes()[22..], [50, 50, 20]);
}

#[tokio::test]
async fn batches_of_two_nodes_that_overlap_fetch_each_id_once() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    tracks(&here).await;
    tracks(&there).await;
    let (calls, gate) = (Calls::default(), Gate::new());
    let window = Duration::from_millis(5);
    let mine = calls.within(&here.cache, 50, window, gate.clone());
    let theirs = calls.within(&there.cache, 50, window, gate.clone());
    let (low, middle, high) = (wanted(0..30), wanted(10..40), wanted(20..50));
    let (single, alone) = (policy(), Upstream::default());
    let (first, second, third, one) = tokio::join!(
        here.cache.get_or_set_many(&low, &mine),
        there.cache.get_or_set_many(&middle, &theirs),
        here.cache.get_or_set_many(&high, &mine),
        // One who wants a single id by a fetch of its own joins whatever batch has it.
        async {
            gate.reached().await;
            wait_until("all are being fetched", BOUND, async || calls.ids().len() == 50).await;
            let joined = there.cache.get_or_set("thing:25", &single, alone.fetch("alone"));
            let (joined, ()) = tokio::join!(joined, async { gate.open() });
            joined
        },
    );
    for (answers, from) in [(first, 0), (second, 10), (third, 20)] {
        let expected: Vec<String> = (from..from + 30).map(|n| n.to_string()).collect();
        assert_eq!(values(&answers), expected);
    }
    assert_eq!(one.expect("an answer").entry.value, "25");
    let mut expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    expected.sort();
    assert_eq!((calls.ids(), alone.calls()), (expected, 0));
}

#[tokio::test]
async fn a_batch_joins_the_single_fetch_of_an_id_and_an_id_named_twice_is_fetched_once() {
    let Bench { cache, .. } = crate::support::in_memory().await;
    let (calls, gate, own) = (Calls::default(), Gate::new(), policy());
    let single = cache.get_or_set("thing:1", &own, gate.fetch("single"));
    let batch = async {
        gate.reached().await;
        let asked = wanted([0, 1, 2, 2, 0]);
        let bulk = calls.of(&cache, 2);
        let opener = async {
            wait_until("the others are fetched", BOUND, async || calls.sizes() == [2]).await;
            gate.open();
        };
        tokio::join!(cache.get_or_set_many(&asked, &bulk), opener).0
    };
    let (single, batch) = tokio::join!(single, batch);
    assert_eq!(single.expect("an answer").entry.value, "single");
    assert_eq!(values(&batch), ["0", "single", "2", "2", "0"]);
    assert_eq!(calls.ids(), ["0", "2"]);
}

#[tokio::test]
async fn ids_that_are_missing_or_fail_are_remembered_each_by_its_class_and_cost_the_others_nothing() {
    everywhere(async |Bench { cache, clock, .. }| {
        let calls = Calls::default();
        let mut asked = wanted(["1", "gone", "bad", "2"]);
        asked.push(Wanted { id: "3".to_owned(), key: String::new(), policy: policy() });
        let expected = ["1", "not-found", "forbidden", "2", "permanent"];
        assert_eq!(values(&cache.get_or_set_many(&asked, &calls.of(cache, 4)).await), expected);
        assert_eq!(values(&cache.get_or_set_many(&asked, &calls.of(cache, 4)).await), expected);
        assert_eq!(calls.sizes(), [4], "neither is asked for again");
        clock.advance(Duration::from_secs(1));
        assert_eq!(cache.stats().remembered_failures, 2);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_fails_as_a_whole_fails_every_id_of_it_on_every_node_with_one_class() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    let upstream = Upstream::default();
    let until = here.clock.now() + Duration::from_secs(600);
    let failing = |cache: &CacheService| {
        let upstream = upstream.clone();
        cache.bulk(Batching { max_ids: 3, window: BOUND }, move |_: Vec<String>| {
            upstream.count();
            let class = FailureClass::QuotaExhausted { until };
            std::future::ready(Err(FetchFailure::new(class, std::io::Error::other("quota"))))
        })
    };
    let asked = wanted(0..3);
    for node in [&here, &there] {
        let answers = node.cache.get_or_set_many(&asked, &failing(&node.cache)).await;
        assert_eq!(values(&answers), ["quota-exhausted"; 3]);
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_call_that_fails_costs_those_of_another_nothing_and_what_nobody_asked_for_is_let_fall() {
    everywhere(async |Bench { cache, .. }| {
        let bulk = cache.bulk(Batching { max_ids: 2, window: BOUND }, |ids: Vec<String>| async move {
            if ids.iter().any(|id| id == "1") {
                let class = FailureClass::Permanent;
                return Err(FetchFailure::new(class, std::io::Error::other("a bad request")));
            }
            let unasked = ["1", "9"].map(str::to_owned);
            Ok(ids.into_iter().chain(unasked).filter_map(told).collect())
        });
        let answers = values(&cache.get_or_set_many(&wanted(0..4), &bulk).await);
        assert_eq!(answers[1], "permanent", "{answers:?}");
        // Which of the others went out with it is chance.
        let failed = answers.iter().filter(|answer| *answer == "permanent").count();
        let told = answers.iter().enumerate().filter(|(n, answer)| **answer == n.to_string()).count();
        assert_eq!((failed, told), (2, 2), "{answers:?}");
        assert!(
            is_missing(&cache.get(THING, "thing:1").await) && is_missing(&cache.get(THING, "thing:9").await)
        );
    })
    .await;
}

#[tokio::test]
async fn the_lease_of_each_id_is_held_while_the_batch_is_on_its_way() {
    let server = RedisServer::start().await;
    let Bench { cache, .. } = &on_redis(&server).await;
    let (calls, gate) = (Calls::default(), Gate::new());
    let (asked, bulk) = (wanted(0..3), calls.within(cache, 3, BOUND, gate.clone()));
    let held = async {
        gate.reached().await;
        let leases = server.cli(&["--scan", "--pattern", "lently-test:~lease:*"]);
        assert_eq!(leases.lines().count(), 3, "{leases}");
        for lease in leases.lines() {
            // Its owner's next sign of life gives it its proper end again.
            server.cli(&["PEXPIRE", lease, "60000"]);
            wait_until("its owner is heard of", BOUND, async || {
                server.cli(&["PTTL", lease]).parse().is_ok_and(|left| (1..=1500).contains(&left))
            })
            .await;
        }
        gate.open();
    };
    let (answers, ()) = tokio::join!(cache.get_or_set_many(&asked, &bulk), held);
    assert_eq!(values(&answers), ["0", "1", "2"]);
    assert_eq!(server.cli(&["DBSIZE"]), "3", "the values, and no lease");
}

#[tokio::test]
async fn a_call_that_panics_frees_who_waits() {
    let Bench { cache, .. } = crate::support::in_memory().await;
    let bulk = cache.bulk(Batching { max_ids: 2, window: BOUND }, |ids: Vec<String>| async move {
        if ids.len() == 2 {
            std::panic::resume_unwind(Box::new("a call that panics"));
        }
        Ok(Batch::new())
    });
    assert_eq!(values(&cache.get_or_set_many(&wanted(0..2), &bulk).await), ["transient"; 2]);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_kill_a_batch_that_is_paid_for() {
    let Bench { cache, tasks, .. } = crate::support::in_memory().await;
    let (calls, gate) = (Calls::default(), Gate::new());
    let bulk = calls.within(&cache, 3, BOUND, gate.clone());
    let asked = wanted(0..3);
    tokio::select! {
        _ = cache.get_or_set_many(&asked, &bulk) => panic!("the call has not ended"),
        () = gate.reached() => {}
    }
    gate.open();
    tasks.close();
    tasks.wait().await;
    let lookups = cache.get_many(THING, &keys(0..3)).await;
    assert!(lookups.iter().all(is_fresh), "{lookups:?}");
    assert_eq!(calls.sizes(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_ends_with_the_last_who_waits_and_ids_nobody_waits_for_do_not_go_out() {
    let Bench { cache, tasks, .. } = crate::support::in_memory().await;
    let (calls, gate) = (Calls::default(), Gate::new());
    let hung = calls.within(&cache, 2, Duration::from_millis(5), gate.clone());
    assert_eq!(values(&cache.get_or_set_many(&wanted(0..2), &hung).await), ["transient"; 2]);
    let late = calls.within(&cache, 50, 2 * policy().fetch_timeout, gate);
    assert_eq!(values(&cache.get_or_set_many(&wanted(2..4), &late).await), ["transient"; 2]);
    tasks.close();
    tasks.wait().await;
    assert_eq!(calls.sizes(), [2], "the second never went out");
}

#[tokio::test]
async fn of_many_each_is_served_stale_or_not_as_it_would_be_alone() {
    everywhere(async |Bench { cache, clock, .. }| {
        let calls = Calls::default();
        put(cache, "thing:1", "old").await;
        clock.advance(Duration::from_secs(90));
        put(cache, "thing:2", "fresh").await;
        let asked = wanted(["1", "2", "3"]);
        let cached = Controls { only_if_cached: true, ..Controls::DEFAULT };
        let answers = cache.get_or_set_many_with(&asked, &cached, &calls.of(cache, 2)).await;
        assert_eq!(values(&answers), ["old", "fresh", "transient"]);
        assert!(matches!(answers[2], Err(FetchError::NotCached)) && calls.sizes().is_empty());
        let answers = cache.get_or_set_many(&asked, &calls.of(cache, 2)).await;
        assert_eq!(values(&answers), ["old", "fresh", "3"]);
        let outcome = answers[0].as_ref().expect("an answer").outcome;
        assert_eq!(outcome, Outcome::Stale(StaleReason::Refreshing));
        assert_eq!(calls.ids(), ["1", "3"], "refreshed behind with what had to be fetched");
        wait_until("it was fetched anew", BOUND, async || {
            look(cache, "thing:1").await.is_some_and(|(value, _)| value == "1")
        })
        .await;
        let anew = cache.get_or_set_many_with(&asked, &Controls::NO_CACHE, &calls.of(cache, 3)).await;
        assert_eq!((values(&anew), calls.sizes()), (vec!["1".into(), "2".into(), "3".into()], vec![2, 3]));
    })
    .await;
}

#[tokio::test]
async fn of_many_each_goes_with_its_own_tag() {
    everywhere(async |Bench { cache, .. }| {
        let calls = Calls::default();
        let mut asked = wanted(0..2);
        for one in &mut asked {
            one.policy.tags = Tags::new([format!("tag{}", one.id)]);
        }
        assert_eq!(values(&cache.get_or_set_many(&asked, &calls.of(cache, 2)).await), ["0", "1"]);
        cache.invalidate_tag("tag1").await.expect("invalidated");
        assert_eq!(values(&cache.get_or_set_many(&asked, &calls.of(cache, 1)).await), ["0", "1"]);
        assert_eq!(calls.ids(), ["0", "1", "1"]);
    })
    .await;
}
