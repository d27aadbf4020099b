//! What is fetched before anybody asks: of whom, for how much, and what is left.

use lently_emulator::{EVERYTHING, SAMPLES};
use lently_testing::RedisServer;
use serde_json::{Value, json};

use crate::house::{ADMIN_KEY, Answer, House, Options, plain, send};

async fn warm(house: &House, body: Value) -> Answer {
    let request = house.request("POST", "/api/cache/warm").header("X-Admin-Key", ADMIN_KEY);
    send(request.json(&body)).await
}

/// Each video with whether it is warm, or why it was left.
fn told(answer: &Value) -> Vec<(&str, &str)> {
    let videos = answer["videos"].as_array().expect("videos").iter();
    let state = |video: &Value| match video["ok"] == true {
        true => "warm",
        false => ["budget", "kept_share", "used_up"]
            .into_iter()
            .find(|why| video["left"] == *why)
            .unwrap_or("failed"),
    };
    videos.map(|video| (video["video_id"].as_str().expect("an id"), state(video))).collect()
}

async fn is_warm(house: &House, video_id: &str) -> bool {
    let units = house.counts().units;
    for path in ["", "/comments"] {
        house.get(&format!("/api/youtube/videos/{video_id}{path}")).await.expect(200);
    }
    house.counts().units == units
}

#[tokio::test]
async fn the_newest_of_a_channel_is_found_without_a_search() {
    let house = House::open().await;
    let body = json!({ "channels": ["https://www.youtube.com/@workshophours"], "newest": 5 });
    let plan = warm(&house, json!({ "channels": ["@workshophours"], "newest": 5, "dry_run": true })).await;
    let plan = plan.expect(200).json();
    assert_eq!(
        (&plan["dry_run"], &plan["unlisted_videos"], &plan["videos"]),
        (&json!(true), &json!(5), &json!([]))
    );
    assert_eq!(
        (&plan["shared_units"], &plan["fits"]),
        (&json!(8), &json!(true)),
        "channel, list, metadata, five pages"
    );
    assert_eq!(house.counts().units, 0, "a plan asks nobody");
    let warmed = warm(&house, body).await.expect(200).json();
    assert_eq!(told(&warmed), [(SAMPLES[0].video_id, "warm")]);
    assert_eq!(
        (&warmed["success"], &warmed["shared_units"], &warmed["warmed"]),
        (&json!(true), &json!(4), &json!(1))
    );
    let counts = house.counts();
    assert_eq!((counts.channels, counts.playlist_items, counts.videos, counts.comment_threads), (1, 1, 1, 1));
    assert_eq!(counts.units, 4);
    assert!(is_warm(&house, SAMPLES[0].video_id).await);
    let nobody = warm(&house, json!({ "channels": ["@nobody"], "videos": [SAMPLES[1].video_id] })).await;
    assert_eq!(nobody.problem(422, "invalid-request")["field"], "channels");
    let nowhere = warm(&house, json!({ "playlists": ["PLnowhere"] })).await;
    assert_eq!(nowhere.problem(422, "invalid-request")["field"], "playlists");
    assert!(!is_warm(&house, SAMPLES[1].video_id).await, "nothing of a wrong request is done");
}

#[tokio::test]
async fn the_newest_of_a_playlist_are_by_their_dates_whatever_its_order_is() {
    let house = House::open().await;
    let warmed = warm(&house, json!({ "playlists": [EVERYTHING], "newest": 1, "max_comments": 20 })).await;
    assert_eq!(told(&warmed.expect(200).json()), [("LentlyZugDE", "warm")]);
    // It is there and not on the list twice.
    let again =
        warm(&house, json!({ "playlists": [EVERYTHING], "newest": 1, "videos": ["LentlyZugDE"] })).await;
    assert_eq!(told(&again.expect(200).json()).len(), 1);
}

#[tokio::test]
async fn a_budget_is_never_exceeded_and_what_is_left_is_told() {
    let house = House::open().await;
    let videos: Vec<&str> = SAMPLES[..3].iter().map(|sample| sample.video_id).collect();
    let wanted = |budget: u64, dry_run: bool| json!({ "videos": videos, "max_comments": 150, "budget_units": budget, "dry_run": dry_run });
    let plan = warm(&house, wanted(3, true)).await.expect(200).json();
    assert_eq!(
        (&plan["shared_units"], &plan["fits"]),
        (&json!(7), &json!(false)),
        "metadata, and two pages of each"
    );
    let some = warm(&house, wanted(3, false)).await.expect(200).json();
    assert_eq!(told(&some), [(videos[0], "warm"), (videos[1], "budget"), (videos[2], "budget")]);
    assert_eq!(
        (&some["success"], &some["left"], &some["shared_units"]),
        (&json!(true), &json!(2), &json!(3))
    );
    assert_eq!(house.counts().units, 3);
    let none = warm(&house, wanted(0, false)).await.expect(200).json();
    assert_eq!(
        (&none["warmed"], house.counts().units),
        (&json!(1), 3),
        "what is there costs nothing: {none}"
    );
    let rest = warm(&house, wanted(4, false)).await.expect(200).json();
    assert_eq!(
        (&rest["warmed"], &rest["shared_units"]),
        (&json!(3), &json!(4)),
        "what was paid is not paid again"
    );
    let nothing = warm(&house, json!({ "channels": ["@workshophours"], "budget_units": 0 })).await;
    let nothing = nothing.expect(200).json();
    assert!(nothing["notes"][0].as_str().is_some_and(|note| note.contains("was not listed")), "{nothing}");
    assert_eq!(house.counts().units, 7);
}

