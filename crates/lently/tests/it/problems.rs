//! Refusals: each a problem with a stable code, whoever refuses.

use reqwest::header::{CONTENT_TYPE, HOST};
use serde_json::json;

use crate::house::{House, Options, plain, sample, send};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_is_not_allowed_are_problems() {
    let house = House::open().await;
    house.get("/nowhere").await.problem(404, "not-found");
    house.get(&format!("/api/analysis/{}", "0".repeat(32))).await.problem(404, "not-found");
    let wrong = house.get("/api/analysis/start/").await;
    wrong.problem(404, "not-found");
    let wrong = send(house.request("PUT", "/api/analysis/start")).await;
    assert_eq!(wrong.header("allow"), "POST", "{wrong:?}");
    wrong.problem(405, "method-not-allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_refused_by_what_is_bad_about_it() {
    let house = House::open().await;
    let start = |body: &'static str| {
        house.request("POST", "/api/analysis/start").header(CONTENT_TYPE, "application/json").body(body)
    };
    send(start("{")).await.problem(400, "invalid-json");
    send(start("{}")).await.problem(422, "invalid-request");
    send(start(r#"{"video_url_or_id": "x", "more": 1}"#)).await.problem(422, "invalid-request");
    send(house.request("POST", "/api/analysis/start").body("{}"))
        .await
        .problem(415, "unsupported-media-type");
    let large = send(house.start(&json!({ "video_url_or_id": "x".repeat(2 << 20) }))).await;
    large.problem(413, "payload-too-large");

    let rows = [
        (json!({ "video_url_or_id": "https://example.com/" }), "video_url_or_id"),
        (json!({ "video_url_or_id": plain(), "max_comments": 0 }), "max_comments"),
        (json!({ "video_url_or_id": plain(), "max_comments": 100_001 }), "max_comments"),
        (json!({ "video_url_or_id": plain(), "engine": "gemini" }), "engine"),
    ];
    for (body, field) in rows {
        assert_eq!(send(house.start(&body)).await.problem(422, field_code(field))["field"], field);
    }
    assert_eq!(house.counts().units, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_shape_is_told_by_its_field_and_in_plain_words() {
    let house = House::open().await;
    let video = plain();
    for (body, field, expected) in [
        (json!([video, 100, "relevance", false, "auto"]), None, "must be a JSON object"),
        (json!(video), None, "must be a JSON object"),
        (json!({}), Some("video_url_or_id"), "`video_url_or_id` is missing"),
        (json!({ "video_url_or_id": 7 }), Some("video_url_or_id"), "expected a string, not integer `7`"),
        (
            json!({ "video_url_or_id": video, "max_comments": "many" }),
            Some("max_comments"),
            "a whole number from 0",
        ),
        (json!({ "video_url_or_id": video, "max_comments": -1 }), Some("max_comments"), "not integer `-1`"),
        (
            json!({ "video_url_or_id": video, "include_replies": "yes" }),
            Some("include_replies"),
            "`true` or `false`",
        ),
        (
            json!({ "video_url_or_id": video, "order": "best" }),
            Some("order"),
            "`relevance` or `time`, not `best`",
        ),
        (json!({ "video_url_or_id": video, "order": 5 }), Some("order"), "expected a string"),
        (json!({ "video_url_or_id": video, "more": 1 }), Some("more"), "is not known, expected one of"),
        (json!({ "video_url_or_id": video, "engine": "x".repeat(1_000) }), Some("engine"), "`gemini`"),
    ] {
        let problem = send(house.start(&body)).await.problem(422, "invalid-request");
        assert_eq!(problem["field"].as_str(), field, "{problem}");
        let told = problem["detail"].as_str().expect("a detail");
        assert!(told.contains(expected) && told.len() < 300, "{problem}");
        assert!(!told.contains("struct") && !told.contains("u32"), "{problem}");
    }
    assert_eq!(house.counts().units, 0);
}

fn field_code(field: &str) -> &'static str {
    if field == "engine" { "engine-unavailable" } else { "invalid-request" }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_path_or_query_is_refused() {
    let house = House::open().await;
    for (path, field) in [
        ("/api/analysis/*", "analysis_id"),
        ("/api/youtube/videos/short", "video_id"),
        ("/api/youtube/videos/AAAAAAAAAA*/comments", "video_id"),
    ] {
        assert_eq!(house.get(path).await.problem(422, "invalid-request")["field"], field);
    }
    house.get("/api/youtube/videos/%FF").await.problem(400, "invalid-request");
    let comments = format!("/api/youtube/videos/{}/comments", plain());
    for (query, field, expected) in [
        ("max_comments=many", "max_comments", "expected a whole number"),
        ("max_comments=99999999999", "max_comments", "to 4294967295"),
        ("order=best", "order", "expected `relevance` or `time`, not `best`"),
        ("include_replies=perhaps", "include_replies", "expected `true` or `false`"),
        ("unknown=1", "unknown", "is not known, expected one of `max_comments`"),
        ("order=time&order=time", "order", "given twice"),
    ] {
        let problem = house.get(&format!("{comments}?{query}")).await.problem(422, "invalid-request");
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|told| told.contains(expected)), "{problem}");
    }
    house.get(&format!("{comments}?max_comments=0")).await.problem(422, "invalid-request");
    house.get("/api/analyses?limit=201").await.problem(422, "invalid-request");
    house.get(&format!("/api/analyses?before={}", "9".repeat(9_000))).await.problem(414, "url-too-long");
    let headers = house.request("GET", "/livez").header("X-Large", "x".repeat(40_000));
    send(headers).await.problem(431, "headers-too-large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_not_meant_for_us_is_refused() {
    let house = House::open().await;
    let of_host = |host: &'static str| house.request("GET", "/api/cache/stats").header(HOST, host);
    for host in ["evil.example", "127.0.0.1.evil.example", "192.168.0.9:8000"] {
        send(of_host(host)).await.problem(421, "host-not-allowed");
    }
    send(of_host("localhost:1")).await.expect(200);
    let video = format!("/api/youtube/videos/{}", plain());
    send(house.request("GET", &video).header("Sec-Fetch-Site", "cross-site"))
        .await
        .problem(403, "cross-site");
    assert_eq!(house.counts().units, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_youtube_refuses_is_told_by_class() {
    let house = House::open().await;
    house.get("/api/youtube/videos/AAAAAAAAAAA").await.problem(404, "video-not-found");
    house.analyze("AAAAAAAAAAA").await.problem(404, "video-not-found");
    house.analyze(sample("disabled")).await.problem(409, "comments-disabled");

    let exhausted = House::with(Options { quota_units: 0, ..Options::default() }).await;
    let answer = exhausted.analyze(plain()).await;
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{answer:?}");
    let body = answer.problem(503, "quota-exhausted");
    assert!(body["resets_at"].is_string(), "{body}");

    let keyless = House::with(Options::default().set("YOUTUBE_API_KEY", "")).await;
    keyless.analyze(plain()).await.problem(503, "key-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_taken_if_harmless_and_made_otherwise() {
    let house = House::open().await;
    let of_id = |id: &'static str| house.request("GET", "/livez").header("X-Request-Id", id);
    assert_eq!(send(of_id("mine-1")).await.expect(200).header("x-request-id"), "mine-1");
    let made = send(of_id("not {harmless}")).await.expect(200);
    assert!(made.header("x-request-id").len() > 16, "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_lists_the_routes_and_the_probes_answer() {
    let house = House::open().await;
    let index = house.get("/").await.expect(200).json();
    assert_eq!(index["routes"].as_array().map(Vec::len), Some(lently::http::route_table().len()));
    assert_eq!(house.get("/livez").await.expect(200).body, "ok\n");
    assert_eq!(house.get("/readyz").await.expect(200).body, "ok\n");
    let health = house.get("/health").await.expect(200).json();
    assert_eq!((&health["status"], &health["features"]["disk_cache"]), (&json!("ok"), &json!(true)));
    assert_eq!(health["features"]["redis_cache"], false);
}
