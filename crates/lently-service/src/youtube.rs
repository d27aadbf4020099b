//! YouTube's data through the cache: comments, metadata and transcripts of a video, each under its own key.
//!
//! It never judges a comment and never asks upstream for what a tier has fresh.

mod asking;
mod comments;
mod erasing;
mod lists;
mod pages;
mod shelf;
mod statistics;
mod videos;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use lently_cache::{
    Answer, Bulk, CacheService, Clock, Controls, Cost, FetchError, FetchFailure, Fetched, Pattern, Wanted,
};
use lently_upstream::{
    Call, CommentOrder, HarvestProgress, Meter, Transcript, Video, VideoId, YouTubeClient,
};
use serde::Serialize;

pub(crate) use self::asking::pages as pages_of_comments;
use self::comments::CommentsSource;
pub(crate) use self::erasing::comments_by;
pub(crate) use self::lists::{Listed, PAGES_MAX as LISTED_PAGES_MAX, pages_of as pages_of_list};
pub use self::shelf::{Check, Doubt, FULL_EVERY, Head, RANKS_EVERY, Shelf};
use self::statistics::StatisticsSource;
use self::videos::{Asked, BATCHING, KnownHere, LONE, Reading, VideoSource};
pub use self::videos::{DETAILS_LAST, KnownVideo};
pub use self::view::Comments;

use tokio_util::sync::CancellationToken;

use crate::cached::Cached;
use crate::economy::Economy;
use crate::error::ServiceError;
use crate::ids::UserId;
use crate::keys::{CacheKeys, EntryKind};
use crate::ledger::{Job, Ledger, Payer};
use crate::places::Places;
use crate::plan::UserPlan;
use crate::popularity::Popularity;
use crate::shape;
use crate::store::Store;
use crate::ttl::CacheTtl;
use crate::warming::Units;

/// Fetches for callers that may be under way at once. Those of analyses are not among them: `max_running` bounds them.
pub const FETCHES_MAX: usize = 32;
/// Fetches for callers that may wait for others to end; more are refused with [`ServiceError::Busy`].
pub const FETCHES_WAITING_MAX: usize = 256;
/// A harvest that ended too early is not kept for the whole half hour: the rest may be had soon.
pub(crate) const PREMATURE_FRESH: Duration = Duration::from_secs(300);
/// The part of the time limit of a harvest in which it reads; in the rest it is stored.
const READING_PART: f64 = 0.9;

/// Which comments of which video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentsRequest {
    /// The video.
    pub video_id: VideoId,
    /// At most so many, 1 to [`MAX_COMMENTS`](crate::request::MAX_COMMENTS).
    pub max_comments: u32,
    /// Which come first.
    pub order: CommentOrder,
    /// Whether replies are read too.
    pub include_replies: bool,
}

/// Called after each page of a harvest that is really read; not called for a hit or a shared fetch.
pub type OnPage = Arc<dyn Fn(HarvestProgress) + Send + Sync>;

/// What the service is made of.
pub(crate) struct YouTubeParts {
    pub cache: CacheService,
    pub client: YouTubeClient,
    pub ledger: Ledger,
    pub store: Store,
    pub ttl: Arc<CacheTtl>,
    pub clock: Clock,
    pub economy: Economy,
    pub popularity: Popularity,
}

/// The YouTube client behind the cache. Cheap to clone.
#[derive(Clone)]
pub struct CachedYouTubeService {
    cache: CacheService,
    /// Metered for the payer.
    client: YouTubeClient,
    ledger: Ledger,
    payer: Payer,
    places: Places,
    statistics: StatisticsSource,
    videos: VideoLoaders,
    comments: CommentsSource,
    ttl: Arc<CacheTtl>,
    clock: Clock,
    popularity: Popularity,
}

/// Loaders of metadata, each with batches of its own.
#[derive(Clone)]
struct VideoLoaders {
    /// For callers; each call upstream has a place.
    callers: Bulk<Asked>,
    /// For analyses; none has.
    analyses: Bulk<Asked>,
    /// For callers and analyses that want nothing that was known before.
    callers_anew: Bulk<Asked>,
    analyses_anew: Bulk<Asked>,
}

impl VideoLoaders {
    fn of(&self, purpose: Purpose, controls: &Controls) -> &Bulk<Asked> {
        match (purpose, controls.no_cache) {
            (Purpose::Caller, false) => &self.callers,
            (Purpose::Analysis, false) => &self.analyses,
            (Purpose::Caller, true) => &self.callers_anew,
            (Purpose::Analysis, true) => &self.analyses_anew,
        }
    }
}

