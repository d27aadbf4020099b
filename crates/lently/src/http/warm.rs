//! Filling the cache ahead of being asked: entries as they are given, or videos to fetch.

use std::time::Duration;

use axum::{Json, extract::State};
use bytes::Bytes;
use lently_cache::{Controls, Cost, WarmEntry};
use lently_service::{Cached, CachedYouTubeService, CommentsRequest, Payer, ServiceError, UserPlan, shape};
use lently_upstream::{CommentOrder, Video, VideoId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    analysis::{default_max_comments, default_order},
    cache_admin::key_kind,
    error::Problem,
    extract::JsonBody,
    routes::HttpState,
};

/// The most entries in one request.
const ENTRIES_MAX: usize = 1_000;
/// The most videos in one request: as many as one call for metadata takes.
const VIDEOS_MAX: usize = 50;

/// What to store and what to fetch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WarmBody {
    #[serde(default)]
    entries: Vec<EntryBody>,
    #[serde(default)]
    videos: Vec<VideoId>,
    #[serde(default = "default_max_comments")]
    max_comments: u32,
    #[serde(default = "default_order")]
    order: CommentOrder,
}

/// One entry; `ttl` in seconds, the kind's own where it is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryBody {
    key: String,
    value: Box<RawValue>,
    ttl: Option<f64>,
}

/// What came of it.
#[derive(Serialize)]
pub(super) struct Warmed {
    success: bool,
    stored: u64,
    failed: u64,
    videos: Vec<VideoWarmed>,
}

#[derive(Serialize)]
struct VideoWarmed {
    video_id: VideoId,
    ok: bool,
    /// What it cost now, its share of the call for metadata included; nothing where it was there.
    quota_units: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

/// Stores entries and fetches videos. Entries are checked all before the first is stored.
pub(super) async fn warm(
    State(state): State<HttpState>,
    JsonBody(body): JsonBody<WarmBody>,
) -> Result<Json<Warmed>, Problem> {
    if body.entries.len() > ENTRIES_MAX || body.videos.len() > VIDEOS_MAX {
        let detail = format!("at most {ENTRIES_MAX} entries and {VIDEOS_MAX} videos in one request");
        return Err(Problem::invalid("entries", detail));
    }
    if body.entries.is_empty() && body.videos.is_empty() {
        return Err(Problem::invalid("entries", "give `entries`, `videos` or both"));
    }
    let entries: Vec<WarmEntry> =
        body.entries.into_iter().map(|entry| entry.check(&state)).collect::<Result<_, _>>()?;
    let report = state.app.cache.warm(entries).await;
    let youtube = &state.app.lently.youtube().paid_by(Payer::warm());
    let metadata = youtube.get_videos_metadata_cached(&body.videos, &Controls::DEFAULT).await;
    let mut videos = Vec::with_capacity(body.videos.len());
    for (video_id, video) in body.videos.into_iter().zip(metadata) {
        let request = CommentsRequest {
            video_id,
            max_comments: body.max_comments,
            order: body.order,
            include_replies: false,
        };
        videos.push(fetch_comments(youtube, request, video).await);
    }
    let success = report.failed == 0 && videos.iter().all(|video| video.ok);
    Ok(Json(Warmed { success, stored: report.stored, failed: report.failed, videos }))
}

impl EntryBody {
    fn check(self, state: &HttpState) -> Result<WarmEntry, Problem> {
        let kind = key_kind(&self.key)?;
        let mut policy = state.app.config.ttl.policy(kind);
        if let Some(ttl) = self.ttl {
            let ttl = Duration::try_from_secs_f64(ttl)
                .ok()
                .filter(|ttl| !ttl.is_zero() && *ttl <= policy.retention);
            policy.fresh = ttl.ok_or_else(|| {
                let most = policy.retention.as_secs();
                Problem::invalid(
                    "ttl",
                    format!("`ttl` of `{}` is more than 0 and at most {most} seconds", self.key),
                )
            })?;
        }
        let value = Bytes::from(Box::<str>::from(self.value).into_string());
        shape::check(kind, &value).map_err(|error| {
            let detail = format!("the value of `{}` is not of its kind: {error}", self.key);
            Problem::invalid("value", detail).with("key", self.key.as_str())
        })?;
        Ok(WarmEntry { key: self.key, policy, value, cost: Cost::default() })
    }
}

async fn fetch_comments(
    youtube: &CachedYouTubeService,
    request: CommentsRequest,
    video: Result<Cached<Video>, ServiceError>,
) -> VideoWarmed {
    // An operator's warming is bounded by the request itself, not by a user's plan.
    let comments = youtube.fetch_comments_cached(&request, UserPlan::Unlimited, &Controls::DEFAULT).await;
    let spent = video.as_ref().map_or(0, |video| video.spent().quota_units)
        + comments.as_ref().map_or(0, |comments| comments.spent().quota_units);
    let error = video.err().or(comments.err()).map(|error| Problem::from(error).brief());
    VideoWarmed { video_id: request.video_id, ok: error.is_none(), quota_units: spent, error }
}
