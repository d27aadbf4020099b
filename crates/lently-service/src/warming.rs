//! Warming: metadata, comments and, where wanted, analyses are fetched before anybody asks for them, within a budget. Nobody waits for it, so
//! it stops where the rest of a day's quota is kept for those who wait. It has no clock of its own: whoever knows of a peak begins it
//! ahead of that.

mod plan;
mod units;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesOrdered, StreamExt as _};
use lently_cache::{AcceptStale, Controls, Cost};
use lently_upstream::{
    ChannelRef, CommentOrder, MAX_IDS, PlaylistId, UpstreamError, Video, VideoId, VideoRef,
};
use serde::Serialize;

pub use plan::{WarmPlan, WarmPlanVideo};
pub(crate) use units::Units;

use crate::cached::Cached;
use crate::error::ServiceError;
use crate::ledger::Payer;
use crate::lently::Lently;
use crate::plan::UserPlan;
use crate::request::{AnalysisRequest, AnalysisSource, EngineChoice, MAX_COMMENTS, check_max_comments};
use crate::youtube::{CachedYouTubeService, CommentsRequest};

/// Videos whose comments are read at the same time. Those who wait have 32 places, and these are among them.
const AT_ONCE: usize = 4;
/// Playlists and channels in one request.
pub const LISTS_MAX: usize = 10;

/// What is warm must be fresh: what is stale is fetched, and waited for.
const FRESH_ONLY: Controls = Controls { stale: AcceptStale::Within(Duration::ZERO), ..Controls::DEFAULT };

/// What is to be warmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmRequest {
    /// These.
    pub videos: Vec<VideoId>,
    /// The newest of these.
    pub playlists: Vec<PlaylistId>,
    /// And of the uploads of these.
    pub channels: Vec<ChannelRef>,
    /// How many of each playlist and channel.
    pub newest: u32,
    /// So many of those that were asked for most in the last three Pacific days, today included.
    pub most_asked: u32,
    /// How many comments of each video.
    pub max_comments: u32,
    /// Which come first.
    pub order: CommentOrder,
    /// Whether their analyses are made, too, by whatever engine there is.
    pub analyze: bool,
    /// Units of the shared quota that it may take; without one, as many as are left to work that nobody waits for.
    pub budget_units: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct WarmReport {
    /// The videos in the order in which they were wanted, each once.
    pub videos: Vec<WarmedVideo>,
    /// Units of the shared quota that it took, those of lists and of failed calls included.
    pub shared_units: u64,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// What came of one video.
#[derive(Debug, Clone)]
pub struct WarmedVideo {
    /// The video.
    pub video_id: VideoId,
    /// Whether it is warm.
    pub state: WarmState,
    /// What it took now, its share of the call for metadata included; nothing where it was there.
    pub cost: Cost,
}

/// How a video stands after warming.
#[derive(Debug, Clone)]
pub enum WarmState {
    /// All that was wanted of it is there.
    Warm,
    /// It could not be had. Asking for it fails the same way for now, and costs as little.
    Failed(ServiceError),
    /// It was not begun, or not ended, for this reason.
    Left(WhyLeft),
}

/// Why a video was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyLeft {
    /// It may take more than the budget of the warming has left.
    Budget,
    /// What is left of today's quota is kept for those who wait, or set aside.
    KeptShare,
    /// Today's quota is used up.
    UsedUp,
    /// So little is left that all work pauses that nobody waits for.
    Paused,
}

impl WhyLeft {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::KeptShare => "kept_share",
            Self::UsedUp => "used_up",
            Self::Paused => "paused",
        }
    }

    fn of(error: &ServiceError, lently: &Lently) -> Option<Self> {
        match error.itself() {
            ServiceError::Upstream(UpstreamError::QuotaSetAside { .. }) if lently.ledger().is_paused() => {
                Some(Self::Paused)
            }
            ServiceError::Upstream(UpstreamError::QuotaSetAside { .. }) => Some(Self::KeptShare),
            ServiceError::Upstream(UpstreamError::QuotaExhausted { .. }) => Some(Self::UsedUp),
            _ => None,
        }
    }

    /// The error that asking for it would end with.
    pub fn as_error(self, lently: &Lently) -> ServiceError {
        let until = lently.ledger().day_ends_at();
        ServiceError::Upstream(match self {
            Self::UsedUp => UpstreamError::QuotaExhausted { until },
            Self::Budget | Self::KeptShare | Self::Paused => UpstreamError::QuotaSetAside { until },
        })
    }
}

impl std::fmt::Display for WhyLeft {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Budget => "the budget leaves too little for it",
            Self::KeptShare => "what is left of today's quota is kept for those who wait",
            Self::UsedUp => "today's quota is used up",
            Self::Paused => "little of today's quota is left, and what nobody waits for pauses",
        })
    }
}