/// For whom something is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A caller, who may leave and come again: bounded here.
    Caller,
    /// An analysis, of which there are so many and no more.
    Analysis,
}

impl CachedYouTubeService {
    /// Spends for the one user there is as long as nobody logs in.
    pub(crate) fn new(parts: YouTubeParts) -> Self {
        let YouTubeParts { cache, client, ledger, store, ttl, clock, economy, popularity } = parts;
        let places = Places::new(FETCHES_MAX, FETCHES_WAITING_MAX);
        let payer = Payer::interactive(UserId::local());
        let statistics = StatisticsSource::new(client.clone(), clock.clone());
        let client = client.metered(ledger.meter(payer.clone(), None));
        let batching = if economy.gathering { BATCHING } else { LONE };
        let comments = CommentsSource {
            cache: cache.clone(),
            client: client.clone(),
            payer: payer.clone(),
            statistics: statistics.loader(&cache, &ledger, batching),
            store,
            clock: clock.clone(),
            policy: ttl.policy(EntryKind::Comments),
            economy,
            canceled: CancellationToken::new(),
        };
        let source = VideoSource {
            cache: cache.clone(),
            client: client.clone(),
            statistics: statistics.clone(),
            fresh: ttl.policy(EntryKind::Video).fresh,
            ledger: ledger.clone(),
            clock: clock.clone(),
        };
        let reading = if economy.statistics_first { Reading::WhatChanges } else { Reading::InFull };
        let videos = VideoLoaders {
            callers: source.loader(reading, Some(places.clone()), batching),
            analyses: source.loader(reading, None, batching),
            callers_anew: source.loader(Reading::InFull, Some(places.clone()), batching),
            analyses_anew: source.loader(Reading::InFull, None, batching),
        };
        Self { cache, client, ledger, payer, places, statistics, videos, comments, ttl, clock, popularity }
    }

    /// The same service for another payer: what it fetches is theirs in the ledger. What others fetch and share is not.
    #[must_use]
    pub fn paid_by(&self, payer: Payer) -> Self {
        let meter = self.ledger.meter(payer.clone(), None);
        self.spending(payer, meter)
    }

    /// The same, reading no further page of comments once `canceled`.
    pub(crate) fn until(&self, canceled: CancellationToken) -> Self {
        Self { comments: CommentsSource { canceled, ..self.comments.clone() }, ..self.clone() }
    }

    /// The same, taking first what a job has set aside. Metadata and statistics go together with those of others and are not taken out
    /// of it.
    pub(crate) fn out_of(&self, job: &Job) -> Self {
        let meter = self.ledger.meter(self.payer.clone(), Some(job.clone()));
        self.spending(self.payer.clone(), meter)
    }

    /// The same, taking no more of the shared quota than these units. Metadata and statistics are not bounded by them.
    pub(crate) fn within(&self, units: &Units) -> Self {
        let meter = self.ledger.meter_within(self.payer.clone(), units.clone());
        self.spending(self.payer.clone(), meter)
    }

    fn spending(&self, payer: Payer, meter: Meter) -> Self {
        let client = self.client.metered(meter);
        let comments =
            CommentsSource { client: client.clone(), payer: payer.clone(), ..self.comments.clone() };
        Self { client, payer, comments, ..self.clone() }
    }

    /// Whether comments are checked again for nothing of the quota that pages are paid with.
    const fn checks_for_nothing(&self) -> bool {
        self.comments.economy.statistics_first
    }

    /// How long comments may have gone unchecked that an analysis is made of; none where they are as fresh as they are for anybody.
    pub(crate) fn unchecked(&self) -> Duration {
        if self.checks_for_nothing() { self.ttl.unchecked() } else { Duration::ZERO }
    }

    /// Counts a request of somebody who waits.
    fn count(&self, video_id: &VideoId) {
        if !self.payer.purpose.is_background() {
            self.popularity.count(video_id);
        }
    }

    pub(crate) const fn payer(&self) -> &Payer {
        &self.payer
    }

    /// What is known of a video without asking anybody, fresh or not.
    pub(crate) async fn known_video(&self, video_id: &VideoId) -> Option<KnownHere> {
        let (entry, _) = shape::peek(&self.cache, EntryKind::Video, &CacheKeys::video(video_id)).await?;
        let known: KnownVideo = serde_json::from_slice(&entry.value).ok()?;
        let now = self.clock.now();
        Some(KnownHere { believed: known.is_believed(now), age: entry.age(now), video: known.video })
    }

