//! Metadata of many videos: one unit for 50 of them, whoever asks.

use std::time::Duration;

use futures::future::join_all;
use lently_cache::{AcceptStale, Controls, Outcome};
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
        statistics_units: 10_000,
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

const HOUR: Duration = Duration::from_secs(3_600);
/// Whoever says so waits for what is read, rather than take what is no longer fresh.
const NOTHING_STALE: Controls = Controls { stale: AcceptStale::Within(Duration::ZERO), ..Controls::DEFAULT };

#[tokio::test]
async fn a_thousand_videos_that_are_no_longer_fresh_cost_twenty_calls_for_their_statistics_and_no_unit() {
    let house = house(1_000, Latency::default()).await;
    each_at_once(&house, 0..1_000).await;
    house.emulator.reset_counts();
    house.clock.advance(2 * HOUR);
    let youtube = house.lently.youtube();
    let one = |n| async move { youtube.get_video_metadata_cached(&id(n), &NOTHING_STALE).await };
    let answers = at_once(join_all((0..1_000).map(one))).await;
    assert!(answers.iter().all(|answer| code(answer) == "found"));
    let counts = house.counts();
    assert_eq!((counts.videos, counts.statistics, counts.units), (0, 20, 0));
    assert_eq!(answers.iter().flatten().map(|found| found.spent().quota_units).sum::<u64>(), 0);
}

#[tokio::test]
async fn what_room_a_call_has_is_filled_with_videos_that_were_asked_for_lately() {
    let house = house(4, Latency::default()).await;
    let youtube = house.lently.youtube();
    let read = async |n, controls: &Controls| {
        house.emulator.reset_counts();
        let cached = youtube.get_video_metadata_cached(&id(n), controls).await.expect("a video");
        (house.counts().videos, house.counts().statistics, cached)
    };
    let calls = async |n, controls: &Controls| {
        let (videos, statistics, _) = read(n, controls).await;
        (videos, statistics)
    };
    for n in 0..3 {
        assert_eq!(calls(n, &NOTHING_STALE).await, (1, 0));
    }
    // Who asks for what is not there takes no room.
    for n in 100..160 {
        assert!(youtube.get_video_metadata_cached(&id(n), &NOTHING_STALE).await.is_err());
    }
    house.clock.advance(2 * HOUR);
    assert_eq!(calls(0, &NOTHING_STALE).await, (0, 1));
    house.clock.advance(HOUR);
    // The others are known since the first call of this hour, for five minutes, and for those who do not want it younger.
    assert_eq!(calls(0, &NOTHING_STALE).await, (0, 1));
    house.clock.advance(Duration::from_secs(200));
    let young = Controls { max_age: Some(Duration::from_secs(100)), ..NOTHING_STALE };
    assert_eq!(calls(1, &young).await, (0, 1));
    assert_eq!(calls(2, &NOTHING_STALE).await, (0, 0));
    let told = youtube.get_video_metadata_cached(&id(2), &NOTHING_STALE).await.expect("a video");
    assert_eq!(told.outcome, Outcome::Hit, "it is fresh for the rest of its hour");
    house.clock.advance(HOUR);
    assert_eq!(calls(2, &NOTHING_STALE).await, (0, 1));
    // The rest of a video comes along with that of another once it is a day old.
    house.clock.advance(21 * HOUR);
    for n in 0..3 {
        calls(n, &NOTHING_STALE).await;
    }
    house.clock.advance(2 * HOUR);
    assert_eq!(calls(3, &NOTHING_STALE).await, (1, 0), "a new one, and the three with it");
    for _ in 0..7 {
        house.clock.advance(21 * HOUR);
        for n in 0..3 {
            let (videos, _, cached) = read(n, &NOTHING_STALE).await;
            let value: serde_json::Value = serde_json::from_slice(&cached.body).expect("JSON");
            assert_eq!(videos, 0, "{value}");
        }
    }
}

