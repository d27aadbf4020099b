//! The YouTube client over the wire.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::stream;
use jiff::Timestamp;
use lently_upstream::{
    Bucket, Comment, CommentOrder, Expense, Harvest, HarvestEnd, HarvestRequest, Meter, Method, Place,
    ReadSoFar, UpstreamError, VideoId, WallClock, YouTubeClient, YouTubeConfig,
};
use serde_json::{Value, json};

use crate::upstream::{KEY, TOKEN, Upstream, reply, with_header, youtube_error};

fn video_id() -> VideoId {
    "dQw4w9WgXcQ".parse().expect("an id")
}

fn comment(id: &str) -> Value {
    json!({ "id": id, "snippet": { "textOriginal": format!("text of {id}"), "authorDisplayName": "@a" } })
}

fn thread(id: &str, replies: u64, inline: &[&str]) -> Value {
    let inline: Vec<_> = inline.iter().map(|id| comment(id)).collect();
    json!({
        "snippet": { "topLevelComment": comment(id), "totalReplyCount": replies },
        "replies": { "comments": inline },
    })
}

/// A page that claims, as real ones do, that its own items are all there are.
fn page(items: &[Value], next: Option<&str>) -> Response {
    let mut page = json!({ "pageInfo": { "totalResults": items.len() }, "items": items });
    if let Some(next) = next {
        page["nextPageToken"] = next.into();
    }
    reply(200, page.to_string())
}

fn one_video() -> Response {
    reply(200, json!({ "items": [{ "id": "dQw4w9WgXcQ", "snippet": { "title": "plain" } }] }).to_string())
}

fn wanted(max_comments: u32) -> HarvestRequest {
    HarvestRequest {
        video_id: video_id(),
        max_comments,
        order: CommentOrder::Time,
        include_replies: true,
        within: Duration::from_secs(10),
    }
}

async fn harvest(upstream: &Upstream, max_comments: u32) -> Result<(Harvest, u64), UpstreamError> {
    let request = wanted(max_comments);
    let client = YouTubeClient::new(YouTubeConfig { max_attempts: 1, ..upstream.youtube_config() });
    let client = client.expect("a client");
    let call = client.harvest(&request, |_| {}).await?;
    assert_eq!(call.units, client.units_spent());
    Ok((call.value, call.units))
}

fn ids(harvest: &Harvest) -> Vec<&str> {
    harvest.comments.iter().map(|comment| comment.id.as_str()).collect()
}

#[tokio::test]
async fn only_a_missing_page_token_is_the_end() {
    let upstream = Upstream::answering([
        page(&[thread("a", 0, &[])], Some("second")),
        page(&[], Some("third")),
        page(&[thread("b", 0, &[]), thread("a", 0, &[])], None),
    ])
    .await;
    let (harvest, units) = harvest(&upstream, 1000).await.expect("comments");
    assert_eq!((ids(&harvest), harvest.end), (vec!["a", "b"], HarvestEnd::Complete));
    assert_eq!((harvest.pages, units), (3, 3));
    let tokens: Vec<_> = upstream.asked().iter().map(|asked| asked.query("pageToken")).collect();
    assert_eq!(tokens, [None, Some("second".to_owned()), Some("third".to_owned())]);
}

#[tokio::test]
async fn a_limit_is_told_from_an_end() {
    let upstream = Upstream::answering([page(&[thread("a", 0, &[])], Some("more"))]).await;
    let (harvest, _) = harvest(&upstream, 1).await.expect("comments");
    assert_eq!((harvest.end, upstream.asked().len()), (HarvestEnd::LimitReached, 1));
    assert_eq!(upstream.asked()[0].query("maxResults").as_deref(), Some("100"), "it costs the same");
}

#[tokio::test]
async fn pages_that_go_round_in_a_circle_end() {
    let pages = || page(&[thread("a", 0, &[])], Some("same"));
    let upstream = Upstream::answering([pages(), pages(), pages()]).await;
    let (harvest, _) = harvest(&upstream, 1000).await.expect("what was read");
    assert_eq!((ids(&harvest), harvest.end, upstream.asked().len()), (vec!["a"], HarvestEnd::Failed, 2));
}