    fn asked(&self, id: &VideoId, controls: &Controls) -> Asked {
        Asked { id: id.clone(), payer: self.payer.clone(), max_age: controls.max_age }
    }

    /// Returns a video's comments, from a tier or from upstream (1 unit a page of up to 100, more for replies). What was read for a
    /// larger request serves a smaller one of the same order, a larger one goes on where reading stopped, and what is no longer
    /// fresh is read only as far as something has changed. Like the two below, within the stale window of its kind it returns what there is at once and reads anew behind; the
    /// [`outcome`](Cached::outcome) says so. `controls` say where a caller wants it otherwise.
    ///
    /// # Errors
    /// [`ServiceError::PlanLimit`] where the plan reads fewer at once: asking for less is the caller's choice to make.
    pub async fn fetch_comments_cached(
        &self,
        request: &CommentsRequest,
        user_plan: UserPlan,
        controls: &Controls,
    ) -> Result<Cached<Comments>, ServiceError> {
        user_plan.check_comments(request.max_comments)?;
        self.count(&request.video_id);
        self.comments_for(Purpose::Caller, request, controls, Arc::new(|_| {})).await
    }

    /// The same, with the plan checked by the caller, and told page by page.
    pub(crate) async fn comments(
        &self,
        request: &CommentsRequest,
        controls: &Controls,
        on_page: OnPage,
    ) -> Result<Cached<Comments>, ServiceError> {
        self.comments_for(Purpose::Analysis, request, controls, on_page).await
    }

    /// Returns what YouTube says of a video. Up to 50 that are asked for within a few milliseconds, by whomever, are read in one
    /// call (1 unit). What is known of it and no longer fresh is brought up to date by its statistics alone, which cost nothing of
    /// the shared quota, for up to [`DETAILS_LAST`]; `no_cache` reads all of it.
    pub async fn get_video_metadata_cached(
        &self,
        video_id: &VideoId,
        controls: &Controls,
    ) -> Result<Cached<Video>, ServiceError> {
        self.count(video_id);
        self.video_through(Purpose::Caller, video_id, controls).await
    }

    /// The same of many, in their order. One that fails fails alone.
    pub async fn get_videos_metadata_cached(
        &self,
        video_ids: &[VideoId],
        controls: &Controls,
    ) -> Vec<Result<Cached<Video>, ServiceError>> {
        let policy = self.ttl.policy(EntryKind::Video);
        let one = |id: &VideoId| Wanted {
            id: self.asked(id, controls),
            key: CacheKeys::video(id),
            policy: policy.clone(),
        };
        video_ids.iter().for_each(|id| self.count(id));
        let wanted: Vec<_> = video_ids.iter().map(one).collect();
        let loader = self.videos.of(Purpose::Caller, controls);
        let answers = shape::get_or_set_many(&self.cache, EntryKind::Video, &wanted, controls, loader).await;
        answers.into_iter().map(|answer| self.cached(answer)).collect()
    }

    pub(crate) async fn video(
        &self,
        video_id: &VideoId,
        controls: &Controls,
    ) -> Result<Cached<Video>, ServiceError> {
        self.video_through(Purpose::Analysis, video_id, controls).await
    }

    async fn video_through(
        &self,
        purpose: Purpose,
        video_id: &VideoId,
        controls: &Controls,
    ) -> Result<Cached<Video>, ServiceError> {
        let (videos, id) = (self.videos.of(purpose, controls).clone(), self.asked(video_id, controls));
        let (key, policy) = (CacheKeys::video(video_id), self.ttl.policy(EntryKind::Video));
        let fetch = move || videos.fetch(id);
        self.cached(shape::get_or_set(&self.cache, EntryKind::Video, &key, &policy, controls, fetch).await)
    }

    /// Returns the transcript of a video, in its own language where none is named (50 units to list and 200 to download;
    /// only with the owner's OAuth token).
    pub async fn get_transcript_cached(
        &self,
        video_id: &VideoId,
        language: Option<&str>,
        controls: &Controls,
    ) -> Result<Cached<Transcript>, ServiceError> {
        check_language(language)?;
        let client = self.client.clone();
        let id = video_id.clone();
        let wanted = language.map(str::to_owned);
        let fetch = move || timed(async move { client.transcript(&id, wanted.as_deref()).await });
        let key = CacheKeys::transcript(video_id, language);
        self.through(Purpose::Caller, &key, EntryKind::Transcript, controls, fetch).await
    }

