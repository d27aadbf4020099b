//! YouTube's side: paging, replies, quota, errors.

use std::{collections::HashSet, time::Duration};

use lently_emulator::{Emulator, Fault, FaultKind, Method, SAMPLES};
use lently_upstream::{
    CommentOrder, HarvestEnd, HarvestRequest, UpstreamError, VideoId, YouTubeClient, YouTubeConfig,
};

use crate::{KEY, emulator};

fn client(emulator: &Emulator) -> YouTubeClient {
    YouTubeClient::new(YouTubeConfig {
        base_url: emulator.youtube_base_url(),
        api_key: Some(KEY.into()),
        oauth_token: Some("owner".into()),
        timeout: Duration::from_secs(5),
        max_attempts: 2,
    })
    .expect("a client")
}

fn video(place: usize) -> VideoId {
    SAMPLES[place].video_id.parse().expect("an id")
}

fn all(place: usize, order: CommentOrder) -> HarvestRequest {
    let within = Duration::from_secs(60);
    HarvestRequest { video_id: video(place), max_comments: 5000, order, include_replies: true, within }
}

#[tokio::test]
async fn every_comment_and_reply_is_read_exactly_once_in_either_order() {
    let emulator = emulator(10_000).await;
    let client = client(&emulator);
    for (place, comments) in [(0, 520), (1, 430), (2, 360)] {
        for order in [CommentOrder::Time, CommentOrder::Relevance] {
            let call = client.harvest(&all(place, order), |_| {}).await.expect("a harvest");
            let ids: HashSet<_> = call.value.comments.iter().map(|comment| &comment.id).collect();
            assert_eq!((ids.len(), call.value.comments.len()), (comments, comments));
            assert_eq!((call.value.end, call.value.replies_missing), (HarvestEnd::Complete, 0));
            assert_eq!(call.units, call.value.pages);
        }
    }
    assert_eq!(emulator.counts().units, client.units_spent());
}

#[tokio::test]
async fn a_harvest_without_replies_says_how_many_it_left() {
    let emulator = emulator(10_000).await;
    let request = HarvestRequest { include_replies: false, ..all(0, CommentOrder::Time) };
    let harvest = client(&emulator).harvest(&request, |_| {}).await.expect("a harvest").value;
    assert_eq!(harvest.comments.len() as u64 + harvest.replies_missing, 520);
    assert_eq!(emulator.counts().comments, 0);
}

#[tokio::test]
async fn a_limit_is_kept_and_told() {
    let emulator = emulator(10_000).await;
    let request =
        HarvestRequest { max_comments: 150, include_replies: false, ..all(0, CommentOrder::Relevance) };
    let call = client(&emulator).harvest(&request, |_| {}).await.expect("a harvest");
    assert_eq!((call.value.comments.len(), call.value.end, call.units), (150, HarvestEnd::LimitReached, 3));
    // The second page comes one comment short, so a third is needed.
}

#[tokio::test]
async fn metadata_channels_and_captions_are_there() {
    let emulator = emulator(10_000).await;
    let client = client(&emulator);
    let found = client.video(&video(0)).await.expect("a video").value;
    assert_eq!((found.title.as_str(), found.comment_count), (SAMPLES[0].title, Some(520)));
    assert!(found.duration_seconds > Some(0) && found.published_at.is_some());
    let channels = client.channels(&[&found.channel_id]).await.expect("channels").value;
    assert_eq!(channels[0].title, found.channel_title);
    let transcript = client.transcript(&video(0), None).await.expect("a transcript");
    assert_eq!((transcript.value.segments.len(), transcript.units), (2, 250));
}

#[tokio::test]
async fn disabled_and_removed_videos_and_a_used_up_quota_answer_as_youtube_does() {
    let emulator = emulator(3).await;
    let client = client(&emulator);
    let read = |place| {
        let client = client.clone();
        async move { client.harvest(&all(place, CommentOrder::Time), |_| {}).await.expect_err("an error") }
    };
    assert_eq!(read(3).await, UpstreamError::CommentsDisabled);
    assert_eq!(read(4).await, UpstreamError::VideoNotFound);
    assert_eq!(client.video(&video(4)).await.expect_err("an error"), UpstreamError::VideoNotFound);
    assert!(matches!(read(0).await, UpstreamError::QuotaExhausted { .. }));
    emulator.reset_counts();
    client.video(&video(0)).await.expect("the quota is whole again");
}

#[tokio::test]
async fn a_fault_passes_after_as_many_calls_as_it_was_set_for() {
    let emulator = emulator(10_000).await;
    let fault = |kind| Some(Fault { kind, method: Some(Method::Videos), times: Some(1) });
    for kind in [
        FaultKind::Unavailable,
        FaultKind::Cut,
        FaultKind::Malformed,
        FaultKind::RateLimited { retry_after: Some(0) },
    ] {
        emulator.reset_counts();
        emulator.set_fault(fault(kind.clone()));
        let call =
            client(&emulator).video(&video(0)).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(
            (call.units, emulator.counts().videos),
            (2, 2),
            "{kind:?}: the failed attempt is paid for"
        );
    }
    emulator.set_fault(fault(FaultKind::KeyInvalid));
    assert_eq!(client(&emulator).video(&video(0)).await.expect_err("an error"), UpstreamError::KeyInvalid);
}
