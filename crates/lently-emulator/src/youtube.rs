//! The YouTube Data API v3 as recorded answers show it: pages that come short, counts that mislead, replies that are
//! not all inline, and the bodies of its errors.

use std::{cmp::Reverse, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State as Extract},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use lently_upstream::Comment;
use serde_json::{Value, json};

use crate::{
    data::{EVERYTHING, Thread, Video},
    faults::{self, Refusal},
    state::{Counts, FaultKind, Method, State},
};

type Params = Query<Vec<(String, String)>>;

/// The most inline replies of a thread.
const MOST_INLINE: usize = 5;

fn param<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// What an admitted call is answered with.
#[derive(PartialEq, Eq)]
enum Admitted {
    Whole,
    /// Without a token for the next page.
    WithoutToken,
}

/// What every call goes through: count, key, quota, latency, fault.
async fn admit(
    state: &State,
    method: Method,
    units: u64,
    headers: &HeaderMap,
    params: &Params,
    count: impl FnOnce(&mut Counts),
) -> Result<Admitted, Response> {
    let within_quota = state.charge(units, count);
    admit_charged(state, method, headers, params, within_quota).await
}

async fn admit_charged(
    state: &State,
    method: Method,
    headers: &HeaderMap,
    params: &Params,
    within_quota: bool,
) -> Result<Admitted, Response> {
    tokio::time::sleep(state.latency_of(method)).await;
    let mut admitted = Admitted::Whole;
    match state.fault_for(method) {
        Some(FaultKind::PageTokenLost) => admitted = Admitted::WithoutToken,
        Some(fault) => return Err(faults::youtube(&fault).await),
        None => {}
    }
    if let Some(wanted) = &state.api_key {
        let header = headers.get("x-goog-api-key").and_then(|value| value.to_str().ok());
        let given = header.or_else(|| param(params, "key"));
        let by_token = headers.contains_key("authorization");
        if given != Some(wanted) && !by_token {
            return Err(faults::youtube(&FaultKind::KeyInvalid).await);
        }
    }
    if within_quota { Ok(admitted) } else { Err(faults::youtube(&FaultKind::QuotaExceeded).await) }
}