#[tokio::test]
async fn pages_that_are_paid_for_are_kept_when_the_next_fails() {
    for (status, reason) in [(503, "backendError"), (403, "rateLimitExceeded"), (403, "quotaExceeded")] {
        let upstream = Upstream::answering([
            page(&[thread("a", 0, &[])], Some("next")),
            page(
                &[thread("b", 3, &["b.3"]), thread("c", 1, &["c.1"]), thread("d", 6, &["d.6"])],
                Some("far"),
            ),
            page(&[comment("b.1")], Some("rest")),
            youtube_error(status, reason),
        ])
        .await;
        let (harvest, units) = harvest(&upstream, 1000).await.expect("what was read");
        // The rest of a page was paid for with it, though `b`'s replies were never read to their end.
        assert_eq!(ids(&harvest), ["a", "b", "b.1", "b.3", "c", "c.1", "d", "d.6"], "{reason}");
        assert_eq!((harvest.end, harvest.replies_missing), (HarvestEnd::Failed, 6), "{reason}");
        assert_eq!((harvest.pages, units), (3, 4), "{reason}");
    }
}

#[tokio::test]
async fn what_is_read_of_a_video_that_is_gone_is_not_kept() {
    for (status, reason) in [(404, "videoNotFound"), (403, "commentsDisabled"), (400, "keyInvalid")] {
        let first = page(&[thread("a", 0, &[])], Some("next"));
        let upstream = Upstream::answering([first, youtube_error(status, reason)]).await;
        assert!(harvest(&upstream, 1000).await.is_err(), "{reason}");
    }
}

#[tokio::test]
async fn a_harvest_ends_with_its_time() {
    let silent = || reply(200, Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>()));
    let upstream = Upstream::answering([page(&[thread("a", 0, &[])], Some("next")), silent()]).await;
    // Once the first page is there, nothing but the limit is left to happen, and time is moved there.
    let on_page = |_| tokio::time::pause();
    let call = upstream.youtube().harvest(&wanted(1000), on_page).await.expect("what was read");
    assert_eq!((ids(&call.value), call.value.end), (vec!["a"], HarvestEnd::OutOfTime));
    tokio::time::resume();
    let upstream = Upstream::answering([silent()]).await;
    let request = HarvestRequest { within: Duration::from_millis(50), ..wanted(1000) };
    let nothing = upstream.youtube().harvest(&request, |_| {}).await;
    assert_eq!(nothing.expect_err("nothing was read"), UpstreamError::TimedOut);
}

#[tokio::test]
async fn replies_are_asked_for_only_where_the_inline_ones_are_not_all() {
    let upstream = Upstream::answering([
        page(&[thread("a", 1, &["a.1"]), thread("b", 3, &["b.3"])], None),
        page(&[comment("b.1"), comment("b.2")], Some("rest")),
        page(&[comment("b.3")], None),
    ])
    .await;
    let (harvest, units) = harvest(&upstream, 1000).await.expect("comments");
    assert_eq!(ids(&harvest), ["a", "a.1", "b", "b.1", "b.2", "b.3"]);
    assert_eq!((units, harvest.replies_missing), (3, 0));
    assert!(harvest.comments[3..].iter().all(|reply| reply.parent_id.as_deref() == Some("b")));
    assert_eq!(upstream.asked()[1].query("parentId").as_deref(), Some("b"));
}