impl WarmRequest {
    /// Checks it against the most videos that it may come to.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] with the field.
    pub fn check(&self, videos_max: usize) -> Result<(), ServiceError> {
        let wrong = |field, message| Err(ServiceError::Invalid { field, message });
        let lists = self.playlists.len() + self.channels.len();
        if lists > LISTS_MAX {
            return wrong("playlists", format!("and `channels` may be {LISTS_MAX} together, not {lists}"));
        }
        if lists > 0 && self.newest == 0 {
            return wrong("newest", "must be 1 at least".to_owned());
        }
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let listed = size(self.newest).saturating_mul(lists);
        let videos = self.videos.len().saturating_add(listed).saturating_add(size(self.most_asked));
        if videos == 0 {
            return wrong("videos", "must name something, or something else must".to_owned());
        }
        if videos > videos_max {
            let field = if self.videos.len() > videos_max { "videos" } else { "newest" };
            return wrong(
                field,
                format!("would make {videos} videos in all, where {videos_max} may be warmed"),
            );
        }
        check_max_comments(self.max_comments, MAX_COMMENTS)
    }

    fn analysis_of(&self, video_id: &VideoId) -> AnalysisRequest {
        AnalysisRequest {
            source: AnalysisSource::Video(VideoRef::from(video_id.clone())),
            max_comments: self.max_comments,
            order: self.order,
            include_replies: false,
            engine: EngineChoice::Auto,
            language: None,
        }
    }

    fn comments_of(&self, video_id: &VideoId) -> CommentsRequest {
        CommentsRequest {
            video_id: video_id.clone(),
            max_comments: self.max_comments,
            order: self.order,
            include_replies: false,
        }
    }
}

/// The videos of a request, and what could not be found out.
#[derive(Default)]
struct Wanted {
    videos: Vec<VideoId>,
    notes: Vec<String>,
}

impl Wanted {
    fn add(&mut self, videos: impl IntoIterator<Item = VideoId>) {
        let known: HashSet<VideoId> = self.videos.iter().cloned().collect();
        let mut added = HashSet::new();
        let fresh = videos.into_iter().filter(|id| !known.contains(id) && added.insert(id.clone()));
        self.videos.extend(fresh);
    }
}

impl Lently {
    /// Warms what is wanted; `on_video` is told of each video as it ends. Whatever one of them comes to, the others are gone on with. Dropping
    /// the future begins nothing more; what is begun goes on and is kept.
    ///
    /// # Errors
    /// A request that is wrong, a list that YouTube does not have or that cannot be read for a fault: nothing was warmed then.
    pub async fn warm(
        &self,
        request: &WarmRequest,
        on_video: impl Fn(&WarmedVideo) + Send + Sync,
    ) -> Result<WarmReport, ServiceError> {
        check_max_comments(request.max_comments, MAX_COMMENTS)?;
        let units = Units::of(request.budget_units);
        let Wanted { videos, mut notes } = self.wanted(request, &units).await?;
        let warming = Warming {
            lently: self,
            request,
            youtube: self.youtube().paid_by(Payer::warm()),
            units: &units,
            stopped: Mutex::default(),
        };
        let mut metadata = Vec::with_capacity(videos.len());
        for chunk in videos.chunks(MAX_IDS) {
            metadata.extend(warming.metadata(chunk).await);
        }
        // An analysis has a place among those of users, so there is one at a time.
        let at_once = if request.analyze { 1 } else { AT_ONCE };
        let (mut under_way, mut ended) = (FuturesOrdered::new(), Vec::with_capacity(videos.len()));
        for (video_id, metadata) in videos.into_iter().zip(metadata) {
            // One after the other they get what they may take, so that those come first that were named first.
            let held = match &metadata {
                Ok(_) => warming.hold(&video_id).await,
                Err(state) => Err(state.clone()),
            };
            under_way.push_back(warming.one(video_id, metadata, held));
            if under_way.len() >= at_once {
                ended.extend(under_way.next().await.inspect(&on_video));
            }
        }
        while let Some(warmed) = under_way.next().await {
            on_video(&warmed);
            ended.push(warmed);
        }
        drop(under_way);
        let videos = ended;
        let left = videos.iter().filter(|video| matches!(video.state, WarmState::Left(_))).count();
        if left > 0 {
            notes.push(format!("{left} of {} videos were left", videos.len()));
        }
        Ok(WarmReport { videos, shared_units: units.spent(), notes })
    }

