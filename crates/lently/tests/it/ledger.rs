//! What is spent, as it is told over HTTP.

use lently_emulator::{Fault, FaultKind};
use serde_json::json;

use crate::house::{House, Options, plain, send};

#[tokio::test]
async fn the_ledger_is_the_operators_and_a_users_part_their_own() {
    let house = House::open().await;
    house.analyze(plain()).await.expect(200);
    let units = house.counts().units;
    house.get("/api/ledger").await.problem(401, "admin-key-missing");
    let told = house.admin("GET", "/api/ledger").await.expect(200).json();
    let shared = &told["buckets"][0];
    assert_eq!((&shared["bucket"], &shared["spent_units"]), (&json!("shared"), &json!(units)));
    assert_eq!((&shared["left_units"], &shared["reserved_units"]), (&json!(10_000 - units), &json!(0)));
    assert_eq!(
        told["users"],
        json!([{ "name": "local", "shared_units": units, "stats_units": 0, "search_units": 0,
        "tokens_in": 0, "tokens_out": 0, "micro_dollars": 0 }])
    );
    assert_eq!(told["purposes"][0]["name"], "analysis");
    let day = told["day"].as_str().expect("a day");
    let again = house.admin("GET", &format!("/api/ledger?day={day}")).await.expect(200).json();
    assert_eq!(again["buckets"], told["buckets"]);
    let other = house.admin("GET", "/api/ledger?day=2020-02-29").await.expect(200).json();
    assert_eq!(other["buckets"][0]["spent_units"], 0);
    house.admin("GET", "/api/ledger?day=today").await.problem(422, "invalid-request");
    let usage = house.get("/api/usage").await.expect(200).json();
    assert_eq!((&usage["plan"], &usage["today"]["shared_units"]), (&json!("unlimited"), &json!(units)));
    let metrics = house.get("/metrics").await.expect(200).body;
    for line in [
        format!("lently_ledger_spent_units{{bucket=\"shared\"}} {units}"),
        "lently_ledger_limit_units{bucket=\"search\"} 100".to_owned(),
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("local"), "users are no labels");
}

#[tokio::test]
async fn an_estimate_is_free_and_says_what_is_there() {
    let house = House::open().await;
    let estimate = async |body| send(house.request("POST", "/api/analysis/estimate").json(&body)).await;
    let body = json!({ "video_url_or_id": plain() });
    let unknown = estimate(body.clone()).await.expect(200).json();
    assert_eq!(
        (&unknown["comments_known"], &unknown["shared_units"], &unknown["allowed"]),
        (&json!(false), &json!(2), &json!(true))
    );
    assert_eq!(house.counts().units, 0);
    house.analyze(plain()).await.expect(200);
    let there = estimate(body).await.expect(200).json();
    assert_eq!((&there["cached"]["analysis"], &there["shared_units"]), (&json!(true), &json!(0)));
    estimate(json!({ "video_url_or_id": "?" })).await.problem(422, "invalid-request");
    estimate(json!({ "video_url_or_id": plain(), "engine": "gemini" }))
        .await
        .problem(422, "engine-unavailable");
}

#[tokio::test]
async fn health_and_ledger_tell_when_a_quota_is_empty() {
    let house = House::open().await;
    house.emulator.set_fault(Some(Fault { kind: FaultKind::QuotaExceeded, method: None, times: Some(1) }));
    house.analyze(plain()).await.problem(503, "quota-exhausted");
    let health = house.get("/health").await.expect(200).json();
    assert_eq!(health["quota"]["shared"], json!({ "left_units": 0, "empty": true, "used_up": true }));
    assert_eq!((&health["quota"]["stats"]["empty"], &health["status"]), (&json!(false), &json!("ok")));
}

#[tokio::test]
async fn warming_leaves_the_kept_share_to_those_who_wait() {
    let house = House::with(
        Options::default().set("LENTLY_YOUTUBE_UNITS_PER_DAY", 5).set("LENTLY_YOUTUBE_KEPT_RATIO", 0.6),
    )
    .await;
    let warm = json!({ "videos": [plain(), lently_emulator::SAMPLES[1].video_id] });
    let warmed = send(
        house.request("POST", "/api/cache/warm").header("X-Admin-Key", crate::house::ADMIN_KEY).json(&warm),
    )
    .await;
    let videos = warmed.expect(200).json()["videos"].clone();
    // Both are begun at once; there is enough for one.
    let (warm, left): (Vec<_>, Vec<_>) =
        videos.as_array().expect("videos").iter().partition(|video| video["ok"] == true);
    assert_eq!((warm.len(), left.len()), (1, 1), "{videos}");
    assert_eq!(left[0]["error"]["code"], "quota-set-aside");
    house.analyze(left[0]["video_id"].as_str().expect("an id")).await.expect(200);
    assert_eq!(house.counts().units, 3);
}