/// Nothing that was read before is asked for again: not the page, nor the replies that were read of a thread.
#[tokio::test]
async fn reading_goes_on_where_it_stopped() {
    let upstream = Upstream::answering([
        page(&[thread("a", 0, &[]), thread("b", 3, &["b.3"]), thread("c", 0, &[])], Some("second")),
        page(&[comment("b.1")], Some("rest")),
        youtube_error(403, "quotaExceeded"),
        page(&[comment("b.2"), comment("b.3")], None),
        page(&[thread("d", 0, &[]), thread("a", 0, &[])], None),
    ])
    .await;
    let client = upstream.youtube();
    let mut reading = client.read_comments(wanted(1000), Place::default());
    while reading.page().await.expect("comments") {}
    let first = reading.end();
    let read = |read: &ReadSoFar| read.comments.iter().map(|c| c.id.clone()).collect::<Vec<_>>();
    assert_eq!((read(&first), first.place.open.len()), (vec!["a".to_owned()], 2));
    assert!(matches!(first.cut, Some((HarvestEnd::Failed, UpstreamError::QuotaExhausted { .. }))));
    let kept = serde_json::to_vec(&first.place).expect("JSON");
    let place = serde_json::from_slice(&kept).expect("a place");
    let mut reading = client.read_comments(wanted(1000), place);
    reading.behind(["a"]);
    while reading.page().await.expect("comments") {}
    let second = reading.end();
    assert_eq!(read(&second), ["b", "b.1", "b.2", "b.3", "c", "d"]);
    assert!(second.place.is_end() && second.cut.is_none());
    let asked: Vec<_> = upstream.asked().iter().map(|asked| asked.query("pageToken")).collect();
    assert_eq!(asked[3..], [Some("rest".to_owned()), Some("second".to_owned())]);
}

/// A page holds more than was asked for: what costs nothing more is kept, and replies are bought when somebody wants them.
#[tokio::test]
async fn beyond_what_is_enough_only_what_costs_nothing_is_read() {
    let upstream = Upstream::answering([
        page(
            &[thread("a", 0, &[]), thread("b", 1, &["b.1"]), thread("c", 2, &[]), thread("d", 0, &[])],
            None,
        ),
        page(&[comment("c.1"), comment("c.2")], None),
    ])
    .await;
    let client = upstream.youtube();
    let mut reading = client.read_comments(wanted(1), Place::default());
    while reading.page().await.expect("comments") {}
    let read = reading.end();
    let ids: Vec<_> = read.comments.iter().map(|comment| comment.id.as_str()).collect();
    assert_eq!((ids, read.place.open.len(), read.units), (vec!["a", "b", "b.1"], 2, 1));
    let mut reading = client.read_comments(wanted(1000), read.place);
    reading.behind(["a", "b", "b.1"]);
    while reading.page().await.expect("comments") {}
    assert_eq!((reading.comments().len(), reading.units()), (4, 1));
}

/// `c` has as many replies as before, `d` one more.
#[tokio::test]
async fn replies_that_are_known_are_not_bought_again() {
    let upstream = Upstream::answering([
        page(&[thread("c", 2, &[]), thread("d", 3, &[])], None),
        page(&[comment("d.1"), comment("d.2"), comment("d.3")], None),
    ])
    .await;
    let mut reading = upstream.youtube().read_comments(wanted(1000), Place::default());
    let reply = |id: &str| Comment { id: id.to_owned(), ..Comment::default() };
    let known = |id: &str| (id.to_owned(), (2, vec![reply(&format!("{id}.1")), reply(&format!("{id}.2"))]));
    reading.knowing([known("c"), known("d")].into());
    while reading.page().await.expect("comments") {}
    let ids: Vec<_> = reading.comments().iter().map(|comment| comment.id.as_str()).collect();
    assert_eq!(ids, ["c", "c.1", "c.2", "d", "d.1", "d.2", "d.3"]);
    assert_eq!(upstream.asked().len(), 2);
}

