//! YouTube's side: paging, replies, quota, errors.

use std::{collections::HashSet, time::Duration};

use lently_emulator::{Change, Emulator, Fault, FaultKind, Method, NewComment, SAMPLES};
use lently_upstream::{
    CommentOrder, HarvestEnd, HarvestRequest, UpstreamError, VideoId, WallClock, YouTubeClient, YouTubeConfig,
};

use crate::{KEY, emulator};

fn client(emulator: &Emulator) -> YouTubeClient {
    YouTubeClient::new(YouTubeConfig {
        clock: WallClock::default(),
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
    assert_eq!((call.value.comments.len(), call.value.end, call.units), (150, HarvestEnd::LimitReached, 2));
    // A full page costs no more than the fifty that are wanted of it.
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
async fn a_channel_is_found_by_id_or_handle_and_lists_its_uploads() {
    let emulator = emulator(10_000).await;
    let client = client(&emulator);
    let found = client.video(&video(0)).await.expect("a video").value;
    let by_id = client.channel(&found.channel_id.parse().expect("an id")).await.expect("a channel");
    let by_handle = client.channel(&"@workshophours".parse().expect("a handle")).await.expect("a channel");
    assert_eq!((&by_id, by_id.units), (&by_handle, 1));
    let uploads = by_id.value.expect("a channel").uploads_playlist_id.expect("uploads");
    let page = client.playlist_items(&uploads.parse().expect("an id"), None).await.expect("a page");
    assert_eq!((page.value.items[0].video_id.clone(), page.units), (video(0), 1));
    assert_eq!(page.value.items[0].published_at, found.published_at);
    assert_eq!(client.channel(&"@nobody".parse().expect("a handle")).await.expect("an answer").value, None);
    let nowhere = client.playlist_items(&"PLnowhere".parse().expect("an id"), None).await;
    assert_eq!(nowhere.expect_err("no such playlist"), UpstreamError::PlaylistNotFound);
    let all = client.playlist_items(&lently_emulator::EVERYTHING.parse().expect("an id"), None).await;
    assert_eq!(all.expect("a page").value.items.len(), 4);
    assert_eq!(emulator.counts().units, client.units_spent());
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
async fn a_video_changes_while_it_runs_and_its_counter_with_it() {
    let emulator = emulator(10_000).await;
    let client = client(&emulator);
    let counted = async || {
        let call = client.statistics(&[video(0), video(4)]).await.expect("statistics");
        assert_eq!((call.value.len(), call.units), (1, 1), "a removed video is missing");
        call.value[0].comment_count
    };
    assert_eq!(counted().await, Some(520));
    let add = |id: &str, parent_id: Option<&str>| {
        Change::Add(NewComment {
            id: id.to_owned(),
            parent_id: parent_id.map(str::to_owned),
            text: "new".to_owned(),
            published_at: Some("2026-11-24T12:00:00Z".parse().expect("a time")),
            ..NewComment::default()
        })
    };
    let changes = [
        add("fresh", None),
        add("fresh.1", Some("fresh")),
        add("lost", Some("nowhere")),
        Change::Edit { id: "fresh.1".to_owned(), text: "edited".to_owned(), updated_at: None },
        Change::Hidden { comments: 7 },
    ];
    assert_eq!(emulator.change(SAMPLES[0].video_id, changes), 4);
    assert_eq!(counted().await, Some(529));
    let call = client.harvest(&all(0, CommentOrder::Time), |_| {}).await.expect("a harvest");
    let first: Vec<_> = call.value.comments[..2].iter().map(|comment| comment.text.as_str()).collect();
    assert_eq!((first, call.value.comments.len()), (vec!["new", "edited"], 522));
    let delete = |id: &str| Change::Delete { id: id.to_owned() };
    assert_eq!(emulator.change(SAMPLES[0].video_id, [delete("fresh"), delete("fresh")]), 1);
    assert_eq!(counted().await, Some(527));
    assert_eq!((emulator.counts().statistics, client.statistics_units_spent()), (3, 3));
    assert_eq!(emulator.counts().units, client.units_spent(), "the statistics are none of them");
}

/// Comments come and go between two pages: what stays is read once, and nothing of it is passed over.
#[tokio::test]
async fn a_page_token_holds_its_place_while_the_list_moves() {
    let emulator = emulator(10_000).await;
    let client = client(&emulator);
    let first = client.comment_threads(&video(0), CommentOrder::Time, 50, None).await.expect("a page").value;
    let gone = Change::Delete { id: first.items[3].top.id.clone() };
    assert_eq!(emulator.change(SAMPLES[0].video_id, [gone]), 1);
    let token = first.next_page_token.as_deref();
    let second =
        client.comment_threads(&video(0), CommentOrder::Time, 50, token).await.expect("a page").value;
    let anew = client.comment_threads(&video(0), CommentOrder::Time, 100, None).await.expect("a page").value;
    assert_eq!(second.items[0], anew.items[49]);
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
