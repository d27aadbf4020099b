//! How old answers may be while little of the day's quota is left, and that it is said.

use std::time::Duration;

use lently_cache::Clock;
use serde_json::{Value, json};

use crate::house::{ADMIN_KEY, House, Options, plain, send};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// At noon in London, by a clock that is moved, with twenty units a day.
async fn house() -> (House, Clock) {
    let clock = Clock::manual("2026-11-24T12:00:00Z".parse().expect("a time"));
    let options = Options { clock: Some(clock.clone()), ..Options::default() };
    (House::with(options.set("LENTLY_YOUTUBE_UNITS_PER_DAY", 20)).await, clock)
}

/// Spends until so many are left of the twenty, and tells how freshness stands.
async fn until_left(house: &House, left: u64) -> Value {
    let video = format!("/api/youtube/videos/{}", plain());
    while house.counts().units < 20 - left {
        send(house.request("GET", &video).header("Cache-Control", "no-cache")).await.expect(200);
    }
    house.get("/health").await.expect(200).json()["freshness"].clone()
}

async fn status(house: &House, path: &str) -> String {
    house.get(path).await.expect(200).header("cache-status").to_owned()
}

fn is_spared(status: &str) -> bool {
    status.starts_with("Lently; hit; ttl=-") && status.ends_with("-budget")
}

async fn warm_left(house: &House, video_id: &str) -> Value {
    let request = house.request("POST", "/api/cache/warm").header("X-Admin-Key", ADMIN_KEY);
    send(request.json(&json!({ "videos": [video_id] }))).await.expect(200).json()["videos"][0]["left"].clone()
}

#[tokio::test]
async fn the_less_is_left_the_older_answers_may_be_until_midnight_in_california() {
    let (house, clock) = house().await;
    let comments = format!("/api/youtube/videos/{}/comments", plain());
    house.analyze(plain()).await.expect(200);
    assert!(status(&house, &comments).await.starts_with("Lently; hit; ttl=1800"));
    let normal = until_left(&house, 5).await;
    assert_eq!(
        (&normal["step"], &normal["tolerance"], &normal["until"]),
        (&json!(0), &json!(1.0), &json!(null))
    );

    let first = until_left(&house, 4).await;
    assert_eq!((&first["step"], &first["steps"], &first["tolerance"]), (&json!(1), &json!(3), &json!(2.0)));
    assert_eq!(
        (&first["background_paused"], &first["until"]),
        (&json!(false), &json!("2026-11-25T08:00:00Z"))
    );
    assert_eq!(
        (&first["since"], &first["why"]),
        (&json!("2026-11-24T12:00:00Z"), &json!("less than 25 % of today's 20 shared units is left"))
    );
    clock.advance(45 * MINUTE);
    let (spared, before) = (status(&house, &comments).await, house.counts());
    assert!(is_spared(&spared) && spared.contains("ttl=-90"), "{spared}");
    assert_eq!(house.counts(), before, "nobody is asked, not even for their number");
    let other =
        house.start(&json!({ "video_url_or_id": plain(), "max_comments": 50 })).header("Prefer", "wait=60");
    let made = send(other).await.expect(200).json();
    let caution = made["report"]["caution"].as_str().expect("a caution");
    assert!(
        caution.contains("read at 2026-11-24 12:00 UTC, because little of today's quota is left"),
        "{caution}"
    );
    clock.advance(30 * MINUTE);
    let analysis = house.analyze(plain()).await.expect(200);
    assert!(is_spared(analysis.header("cache-status")), "{analysis:?}");
    assert_eq!((&analysis.json()["cached"], analysis.header("age")), (&json!(true), "4500"));
    let own = send(house.request("GET", &comments).header("Cache-Control", "max-age=60")).await.expect(200);
    assert!(
        own.header("cache-status").starts_with("Lently; fwd="),
        "what a caller says of age goes before: {own:?}"
    );
    clock.advance(61 * MINUTE);
    let beyond = status(&house, &comments).await;
    assert!(beyond.ends_with("-refreshing"), "more than twice its time: {beyond}");

    let second = until_left(&house, 1).await;
    assert_eq!(
        (&second["step"], &second["tolerance"], &second["background_paused"]),
        (&json!(2), &json!(4.0), &json!(true))
    );
    assert_eq!(warm_left(&house, lently_emulator::SAMPLES[1].video_id).await, "paused");
    let metrics = house.get("/metrics").await.expect(200).body;
    for line in ["lently_freshness_step 2", "lently_freshness_background_paused 1"] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }

    let last = until_left(&house, 0).await;
    assert_eq!((&last["step"], &last["tolerance"]), (&json!(3), &json!("all")));
    clock.advance(10 * HOUR);
    for path in [&comments, &format!("/api/youtube/videos/{}", plain())] {
        let kept = status(&house, path).await;
        assert!(is_spared(&kept), "whatever is kept: {kept}");
    }
    assert!(is_spared(house.analyze(plain()).await.expect(200).header("cache-status")));

    clock.advance(9 * HOUR);
    let morning = house.get("/health").await.expect(200).json()["freshness"].clone();
    assert_eq!(
        (&morning["step"], &morning["background_paused"], &morning["until"]),
        (&json!(0), &json!(false), &json!(null))
    );
    assert!(
        house.get("/metrics").await.expect(200).body.lines().any(|line| line == "lently_freshness_step 0")
    );
    assert!(status(&house, &comments).await.starts_with("Lently; fwd="), "nineteen hours are too old again");
    assert!(house.analyze(plain()).await.expect(200).header("cache-status").starts_with("Lently; fwd="));
    assert_eq!(warm_left(&house, lently_emulator::SAMPLES[1].video_id).await, Value::Null);
}

#[tokio::test]
async fn an_analysis_that_was_invalidated_is_made_anew_however_little_is_left() {
    let (house, clock) = house().await;
    let id =
        house.analyze(plain()).await.expect(200).json()["analysis_id"].as_str().expect("an id").to_owned();
    until_left(&house, 4).await;
    clock.advance(90 * MINUTE);
    assert!(is_spared(house.analyze(plain()).await.expect(200).header("cache-status")));
    house.admin("DELETE", &format!("/api/cache/analysis/{id}")).await.expect(200);
    assert!(house.analyze(plain()).await.expect(200).header("cache-status").starts_with("Lently; fwd="));
}