#[tokio::test]
async fn replies_of_a_comment_that_is_deleted_meanwhile_are_missing_and_no_more() {
    for gone in [youtube_error(404, "commentNotFound"), youtube_error(404, "notFound"), reply(404, "")] {
        let upstream = Upstream::answering([
            page(&[thread("a", 2, &[]), thread("b", 3, &["b.3"])], Some("next")),
            page(&[comment("a.1")], Some("rest")),
            gone,
            page(&[comment("b.1"), comment("b.2"), comment("b.3")], None),
            page(&[thread("c", 0, &[])], None),
        ])
        .await;
        let (harvest, _) = harvest(&upstream, 1000).await.expect("comments");
        assert_eq!(ids(&harvest), ["a", "a.1", "b", "b.1", "b.2", "b.3", "c"]);
        assert_eq!((harvest.end, harvest.replies_missing), (HarvestEnd::Complete, 1));
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_as_the_upstream_asks_and_every_attempt_is_counted() {
    let slow_down = || with_header(youtube_error(403, "rateLimitExceeded"), "retry-after", "0");
    let upstream = Upstream::answering([slow_down(), slow_down(), one_video()]).await;
    let call = upstream.youtube().video(&video_id()).await.expect("a video");
    assert_eq!((call.value.title.as_str(), call.units), ("plain", 3));
}

#[tokio::test]
async fn statistics_are_asked_for_by_repeated_ids_and_counted_in_a_bucket_of_their_own() {
    let known = json!({ "id": "dQw4w9WgXcQ", "statistics": { "viewCount": "12", "commentCount": "3" } });
    let upstream = Upstream::answering([
        youtube_error(503, "backendError"),
        reply(200, json!({ "items": [known] }).to_string()),
    ])
    .await;
    let client = upstream.youtube();
    let ids = [video_id(), "aaaaaaaaaaa".parse().expect("an id")];
    let call = client.statistics(&ids).await.expect("statistics");
    let told: Vec<_> =
        call.value.iter().map(|told| (told.view_count, told.like_count, told.comment_count)).collect();
    assert_eq!(told, [(Some(12), None, Some(3))]);
    assert_eq!((call.units, client.statistics_units_spent(), client.units_spent()), (2, 2, 0));
    let target = &upstream.asked()[1].target;
    assert_eq!(target, "/youtube/v3/videos:batchGetStats?part=statistics&id=dQw4w9WgXcQ&id=aaaaaaaaaaa");
    for count in [0, 51] {
        assert!(client.statistics(&vec![video_id(); count]).await.is_err());
    }
    assert_eq!(upstream.asked().len(), 2);
}

#[tokio::test]
async fn a_channel_is_asked_for_as_it_is_named_and_a_playlist_page_by_page() {
    let channel = json!({ "id": "UC_x5XG1OV2P6uZZ5FSM9Ttw",
        "contentDetails": { "relatedPlaylists": { "uploads": "UU_x5XG1OV2P6uZZ5FSM9Ttw" } } });
    let item =
        json!({ "contentDetails": { "videoId": "dQw4w9WgXcQ", "videoPublishedAt": "2019-11-21T22:17:43Z" } });
    let by_snippet = json!({ "snippet": { "resourceId": { "videoId": "aaaaaaaaaaa" } } });
    let list = json!({ "items": [item, by_snippet, {}], "nextPageToken": "CAoQAA" });
    let upstream = Upstream::answering([
        reply(200, json!({ "items": [channel] }).to_string()),
        reply(200, json!({ "pageInfo": {} }).to_string()),
        reply(200, list.to_string()),
        youtube_error(404, "playlistNotFound"),
    ])
    .await;
    let client = upstream.youtube();
    let found =
        client.channel(&"@googledevelopers".parse().expect("a handle")).await.expect("an answer").value;
    let uploads = found.expect("a channel").uploads_playlist_id.expect("uploads").parse().expect("an id");
    let by_id = "UC_x5XG1OV2P6uZZ5FSM9Tt0".parse().expect("an id");
    assert_eq!(client.channel(&by_id).await.expect("an answer").value, None);
    let page = client.playlist_items(&uploads, None).await.expect("a page").value;
    let ids: Vec<_> = page.items.iter().map(|item| item.video_id.as_str()).collect();
    assert_eq!((ids, page.next_page_token.as_deref()), (vec!["dQw4w9WgXcQ", "aaaaaaaaaaa"], Some("CAoQAA")));
    assert_eq!(page.items.iter().map(|item| item.published_at.is_some()).collect::<Vec<_>>(), [true, false]);
    let gone = client.playlist_items(&uploads, Some("CAoQAA")).await;
    assert_eq!(gone.expect_err("no such playlist"), UpstreamError::PlaylistNotFound);
    let asked: Vec<_> = upstream.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(
        asked,
        [
            "/youtube/v3/channels?part=snippet%2CcontentDetails&forHandle=%40googledevelopers",
            "/youtube/v3/channels?part=snippet%2CcontentDetails&id=UC_x5XG1OV2P6uZZ5FSM9Tt0",
            "/youtube/v3/playlistItems?part=contentDetails&playlistId=UU_x5XG1OV2P6uZZ5FSM9Ttw&maxResults=50",
            "/youtube/v3/playlistItems?part=contentDetails&playlistId=UU_x5XG1OV2P6uZZ5FSM9Ttw&maxResults=50&pageToken=CAoQAA",
        ]
    );
    assert_eq!(client.units_spent(), 4);
}

#[tokio::test]
async fn an_hour_is_not_waited_out_but_told() {
    let answer = with_header(youtube_error(429, "rateLimitExceeded"), "retry-after", "3600");
    let upstream = Upstream::answering([answer]).await;
    let error = upstream.youtube().video(&video_id()).await.expect_err("a refusal");
    let hint = Some(Duration::from_secs(3600));
    assert_eq!(error, UpstreamError::RateLimited { retry_after: hint });
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test]
async fn what_cannot_get_better_is_asked_once() {
    for (status, reason) in [(403, "quotaExceeded"), (403, "commentsDisabled"), (404, "videoNotFound")] {
        let upstream = Upstream::answering([youtube_error(status, reason)]).await;
        assert!(upstream.youtube().video(&video_id()).await.is_err());
        assert_eq!(upstream.asked().len(), 1, "{reason}");
    }
}

/// `{"items":[{"id":"dQw4w9WgXcQ","snippet":{"title":"packed"}}]}`
const PACKED: [u8; 80] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 202, 44, 73, 205, 45, 86, 178, 138, 174, 86, 202, 76, 81, 178,
    82, 74, 9, 44, 55, 41, 183, 12, 79, 143, 72, 14, 84, 210, 81, 42, 206, 203, 44, 40, 72, 45, 81, 178, 170,
    86, 42, 201, 44, 201, 73, 5, 42, 40, 72, 76, 206, 78, 77, 81, 170, 173, 141, 173, 5, 0, 155, 166, 158,
    34, 61, 0, 0, 0,
];

#[tokio::test]
async fn answers_are_asked_for_compressed() {
    let answer = with_header(reply(200, PACKED.to_vec()), "content-encoding", "gzip");
    let upstream = Upstream::answering([answer]).await;
    let call = upstream.youtube().video(&video_id()).await.expect("a video");
    assert_eq!(call.value.title, "packed");
    let asked = &upstream.asked()[0];
    assert!(asked.header("accept-encoding").is_some_and(|value| value.contains("gzip")));
    assert!(asked.header("user-agent").is_some_and(|value| value.contains("gzip")));
}

#[tokio::test]
async fn the_key_travels_in_a_header_and_never_comes_back() {
    let cut = stream::iter([Ok("{\"items\":["), Err(std::io::Error::other("cut"))]);
    let echo = format!(r#"{{"error":{{"message":"{KEY}","errors":[{{"reason":"{KEY}"}}]}}}}"#);
    let upstream = Upstream::answering([
        youtube_error(400, "keyInvalid"),
        reply(200, Body::from_stream(cut)),
        reply(200, "<html>"),
        reply(403, echo.replace(KEY, "forbidden")),
    ])
    .await;
    let client = YouTubeClient::new(YouTubeConfig { max_attempts: 1, ..upstream.youtube_config() });
    let client = client.expect("a client");
    for _ in 0..4 {
        let error = client.video(&video_id()).await.expect_err("an error");
        let said = format!("{error} {error:?}");
        assert!(!said.contains(KEY) && !said.contains("127.0.0.1"), "{said}");
    }
    for asked in upstream.asked() {
        assert_eq!(asked.header("x-goog-api-key"), Some(KEY));
        assert!(!asked.target.contains(KEY), "{}", asked.target);
    }
    assert!(!format!("{:?}", upstream.youtube_config()).contains(KEY));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::answering([one_video()]).await;
    let answer = with_header(reply(302, ""), "location", elsewhere.base_url.as_str());
    let upstream = Upstream::answering([answer]).await;
    assert!(upstream.youtube().video(&video_id()).await.is_err());
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
    let upstream = Upstream::answering([reply(200, Body::from_stream(endless))]).await;
    let error = upstream.youtube().video(&video_id()).await.expect_err("a refusal");
    assert!(error.to_string().contains("16 MiB"), "{error}");
}

#[tokio::test]
async fn without_a_key_nothing_is_sent() {
    let upstream = Upstream::answering([one_video()]).await;
    let client = YouTubeClient::new(YouTubeConfig { api_key: None, ..upstream.youtube_config() });
    let error = client.expect("a client").video(&video_id()).await.expect_err("no key");
    assert!(error.to_string().contains("YOUTUBE_API_KEY"), "{error}");
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn a_transcript_is_read_with_the_owners_token() {
    let track =
        |id: &str, kind: &str| json!({ "id": id, "snippet": { "language": "en", "trackKind": kind } });
    let tracks = json!({ "items": [track("auto", "asr"), track("people", "standard")] });
    let srt = "1\n00:00:01,000 --> 00:00:02,500\nHello\n";
    let upstream = Upstream::answering([reply(200, tracks.to_string()), reply(200, srt)]).await;
    let call = upstream.youtube().transcript(&video_id(), Some("en")).await.expect("a transcript");
    assert_eq!((call.units, call.value.segments[0].text.as_str()), (250, "Hello"));
    let asked = upstream.asked();
    assert!(asked[1].target.starts_with("/youtube/v3/captions/people?"), "{}", asked[1].target);
    for asked in asked {
        assert_eq!(asked.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert_eq!(asked.header("x-goog-api-key"), None);
    }
}

#[tokio::test]
async fn a_used_up_quota_lasts_until_midnight_by_the_clock_that_was_given() {
    for (now, midnight) in
        [("2026-11-01T08:30:00Z", "2026-11-02T08:00:00Z"), ("2027-03-14T09:00:00Z", "2027-03-15T07:00:00Z")]
    {
        let upstream = Upstream::answering([youtube_error(403, "quotaExceeded")]).await;
        let now: Timestamp = now.parse().expect("a time");
        let config = YouTubeConfig { clock: WallClock::new(move || now), ..upstream.youtube_config() };
        let client = YouTubeClient::new(config).expect("a client");
        let until = midnight.parse().expect("a time");
        let error = client.video(&video_id()).await.expect_err("an error");
        assert_eq!(error, UpstreamError::QuotaExhausted { until });
    }
}

/// What a client told its meter, which refuses all behind the first `allowed`.
fn metered(client: &YouTubeClient, allowed: usize) -> (YouTubeClient, Arc<Mutex<Vec<Expense>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&told);
    let meter = Meter::new(move |expense| {
        let mut book = book.lock().expect("the book");
        book.push(expense);
        let refused = UpstreamError::QuotaExhausted { until: Timestamp::UNIX_EPOCH };
        std::future::ready(if book.len() > allowed { Err(refused) } else { Ok(None) })
    });
    (client.metered(meter), told)
}

#[tokio::test]
async fn each_attempt_is_announced_before_it_is_sent_and_a_refusal_keeps_it_back() {
    let upstream = Upstream::answering([
        with_header(youtube_error(503, "backendError"), "retry-after", "0"),
        one_video(),
    ])
    .await;
    let (client, told) = metered(&upstream.youtube(), 2);
    client.video(&video_id()).await.expect("a video");
    assert_eq!(
        *told.lock().expect("the book"),
        [Expense::Call(Method::Videos), Expense::Call(Method::Videos)]
    );
    let error =
        client.comment_threads(&video_id(), CommentOrder::Time, 1, None).await.expect_err("a refusal");
    assert_eq!(error, UpstreamError::QuotaExhausted { until: Timestamp::UNIX_EPOCH });
    assert_eq!((upstream.asked().len(), client.units_spent()), (2, 2), "nothing was sent");
}

#[tokio::test]
async fn a_used_up_quota_is_told_with_its_bucket() {
    let upstream = Upstream::answering([youtube_error(403, "quotaExceeded")]).await;
    let (client, told) = metered(&upstream.youtube(), 9);
    client.video(&video_id()).await.expect_err("an error");
    let told = told.lock().expect("the book");
    assert!(
        matches!(told[..], [Expense::Call(_), Expense::UsedUp { bucket: Bucket::Shared, .. }]),
        "{told:?}"
    );
}
