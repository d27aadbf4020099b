//! `explain` tells what each tier holds, who is at work, and what the next call does; and that call then does it.

use std::time::Duration;

use bytes::Bytes;
use lently_cache::{
    Allowance, Answer, Budget, CacheConfig, CacheError, Cost, Difference, Explanation, FailureClass,
    FetchFailure, FlightState, LeaseReport, NextStep, Outcome, Policy, RemoteConfig, StaleReason, TagState,
    Tags, Tier, TierState,
};
use lently_testing::{RedisServer, wait_until};
use serde_json::{Value, json};

use crate::support::{
    BOUND, Bench, Gate, OTHER, PREFIX, Upstream, config, everywhere, in_memory, manual_clock,
    on_a_strict_redis, on_redis, open_with, policy, put, tracks,
};

const KEY: &str = "thing:1";

async fn explain(bench: &Bench, policy: &Policy) -> Explanation {
    bench.cache.explain(KEY, policy).await.expect("an explanation")
}

async fn states(bench: &Bench, policy: &Policy) -> Vec<TierState> {
    explain(bench, policy).await.tiers.iter().map(|tier| tier.state).collect()
}

/// A notice of an earlier change may come late, and takes what is put meanwhile out of memory.
async fn kept_in_all(bench: &Bench) {
    let kept = async || {
        put(&bench.cache, KEY, "1").await;
        states(bench, &policy()).await.iter().all(|&state| state == TierState::Fresh)
    };
    wait_until("it is kept in all tiers", BOUND, kept).await;
}

/// What is told of the next call, which is then made.
async fn keeps_its_word(bench: &Bench, policy: &Policy, told: NextStep) -> Explanation {
    keeps_its_word_of(bench, policy, told, Ok("new")).await
}

async fn keeps_its_word_of(
    bench: &Bench,
    policy: &Policy,
    told: NextStep,
    fetch: Result<&'static str, FailureClass>,
) -> Explanation {
    let explained = explain(bench, policy).await;
    assert_eq!(explained.next.step, told, "{explained:#?}");
    let upstream = Upstream::default();
    let fetching = upstream.fetch(fetch.unwrap_or_default());
    let answer = bench.cache.get_or_set(KEY, policy, move || async move {
        let fetched = fetching().await;
        fetch.map_err(|class| FetchFailure::new(class, std::io::Error::other("no"))).and(fetched)
    });
    let done = match answer.await {
        Ok(Answer { outcome: Outcome::Hit, .. }) => NextStep::Serve,
        Ok(Answer { outcome: Outcome::Stale(StaleReason::Refreshing), .. }) => NextStep::ServeStaleAndRefresh,
        Ok(Answer { outcome: Outcome::Stale(_), .. }) => NextStep::ServeStale,
        Ok(Answer { outcome: Outcome::Fetched { .. }, .. }) => NextStep::Fetch,
        Ok(answer) => panic!("{answer:?}"),
        Err(_) if upstream.calls() == 0 => NextStep::Fail,
        Err(_) => NextStep::Fetch,
    };
    if told == NextStep::ServeAndRefresh {
        assert_eq!(done, NextStep::Serve);
        wait_until("it is fetched behind", BOUND, async || upstream.calls() == 1).await;
    } else {
        assert_eq!(done, told, "{explained:#?}");
    }
    explained
}

#[tokio::test]
async fn from_nothing_to_beyond_retention_each_state_is_told() {
    everywhere(async |bench| {
        let policy = policy();
        assert!(states(bench, &policy).await.iter().all(|&state| state == TierState::Absent));
        keeps_its_word(bench, &policy, NextStep::Fetch).await;
        keeps_its_word(bench, &policy, NextStep::Serve).await;
        kept_in_all(bench).await;
        let explained = keeps_its_word(bench, &policy, NextStep::Serve).await;
        assert!(explained.tiers.iter().all(|tier| tier.state == TierState::Fresh), "{explained:#?}");
        assert_eq!(explained.next.tier, Some(Tier::Memory));
        bench.clock.advance(Duration::from_secs(61));
        let stale = explain(bench, &policy).await;
        for tier in &stale.tiers {
            let value = tier.value.as_ref().expect("a value");
            assert_eq!(
                (tier.state, value.age_seconds, value.ttl_seconds),
                (TierState::Stale, 61, -2),
                "the second that has begun counts: {stale:#?}"
            );
            assert_eq!((value.stale_left_seconds, value.retention_left_seconds), (59, 3539));
        }
        keeps_its_word(bench, &policy, NextStep::ServeStaleAndRefresh).await;
        let fresh = async || explain(bench, &policy).await.next.step == NextStep::Serve;
        wait_until("it is fetched anew", BOUND, fresh).await;
        bench.clock.advance(Duration::from_secs(121));
        keeps_its_word(bench, &policy, NextStep::Fetch).await;
        bench.clock.advance(Duration::from_secs(3600));
        let explained = explain(bench, &policy).await;
        // Redis has its own clock, and still has what is over by ours.
        let over = |state| matches!(state, TierState::Expired | TierState::Absent);
        assert!(explained.tiers.iter().all(|tier| over(tier.state)), "{explained:#?}");
        keeps_its_word(bench, &policy, NextStep::Fetch).await;
        assert_eq!(states(bench, &policy).await.last(), Some(&TierState::Fresh));
    })
    .await;
}