#[tokio::test]
async fn what_is_kept_for_those_who_wait_stops_it_and_they_go_on() {
    let options = Options::default().set("LENTLY_YOUTUBE_UNITS_PER_DAY", 10);
    let house = House::with(options.set("LENTLY_YOUTUBE_KEPT_RATIO", 0.7)).await;
    let videos: Vec<&str> = SAMPLES[..3].iter().map(|sample| sample.video_id).collect();
    let warmed = warm(&house, json!({ "videos": videos })).await.expect(200).json();
    let left = told(&warmed).iter().filter(|(_, state)| *state == "kept_share").count();
    assert_eq!((left, &warmed["warmed"]), (1, &json!(2)), "{warmed}");
    assert_eq!(house.counts().units, 3);
    let listed = warm(&house, json!({ "channels": ["@workshophours"] })).await.expect(200).json();
    assert!(
        listed["notes"][0].as_str().is_some_and(|note| note.contains("kept for those who wait")),
        "{listed}"
    );
    house.get(&format!("/api/youtube/videos/{}?", plain())).await.expect(200);
    house.analyze(videos[2]).await.expect(200);
}

#[tokio::test]
async fn an_analysis_is_made_ahead_and_is_in_nobodys_history_until_asked_for() {
    let house = House::open().await;
    let warmed = warm(&house, json!({ "videos": [plain()], "analyze": true })).await.expect(200).json();
    assert_eq!(told(&warmed), [(plain(), "warm")]);
    assert_eq!(house.get("/api/analyses").await.expect(200).json()["analyses"], json!([]));
    assert_eq!(house.get("/api/usage").await.expect(200).json()["used"], 0);
    let ledger = house.admin("GET", "/api/ledger").await.expect(200).json();
    let purposes: Vec<_> =
        ledger["purposes"].as_array().expect("purposes").iter().map(|one| &one["name"]).collect();
    assert_eq!(purposes, [&json!("warm")], "it is background, all of it");
    let units = house.counts().units;
    let asked = house.analyze(plain()).await.expect(200);
    assert!(asked.header("cache-status").starts_with("Lently; hit"), "{asked:?}");
    assert_eq!(house.counts().units, units);
    assert_eq!(house.get("/api/analyses").await.expect(200).json()["analyses"][0]["video_id"], plain());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_most_asked_for_on_any_node_is_warmed_on_each() {
    let redis = RedisServer::start().await;
    let (one, other) = (
        House::with(Options::default().redis(&redis)).await,
        House::with(Options::default().redis(&redis)).await,
    );
    one.until_health("ok").await;
    other.until_health("ok").await;
    let ask = async |house: &House, video_id: &str, times: usize| {
        for _ in 0..times {
            house.get(&format!("/api/youtube/videos/{video_id}")).await.expect(200);
        }
    };
    ask(&one, SAMPLES[0].video_id, 1).await;
    ask(&one, SAMPLES[1].video_id, 2).await;
    ask(&other, SAMPLES[1].video_id, 2).await;
    ask(&other, SAMPLES[2].video_id, 3).await;
    let plan = async |house: &House| {
        let plan = warm(house, json!({ "most_asked": 2, "dry_run": true })).await.expect(200).json();
        let ids = plan["videos"].as_array().expect("videos").iter();
        ids.map(|video| video["video_id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        plan(&one).await,
        [SAMPLES[1].video_id, SAMPLES[0].video_id],
        "what the other has is not told yet"
    );
    assert_eq!(plan(&other).await, [SAMPLES[1].video_id, SAMPLES[2].video_id]);
    assert_eq!(plan(&one).await, [SAMPLES[1].video_id, SAMPLES[2].video_id]);
    let warmed = warm(&one, json!({ "most_asked": 2, "max_comments": 20 })).await.expect(200).json();
    assert_eq!(told(&warmed), [(SAMPLES[1].video_id, "warm"), (SAMPLES[2].video_id, "warm")]);
    assert_eq!(plan(&one).await, [SAMPLES[1].video_id, SAMPLES[2].video_id], "warming is no asking");
}

#[tokio::test]
async fn more_than_may_be_wanted_at_once_is_refused_with_the_field() {
    let house = House::open().await;
    for (body, field) in [
        (json!({ "videos": vec![plain(); 51] }), "videos"),
        (json!({ "playlists": [EVERYTHING], "newest": 51 }), "newest"),
        (json!({ "playlists": [EVERYTHING], "newest": 0 }), "newest"),
        (json!({ "playlists": vec![EVERYTHING; 11], "newest": 1 }), "playlists"),
        (json!({ "most_asked": 51 }), "newest"),
        (json!({ "videos": [plain()], "max_comments": 0 }), "max_comments"),
    ] {
        let problem = warm(&house, body.clone()).await.problem(422, "invalid-request");
        assert_eq!(problem["field"], field, "{body}");
    }
    for body in
        [json!({ "playlists": ["PL*"] }), json!({ "channels": ["nobody"] }), json!({ "budget_units": -1 })]
    {
        warm(&house, body).await.problem(422, "invalid-request");
    }
    assert_eq!(house.counts().units, 0);
}
