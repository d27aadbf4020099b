//! The comments behind an analysis over HTTP.

use crate::house::{House, Options, plain, send, slow};

#[tokio::test(flavor = "multi_thread")]
async fn the_comments_behind_an_analysis_are_searched_page_by_page() {
    let house = House::open().await;
    let analysis = house.analyze(plain()).await.expect(200).json();
    let path = format!("/api/analysis/{}/comments", analysis["analysis_id"].as_str().expect("an id"));
    let first = house.get(&format!("{path}?limit=60")).await.expect(200);
    assert_eq!(first.header("cache-control"), "private, no-store");
    let first = first.json();
    assert_eq!((&first["total"], &first["next_offset"]), (&100.into(), &60.into()));
    let rest = house.get(&format!("{path}?limit=60&offset=60")).await.expect(200).json();
    assert_eq!(
        (rest["comments"].as_array().map(Vec::len), &rest["next_offset"]),
        (Some(40), &serde_json::Value::Null)
    );
    let counted = |name: &str| analysis["report"]["sentiment"][name]["count"].clone();
    for sentiment in ["positive", "neutral", "negative"] {
        let found = house.get(&format!("{path}?sentiment={sentiment}&limit=1")).await.expect(200).json();
        assert_eq!(found["total"], counted(sentiment), "what is counted is what is found");
    }
    for category in analysis["report"]["categories"].as_array().expect("a list") {
        let name = category["category"].as_str().expect("a name");
        let found = house.get(&format!("{path}?category={name}")).await.expect(200).json();
        assert_eq!(found["total"], category["count"], "{name}");
    }
    for claim in analysis["report"]["claims"].as_array().expect("a list") {
        for id in claim["comment_ids"].as_array().expect("a list") {
            let all = first["comments"].as_array().into_iter().chain(rest["comments"].as_array()).flatten();
            assert!(all.into_iter().any(|comment| comment["id"] == *id), "{id} is a comment that was read");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_names_what_is_wrong_with_it() {
    let house = House::open().await;
    let analysis = house.analyze(plain()).await.expect(200).json();
    let path = format!("/api/analysis/{}/comments", analysis["analysis_id"].as_str().expect("an id"));
    for (query, field) in [
        ("limit=0", "limit"),
        ("sort=best", "sort"),
        ("sentiment=glad", "sentiment"),
        ("min_likes=-1", "min_likes"),
        ("since=yesterday", "since"),
        ("colour=red", "colour"),
    ] {
        let problem = house.get(&format!("{path}?{query}")).await.expect(422).json();
        assert_eq!(
            (&problem["code"], &problem["field"]),
            (&"invalid-request".into(), &field.into()),
            "{query}"
        );
    }
    house.get("/api/analysis/0123456789abcdef0123456789abcdef/comments").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_being_made_has_no_comments_yet() {
    let house = House::with(Options { latency: slow(200), ..Options::default() }).await;
    let begun =
        send(house.start(&serde_json::json!({ "video_url_or_id": plain() }))).await.expect(202).json();
    let path = format!("/api/analysis/{}/comments", begun["analysis_id"].as_str().expect("an id"));
    let told = house.get(&path).await.problem(409, "not-ready");
    assert_eq!(told["detail"], "the analysis is still being made");
}

#[tokio::test(flavor = "multi_thread")]
async fn analyses_are_compared_by_their_ids() {
    let house = House::open().await;
    let id = |answer: &serde_json::Value| answer["analysis_id"].as_str().expect("an id").to_owned();
    let one = id(&house.analyze(plain()).await.expect(200).json());
    let other = id(&house.analyze(crate::house::sample("masa madre")).await.expect(200).json());
    let told = house.get(&format!("/api/compare?ids={one},{other}")).await.expect(200).json();
    assert_eq!(told["analyses"].as_array().map(Vec::len), Some(2));
    assert_eq!(told["differences"][0]["analysis_id"], other.as_str());
    let missing =
        house.get(&format!("/api/compare?ids={one},{other}@earlier")).await.problem(422, "invalid-request");
    assert_eq!(missing["field"], "ids");
    house.get(&format!("/api/compare?ids={one}")).await.problem(422, "invalid-request");
    house.get("/api/compare?ids=x,y").await.problem(422, "invalid-request");
}
