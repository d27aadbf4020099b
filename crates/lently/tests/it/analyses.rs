//! Analyses over HTTP: the sequence that the product is about, and what surrounds it.

use lently_cache::Cost;
use lently_testing::wait_until;
use serde_json::json;

use crate::house::{House, LONG, Options, plain, send, slow};

#[tokio::test(flavor = "multi_thread")]
async fn start_and_start_again_show_a_miss_a_hit_and_exact_counts() {
    let house = House::open().await;
    let miss = house.analyze(plain()).await.expect(200);
    let hit = house.analyze(plain()).await.expect(200);

    assert_eq!(miss.header("cache-status"), "Lently; fwd=uri-miss; stored");
    assert_eq!(miss.header("preference-applied"), "wait=60");
    assert!(hit.header("cache-status").starts_with("Lently; hit; ttl="), "{hit:?}");
    let (fresh, kept) = (miss.json(), hit.json());
    assert_eq!((&fresh["cached"], &kept["cached"]), (&json!(false), &json!(true)));
    assert_eq!(fresh["report"], kept["report"]);
    assert_eq!(fresh["report"]["coverage"]["read"], 100);

    // One look each for the analysis, the video and its comments; then the analysis was there.
    let stats = house.stats().await;
    let told = ["hits", "misses", "sets", "errors", "total_requests", "hit_rate", "hit_rate_str"]
        .map(|name| stats[name].clone());
    assert_eq!(told, [json!(1), json!(3), json!(3), json!(0), json!(4), json!(25.0), json!("25.0%")]);
    let nothing = Cost::default();
    // The hit spared one unit for the video and one for its comments, and the time that all of it took.
    let saved: Cost = serde_json::from_value(stats["saved"].clone()).expect("a cost");
    assert_eq!((saved.quota_units, saved.milliseconds > 0), (2, true), "{saved:?}");
    let of_kind = |hits: u64, saved: Cost| json!({ "hits": hits, "misses": 1, "sets": 1, "saved": saved });
    assert_eq!(stats["by_kind"]["analysis"], of_kind(1, saved));
    assert_eq!(stats["by_kind"]["comments"], of_kind(0, nothing));
    assert_eq!(stats["by_kind"]["video"], of_kind(0, nothing));
    let metrics = house.get("/metrics").await.expect(200).body;
    for line in [
        // The numbers are the process', which may run other tests too.
        r#"cache_hits_total{kind="analysis",tier="memory"} "#,
        r#"cache_hits_total{kind="analysis",tier="redis"} "#,
        r#"cache_misses_total{kind="comments","#,
        r#"lently_cache_answers_total{kind="analysis",tier="memory",outcome="hit"} "#,
        r#"lently_cache_answers_total{kind="comments",tier="all",outcome="fetched"} "#,
        r#"cache_latency_seconds_bucket{kind="comments",tier="all",outcome="fetched","#,
        r#"lently_cache_fetch_seconds_bucket{kind="video",outcome="ok","#,
        r#"lently_cache_saved_milliseconds_total{kind="analysis"} "#,
        "cache_latency_seconds_bucket{kind=\"analysis\"",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains(plain()), "no id is a label");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_waiting_says_where_to_look() {
    let house = House::with(Options { latency: slow(200), ..Options::default() }).await;
    let begun = send(house.start(&json!({ "video_url_or_id": plain() }))).await.expect(202);
    let body = begun.json();
    assert_eq!((&body["status"], &body["cached"]), (&json!("running"), &json!(false)));
    let location = begun.header("location").to_owned();
    assert_eq!(location, format!("/api/analysis/{}", body["analysis_id"].as_str().expect("an id")));
    assert_eq!(body["links"]["self"], location);

    let running = house.get(&location).await.expect(200).json();
    assert_eq!(running["status"], "running");
    assert!(running["progress"]["stage"].is_string(), "{running}");
    let done = send(house.request("GET", &location).header("Prefer", "wait=60")).await.expect(200).json();
    assert_eq!((&done["status"], &done["analysis_id"]), (&json!("completed"), &body["analysis_id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_too_short_ends_in_202_and_wastes_nothing() {
    let house = House::with(Options { latency: slow(400), ..Options::default() }).await;
    let request = || house.start(&json!({ "video_url_or_id": plain() }));
    let early = send(request().header("Prefer", "wait=0")).await.expect(202);
    assert_eq!(early.header("preference-applied"), "wait=0");
    send(request().header("Prefer", "wait=60")).await.expect(200);
    assert_eq!(house.emulator.counts().units, 2, "one call for the video, one for its comments");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_address_is_the_same_analysis() {
    let house = House::open().await;
    let id = house.analyze(plain()).await.expect(200).json()["analysis_id"].clone();
    for form in ["https://www.youtube.com/watch?v=ID&t=3", "https://youtu.be/ID", "youtube.com/shorts/ID"] {
        let answer = house.analyze(&form.replace("ID", plain())).await.expect(200).json();
        assert_eq!((&answer["analysis_id"], &answer["cached"]), (&id, &json!(true)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cache_makes_it_anew_and_its_repetition_does_not() {
    let house = House::open().await;
    house.analyze(plain()).await.expect(200);
    let anew = || {
        let request = house.start(&json!({ "video_url_or_id": plain() })).header("Prefer", "wait=60");
        request.header("Cache-Control", "no-cache").header("Idempotency-Key", "\"one\"")
    };
    let first = send(anew()).await.expect(200);
    assert_eq!(first.header("cache-status"), "Lently; fwd=request; stored");
    let units = house.counts().units;
    let repeated = send(anew()).await.expect(200);
    assert_eq!(repeated.json()["cached"], true);
    assert_eq!(house.counts().units, units);

    let other = house.start(&json!({ "video_url_or_id": plain(), "max_comments": 50 }));
    send(other.header("Idempotency-Key", "\"one\"")).await.problem(422, "idempotency-key-reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_lists_an_analysis_until_it_is_erased() {
    let house = House::open().await;
    let id =
        house.analyze(plain()).await.expect(200).json()["analysis_id"].as_str().expect("an id").to_owned();
    let listed = async || house.get("/api/analyses?limit=10").await.expect(200).json()["analyses"].clone();
    wait_until("the history is written", LONG, async || {
        listed().await.as_array().is_some_and(|all| all.len() == 1)
    })
    .await;
    assert_eq!(listed().await[0]["analysis_id"], id);

    let path = format!("/api/analysis/{id}");
    send(house.request("DELETE", &path)).await.expect(204);
    send(house.request("DELETE", &path)).await.problem(404, "not-found");
    house.get(&path).await.problem(404, "not-found");
    assert_eq!(listed().await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_header_means_the_one_user_there_is() {
    let house = House::open().await;
    let id =
        house.analyze(plain()).await.expect(200).json()["analysis_id"].as_str().expect("an id").to_owned();
    let request = house.request("GET", &format!("/api/analysis/{id}"));
    send(request.bearer_auth("anything")).await.expect(200);
    let usage = house.get("/api/usage").await.expect(200).json();
    assert_eq!((&usage["plan"], &usage["used"]), (&json!("unlimited"), &json!(1)));
}
