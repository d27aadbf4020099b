//! Filling the cache ahead of being asked: entries as they are given, or videos to fetch.

use std::time::Duration;

use axum::{Json, extract::State};
use bytes::Bytes;
use lently_cache::{Cost, WarmEntry};
use lently_service::{Lently, WarmPlan, WarmReport, WarmRequest, WarmState, WarmedVideo, WhyLeft, shape};
use lently_upstream::{ChannelRef, CommentOrder, PlaylistId, VideoId};
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
/// The most videos in one request, those of lists included: as many as one call for metadata takes, and as can be read while
/// somebody holds the line.
const VIDEOS_MAX: usize = 50;
/// The newest of a list, unless more are wanted.
const NEWEST: u32 = 10;

/// What to store and what to fetch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WarmBody {
    #[serde(default)]
    entries: Vec<EntryBody>,
    #[serde(default)]
    videos: Vec<VideoId>,
    #[serde(default)]
    playlists: Vec<PlaylistId>,
    #[serde(default)]
    channels: Vec<ChannelRef>,
    #[serde(default = "default_newest")]
    newest: u32,
    #[serde(default)]
    most_asked: u32,
    #[serde(default = "default_max_comments")]
    max_comments: u32,
    #[serde(default = "default_order")]
    order: CommentOrder,
    #[serde(default)]
    analyze: bool,
    #[serde(default)]
    budget_units: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

fn default_newest() -> u32 {
    NEWEST
}

/// One entry; `ttl` in seconds, the kind's own where it is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryBody {
    key: String,
    value: Box<RawValue>,
    ttl: Option<f64>,
}

/// What came of it, or what would.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Warmed(Box<Warmed>),
    Planned(Box<Planned>),
}

/// What came of it.
#[derive(Serialize)]
pub(super) struct Warmed {
    success: bool,
    stored: u64,
    failed: u64,
    #[serde(flatten)]
    warming: Warming,
}

/// What would.
#[derive(Serialize)]
pub(super) struct Planned {
    success: bool,
    dry_run: bool,
    #[serde(flatten)]
    plan: WarmPlan,
}

/// What came of the videos.
#[derive(Serialize)]
pub(crate) struct Warming {
    /// How many are warm, and how many were left for want of quota.
    warmed: usize,
    left: usize,
    /// Of the shared quota, lists and failed calls included.
    shared_units: u64,
    videos: Vec<VideoWarmed>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct VideoWarmed {
    video_id: VideoId,
    ok: bool,
    /// Why it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<WhyLeft>,
    /// What it cost now, its share of the call for metadata included; nothing where it was there.
    quota_units: u64,
    tokens_in: u64,
    tokens_out: u64,
    micro_dollars: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl Warming {
    pub(crate) fn of(report: WarmReport, lently: &Lently) -> Self {
        let count = |wanted: fn(&WarmState) -> bool| {
            report.videos.iter().filter(|video| wanted(&video.state)).count()
        };
        Self {
            warmed: count(|state| matches!(state, WarmState::Warm)),
            left: count(|state| matches!(state, WarmState::Left(_))),
            shared_units: report.shared_units,
            notes: report.notes,
            videos: report.videos.into_iter().map(|video| VideoWarmed::of(video, lently)).collect(),
        }
    }

    /// Whether none failed. What was left for want of quota did not: that is what a budget is for.
    pub(crate) fn is_success(&self) -> bool {
        self.videos.iter().all(|video| video.ok || video.left.is_some())
    }
}

impl VideoWarmed {
    fn of(WarmedVideo { video_id, state, cost }: WarmedVideo, lently: &Lently) -> Self {
        let (left, error) = match state {
            WarmState::Warm => (None, None),
            WarmState::Failed(error) => (None, Some(error)),
            WarmState::Left(why) => (Some(why), Some(why.as_error(lently))),
        };
        Self {
            video_id,
            ok: error.is_none(),
            left,
            quota_units: cost.quota_units,
            tokens_in: cost.tokens_in,
            tokens_out: cost.tokens_out,
            micro_dollars: cost.micro_dollars,
            error: error.map(|error| Problem::from(error).brief()),
        }
    }
}

/// Stores entries and fetches videos, or tells what fetching them would take. Entries are checked all before the first is stored.
pub(super) async fn warm(
    State(state): State<HttpState>,
    JsonBody(mut body): JsonBody<WarmBody>,
) -> Result<Json<Answer>, Problem> {
    let lently = &state.app.lently;
    let entries = std::mem::take(&mut body.entries);
    if entries.len() > ENTRIES_MAX {
        return Err(Problem::invalid("entries", format!("at most {ENTRIES_MAX} entries in one request")));
    }
    let wants_videos = body.wants_videos();
    if entries.is_empty() && !wants_videos {
        return Err(Problem::invalid("entries", "give `entries`, or something that names videos"));
    }
    let (request, dry_run) = body.into_request();
    if wants_videos {
        request.check(VIDEOS_MAX)?;
    }
    let entries: Vec<WarmEntry> =
        entries.into_iter().map(|entry| entry.check(&state)).collect::<Result<_, _>>()?;
    if dry_run {
        let plan = lently.plan_warming(&request).await?;
        return Ok(Json(Answer::Planned(Box::new(Planned { success: true, dry_run, plan }))));
    }
    let stored = state.app.cache.warm(entries).await;
    let warming = Warming::of(lently.warm(&request, |_| {}).await?, lently);
    let success = stored.failed == 0 && warming.is_success();
    let warmed = Warmed { success, stored: stored.stored, failed: stored.failed, warming };
    Ok(Json(Answer::Warmed(Box::new(warmed))))
}

impl WarmBody {
    fn wants_videos(&self) -> bool {
        let Self { videos, playlists, channels, most_asked, .. } = self;
        !videos.is_empty() || !playlists.is_empty() || !channels.is_empty() || *most_asked > 0
    }

    fn into_request(self) -> (WarmRequest, bool) {
        let Self { videos, playlists, channels, newest, most_asked, max_comments, order, .. } = self;
        let (analyze, budget_units) = (self.analyze, self.budget_units);
        let request = WarmRequest {
            videos,
            playlists,
            channels,
            newest,
            most_asked,
            max_comments,
            order,
            analyze,
            budget_units,
        };
        (request, self.dry_run)
    }
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
