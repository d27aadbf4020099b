//! Real files and recorded answers, where `LENTLY_REAL_DATA` says they are.

use std::fs;
use std::path::Path;

use lently_upstream::dump::{DumpFormat, parse_dump};
use lently_upstream::{CommentOrder, Generated, PlaylistId, Unusable, UpstreamError, VideoId};
use serde_json::Value;

use crate::gemini;
use crate::upstream::{Upstream, reply};

#[test]
fn every_comment_of_the_real_files_is_read() {
    let Some(folder) = lently_testing::real_data() else { return };
    for (name, format, comments) in [
        ("threads_9k.info.json", DumpFormat::YtDlp, 9_006),
        ("one_video_20k.csv", DumpFormat::Csv, 20_099),
        ("apify_export.json", DumpFormat::Apify, 1_457),
        ("spanish_channel.csv", DumpFormat::Csv, 259),
        ("one_video_two_crawls_early.csv", DumpFormat::Csv, 1_218),
        ("one_video_two_crawls_late.csv", DumpFormat::Csv, 1_419),
    ] {
        let bytes = fs::read(folder.join("comments").join(name)).expect("the file");
        let dump = parse_dump(name, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((dump.format, dump.comments.len(), dump.skipped_rows), (format, comments, 0), "{name}");
        assert!(dump.comments.iter().all(|comment| !comment.text.contains("<br>")), "{name}");
    }
}

/// Every `.json` below a folder, in order.
fn bodies(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                found.push((name, fs::read(&path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

/// The status that a recorded error names; 200 for everything else.
fn status(body: &[u8]) -> u16 {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    value["error"]["code"].as_u64().and_then(|code| code.try_into().ok()).unwrap_or(200)
}

#[tokio::test]
async fn every_item_of_every_recorded_list_is_read() {
    let Some(folder) = lently_testing::real_data() else { return };
    let id: VideoId = "dQw4w9WgXcQ".parse().expect("an id");
    let playlist: PlaylistId = "PLOU2XLYxmsIKpaV8h0AGE05so0fAwwfTw".parse().expect("an id");
    let mut lists = 0;
    for (name, body) in bodies(&folder.join("youtube/recorded")) {
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        let (Some(kind), Some(items)) = (value["kind"].as_str(), value["items"].as_array()) else { continue };
        let upstream = Upstream::answering([reply(200, body.clone())]).await;
        let client = upstream.youtube();
        let order = CommentOrder::Relevance;
        let read = match kind.trim_start_matches("youtube#") {
            "videoListResponse" => {
                client.videos(std::slice::from_ref(&id)).await.map(|call| call.value.len())
            }
            "channelListResponse" => client.channels(&["UC"]).await.map(|call| call.value.len()),
            "captionListResponse" => client.captions(&id).await.map(|call| call.value.len()),
            "commentListResponse" => client.replies("a", None).await.map(|call| {
                assert_eq!(call.value.next_page_token.as_deref(), value["nextPageToken"].as_str(), "{name}");
                assert!(call.value.items.iter().all(|comment| !comment.text.is_empty()), "{name}");
                call.value.items.len()
            }),
            "playlistItemListResponse" => client.playlist_items(&playlist, None).await.map(|call| {
                assert_eq!(call.value.next_page_token.as_deref(), value["nextPageToken"].as_str(), "{name}");
                call.value.items.len()
            }),
            "commentThreadListResponse" => client.comment_threads(&id, order, 100, None).await.map(|call| {
                assert_eq!(call.value.next_page_token.as_deref(), value["nextPageToken"].as_str(), "{name}");
                assert!(call.value.items.iter().all(|thread| thread.top.published_at.is_some()), "{name}");
                call.value.items.len()
            }),
            _ => continue,
        };
        assert_eq!(read, Ok(items.len()), "{name}");
        lists += 1;
    }
    assert!(lists >= 20, "only {lists} lists");
}

#[tokio::test]
async fn recorded_pages_are_a_file_of_comments_too() {
    let Some(folder) = lently_testing::real_data() else { return };
    let threads = folder.join("youtube/recorded/apidata/comment_threads");
    for (name, comments) in [("comment_threads_by_video_paged_1.json", 5), ("comment_threads_multi.json", 2)]
    {
        let dump = parse_dump(name, &fs::read(threads.join(name)).expect("a file")).expect("comments");
        assert_eq!(dump.format, DumpFormat::CommentThreads);
        assert!(dump.comments.len() >= comments, "{name}: {}", dump.comments.len());
    }
}

#[tokio::test]
async fn recorded_errors_of_youtube_are_told_apart() {
    let Some(folder) = lently_testing::real_data() else { return };
    let id: VideoId = "dQw4w9WgXcQ".parse().expect("an id");
    for (name, body) in bodies(&folder.join("youtube/errors")) {
        if name == "SOURCES" {
            continue;
        }
        let upstream = Upstream::answering([reply(status(&body), body)]).await;
        let error = upstream.youtube().video(&id).await.expect_err("an error");
        let as_expected = match name.split_once('_').map(|(_, what)| what) {
            Some("API_KEY_INVALID_current" | "keyInvalid_legacy" | "API_KEY_SERVICE_BLOCKED") => {
                error == UpstreamError::KeyInvalid
            }
            Some("quotaExceeded") => matches!(error, UpstreamError::QuotaExhausted { .. }),
            Some("commentsDisabled") => error == UpstreamError::CommentsDisabled,
            Some("videoNotFound_commentThreads") => error == UpstreamError::VideoNotFound,
            Some("processingFailure_insert") => matches!(error, UpstreamError::BadRequest { .. }),
            _ => panic!("nobody said what {name} should be; it is {error:?}"),
        };
        assert!(as_expected, "{name}: {error:?}");
    }
}

#[tokio::test]
async fn recorded_answers_of_gemini_are_told_apart() {
    let Some(folder) = lently_testing::real_data() else { return };
    let mut seen = 0;
    for folder in ["gemini/recorded", "gemini/errors"].map(|below| folder.join(below)) {
        for (name, body) in bodies(&folder) {
            if name == "SOURCES" {
                continue;
            }
            let upstream = Upstream::answering([reply(status(&body), body.clone())]).await;
            let answer = gemini::ask(&upstream, 1).await;
            let readable = serde_json::from_slice::<Value>(&body).is_ok();
            assert_eq!(class(&answer), expected(&name, readable), "{name}: {answer:?}");
            seen += 1;
        }
    }
    assert!(seen >= 45, "only {seen} bodies");
}

fn class(answer: &Result<Generated, UpstreamError>) -> &'static str {
    match answer {
        Ok(_) => "answer",
        Err(UpstreamError::Unusable { reason, .. }) => match reason {
            Unusable::Blocked => "blocked",
            Unusable::Truncated => "truncated",
            Unusable::NoParts => "no parts",
            Unusable::Malformed => "malformed",
            _ => "unknown finish",
        },
        Err(UpstreamError::KeyInvalid) => "key",
        Err(UpstreamError::Forbidden { .. }) => "forbidden",
        Err(UpstreamError::BadRequest { .. }) => "bad request",
        Err(UpstreamError::QuotaExhausted { .. }) => "quota",
        Err(UpstreamError::RateLimited { retry_after: Some(_) }) => "rate with hint",
        Err(UpstreamError::RateLimited { retry_after: None }) => "rate",
        Err(UpstreamError::Transient { .. }) => "transient",
        Err(_) => "other",
    }
}

fn expected(name: &str, readable: bool) -> &'static str {
    match name {
        // One of them has a comma too many.
        _ if !readable => "malformed",
        "unary-success-function-call-mixed-content" => "answer",
        _ if name.starts_with("unary-success") && name.contains("function-call") => "no parts",
        _ if name.starts_with("unary-success") => "answer",
        "unary-failure-api-key" | "unary-failure-generativelanguage-api-not-enabled" => "key",
        "unary-failure-unknown-model" | "unary-failure-unsupported-user-location" => "forbidden",
        "unary-failure-image-rejected" => "bad request",
        "unary-failure-empty-content" | "unary-failure-malformed-content" => "no parts",
        "unary-failure-invalid-response" => "malformed",
        "unary-failure-with-message-no-content" | "unary-failure-unknown-enum-finish-reason" => {
            "unknown finish"
        }
        _ if name.starts_with("unary-failure") => "blocked",
        "429_free_tier_day_and_minute" => "quota",
        "429_free_tier_tokens_RetryInfo" => "rate with hint",
        "429_help_only_no_retryinfo" | "429_no_retryinfo" => "rate",
        "500_internal" | "503_overloaded" => "transient",
        _ => "nobody said",
    }
}