#[tokio::test]
async fn the_rest_of_a_video_is_read_again_after_a_week_or_when_it_is_asked_for() {
    let house = house(1, Latency::default()).await;
    let youtube = house.lently.youtube();
    let read = async |controls: &Controls| {
        let found = youtube.get_video_metadata_cached(&id(0), controls).await.expect("a video");
        let known: lently_service::youtube::KnownVideo = serde_json::from_slice(&found.body).expect("known");
        (known.details_read_at, house.counts().videos, house.counts().statistics)
    };
    let first = Some(house.clock.now());
    assert_eq!(read(&Controls::DEFAULT).await, (first, 1, 0));
    house.clock.advance(7 * 24 * HOUR - HOUR);
    assert_eq!(read(&NOTHING_STALE).await, (first, 1, 1));
    house.clock.advance(HOUR);
    let second = Some(house.clock.now());
    assert_eq!(read(&NOTHING_STALE).await, (second, 2, 1), "a week is over");
    house.clock.advance(2 * HOUR);
    let third = Some(house.clock.now());
    assert_eq!(read(&Controls::NO_CACHE).await, (third, 3, 1));
}

/// What was read first is kept for 28 days from then, not from the last statistics.
#[tokio::test]
async fn statistics_do_not_lengthen_the_life_of_what_was_read_before() {
    let house = house(1, Latency::default()).await;
    let youtube = house.lently.youtube();
    youtube.get_video_metadata_cached(&id(0), &Controls::DEFAULT).await.expect("a video");
    house.clock.advance(6 * 24 * HOUR);
    youtube.get_video_metadata_cached(&id(0), &NOTHING_STALE).await.expect("a video");
    assert_eq!(house.counts().statistics, 1);
    house.emulator.set_fault(Some(Fault { kind: FaultKind::Unavailable, method: None, times: None }));
    let kept =
        Controls { only_if_cached: true, stale: AcceptStale::Within(365 * 24 * HOUR), ..Controls::DEFAULT };
    house.clock.advance(22 * 24 * HOUR - HOUR);
    youtube.get_video_metadata_cached(&id(0), &kept).await.expect("the last hour");
    house.clock.advance(HOUR);
    let beyond = youtube.get_video_metadata_cached(&id(0), &kept).await;
    assert_eq!(code(&beyond), "not-cached");
}

#[tokio::test]
async fn a_video_that_the_statistics_do_not_know_is_asked_for_in_full_once() {
    let house = house(3, Latency::default()).await;
    each_at_once(&house, 0..3).await;
    house.emulator.set_data(Data::default());
    house.clock.advance(2 * HOUR);
    for _ in 0..3 {
        let answers = each_at_once(&house, 0..3).await;
        // The first are given what there was, while it is found to be gone.
        house.settled().await;
        assert!(answers.iter().all(|answer| ["found", "video-not-found"].contains(&code(answer))));
    }
    let answers = each_at_once(&house, 0..3).await;
    assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), ["video-not-found"; 3]);
    assert_eq!((house.counts().videos, house.counts().statistics), (2, 1), "once cold, once in full");
}

#[tokio::test]
async fn where_the_statistics_bucket_is_empty_metadata_is_read_in_full_and_the_bucket_not_asked_again() {
    let house = house(2, Latency::default()).await;
    each_at_once(&house, 0..2).await;
    let kind = FaultKind::QuotaExceeded;
    house.emulator.set_fault(Some(Fault { kind, method: Some(Method::Statistics), times: None }));
    for _ in 0..2 {
        house.clock.advance(2 * HOUR);
        let youtube = house.lently.youtube();
        let one = |n| async move { youtube.get_video_metadata_cached(&id(n), &NOTHING_STALE).await };
        let answers = at_once(join_all((0..2).map(one))).await;
        assert!(answers.iter().all(|answer| code(answer) == "found"));
    }
    assert_eq!((house.counts().videos, house.counts().statistics), (3, 1));
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
        let error = answer.as_ref().expect_err("no quota").itself();
        let quota = matches!(error, ServiceError::Upstream(UpstreamError::QuotaExhausted { .. }));
        assert!(quota, "{answer:?}");
    }
    let ids: Vec<_> = (0..50).map(id).collect();
    let again = house.lently.youtube().get_videos_metadata_cached(&ids, &Controls::DEFAULT).await;
    assert_eq!(again.iter().map(code).collect::<Vec<_>>(), ["quota-exhausted"; 50]);
    assert_eq!(house.counts().videos, 1);
}
