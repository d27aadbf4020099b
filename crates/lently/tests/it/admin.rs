//! The admin routes: who may call them, what they do, and above all what they leave alone.

use lently::http::{RouteInfo, Who, route_table};
use lently_testing::RedisServer;
use serde_json::{Value, json};

use crate::house::{ADMIN_KEY, Answer, House, Options, plain, sample, send};

/// How an admin route is called rightly, and wrongly (with the status and code that follow).
struct Case {
    path: String,
    body: Option<Value>,
    bad: Vec<(String, Option<Value>, u16, &'static str)>,
}

/// A new admin route does not pass before it has a row here.
fn case(route: &RouteInfo) -> Case {
    let right = |path: &str| Case { path: path.to_owned(), body: None, bad: Vec::new() };
    let bad = |path: &str, status| (path.to_owned(), None, status, "invalid-request");
    match route.path {
        "/api/cache/stats/reset" => right(route.path),
        "/api/cache/value" => Case {
            bad: vec![
                bad("/api/cache/value", 422),
                bad("/api/cache/value?key=", 422),
                bad("/api/cache/value?key=foreign:1", 422),
                bad("/api/cache/value?key=video:a%0Ab", 422),
                ("/api/cache/value?key=video:AAAAAAAAAAA".to_owned(), None, 404, "not-found"),
            ],
            ..right(&format!("/api/cache/value?key=video:{}", plain()))
        },
        "/api/cache/explain" => Case {
            bad: vec![
                bad("/api/cache/explain", 422),
                bad("/api/cache/explain?key=", 422),
                bad("/api/cache/explain?key=foreign:1", 422),
                bad("/api/cache/explain?key=video:a%0Ab", 422),
                bad("/api/cache/explain?key=video:a&value=true", 422),
            ],
            ..right(&format!("/api/cache/explain?key=video:{}", plain()))
        },
        "/api/cache/analysis/{analysis_id}" => Case {
            bad: ["*", "A%2F", &"g".repeat(32)]
                .map(|id| bad(&format!("/api/cache/analysis/{id}"), 422))
                .to_vec(),
            ..right(&format!("/api/cache/analysis/{}", "0".repeat(32)))
        },
        "/api/cache/video/{video_id}" => Case {
            bad: ["*", "AAAAAAAAAA*", "AAAAAAAAA%5B%5D"]
                .map(|id| bad(&format!("/api/cache/video/{id}"), 422))
                .to_vec(),
            ..right(&format!("/api/cache/video/{}", plain()))
        },
        "/api/cache/user/{user_id}" => Case {
            bad: vec![
                bad("/api/cache/user/a%0Ab", 422),
                bad(&format!("/api/cache/user/{}", "x".repeat(257)), 422),
            ],
            ..right("/api/cache/user/local")
        },
        "/api/cache/pattern" => Case {
            bad: vec![
                bad("/api/cache/pattern", 422),
                bad("/api/cache/pattern?pattern=", 422),
                bad("/api/cache/pattern?pattern=a%5B", 422),
                bad("/api/cache/pattern?pattern=a&dry_run=perhaps", 422),
                ("/api/cache/pattern?pattern=*".to_owned(), None, 400, "confirmation-required"),
                ("/api/cache/pattern?pattern=**&confirm=yes".to_owned(), None, 400, "confirmation-required"),
            ],
            ..right("/api/cache/pattern?pattern=video:*")
        },
        "/api/cache/all" => Case {
            bad: ["", "?confirm=", "?confirm=confirm_flush", "?confirm=CONFIRM_FLUSH%20"]
                .map(|query| (format!("/api/cache/all{query}"), None, 400, "confirmation-required"))
                .to_vec(),
            ..right("/api/cache/all?confirm=CONFIRM_FLUSH")
        },
        "/api/cache/warm" => warm_case(),
        "/api/ledger" => Case {
            bad: vec![
                bad("/api/ledger?day=today", 422),
                bad("/api/ledger?day=2026-13-01", 422),
                bad("/api/ledger?user=local", 422),
            ],
            ..right("/api/ledger?day=2026-11-29")
        },
        "/api/retention" | "/api/retention/sweep" => right(route.path),
        "/api/retention/video/{video_id}" => Case {
            bad: vec![
                bad("/api/retention/video/*", 422),
                bad(&format!("/api/retention/video/{}?dry_run=perhaps", plain()), 422),
                bad(&format!("/api/retention/video/{}?dryrun=true", plain()), 422),
            ],
            ..right(&format!("/api/retention/video/{}?dry_run=true", plain()))
        },
        "/api/retention/author" => Case {
            bad: vec![
                bad("/api/retention/author", 422),
                bad("/api/retention/author?author=", 422),
                bad("/api/retention/author?author=a%0Ab", 422),
                bad(&format!("/api/retention/author?author={}", "x".repeat(401)), 422),
                bad("/api/retention/author?author=@ann&dry_run=perhaps", 422),
                bad("/api/retention/author?author=@ann&dryrun=true", 422),
            ],
            ..right("/api/retention/author?author=@ann")
        },
        "/api/users/{user_id}/plan" => Case {
            body: Some(json!({ "plan": "pro" })),
            bad: vec![
                ("/api/users/local/plan".to_owned(), Some(json!({ "plan": "gold" })), 422, "invalid-request"),
                ("/api/users/a%00b/plan".to_owned(), Some(json!({ "plan": "pro" })), 422, "invalid-request"),
                ("/api/users/local/plan".to_owned(), None, 415, "unsupported-media-type"),
            ],
            ..right("/api/users/local/plan")
        },
        other => panic!("no test for the admin route {other}"),
    }
}

fn a_video() -> Value {
    json!({ "id": "AAAAAAAAAAA", "title": "ours", "channel_id": "UC1", "channel_title": "us", "description": "" })
}

fn warm_case() -> Case {
    let path = "/api/cache/warm".to_owned();
    let bad = |body| (path.clone(), Some(body), 422, "invalid-request");
    let of = |key: &str, value: Value, ttl: f64| json!({ "entries": [{ "key": key, "value": value, "ttl": ttl }] });
    let entry = |key: &str, ttl: f64| of(key, a_video(), ttl);
    Case {
        body: Some(entry("video:AAAAAAAAAAA", 1.0)),
        bad: vec![
            bad(json!({})),
            bad(entry("foreign:1", 1.0)),
            bad(entry("video:1", 0.0)),
            bad(entry("video:1", -1.0)),
            bad(entry("video:1", 1e9)),
            bad(of("video:AAAAAAAAAAA", json!({}), 1.0)),
            bad(of("video:AAAAAAAAAAA", json!(1), 1.0)),
            bad(of("comments:AAAAAAAAAAA:max_1:order_time", json!([]), 1.0)),
            bad(of("transcript:AAAAAAAAAAA", json!("words"), 1.0)),
            bad(of("quota:local", json!({ "plan": "gold" }), 1.0)),
            bad(of(&format!("analysis:{}", "0".repeat(32)), json!({ "status": "completed" }), 1.0)),
            bad(json!({ "videos": ["*"] })),
            bad(json!({ "videos": vec![plain(); 51] })),
        ],
        path,
    }
}

async fn call(
    house: &House,
    route: &RouteInfo,
    key: Option<&str>,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let mut request = house.request(route.method, path);
    if let Some(key) = key {
        request = request.header("X-Admin-Key", key);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    send(request).await
}

fn admin_routes() -> Vec<RouteInfo> {
    let routes: Vec<_> = route_table().into_iter().filter(|route| route.who == Who::Admin).collect();
    assert_eq!(routes.len(), 15);
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_route_wants_the_right_key_and_good_input() {
    let house = House::open().await;
    house.analyze(plain()).await.expect(200);
    for route in admin_routes() {
        let Case { path, body, bad } = case(&route);
        let told = format!("{} {path}", route.method);
        let missing = call(&house, &route, None, &path, body.as_ref()).await;
        assert!(missing.header("www-authenticate").contains("X-Admin-Key"), "{told}");
        missing.problem(401, "admin-key-missing");
        for wrong in ["", "wrong", &ADMIN_KEY[..ADMIN_KEY.len() - 1], &format!("{ADMIN_KEY}x")] {
            call(&house, &route, Some(wrong), &path, body.as_ref()).await.problem(401, "admin-key-wrong");
        }
        // Bad input without a key tells nothing about the input.
        for (path, body, status, code) in &bad {
            call(&house, &route, None, path, body.as_ref()).await.problem(401, "admin-key-missing");
            let before = house.app.cache.stats().deletes;
            call(&house, &route, Some(ADMIN_KEY), path, body.as_ref()).await.problem(*status, code);
            assert_eq!(house.app.cache.stats().deletes, before, "{told}");
        }
        let right = call(&house, &route, Some(ADMIN_KEY), &path, body.as_ref()).await.expect(200);
        assert_eq!(right.json()["success"], true, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_configured_key_every_admin_route_says_why_it_is_closed() {
    let house = House::with(Options { admin_key: false, ..Options::default() }).await;
    for route in admin_routes() {
        let Case { path, body, .. } = case(&route);
        for key in [None, Some(""), Some(ADMIN_KEY)] {
            let problem =
                call(&house, &route, key, &path, body.as_ref()).await.problem(403, "admin-disabled");
            assert!(
                problem["detail"].as_str().is_some_and(|told| told.contains("ADMIN_API_KEY")),
                "{problem}"
            );
        }
    }
    assert_eq!(house.get("/health").await.json()["features"]["admin_api"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_made_again_and_nothing_else_is() {
    let redis = RedisServer::start().await;
    let house = House::with(Options::default().redis(&redis)).await;
    house.until_health("ok").await;
    let id =
        house.analyze(plain()).await.expect(200).json()["analysis_id"].as_str().expect("an id").to_owned();
    let status = async |path: &str| house.get(path).await.expect(200).header("cache-status").to_owned();
    let comments = format!("/api/youtube/videos/{}/comments", plain());

    let deleted = house.admin("DELETE", &format!("/api/cache/analysis/{id}")).await.expect(200).json();
    assert_eq!(deleted, json!({ "success": true, "deleted": 1, "analysis_id": id }));
    assert!(status(&comments).await.starts_with("Lently; hit"));
    assert_eq!(house.analyze(plain()).await.header("cache-status"), "Lently; fwd=uri-miss; stored");

    let deleted = house.admin("DELETE", &format!("/api/cache/video/{}", plain())).await.expect(200).json();
    assert_eq!((&deleted["deleted"], &deleted["video_id"]), (&json!(2), &json!(plain())));
    assert!(house.analyze(plain()).await.header("cache-status").starts_with("Lently; hit"));
    assert_eq!(status(&comments).await, "Lently; fwd=uri-miss; stored");

    house.get("/api/usage").await.expect(200);
    let deleted = house.admin("DELETE", "/api/cache/user/local").await.expect(200).json();
    assert_eq!((&deleted["analyses"], &deleted["quota"]), (&json!(1), &json!(1)));
    assert!(status(&comments).await.starts_with("Lently; hit"));
}

/// Ids of users may hold any character. None of them is a pattern.
#[tokio::test(flavor = "multi_thread")]
async fn glob_characters_in_an_id_delete_nothing_else() {
    let redis = RedisServer::start().await;
    let house = House::with(Options::default().redis(&redis)).await;
    house.until_health("ok").await;
    house.analyze(plain()).await.expect(200);
    house.get("/api/usage").await.expect(200);
    let values = || {
        let mut keys: Vec<String> = redis.cli(&["KEYS", "lently:[^~]*"]).lines().map(str::to_owned).collect();
        keys.sort_unstable();
        keys
    };
    let before = values();
    assert!(!before.is_empty());
    for id in ["*", "%3F%3F%3F%3F%3F", "loca[l]", "%5Blocal%5D", "l*", "%5C*"] {
        let deleted = house.admin("DELETE", &format!("/api/cache/user/{id}")).await.expect(200).json();
        assert_eq!(deleted["deleted"], 0, "{id}");
        house.admin("DELETE", &format!("/api/cache/video/{id}")).await.problem(422, "invalid-request");
        house.admin("DELETE", &format!("/api/cache/analysis/{id}")).await.problem(422, "invalid-request");
    }
    assert_eq!(values(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_and_a_pattern_leave_foreign_keys_alone() {
    let redis = RedisServer::start().await;
    let house = House::with(Options::default().redis(&redis)).await;
    house.until_health("ok").await;
    for key in ["other:analysis:1", "analysis:1", "lentl", "session"] {
        redis.cli(&["SET", key, "theirs"]);
    }
    house.analyze(plain()).await.expect(200);
    let dry =
        house.admin("DELETE", "/api/cache/pattern?pattern=analysis:*&dry_run=true").await.expect(200).json();
    assert_eq!((&dry["dry_run"], &dry["keys"]), (&json!(true), &json!(1)));
    assert!(dry["bytes"].as_u64().is_some_and(|bytes| bytes > 1_000), "{dry}");
    assert!(dry["refill"]["quota_units"].is_u64() && dry["refill"]["dollars"].is_number(), "{dry}");
    let deleted = house.admin("DELETE", "/api/cache/pattern?pattern=analysis:*").await.expect(200).json();
    assert_eq!(deleted["deleted"], 1);
    house.admin("DELETE", "/api/cache/all?confirm=CONFIRM_FLUSH").await.expect(200);
    assert_eq!(redis.cli(&["KEYS", "lently:[^~]*"]), "");
    for key in ["other:analysis:1", "analysis:1", "lentl", "session"] {
        assert_eq!(redis.cli(&["GET", key]), "theirs", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_told_as_it_is_stored_and_looking_costs_nothing() {
    let house = House::open().await;
    let path = format!("/api/cache/value?key=video:{}", plain());
    house.admin("GET", &path).await.problem(404, "not-found");
    assert_eq!(house.counts().units, 0);
    let video = house.get(&format!("/api/youtube/videos/{}", plain())).await.expect(200);
    let told = house.admin("GET", &path).await.expect(200);
    assert_eq!(told.header("cache-control"), "no-store");
    let body = told.json();
    assert_eq!((&body["key"], &body["tier"]), (&json!(format!("video:{}", plain())), &json!("memory")));
    assert!(body["ttl_seconds"].as_u64().is_some_and(|left| left > 3_000), "{body}");
    assert_eq!(body["value"], video.stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_explained_before_and_after_it_is_fetched() {
    let house = House::open().await;
    let path = format!("/api/cache/explain?key=video:{}", plain());
    let told = house.admin("GET", &path).await.expect(200);
    assert_eq!(told.header("cache-control"), "no-store");
    let body = told.json();
    assert_eq!((&body["success"], &body["next"]["step"]), (&json!(true), &json!("fetch")), "{body}");
    let before = house.get("/api/cache/stats").await.json();
    assert_eq!((house.counts().units, &before["stats"]["total_requests"]), (0, &json!(0)));
    let video = house.get(&format!("/api/youtube/videos/{}", plain())).await.expect(200).json();
    let body = house.admin("GET", &path).await.expect(200).json();
    let tiers = body["tiers"].as_array().expect("tiers");
    assert!(tiers.len() == 2 && tiers.iter().all(|tier| tier["state"] == "fresh"), "{body}");
    assert_eq!((&body["kind"], &body["next"]["step"]), (&json!("video"), &json!("serve")));
    assert_eq!(tiers[0]["value"]["cost"]["quota_units"], 1, "{body}");
    let title = video["title"].as_str().expect("a title");
    assert!(!body.to_string().contains(title), "no byte of the value: {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_stores_entries_and_fetches_videos() {
    let house = House::open().await;
    let warm = async |body: Value| {
        let request = house.request("POST", "/api/cache/warm").header("X-Admin-Key", ADMIN_KEY);
        send(request.json(&body)).await.expect(200).json()
    };
    let entry = json!({ "key": "video:AAAAAAAAAAA", "value": a_video(), "ttl": 60 });
    assert_eq!(warm(json!({ "entries": [entry] })).await["stored"], 1);
    let served = house.get("/api/youtube/videos/AAAAAAAAAAA").await.expect(200);
    assert_eq!((&served.json()["cached"], served.stored()), (&json!(true), a_video()));

    let videos = warm(json!({ "videos": [plain(), sample("disabled")] })).await;
    assert_eq!((&videos["success"], &videos["videos"][0]["ok"]), (&json!(false), &json!(true)));
    assert_eq!(videos["videos"][1]["error"]["code"], "comments-disabled");
    let units = house.counts().units;
    assert!(house.analyze(plain()).await.expect(200).header("cache-status").contains("stored"));
    assert_eq!(house.counts().units, units, "the analysis found what was warmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_plan_shows_at_once_and_a_reset_begins_anew() {
    let house = House::open().await;
    assert_eq!(house.get("/api/usage").await.expect(200).json()["plan"], "unlimited");
    let change = house.request("PUT", "/api/users/local/plan").header("X-Admin-Key", ADMIN_KEY);
    let body = send(change.json(&json!({ "plan": "free" }))).await.expect(200).json();
    assert_eq!(body, json!({ "success": true, "user_id": "local", "plan": "free" }));
    assert_eq!(house.get("/api/usage").await.expect(200).json()["plan"], "free");
    let refused = send(
        house.start(&json!({ "video_url_or_id": plain(), "max_comments": 101 })).header("Prefer", "wait=60"),
    )
    .await
    .problem(403, "plan-limit");
    assert_eq!((&refused["limit"], &refused["allowed"]), (&json!("max_comments"), &json!(100)));

    house.admin("POST", "/api/cache/stats/reset").await.expect(200);
    let stats = house.stats().await;
    assert_eq!(
        (&stats["hits"], &stats["misses"], &stats["hit_rate_str"]),
        (&json!(0), &json!(0), &json!("0.0%"))
    );
}

/// What is in the store alone would be answered with by the next start, so a pattern reaches it too; a flush does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_reaches_the_analyses_in_the_store() {
    let house = House::open().await;
    house.analyze(plain()).await.expect(200);
    let pattern = async |query: &str| {
        house.admin("DELETE", &format!("/api/cache/pattern?pattern={query}")).await.expect(200).json()
    };
    for (query, deleted, expired) in [("video:*", 1, 0), ("analysis:0000*", 0, 0)] {
        let told = pattern(query).await;
        assert_eq!((&told["deleted"], &told["expired"]), (&json!(deleted), &json!(expired)), "{query}");
    }
    assert!(house.analyze(plain()).await.header("cache-status").starts_with("Lently; hit"));

    house.admin("DELETE", "/api/cache/all?confirm=CONFIRM_FLUSH").await.expect(200);
    let dry = pattern("analysis:*&dry_run=true").await;
    assert_eq!((&dry["keys"], &dry["expired"]), (&json!(0), &json!(1)), "{dry}");
    assert_eq!(dry["refill"]["quota_units"], 2, "{dry}");
    assert!(house.analyze(plain()).await.header("cache-status").contains("detail=store"));
    let dry = pattern("analysis:*&dry_run=true").await;
    assert_eq!((&dry["keys"], &dry["expired"]), (&json!(1), &json!(1)), "{dry}");
    assert_eq!(dry["refill"]["quota_units"], 2, "counted once: {dry}");
    let told = pattern("analysis:*").await;
    assert_eq!((&told["deleted"], &told["expired"]), (&json!(1), &json!(1)));
    assert_eq!(house.analyze(plain()).await.header("cache-status"), "Lently; fwd=uri-miss; stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_of_another_kind_is_named_and_none_is_stored() {
    let house = House::open().await;
    let body = json!({ "entries": [
        { "key": "video:AAAAAAAAAAA", "value": a_video() },
        { "key": "video:BBBBBBBBBBB", "value": {} },
    ] });
    let request = house.request("POST", "/api/cache/warm").header("X-Admin-Key", ADMIN_KEY);
    let problem = send(request.json(&body)).await.problem(422, "invalid-request");
    assert_eq!((&problem["field"], &problem["key"]), (&json!("value"), &json!("video:BBBBBBBBBBB")));
    assert_eq!(house.stats().await["sets"], 0);
}
