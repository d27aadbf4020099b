//! The operator's view of what is kept, and erasing by video and by author over HTTP.

use lently_testing::RedisServer;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::house::{House, Options, plain};

async fn report(house: &House) -> Value {
    house.admin("GET", "/api/retention").await.expect(200).json()
}

fn part<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut parts = report["store"].as_array().expect("parts").iter();
    parts.find(|part| part["part"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

async fn on_redis() -> (RedisServer, House) {
    let redis = RedisServer::start().await;
    let house = House::with(Options::default().redis(&redis)).await;
    house.until_health("ok").await;
    (redis, house)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_tells_of_store_and_tiers_and_of_the_last_sweep() {
    let (_redis, house) = on_redis().await;
    house.analyze(plain()).await.expect(200);
    let told = report(&house).await;
    assert_eq!((&told["retention_seconds"], &told["tiers_complete"]), (&json!(2_419_200), &json!(true)));
    let analyses = part(&told, "analyses");
    assert_eq!((&analyses["rows"], &analyses["overdue"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&analyses["from_youtube"], &part(&told, "ledger")["from_youtube"]),
        (&json!(true), &json!(false))
    );
    assert!(part(&told, "comments")["rows"].as_u64().is_some_and(|rows| rows >= 50), "{told}");
    for kind in ["analysis", "comments", "video"] {
        let mut tiers = told["tiers"].as_array().expect("tiers").iter();
        let told = tiers.find(|told| told["tier"] == "redis" && told["kind"] == kind);
        let told = told.unwrap_or_else(|| panic!("no {kind} in Redis"));
        assert!(told["oldest_at"].is_string() && told["next_due_at"].is_string(), "{told}");
    }
    assert_eq!(told["last_sweep"], Value::Null);
    let swept = house.admin("POST", "/api/retention/sweep").await.expect(200).json();
    assert_eq!((&swept["success"], &swept["failed"]), (&json!(true), &Value::Null));
    let told = report(&house).await;
    assert_eq!(told["last_sweep"]["at"], swept["at"]);
    let second = |at: &Value| at.as_str().map(|at| at[..19].to_owned());
    assert_eq!(second(&part(&told, "analyses")["swept_at"]), second(&swept["at"]));
    let metrics = house.get("/metrics").await.expect(200).body;
    assert!(metrics.contains("lently_retention_sweeps_total{outcome=\"done\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_is_erased_from_answers_store_and_redis() {
    let (redis, house) = on_redis().await;
    let analysis = house.analyze(plain()).await.expect(200).json();
    let id = analysis["analysis_id"].as_str().expect("an id");
    let comments = format!("/api/youtube/videos/{}/comments?max_comments=50", plain());
    let read = house.get(&comments).await.expect(200).json();
    let author = read["comments"][0]["author"].as_str().expect("an author").to_owned();
    let units = house.counts().units;

    let query: String = byte_serialize(author.as_bytes()).collect();
    let path = format!("/api/retention/author?author={query}");
    let rehearsed = house.admin("DELETE", &format!("{path}&dry_run=true")).await.expect(200).json();
    assert_eq!((&rehearsed["dry_run"], &rehearsed["analyses"]), (&json!(true), &json!(1)), "{rehearsed}");
    assert!(house.get(&comments).await.expect(200).body.contains(&author), "a rehearsal changes nothing");
    let answer = house.admin("DELETE", &path).await.expect(200);
    assert!(!answer.body.contains(&author), "whose it was is not repeated");
    let mut erased = answer.json();
    erased["dry_run"] = json!(true);
    assert_eq!(erased, rehearsed);

    assert!(!house.get(&comments).await.expect(200).body.contains(&author));
    assert_eq!(house.counts().units, units, "what is left was bought before");
    house.get(&format!("/api/analysis/{id}")).await.problem(404, "not-found");
    let anew = house.analyze(plain()).await.expect(200);
    assert!(anew.header("cache-status").contains("stored") && !anew.body.contains(&author));
    assert!(house.counts().units <= units + 1, "but for the page that makes up the hundred");
    for key in redis.cli(&["KEYS", "lently:[^~]*"]).lines() {
        let key = key.strip_prefix("lently:").expect("a key of ours");
        let query: String = byte_serialize(key.as_bytes()).collect();
        let value = house.admin("GET", &format!("/api/cache/value?key={query}")).await;
        assert!(!value.body.contains(&author), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_erased_with_its_analyses_and_where_redis_is_away_nothing_is() {
    let (mut redis, house) = on_redis().await;
    let id =
        house.analyze(plain()).await.expect(200).json()["analysis_id"].as_str().expect("an id").to_owned();
    let path = format!("/api/retention/video/{}", plain());
    redis.kill();
    house.until_health("degraded").await;
    house.admin("DELETE", &path).await.problem(503, "cache-unavailable");
    assert_eq!(part(&report(&house).await, "analyses")["rows"], 1);
    assert_eq!(report(&house).await["tiers_complete"], false);
    redis.restart().await;
    house.until_health("ok").await;
    let erased = house.admin("DELETE", &path).await.expect(200).json();
    assert_eq!((&erased["dry_run"], &erased["analyses"]), (&json!(false), &json!(1)), "{erased}");
    house.get(&format!("/api/analysis/{id}")).await.problem(404, "not-found");
    let told = report(&house).await;
    assert_eq!((&part(&told, "analyses")["rows"], &part(&told, "comments")["rows"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_derived_says_so_beside_youtubes_own_numbers() {
    let house = House::open().await;
    let analysis = house.analyze(plain()).await.expect(200).json();
    assert_eq!(analysis["report"]["derived"], true);
    assert!(analysis["source"]["view_count"].is_u64() && analysis["source"]["derived"].is_null());
    let metadata = house.get(&format!("/api/youtube/videos/{}", plain())).await.expect(200).json();
    assert!(metadata["derived"].is_null(), "it is YouTube's own");
}
