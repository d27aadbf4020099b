//! How far an analysis is, as events, and wanting it no more.

use serde_json::{Value, json};

use crate::house::{House, Options, plain, send, slow};

/// The events of a stream that has ended: name, id, data.
fn events(body: &str) -> Vec<(String, String, Value)> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_default().trim().to_owned()
    };
    let blocks = body.split("\n\n").filter(|block| block.contains("data:"));
    blocks
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data")).expect("JSON");
            (field(block, "event"), field(block, "id"), data)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_as_it_goes_on_and_ends_with_the_end() {
    let house = House::with(Options { latency: slow(50), ..Options::default() }).await;
    let begun = send(house.start(&json!({ "video_url_or_id": plain(), "max_comments": 500 }))).await;
    let id = begun.expect(202).json()["analysis_id"].as_str().expect("an id").to_owned();
    let stream = house.get(&format!("/api/analysis/{id}/events")).await.expect(200);
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let told = events(&stream.body);
    let (last, steps) = told.split_last().expect("events");
    assert_eq!((last.0.as_str(), last.1.as_str()), ("completed", "end"));
    assert_eq!(last.2["links"]["self"], format!("/api/analysis/{id}"));
    assert!(steps.iter().all(|(name, ..)| name == "progress"), "{told:?}");
    assert!(steps.iter().any(|(_, _, step)| step["stage"] == "comments" && step["done"] == 100), "{told:?}");
    let ids: std::collections::BTreeSet<&str> = steps.iter().map(|(_, id, _)| id.as_str()).collect();
    assert_eq!(ids.len(), steps.len(), "no state is told twice");
    house.get(&format!("/api/analysis/{id}")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_comes_back_goes_on_where_it_was() {
    let house = House::open().await;
    let id =
        house.analyze(plain()).await.expect(200).json()["analysis_id"].as_str().expect("an id").to_owned();
    let path = format!("/api/analysis/{id}/events");
    let told = events(&house.get(&path).await.expect(200).body);
    assert_eq!(told.len(), 1, "what is finished tells that at once");
    let again = send(house.request("GET", &path).header("last-event-id", "end")).await;
    assert_eq!(again.expect(204).body, "", "and whoever has that has all");
    house.get("/api/analysis/0123456789abcdef0123456789abcdef/events").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_analysis_says_so_to_whoever_follows_it() {
    let house = House::with(Options { latency: slow(100), ..Options::default() }).await;
    let begun = send(house.start(&json!({ "video_url_or_id": plain(), "max_comments": 500 }))).await;
    let id = begun.expect(202).json()["analysis_id"].as_str().expect("an id").to_owned();
    let path = format!("/api/analysis/{id}/events");
    let (stream, canceled) = tokio::join!(house.get(&path), async {
        lently_testing::wait_until("it reads", std::time::Duration::from_secs(30), async || {
            house.counts().comment_threads > 0
        })
        .await;
        send(house.request("POST", &format!("/api/analysis/{id}/cancel"))).await
    });
    assert_eq!(canceled.expect(200).json()["canceled"], true);
    let told = events(&stream.expect(200).body);
    let (name, _, end) = told.last().expect("an end");
    assert_eq!((name.as_str(), &end["error"]["code"]), ("failed", &"canceled".into()));
    assert_eq!(house.get(&format!("/api/analysis/{id}")).await.expect(200).json()["status"], "failed");
    send(house.request("POST", &format!("/api/analysis/{id}/cancel"))).await.problem(404, "not-found");
}
