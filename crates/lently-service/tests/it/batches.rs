//! Metadata of many videos: one unit for 50 of them, whoever asks.

use std::time::Duration;

use futures::future::join_all;
use lently_cache::{Controls, Outcome};
use lently_emulator::{Data, Emulator, EmulatorConfig, Fault, FaultKind, Latency, Method};
use lently_service::{Cached, ServiceError};
use lently_upstream::{UpstreamError, Video, VideoId};
use serde_json::json;

use crate::house::{House, Options};

type Answer = Result<Cached<Video>, ServiceError>;

/// A house whose YouTube has so many videos without comments.
async fn house(videos: usize, latency: Latency) -> House {
    let folder = tempfile::tempdir().expect("a folder");
    for n in 0..videos {
        let video = json!({
            "id": id(n), "title": "t", "channel": "c", "channel_id": "UC", "description": "", "published": 0,
            "duration": 60, "views": 1, "likes": 1, "language": "en",
        });
        let file = json!({ "video": video, "comments_disabled": false, "comments": [] });
        std::fs::write(folder.path().join(format!("{n}.json")), file.to_string()).expect("a file");
    }
    let emulator = Emulator::start(EmulatorConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        data: Data::load(folder.path()).expect("videos"),
        latency,
        quota_units: 10_000,
        api_key: None,
    });
    House::beside(emulator.await.expect("an emulator"), Options::default()).await
}

fn id(n: usize) -> VideoId {
    format!("batched{n:04}").parse().expect("an id")
}

/// Each by a caller of its own, all at once.
async fn each_at_once(house: &House, videos: impl IntoIterator<Item = usize>) -> Vec<Answer> {
    let youtube = house.lently.youtube();
    let one = |n| async move { youtube.get_video_metadata_cached(&id(n), &Controls::DEFAULT).await };
    at_once(join_all(videos.into_iter().map(one))).await
}

/// Time stands still until all have come, so that no batch goes out before.
async fn at_once<T>(callers: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let all_have_come = async {
        // Whoever can go on does before this goes on; a caller has but a few steps to a batch.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        tokio::time::resume();
    };
    tokio::join!(callers, all_have_come).0
}

fn code(answer: &Answer) -> &'static str {
    answer.as_ref().map_or_else(ServiceError::code, |_| "found")
}

#[tokio::test]
async fn a_thousand_callers_of_a_thousand_videos_cost_twenty_calls() {
    let house = house(990, Latency::default()).await;
    let answers = each_at_once(&house, 0..1_000).await;
    let counts = house.counts();
    assert_eq!((counts.videos, counts.units), (20, 20));
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(found) => assert_eq!(found.value().expect("a video").id, id(n)),
            Err(error) => assert_eq!((error.code(), n >= 990), ("video-not-found", true)),
        }
    }
    let spent: u64 = answers.iter().flatten().map(|found| found.spent().quota_units).sum();
    assert_eq!((spent, house.lently.spending().quota_units), (20, 20), "the shares add up");
    // What was found and what is missing are both known now.
    let ids: Vec<_> = (0..1_000).map(id).collect();
    let again = house.lently.youtube().get_videos_metadata_cached(&ids, &Controls::DEFAULT).await;
    assert!(again.iter().flatten().all(|found| found.outcome == Outcome::Hit));
    assert_eq!(again.iter().map(code).collect::<Vec<_>>(), answers.iter().map(code).collect::<Vec<_>>());
    assert_eq!(house.counts().videos, 20);
}

#[tokio::test]
async fn a_list_of_videos_is_read_in_as_few_calls_as_can_be() {
    let house = house(75, Latency::default()).await;
    let youtube = house.lently.youtube();
    let ids: Vec<_> = (0..50).map(id).collect();
    let found = at_once(youtube.get_videos_metadata_cached(&ids, &Controls::DEFAULT)).await;
    let read: Vec<_> =
        found.into_iter().map(|found| found.expect("found").value().expect("a video").id).collect();
    assert_eq!((read, house.counts().videos), (ids, 1));
    let overlapping: Vec<_> = (25..75).chain([30]).map(id).collect();
    let found = at_once(youtube.get_videos_metadata_cached(&overlapping, &Controls::DEFAULT)).await;
    let hits = found.iter().flatten().filter(|found| found.outcome == Outcome::Hit).count();
    assert_eq!((found.len(), hits, house.counts().videos), (51, 26, 2));
    assert!(youtube.get_videos_metadata_cached(&[], &Controls::DEFAULT).await.is_empty());
}

#[tokio::test]
async fn callers_who_leave_have_the_metadata_kept_all_the_same() {
    let latency = Latency { videos: Duration::from_millis(300), ..Latency::default() };
    let house = house(60, latency).await;
    let leaving = tokio::time::timeout(Duration::from_millis(100), each_at_once(&house, 0..60));
    assert!(leaving.await.is_err(), "nobody has an answer yet");
    let youtube = house.lently.youtube();
    let ids: Vec<_> = (0..60).map(id).collect();
    let found = youtube.get_videos_metadata_cached(&ids, &Controls::DEFAULT).await;
    assert_eq!(found.iter().map(code).collect::<Vec<_>>(), ["found"; 60]);
    assert_eq!(house.counts().videos, 2);
}

#[tokio::test]
async fn a_refusal_that_may_mean_one_of_them_is_not_taken_for_all() {
    let house = house(8, Latency::default()).await;
    let not_found = |times| Fault { kind: FaultKind::VideoNotFound, method: Some(Method::Videos), times };
    // The eight, the first four, the first two, and the first.
    house.emulator.set_fault(Some(not_found(Some(4))));
    let answers = each_at_once(&house, 0..8).await;
    let mut codes = vec!["found"; 8];
    codes[0] = "video-not-found";
    assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), codes);
    assert_eq!(house.counts().videos, 7);
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_asked_once_for_all_of_a_batch_and_then_not_again() {
    let house = house(50, Latency::default()).await;
    house.emulator.set_fault(Some(Fault {
        kind: FaultKind::QuotaExceeded,
        method: Some(Method::Videos),
        times: None,
    }));
    let answers = each_at_once(&house, 0..50).await;
    for answer in &answers {
        let quota = matches!(answer, Err(ServiceError::Upstream(UpstreamError::QuotaExhausted { .. })));
        assert!(quota, "{answer:?}");
    }
    let ids: Vec<_> = (0..50).map(id).collect();
    let again = house.lently.youtube().get_videos_metadata_cached(&ids, &Controls::DEFAULT).await;
    assert_eq!(again.iter().map(code).collect::<Vec<_>>(), ["quota-exhausted"; 50]);
    assert_eq!(house.counts().videos, 1);
}