    /// Removes a video's comments, metadata and transcripts from every tier and returns how many entries that were.
    ///
    /// A fetch that runs meanwhile answers those who wait for it and is not stored. Analyses of the video stay.
    pub async fn invalidate_video(&self, video_id: &VideoId) -> Result<u64, ServiceError> {
        self.statistics.forget(video_id);
        // The store first: what is read out of the tiers after that would only come back out of it.
        self.comments.store.remove_shelves(video_id).await?;
        let mut removed = 0;
        for key in [CacheKeys::video(video_id), CacheKeys::transcript(video_id, None)] {
            removed += self.cache.delete(&key).await.map_err(ServiceError::cache)?;
        }
        for pattern in
            [CacheKeys::video_comments_pattern(video_id), CacheKeys::video_transcripts_pattern(video_id)]
        {
            let pattern = Pattern::parse(&pattern)
                .map_err(|error| ServiceError::internal("a pattern of ours is not one", error))?;
            removed += self.cache.delete_pattern(&pattern).await.map_err(ServiceError::cache)?;
        }
        Ok(removed)
    }

    /// How many entries [`invalidate_video`](Self::invalidate_video) would remove.
    pub(crate) async fn entries_of(&self, video_id: &VideoId) -> Result<u64, ServiceError> {
        let (video, transcript) = (CacheKeys::video(video_id), CacheKeys::transcript(video_id, None));
        let mut entries = 0;
        for pattern in [
            Pattern::escape(&video),
            Pattern::escape(&transcript),
            CacheKeys::video_comments_pattern(video_id),
            CacheKeys::video_transcripts_pattern(video_id),
        ] {
            let pattern = Pattern::parse(&pattern)
                .map_err(|error| ServiceError::internal("a pattern of ours is not one", error))?;
            entries += self.cache.measure_pattern(&pattern).await.map_err(ServiceError::cache)?.keys;
        }
        Ok(entries)
    }

    async fn through<T, F, Fut>(
        &self,
        purpose: Purpose,
        key: &str,
        kind: EntryKind,
        controls: &Controls,
        fetch: F,
    ) -> Result<Cached<T>, ServiceError>
    where
        T: serde::de::DeserializeOwned,
        F: FnOnce() -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        let policy = self.ttl.policy(kind);
        let fetch = self.placed(purpose, fetch);
        self.cached(shape::get_or_set(&self.cache, kind, key, &policy, controls, fetch).await)
    }

    /// The same fetch, for a caller with a place of its own. The wait for it counts into the fetch's timeout.
    fn placed<F, Fut>(
        &self,
        purpose: Purpose,
        fetch: F,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<Fetched, FetchFailure>> + Clone + Send + 'static
    where
        F: FnOnce() -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        let places = (purpose == Purpose::Caller).then(|| self.places.clone());
        move || {
            Box::pin(async move {
                let _place = match &places {
                    Some(places) => Some(places.take().await.map_err(ServiceError::into_failure)?),
                    None => None,
                };
                fetch().await
            })
        }
    }

    fn cached<T: serde::de::DeserializeOwned>(
        &self,
        answer: Result<Answer, FetchError>,
    ) -> Result<Cached<T>, ServiceError> {
        Ok(Cached::new(answer?, self.clock.now()))
    }
}

/// Runs an upstream call and writes down what it took. A failed call's units are on the client's own count.
async fn timed<T: Serialize>(
    call: impl Future<Output = Result<Call<T>, lently_upstream::UpstreamError>>,
) -> Result<Fetched, FetchFailure> {
    let started = Instant::now();
    let Call { value, units, .. } = call.await.map_err(|error| ServiceError::from(error).into_failure())?;
    fetched(&value, units, started)
}

/// A value as it is stored, with what it took.
fn fetched<T: Serialize>(value: &T, units: u64, started: Instant) -> Result<Fetched, FetchFailure> {
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(written(value)?.with_cost(Cost { quota_units: units, milliseconds, ..Cost::default() }))
}

/// A value as it is stored, of which nothing is known but that it cost nothing.
fn written<T: Serialize>(value: &T) -> Result<Fetched, FetchFailure> {
    let body = serde_json::to_vec(value)
        .map_err(|error| ServiceError::internal("a value cannot be written", error).into_failure())?;
    Ok(Fetched::new(body))
}

/// A language tag is 1 to 35 letters, digits and hyphens (BCP 47 asks implementations to handle 35).
fn check_language(language: Option<&str>) -> Result<(), ServiceError> {
    let plain = |tag: &str| {
        (1..=35).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if language.is_none_or(plain) {
        return Ok(());
    }
    Err(ServiceError::Invalid {
        field: "lang",
        message: "must be a language tag such as `en` or `pt-BR`".to_owned(),
    })
}
