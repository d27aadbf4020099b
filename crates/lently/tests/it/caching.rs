//! What the answers tell about the cache, and what a client's own cache may do with them.

use std::time::Duration;

use lently_cache::{Cost, Policy};
use lently_emulator::{Fault, FaultKind};
use lently_service::{CacheTtl, EntryKind};
use lently_testing::{RedisServer, wait_until};
use serde_json::json;

use crate::house::{House, LONG, Options, plain, send};

#[tokio::test(flavor = "multi_thread")]
async fn youtubes_data_is_a_miss_first_and_a_hit_then() {
    let house = House::open().await;
    let video = format!("/api/youtube/videos/{}", plain());
    for path in [video.clone(), format!("{video}/comments?max_comments=20&order=time")] {
        let miss = house.get(&path).await.expect(200);
        assert_eq!(miss.header("cache-status"), "Lently; fwd=uri-miss; stored");
        assert_eq!((miss.header("age"), &miss.json()["cached"]), ("0", &json!(false)));
        let hit = house.get(&path).await.expect(200);
        let status = hit.header("cache-status");
        assert!(status.starts_with("Lently; hit; ttl=") && status.ends_with("; detail=memory"), "{status}");
        assert_eq!(hit.json()["cached"], true);
        assert_eq!(hit.header("cache-control"), "private, no-cache");
    }
    assert_eq!(
        house.get(&format!("{video}/comments?max_comments=20&order=time")).await.json()["comments"]
            .as_array()
            .map(Vec::len),
        Some(20)
    );
    assert_eq!(house.counts().units, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_it_gets_304_and_no_body() {
    let house = House::open().await;
    let analysis = house.analyze(plain()).await.expect(200);
    let id = analysis.json()["analysis_id"].as_str().expect("an id").to_owned();
    for path in [format!("/api/analysis/{id}"), format!("/api/youtube/videos/{}", plain())] {
        let full = house.get(&path).await.expect(200);
        let etag = full.header("etag").to_owned();
        assert!(etag.starts_with("W/\"") && etag.len() > 10, "{etag}");
        for known in [etag.clone(), format!("\"x\", {etag}"), etag.replace("W/", ""), "*".to_owned()] {
            let kept = send(house.request("GET", &path).header("If-None-Match", &known)).await.expect(304);
            assert_eq!((kept.body.as_str(), kept.header("etag")), ("", etag.as_str()));
            assert!(kept.header("cache-status").starts_with("Lently; hit"), "{kept:?}");
        }
        send(house.request("GET", &path).header("If-None-Match", "W/\"other\"")).await.expect(200);
        let head = send(house.request("HEAD", &path)).await.expect(200);
        assert_eq!((head.body.as_str(), head.header("etag")), ("", etag.as_str()));
    }
    assert_eq!(analysis.header("etag"), house.get(&format!("/api/analysis/{id}")).await.header("etag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_those_who_ask() {
    let house = House::open().await;
    house.analyze(plain()).await.expect(200);
    let raw = reqwest::Client::builder().no_gzip().build().expect("a client");
    let url = format!("http://{}/api/youtube/videos/{}/comments", house.address, plain());
    let plain_answer = send(raw.get(&url)).await.expect(200);
    assert_eq!(plain_answer.header("content-encoding"), "");
    let packed = raw.get(&url).header("Accept-Encoding", "gzip").send().await.expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert!(packed.bytes().await.expect("a body").len() * 2 < plain_answer.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_on_the_same_redis_answers_from_it() {
    let redis = RedisServer::start().await;
    let first = House::with(Options::default().redis(&redis)).await;
    first.until_health("ok").await;
    first.analyze(plain()).await.expect(200);
    let second = House::with(Options::default().redis(&redis)).await;
    second.until_health("ok").await;
    let hit = second.analyze(plain()).await.expect(200);
    assert!(hit.header("cache-status").ends_with("; detail=redis"), "{hit:?}");
    assert_eq!(second.counts().units, 0);
    assert_eq!(second.get("/health").await.json()["features"]["redis_cache"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_kept_is_stated_on_every_route() {
    let house = House::open().await;
    let analysis = house.analyze(plain()).await.expect(200);
    assert_eq!(analysis.header("cache-control"), "private, no-cache", "a start that is answered at once");
    let id = analysis.json()["analysis_id"].as_str().expect("an id").to_owned();
    // Before anything is erased: the cached answers, each really given.
    let kept = [
        "/api/analysis/{analysis_id}",
        "/api/youtube/videos/{video_id}",
        "/api/youtube/videos/{video_id}/comments",
    ];
    let path_of = |path: &str| {
        path.replace("{video_id}", plain()).replace("{analysis_id}", &id).replace("{user_id}", "local")
    };
    for path in kept {
        let answer = house.get(&path_of(path)).await.expect(200);
        assert_eq!(answer.header("cache-control"), "private, no-cache", "{path}");
        let known = send(house.request("GET", &path_of(path)).header("If-None-Match", answer.header("etag")));
        assert_eq!(known.await.expect(304).header("cache-control"), "private, no-cache", "{path}");
    }
    for route in lently::http::route_table() {
        let answer = house.admin(route.method, &path_of(route.path)).await;
        let expected = if route.method == "GET" && kept.contains(&route.path) {
            assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
            "private, no-cache"
        } else {
            "no-store"
        };
        assert_eq!(answer.header("cache-control"), expected, "{} {}", route.method, route.path);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(!answer.header("x-request-id").is_empty());
    }
    // What is not there may not be kept either.
    let absent = house.get(&format!("/api/analysis/{}", "a".repeat(32))).await;
    absent.problem(404, "not-found");
}

/// Plants metadata that stopped being fresh a moment ago.
async fn plant_stale(house: &House) -> String {
    let (key, path) = (format!("video:{}", plain()), format!("/api/youtube/videos/{}", plain()));
    let mut body = house.get(&path).await.expect(200).stored();
    body["title"] = json!("as it was");
    let policy = CacheTtl::default().policy(EntryKind::Video);
    let policy = Policy { fresh: Duration::from_nanos(1), ..policy };
    let body = serde_json::to_vec(&body).expect("JSON").into();
    house.app.cache.set(&key, &policy, body, Cost::default()).await.expect("planted");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_is_given_at_once_says_so_and_is_read_anew_behind() {
    let house = House::open().await;
    let path = plant_stale(&house).await;
    let stale = house.get(&path).await.expect(200);
    assert_eq!(stale.header("cache-status"), "Lently; hit; ttl=-1; detail=memory-refreshing");
    assert_eq!((&stale.json()["cached"], &stale.json()["title"]), (&json!(true), &json!("as it was")));
    let fresh = async || house.get(&path).await.header("cache-status").starts_with("Lently; hit; ttl=3");
    wait_until("it is read anew", LONG, fresh).await;
    // Its numbers alone, from their own bucket: a title hardly ever changes.
    assert_eq!((house.counts().units, house.counts().statistics), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_says_what_it_takes() {
    let house = House::open().await;
    let path = plant_stale(&house).await;
    let ask = |directives: &str| send(house.request("GET", &path).header("Cache-Control", directives));
    let kept = ask("only-if-cached").await.expect(200);
    assert_eq!(kept.header("cache-status"), "Lently; hit; ttl=-1; detail=memory-only-if-cached");
    ask("only-if-cached, max-stale=0").await.problem(504, "not-cached");
    let kind = FaultKind::RateLimited { retry_after: Some(60) };
    house.emulator.set_fault(Some(Fault { kind, method: None, times: None }));
    ask("no-cache").await.problem(503, "rate-limited");
    ask("max-stale=0").await.problem(503, "rate-limited");
    let excused = ask("max-stale").await.expect(200);
    assert_eq!(excused.json()["title"], "as it was");
    house.emulator.set_fault(None);
    let anew = ask("no-cache").await.expect(200);
    assert_eq!(anew.header("cache-status"), "Lently; fwd=request; stored");
    assert_ne!(anew.json()["title"], "as it was");
    let within = ask("max-age=3600").await.expect(200);
    assert!(within.header("cache-status").starts_with("Lently; hit; ttl=35"), "{within:?}");
    let nothing = format!("/api/youtube/videos/{}/comments", plain());
    let unread = send(house.request("GET", &nothing).header("Cache-Control", "only-if-cached")).await;
    unread.problem(504, "not-cached");
    // Last, for it is believed until the quota is whole again.
    house.emulator.set_fault(Some(Fault { kind: FaultKind::QuotaExceeded, method: None, times: None }));
    ask("no-cache").await.problem(503, "quota-exhausted");
}