    /// The videos that are meant. A list that there is no quota for is left, and said to be.
    async fn wanted(&self, request: &WarmRequest, units: &Units) -> Result<Wanted, ServiceError> {
        let youtube = self.youtube().paid_by(Payer::warm()).within(units);
        let mut wanted = Wanted::default();
        wanted.add(request.videos.iter().cloned());
        for channel in &request.channels {
            let listed = youtube.newest_of_channel(channel, request.newest).await;
            self.take(&mut wanted, channel.to_string(), listed, units)?;
        }
        for playlist in &request.playlists {
            let listed = youtube.newest_of_playlist(playlist, request.newest).await;
            self.take(&mut wanted, playlist.to_string(), listed, units)?;
        }
        if request.most_asked > 0 {
            wanted.add(self.most_asked(request.most_asked).await?);
        }
        Ok(wanted)
    }

    fn take(
        &self,
        wanted: &mut Wanted,
        name: String,
        listed: Result<crate::youtube::Listed, ServiceError>,
        units: &Units,
    ) -> Result<(), ServiceError> {
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                let why = WhyLeft::of(&error, self).ok_or(error)?;
                let why = if units.left() == 0 { WhyLeft::Budget } else { why };
                wanted.notes.push(format!("{name} was not listed: {why}"));
                return Ok(());
            }
        };
        if listed.is_cut {
            wanted.notes.push(format!("{name} was not read to its end: newer videos may stand further down"));
        }
        wanted.add(listed.videos);
        Ok(())
    }
}

/// One warming under way.
struct Warming<'a> {
    lently: &'a Lently,
    request: &'a WarmRequest,
    youtube: CachedYouTubeService,
    units: &'a Units,
    /// Why nothing more is begun.
    stopped: Mutex<Option<WhyLeft>>,
}

type Metadata = Result<Cached<Video>, WarmState>;

impl Warming<'_> {
    fn stopped(&self) -> Option<WhyLeft> {
        let stopped = *self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.or_else(|| self.lently.ledger().is_paused().then_some(WhyLeft::Paused))
    }

    /// What an error makes of a video. Where it is the quota, the others are not begun.
    fn state_of(&self, error: ServiceError) -> WarmState {
        let Some(why) = WhyLeft::of(&error, self.lently) else { return WarmState::Failed(error) };
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        WarmState::Left(why)
    }

    /// Of up to 50 videos: a unit, where there is one that nobody knows.
    async fn metadata(&self, ids: &[VideoId]) -> Vec<Metadata> {
        let all = |why: WhyLeft| ids.iter().map(|_| Err(WarmState::Left(why))).collect();
        if let Some(why) = self.stopped() {
            return all(why);
        }
        let mut unknown = false;
        for id in ids {
            unknown |= self.youtube.known_video(id).await.is_none_or(|known| !known.believed);
        }
        let held = self.units.hold(u64::from(unknown));
        let Some(held) = held else { return all(WhyLeft::Budget) };
        let read = self.youtube.get_videos_metadata_cached(ids, &FRESH_ONLY).await;
        let spent = read.iter().flatten().map(|video| video.spent().quota_units).sum();
        held.spend(spent);
        drop(held);
        read.into_iter().map(|read| read.map_err(|error| self.state_of(error))).collect()
    }

    /// Holds what a video may take, by the estimate.
    async fn hold(&self, video_id: &VideoId) -> Result<Units, WarmState> {
        if let Some(why) = self.stopped() {
            return Err(WarmState::Left(why));
        }
        let estimate = self.lently.estimate_of_reading(&self.request.analysis_of(video_id)).await;
        let units = estimate.map_err(|error| self.state_of(error))?.shared_units;
        self.units.hold(units).ok_or(WarmState::Left(WhyLeft::Budget))
    }

    async fn one(
        &self,
        video_id: VideoId,
        metadata: Metadata,
        held: Result<Units, WarmState>,
    ) -> WarmedVideo {
        let mut cost = metadata.as_ref().map(Cached::spent).unwrap_or_default();
        let warmed = match held {
            Ok(held) => self.rest_of(&video_id, held, &mut cost).await,
            Err(state) => Err(state),
        };
        WarmedVideo { video_id, state: warmed.err().unwrap_or(WarmState::Warm), cost }
    }

    async fn rest_of(&self, video_id: &VideoId, held: Units, cost: &mut Cost) -> Result<(), WarmState> {
        if let Some(why) = self.stopped() {
            return Err(WarmState::Left(why));
        }
        let youtube = self.youtube.within(&held);
        let comments = self.request.comments_of(video_id);
        // An operator's warming is bounded by the request itself, not by a user's plan.
        let read = youtube.fetch_comments_cached(&comments, UserPlan::Unlimited, &FRESH_ONLY).await;
        *cost = *cost + read.map_err(|error| self.state_of(error))?.spent();
        if self.request.analyze {
            let made = self.lently.prepare(self.request.analysis_of(video_id)).await;
            let made = made.map_err(|error| self.state_of(error))?;
            if !made.cached {
                *cost = *cost + made.cost;
            }
        }
        Ok(())
    }
}