#[tokio::test]
async fn it_tells_sizes_and_costs_and_no_value_and_leaves_no_trace() {
    everywhere(async |bench| {
        let policy = Policy { tags: Tags::new(["user:7"]), ..policy() };
        let cost = Cost { quota_units: 3, micro_dollars: 20, ..Cost::default() };
        let value = Bytes::from_static(b"\"told to nobody\"");
        bench.cache.set(KEY, &policy, value.clone(), cost).await.expect("a set");
        let before = bench.cache.stats();
        let explained = explain(bench, &policy).await;
        assert_eq!(bench.cache.stats(), before);
        let told = serde_json::to_string(&explained).expect("JSON");
        assert!(!told.contains("nobody") && told.contains("user:7"), "{told}");
        assert_eq!((explained.key.as_str(), explained.kind), (KEY, "thing"));
        for tier in &explained.tiers {
            let held = tier.value.as_ref().expect("a value");
            assert_eq!((held.cost, held.tags[0].state, held.believed), (cost, TagState::Current, true));
            let size = value.len() as u64;
            assert!(if tier.tier == Tier::Memory { tier.bytes == size } else { tier.bytes > size }, "{told}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_outdated_tag_is_named_and_an_expired_one_too() {
    everywhere(async |bench| {
        let policy = Policy { tags: Tags::new(["a", "b"]), ..policy() };
        let put = async || {
            let set = bench.cache.set(KEY, &policy, Bytes::from_static(b"1"), Cost::default()).await;
            assert!(set.expect("a set").anywhere());
        };
        put().await;
        bench.cache.expire_tag("b").await.expect("expired");
        let explained = explain(bench, &policy).await;
        for tier in &explained.tiers {
            let tags: Vec<_> = tier.value.iter().flat_map(|value| &value.tags).map(|tag| tag.state).collect();
            assert_eq!((tier.state, tags), (TierState::Stale, vec![TagState::Current, TagState::Expired]));
        }
        assert_eq!(explained.next.step, NextStep::ServeStaleAndRefresh);
        put().await;
        bench.cache.invalidate_tag("a").await.expect("invalidated");
        let explained = keeps_its_word(bench, &policy, NextStep::Fetch).await;
        for tier in &explained.tiers {
            let tags: Vec<_> = tier.value.iter().flat_map(|value| &value.tags).map(|tag| tag.state).collect();
            assert_eq!(
                (tier.state, tags),
                (TierState::Invalidated, vec![TagState::Outdated, TagState::Current])
            );
        }
        assert!(explained.next.why.contains("tag"), "{}", explained.next.why);
        keeps_its_word(bench, &policy, NextStep::Serve).await;
    })
    .await;
}

#[tokio::test]
async fn a_remembered_failure_is_told_with_its_class() {
    everywhere(async |bench| {
        let policy = policy();
        let (lost, none) = (FailureClass::NotFound, "not-found");
        keeps_its_word_of(bench, &policy, NextStep::Fetch, Err(lost)).await;
        let explained = keeps_its_word_of(bench, &policy, NextStep::Fail, Err(lost)).await;
        let negative: Vec<_> =
            explained.tiers.iter().filter(|tier| tier.state == TierState::Negative).collect();
        let failure = negative[0].failure.as_ref().expect("a failure");
        assert!(negative.len() == 1 && failure.class == none && failure.left_ms > 0, "{explained:#?}");
        put(&bench.cache, KEY, "1").await;
        assert_eq!(explain(bench, &policy).await.next.step, NextStep::Serve, "it is forgotten");
        // Where there is something to serve instead, it is served; by its policy, or after the failure.
        let until = "2100-01-01T00:00:00Z".parse().expect("a time");
        let quota = FailureClass::QuotaExhausted { until };
        bench.clock.advance(Duration::from_secs(61));
        keeps_its_word_of(bench, &policy, NextStep::ServeStaleAndRefresh, Err(quota)).await;
        let rests = async || explain(bench, &policy).await.resting.is_some();
        wait_until("the refresh has failed", BOUND, rests).await;
        keeps_its_word_of(bench, &policy, NextStep::ServeStale, Err(quota)).await;
        bench.clock.advance(Duration::from_secs(60));
        let explained = keeps_its_word_of(bench, &policy, NextStep::ServeStale, Err(quota)).await;
        assert!(explained.next.why.contains("quota-exhausted"), "{}", explained.next.why);
    })
    .await;
}

#[tokio::test]
async fn who_is_at_work_is_told_here_and_there() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    for bench in [&here, &there] {
        tracks(bench).await;
    }
    assert_eq!(explain(&here, &policy()).await.lease, LeaseReport::Free);
    let gate = Gate::new();
    let (cache, fetch) = (here.cache.clone(), gate.fetch("1"));
    let call = here.tasks.spawn(async move { cache.get_or_set(KEY, &policy(), fetch).await });
    gate.reached().await;
    let mine = explain(&here, &policy()).await;
    let LeaseReport::Held { here: true, owner, left_ms } = &mine.lease else { panic!("{mine:#?}") };
    assert!(owner.len() == 16 && *left_ms <= 1500, "{mine:#?}");
    assert_eq!((mine.flight, mine.next.step), (FlightState::Fetching, NextStep::Join));
    let theirs = explain(&there, &policy()).await;
    assert!(matches!(&theirs.lease, LeaseReport::Held { here: false, owner: same, .. } if same == owner));
    assert_eq!((theirs.flight, theirs.next.step), (FlightState::None, NextStep::Wait));
    assert!(theirs.next.why.contains(owner.as_str()), "{}", theirs.next.why);
    here.cache.delete(KEY).await.expect("deleted");
    let forbidden = explain(&there, &policy()).await;
    assert_eq!((&forbidden.lease, forbidden.next.step), (&LeaseReport::Forbidden, NextStep::Fetch));
    gate.open();
    assert!(call.await.expect("a task").is_ok());
}

#[tokio::test]
async fn what_cannot_be_read_or_asked_is_told_as_that() {
    let mut server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    tracks(&bench).await;
    let key = format!("{PREFIX}{KEY}");
    server.cli(&["RPUSH", &key, "a list"]);
    assert_eq!(states(&bench, &policy()).await, [TierState::Absent, TierState::Unreadable]);
    server.cli(&["DEL", &key]);
    kept_in_all(&bench).await;
    let other = Policy { kind: OTHER, ..policy() };
    assert_eq!(states(&bench, &other).await[1], TierState::Unreadable, "it is of another kind");
    server.kill();
    wait_until("the loss is noticed", BOUND, async || !bench.cache.health().tracking).await;
    let explained = explain(&bench, &policy()).await;
    assert_eq!((explained.tiers[1].state, &explained.lease), (TierState::Unknown, &LeaseReport::Unknown));
    assert!(!explained.tiers[0].value.as_ref().expect("a value").believed);
    keeps_its_word(&bench, &policy(), NextStep::Serve).await;
    bench.clock.advance(Duration::from_secs(121));
    keeps_its_word(&bench, &policy(), NextStep::Fetch).await;
    let explained = keeps_its_word(&bench, &policy(), NextStep::Serve).await;
    assert_eq!(explained.next.tier, Some(Tier::Memory), "the only copy: {explained:#?}");
}

#[tokio::test]
async fn without_scripts_there_are_no_leases() {
    let (_server, bench) = on_a_strict_redis().await;
    assert_eq!(explain(&bench, &policy()).await.lease, LeaseReport::NotUsed);
    keeps_its_word(&bench, &policy(), NextStep::Fetch).await;
    keeps_its_word(&bench, &policy(), NextStep::Serve).await;
}

#[tokio::test]
async fn refreshing_ahead_and_the_budgets_no_are_told() {
    let bench = in_memory().await;
    let ahead = Policy { refresh_ahead: Duration::from_secs(40), ..policy() };
    put(&bench.cache, KEY, "1").await;
    keeps_its_word(&bench, &ahead, NextStep::Serve).await;
    bench.clock.advance(Duration::from_secs(45));
    keeps_its_word(&bench, &ahead, NextStep::ServeAndRefresh).await;
    let stale_for = Duration::from_secs(600);
    let budget = Budget::new(move |_, _| Allowance::Spare { stale_for });
    let bench = open_with(CacheConfig { budget, ..config(RemoteConfig::None, manual_clock()) }).await;
    put(&bench.cache, KEY, "1").await;
    bench.clock.advance(Duration::from_secs(300));
    let explained = keeps_its_word(&bench, &policy(), NextStep::ServeStale).await;
    assert!(explained.next.why.contains("budget"), "{}", explained.next.why);
}

#[tokio::test]
async fn an_unusable_key_is_refused_and_what_is_told_reads_as_documented() {
    let bench = in_memory().await;
    assert!(matches!(bench.cache.explain("", &policy()).await, Err(CacheError::BadKey(_))));
    put(&bench.cache, KEY, "1").await;
    let mut told = serde_json::to_value(explain(&bench, &policy()).await).expect("JSON");
    told["at"] = Value::Null;
    let value = &mut told["tiers"][0]["value"];
    (value["etag"], value["cost"]) = (Value::Null, Value::Null);
    assert_eq!(
        told,
        json!({
            "key": "thing:1",
            "kind": "thing",
            "at": null,
            "tiers": [{
                "tier": "memory",
                "state": "fresh",
                "bytes": 1,
                "value": {
                    "age_seconds": 0,
                    "ttl_seconds": 60,
                    "stale_left_seconds": 120,
                    "retention_left_seconds": 3600,
                    "cost": null,
                    "etag": null,
                    "believed": true,
                },
            }],
            "lease": { "state": "not_used" },
            "flight": "none",
            "next": { "step": "serve", "tier": "memory", "why": "memory has it, fresh for 60 s more" },
        })
    );
}

#[tokio::test]
async fn where_there_is_nothing_what_nearly_matched_is_told() {
    everywhere(async |bench| {
        let near = async |key: &str| {
            let explained = bench.cache.explain(key, &policy()).await.expect("an explanation");
            let mut near: Vec<_> =
                explained.near.into_iter().map(|near| (near.key, near.difference)).collect();
            near.dedup();
            near
        };
        let is = |key: &str, difference| vec![(key.to_owned(), difference)];
        for key in ["thing:abc", "thing:abc:max_1", "other:xyz"] {
            put(&bench.cache, key, "1").await;
        }
        assert_eq!(near("thing:ABC").await, is("thing:abc", Difference::Spelling));
        assert_eq!(near("thing:xyz").await, is("other:xyz", Difference::Kind));
        assert_eq!(near("thing:abc:max_20:deep").await, [], "two parts are too many");
        let parts = ["thing:abc", "thing:abc:max_1"].map(|key| (key.to_owned(), Difference::Part));
        assert_eq!(near("thing:abc:max_20").await, parts);
        assert_eq!(near("thing:abc").await, [], "it is there");
        assert_eq!(near("thing:unlike").await, []);
        for n in 0..20 {
            put(&bench.cache, &format!("thing:abc:min_{n}"), "1").await;
        }
        assert!(near("thing:abc:min_x").await.len() <= 8);
    })
    .await;
}

/// Only a few names are asked for, and no key is read or searched.
#[tokio::test]
async fn what_only_redis_has_is_near_under_a_handful_of_names() {
    let server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    for key in ["other:a", "thing:b", "thing:c:max_1"] {
        put(&there.cache, key, "1").await;
    }
    for (key, told) in
        [("thing:a", "other:a"), ("thing:B", "thing:b"), ("thing:c:max_1:deep", "thing:c:max_1")]
    {
        let explained = here.cache.explain(key, &policy()).await.expect("an explanation");
        let near: Vec<_> = explained.near.iter().map(|near| (near.key.as_str(), near.tier)).collect();
        assert_eq!(near, [(told, Tier::Redis)]);
    }
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_not_near() {
    let bench = in_memory().await;
    put(&bench.cache, "thing:b", "1").await;
    assert_eq!(bench.cache.explain("thing:B", &policy()).await.expect("an explanation").near.len(), 1);
    bench.clock.advance(policy().retention);
    assert_eq!(bench.cache.explain("thing:B", &policy()).await.expect("an explanation").near, []);
}
