//! What cannot be had as it should be, over HTTP: each answer says so where a client looks for it.

use std::time::Duration;

use lently_cache::Clock;
use lently_emulator::{Fault, FaultKind, Method};
use serde_json::{Value, json};

use crate::house::{ADMIN_KEY, Answer, House, Options, plain, sample, send};

const HOUR: Duration = Duration::from_secs(3_600);

async fn house(options: Options) -> (House, Clock) {
    let clock = Clock::manual("2026-11-24T12:00:00Z".parse().expect("a time"));
    (House::with(Options { clock: Some(clock.clone()), ..options }).await, clock)
}

async fn house_of_gemini() -> (House, Clock) {
    house(Options { gemini: true, ..Options::default() }).await
}

fn fails(house: &House, kind: FaultKind, method: Option<Method>) {
    house.emulator.set_fault(Some(Fault { kind, method, times: None }));
}

async fn booked(house: &House) -> u64 {
    let ledger = send(house.request("GET", "/api/ledger").header("X-Admin-Key", ADMIN_KEY)).await.expect(200);
    ledger.json()["buckets"][0]["spent_units"].as_u64().expect("units")
}

/// What stands in front of a body, and that it is what the headers say.
fn served(answer: &Answer) -> Value {
    let served = answer.json()["served"].clone();
    let is_hit = answer.header("cache-status").starts_with("Lently; hit");
    assert_eq!(answer.json()["cached"], is_hit, "{answer:?}");
    assert_eq!(served["age_seconds"].to_string(), answer.header("age"), "{answer:?}");
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_bought_once_and_says_that_it_is_remembered() {
    let (house, clock) = house(Options::default()).await;
    let comments = |video: &str| format!("/api/youtube/videos/{video}/comments");
    for (path, status, code) in [
        (format!("/api/youtube/videos/{}", sample("removed")), 404, "video-not-found"),
        (comments(sample("removed")), 404, "video-not-found"),
        (comments(sample("disabled")), 409, "comments-disabled"),
    ] {
        let first = house.get(&path).await;
        assert_eq!(first.header("cache-status"), "", "{first:?}");
        first.problem(status, code);
        let units = house.counts().units;
        let again = house.get(&path).await;
        assert_eq!(again.header("cache-status"), "Lently; hit; detail=remembered", "{again:?}");
        again.problem(status, code);
        assert_eq!(house.counts().units, units, "{path}");
    }
    let started = house.analyze(sample("disabled")).await;
    assert_eq!(started.header("cache-status"), "Lently; hit; detail=remembered", "{started:?}");
    started.problem(409, "comments-disabled");
    fails(&house, FaultKind::Private, Some(Method::CommentThreads));
    for _ in 0..2 {
        let private = house.get(&comments(plain())).await.problem(409, "forbidden");
        assert!(private["detail"].as_str().is_some_and(|told| told.contains("forbid")), "{private}");
    }
    assert_eq!(booked(&house).await, house.counts().units, "calls that are refused cost, too");
    let units = house.counts().units;
    clock.advance(Duration::from_secs(601));
    let anew = house.get(&comments(sample("disabled"))).await;
    assert_eq!((anew.header("cache-status"), house.counts().units), ("", units + 1), "{anew:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_for_want_of_quota_or_for_a_limit_says_why_in_header_and_body() {
    let limited = FaultKind::RateLimited { retry_after: Some(60) };
    for (kind, reason) in [(limited, "rate-limited"), (FaultKind::QuotaExceeded, "quota-exhausted")] {
        let (house, clock) = house(Options::default()).await;
        let comments = format!("/api/youtube/videos/{}/comments", plain());
        let fresh = served(&house.get(&comments).await.expect(200));
        let expected = json!({ "from": "fetched", "age_seconds": 0, "ttl_seconds": 1_800, "stale": null });
        assert_eq!(fresh, expected);
        fails(&house, kind, None);
        clock.advance(7 * HOUR);
        let stale = house.get(&comments).await.expect(200);
        let status = format!("Lently; hit; ttl=-23401; detail=memory-{reason}");
        assert_eq!(stale.header("cache-status"), status);
        let told = served(&stale);
        assert_eq!((&told["stale"], &told["ttl_seconds"]), (&json!(reason), &json!(-23_401)), "{told}");
        assert_eq!((&told["from"], &told["age_seconds"]), (&json!("memory"), &json!(25_200)), "{told}");

        let analysis = house.analyze(plain()).await;
        if reason == "rate-limited" {
            // Of metadata there is none yet, and nobody may be asked for it.
            analysis.problem(503, "rate-limited");
            continue;
        }
        analysis.problem(503, "quota-exhausted");
        let ledger = house.get("/health").await.expect(200).json();
        assert_eq!(ledger["freshness"]["step"], 3, "{ledger}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_of_old_comments_says_so_and_so_does_one_of_a_part() {
    let (house, clock) = house(Options::default()).await;
    let first = house.analyze(plain()).await.expect(200);
    assert_eq!(served(&first)["from"], "fetched");
    assert_eq!(served(&house.analyze(plain()).await.expect(200))["from"], "memory");
    fails(&house, FaultKind::QuotaExceeded, None);
    clock.advance(2 * HOUR);
    let old = house.analyze(plain()).await.expect(200).json();
    let caution = old["report"]["caution"].as_str().expect("a caution");
    assert!(caution.contains("are those that were read at 2026-11-24 12:00 UTC"), "{caution}");
    assert_eq!((&old["served"]["from"], &old["served"]["ttl_seconds"]), (&json!("fetched"), &json!(300)));
    assert_eq!(old["report"]["coverage"]["read"], 100);
    assert_eq!(booked(&house).await, house.counts().units);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gemini_leaves_is_judged_locally_and_the_analysis_says_so() {
    for (kind, why) in [
        (FaultKind::RateLimited { retry_after: Some(3_600) }, "Gemini failed"),
        (FaultKind::Truncated, "in a row"),
        (FaultKind::Blocked, "in a row"),
        (FaultKind::Malformed, "in a row"),
    ] {
        let (house, clock) = house_of_gemini().await;
        fails(&house, kind.clone(), Some(Method::Gemini));
        let answer = house.analyze(plain()).await.expect(200);
        let engine = &answer.json()["engine"];
        assert_eq!(
            (&engine["name"], &engine["judged"]["local"]),
            (&json!("gemini"), &json!(100)),
            "{kind:?}"
        );
        let degraded = engine["degraded"].as_str().expect("a reason");
        assert!(degraded.contains("judged locally") && degraded.contains(why), "{kind:?}: {degraded}");
        let each_says = answer.json()["verdicts"].as_array().is_some_and(|verdicts| {
            verdicts.len() == 100 && verdicts.iter().all(|verdict| verdict["judged_by"] == "local")
        });
        assert!(each_says, "{kind:?}");
        house.emulator.set_fault(None);
        clock.advance(HOUR);
        assert_eq!(served(&house.analyze(plain()).await.expect(200))["from"], "fetched", "{kind:?}");
    }
}