pub(crate) async fn videos(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Response> {
    admit(&state, Method::Videos, 1, &headers, &params, |counts| counts.videos += 1).await?;
    let (data, ids) = (state.data(), ids(&params)?);
    let found: Vec<Value> =
        ids.iter().filter_map(|id| data.video(id)).map(|video| video_resource(&video)).collect();
    Ok(list("youtube#videoListResponse", found, None))
}

pub(crate) async fn statistics(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Response> {
    let within_quota = state.charge_statistics();
    admit_charged(&state, Method::Statistics, &headers, &params, within_quota).await?;
    let (data, ids) = (state.data(), ids(&params)?);
    let stat = |video: &Video| {
        let mut statistics = statistics_of(video);
        // This method does not have it (discovery document, revision 20261104).
        statistics.as_object_mut().map(|statistics| statistics.remove("favoriteCount"));
        json!({ "kind": "youtube#videoStats", "etag": etag(&video.id), "id": video.id, "statistics": statistics })
    };
    let found: Vec<Value> = ids.iter().filter_map(|id| data.video(id)).map(|video| stat(&video)).collect();
    Ok(Json(json!({ "kind": "youtube#batchGetStatsResponse", "etag": etag("stats"), "items": found })))
}

/// The ids asked for: repeated or joined by commas, 1 to 50.
fn ids(params: &Params) -> Result<Vec<&str>, Refusal> {
    let given = params.iter().filter(|(key, _)| key == "id").flat_map(|(_, value)| value.split(','));
    let ids: Vec<&str> = given.filter(|id| !id.is_empty()).collect();
    if param(params, "part").is_some() && (1..=50).contains(&ids.len()) {
        return Ok(ids);
    }
    Err(faults::error(StatusCode::BAD_REQUEST, "youtube.parameter", "invalidValue", "Check part and id.")
        .into())
}

fn statistics_of(video: &Video) -> Value {
    let mut statistics = json!({
        "viewCount": video.views.to_string(), "likeCount": video.likes.to_string(), "favoriteCount": "0",
    });
    if !video.comments_disabled {
        let counted = video.comment_count() as u64 + video.hidden;
        statistics["commentCount"] = json!(counted.to_string());
    }
    statistics
}

fn video_resource(video: &Video) -> Value {
    let image = |name: &str, width: u32| json!({ "url": format!("https://i.ytimg.com/vi/{}/{name}.jpg", video.id), "width": width });
    let mut snippet = json!({
        "publishedAt": video.published,
        "channelId": video.channel_id,
        "title": video.title,
        "description": video.description,
        "thumbnails": { "default": image("default", 120), "high": image("hqdefault", 480) },
        "channelTitle": video.channel,
        "categoryId": "22",
        "liveBroadcastContent": "none",
    });
    if let Some(language) = &video.language {
        snippet["defaultLanguage"] = json!(language);
    }
    json!({
        "kind": "youtube#video",
        "etag": etag(&video.id),
        "id": video.id,
        "snippet": snippet,
        "contentDetails": { "duration": format!("PT{}M{}S", video.duration_seconds / 60, video.duration_seconds % 60) },
        "statistics": statistics_of(video),
    })
}

pub(crate) async fn comment_threads(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Response> {
    let admitted =
        admit(&state, Method::CommentThreads, 1, &headers, &params, |counts| counts.comment_threads += 1)
            .await?;
    let data = state.data();
    let video =
        param(&params, "videoId").and_then(|id| data.video(id)).ok_or_else(faults::video_not_found)?;
    if video.comments_disabled {
        return Err(faults::youtube(&FaultKind::CommentsDisabled).await);
    }
    let order = param(&params, "order").unwrap_or("time");
    let mut threads: Vec<&Thread> = video.threads.iter().collect();
    match order {
        "time" => threads.sort_by_key(|thread| (Reverse(thread.top.published_at), thread.top.id.clone())),
        "relevance" => threads.sort_by_key(|thread| {
            (Reverse(thread.top.like_count + 3 * thread.replies.len() as u64), thread.top.id.clone())
        }),
        _ => {
            return Err(faults::error(
                StatusCode::BAD_REQUEST,
                "youtube.parameter",
                "invalidValue",
                "Check order.",
            ));
        }
    }
    let (page, next) = page(&params, &threads, order, |thread| &thread.top.id)?;
    let items = page.iter().map(|thread| thread_resource(&video, thread)).collect();
    let next = next.filter(|_| admitted == Admitted::Whole);
    Ok(list("youtube#commentThreadListResponse", items, next))
}

pub(crate) async fn comments(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Response> {
    admit(&state, Method::Comments, 1, &headers, &params, |counts| counts.comments += 1).await?;
    let parent = param(&params, "parentId").unwrap_or_default();
    let data = state.data();
    let found = data.videos.values().find_map(|video| {
        video.threads.iter().find(|thread| thread.top.id == parent).map(|thread| (video, thread))
    });
    let Some((video, thread)) = found else {
        return Err(faults::error(
            StatusCode::NOT_FOUND,
            "youtube.comment",
            "commentNotFound",
            "No such comment.",
        ));
    };
    // Newest first, as YouTube has had it.
    let replies: Vec<&Comment> = thread.replies.iter().rev().collect();
    let (page, next) = page(&params, &replies, "replies", |reply| &reply.id)?;
    let items = page.iter().map(|reply| comment_resource(video, reply)).collect();
    Ok(list("youtube#commentListResponse", items, next))
}

/// A page and the token of the next. Pages after the first come one short, as YouTube's do. A token holds the place behind
/// an item, wherever that has moved to meanwhile; where it is gone, the place it had.
fn page<'a, T>(
    params: &Params,
    all: &'a [T],
    order: &str,
    id: impl Fn(&T) -> &String,
) -> Result<(&'a [T], Option<String>), Refusal> {
    let refuse =
        |reason| faults::error(StatusCode::BAD_REQUEST, "youtube.parameter", reason, "Check the parameters.");
    let size: usize =
        param(params, "maxResults").map_or(Ok(20), str::parse).map_err(|_| refuse("invalidValue"))?;
    if !(1..=100).contains(&size) {
        return Err(refuse("invalidValue").into());
    }
    let from = match param(params, "pageToken") {
        None => 0,
        Some(token) => {
            let (place, last) = token
                .strip_prefix(&format!("get_{order}--"))
                .and_then(|rest| rest.split_once('.'))
                .and_then(|(hex, last)| Some((usize::from_str_radix(hex, 16).ok()?, last)))
                .ok_or_else(|| refuse("invalidPageToken"))?;
            let found = all.iter().position(|item| id(item) == last);
            found.map_or(place.min(all.len()), |found| found + 1)
        }
    };
    let short = usize::from(from > 0 && size > 1);
    let to = (from + size - short).min(all.len());
    let page = &all[from..to];
    let last = page.last().filter(|_| to < all.len());
    Ok((page, last.map(|last| format!("get_{order}--{to:x}.{}", id(last)))))
}

fn thread_resource(video: &Video, thread: &Thread) -> Value {
    let total = thread.replies.len();
    // Recorded: three replies of which two are inline.
    let inline = if total == 3 { 2 } else { total.min(MOST_INLINE) };
    let mut resource = json!({
        "kind": "youtube#commentThread",
        "etag": etag(&thread.top.id),
        "id": thread.top.id,
        "snippet": {
            "channelId": video.channel_id,
            "videoId": video.id,
            "topLevelComment": comment_resource(video, &thread.top),
            "canReply": true,
            "totalReplyCount": total,
            "isPublic": true,
        },
    });
    if inline > 0 {
        let replies: Vec<Value> =
            thread.replies.iter().rev().take(inline).map(|reply| comment_resource(video, reply)).collect();
        resource["replies"] = json!({ "comments": replies });
    }
    resource
}

fn comment_resource(video: &Video, comment: &Comment) -> Value {
    let mut snippet = json!({
        "channelId": video.channel_id,
        "videoId": video.id,
        "textDisplay": comment.text,
        "textOriginal": comment.text,
        "authorDisplayName": comment.author,
        "canRate": true,
        "viewerRating": "none",
        "likeCount": comment.like_count,
        "publishedAt": comment.published_at,
        "updatedAt": comment.updated_at.or(comment.published_at),
    });
    if let Some(channel) = &comment.author_channel_id {
        snippet["authorChannelId"] = json!({ "value": channel });
    }
    if let Some(parent) = &comment.parent_id {
        snippet["parentId"] = json!(parent);
    }
    json!({ "kind": "youtube#comment", "etag": etag(&comment.id), "id": comment.id, "snippet": snippet })
}

pub(crate) async fn channels(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Response> {
    admit(&state, Method::Channels, 1, &headers, &params, |counts| counts.channels += 1).await?;
    let data = state.data();
    let of_handle = param(&params, "forHandle").and_then(|handle| {
        let handle = handle.trim_start_matches('@');
        data.videos.values().find(|video| handle_of(video) == handle).map(|video| video.channel_id.as_str())
    });
    let by_id = param(&params, "id").unwrap_or_default().split(',').filter(|id| !id.is_empty());
    let ids: Vec<&str> = by_id.chain(of_handle).collect();
    let found = ids.iter().filter_map(|id| {
        let videos: Vec<_> = data.videos.values().filter(|video| video.channel_id == **id).collect();
        let first = videos.first()?;
        Some(json!({
            "kind": "youtube#channel",
            "etag": etag(id),
            "id": id,
            "snippet": {
                "title": first.channel, "description": "", "publishedAt": first.published,
                "customUrl": format!("@{}", handle_of(first)),
            },
            "contentDetails": { "relatedPlaylists": { "uploads": id.replacen("UC", "UU", 1) } },
            "statistics": { "viewCount": "1000000", "subscriberCount": "12300", "videoCount": videos.len().to_string() },
        }))
    });
    Ok(list("youtube#channelListResponse", found.collect(), None))
}

/// A channel's name in small letters, without what no handle has in it.
fn handle_of(video: &Video) -> String {
    video.channel.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// What a channel has uploaded, newest first, or in [`EVERYTHING`] all there is, by id.
pub(crate) async fn playlist_items(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Response> {
    admit(&state, Method::PlaylistItems, 1, &headers, &params, |counts| counts.playlist_items += 1).await?;
    let refuse =
        |reason| faults::error(StatusCode::BAD_REQUEST, "youtube.parameter", reason, "Check the parameters.");
    let size: usize = param(&params, "maxResults").map_or(Ok(5), str::parse).unwrap_or_default();
    let from: usize = param(&params, "pageToken")
        .map_or(Some(0), |token| token.strip_prefix("PT:").and_then(|from| from.parse().ok()))
        .ok_or_else(|| refuse("invalidPageToken"))?;
    if !(1..=50).contains(&size) || param(&params, "part").is_none() {
        return Err(refuse("invalidValue"));
    }
    let (data, playlist) = (state.data(), param(&params, "playlistId").unwrap_or_default());
    let mut videos: Vec<_> = data.videos.values().collect();
    if playlist != EVERYTHING {
        let channel = playlist.strip_prefix("UU").map(|rest| format!("UC{rest}"));
        videos.retain(|video| Some(&video.channel_id) == channel.as_ref());
        videos.sort_by_key(|video| (Reverse(video.published), video.id.clone()));
    }
    if videos.is_empty() {
        let (status, domain) = (StatusCode::NOT_FOUND, "youtube.playlistItem");
        return Err(faults::error(status, domain, "playlistNotFound", "No such playlist."));
    }
    let to = from.saturating_add(size).min(videos.len());
    let item = |video: &Video| {
        json!({
            "kind": "youtube#playlistItem", "etag": etag(&video.id), "id": format!("{playlist}.{}", video.id),
            "contentDetails": { "videoId": video.id, "videoPublishedAt": video.published },
        })
    };
    let items = videos.get(from..to).unwrap_or_default().iter().map(|video| item(video)).collect();
    let next = (to < videos.len()).then(|| format!("PT:{to}"));
    Ok(list("youtube#playlistItemListResponse", items, next))
}

pub(crate) async fn captions(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Response> {
    admit(&state, Method::Captions, 50, &headers, &params, |counts| counts.captions += 1).await?;
    owner_only(&headers)?;
    let data = state.data();
    let video =
        param(&params, "videoId").and_then(|id| data.video(id)).ok_or_else(faults::video_not_found)?;
    let track = json!({
        "kind": "youtube#caption",
        "etag": etag(&video.id),
        "id": format!("caption-{}", video.id),
        "snippet": {
            "videoId": video.id, "trackKind": "standard", "language": video.language.as_deref().unwrap_or("en"),
            "name": "", "status": "serving",
        },
    });
    Ok(list("youtube#captionListResponse", vec![track], None))
}

pub(crate) async fn download_caption(
    Extract(state): Extract<Arc<State>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Response> {
    admit(&state, Method::Captions, 200, &headers, &params, |counts| counts.caption_downloads += 1).await?;
    owner_only(&headers)?;
    let data = state.data();
    let video =
        id.strip_prefix("caption-").and_then(|id| data.video(id)).ok_or_else(faults::video_not_found)?;
    let srt = format!(
        "1\n00:00:00,000 --> 00:00:02,500\n{}\n\n2\n00:00:02,500 --> 00:00:05,000\n{}\n",
        video.title, video.channel
    );
    Ok(([("content-type", "application/octet-stream")], srt).into_response())
}

/// Captions are their owner's: a key is not enough.
fn owner_only(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key("authorization") {
        return Ok(());
    }
    Err(faults::error(StatusCode::UNAUTHORIZED, "global", "required", "Login Required.").into())
}

/// `totalResults` is the number on this page, as YouTube has it for comments.
fn list(kind: &str, items: Vec<Value>, next: Option<String>) -> Json<Value> {
    let mut body = json!({
        "kind": kind,
        "etag": etag(&format!("{kind}{}", items.len())),
        "pageInfo": { "totalResults": items.len(), "resultsPerPage": items.len() },
        "items": items,
    });
    if let Some(next) = next {
        body["nextPageToken"] = json!(next);
    }
    Json(body)
}

fn etag(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..27].to_owned()
}
