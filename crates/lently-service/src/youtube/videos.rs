//! Metadata of videos, 50 to a call: whoever asks for a video within a short window shares a unit with the others.
//!
//! Title, channel and description hardly ever change, and the statistics do, so what is known of a video is brought up to date
//! by its statistics alone, which cost nothing of the shared quota; all of it is read again every [`DETAILS_LAST`]. It knows
//! no time to live: what it brings is kept by whoever asked for it.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use lently_cache::{Batch, Batching, Bulk, CacheService, Clock, Fetched, Lookup};
use lently_upstream::{MAX_IDS, Statistics, UpstreamError, Video, VideoId, YouTubeClient};
use serde::{Deserialize, Serialize};

use super::statistics::StatisticsSource;
use super::{fetched, written};
use crate::error::ServiceError;
use crate::keys::{CacheKeys, EntryKind};
use crate::ledger::{Ledger, Payer};
use crate::places::Places;
use crate::store::{between, later};
use crate::ttl::RETENTION;

/// As many ids as a call takes; the first of them waits for others no longer than anyone notices beside a call over the Internet.
pub(super) const BATCHING: Batching = Batching { max_ids: MAX_IDS, window: Duration::from_millis(5) };

/// How long title, channel and the like are believed while the statistics are brought up to date: a week. Whoever wants them
/// anew before says `no-cache`.
pub const DETAILS_LAST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A video as it is kept: YouTube's statistics may be younger than the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownVideo {
    /// What YouTube says of it.
    #[serde(flatten)]
    pub video: Video,
    /// When all of it was read; `None` where nobody knows, and then it is read again.
    #[serde(default)]
    pub details_read_at: Option<Timestamp>,
}

impl KnownVideo {
    /// Whether its statistics alone bring it up to date.
    pub(super) fn is_believed(&self, now: Timestamp) -> bool {
        self.details_read_at.is_some_and(|at| now < later(at, DETAILS_LAST))
    }
}

/// How metadata is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The statistics alone, where the rest is known.
    WhatChanges,
    /// All of it.
    InFull,
}

/// What metadata is read with.
#[derive(Clone)]
pub(super) struct VideoSource {
    pub cache: CacheService,
    pub client: YouTubeClient,
    pub statistics: StatisticsSource,
    pub ledger: Ledger,
    pub clock: Clock,
}

/// A video, and who asks for it. Two who ask for the same are one.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub id: VideoId,
    pub payer: Payer,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// Whose a call for several is in the ledger, for a unit cannot be shared there: the one's who asked first, unless nobody waits for
/// theirs and somebody for another's.
pub(super) fn payer_of(asked: &[Asked]) -> Option<&Payer> {
    asked.iter().map(|one| &one.payer).min_by_key(|payer| payer.purpose.is_background())
}

/// What is known here of a video, fresh or not.
pub(crate) struct KnownHere {
    pub video: Video,
    /// Whether its statistics alone bring it up to date.
    pub believed: bool,
    /// How old its statistics are.
    pub age: Duration,
}

impl VideoSource {
    /// A loader of metadata. Each call has one of the `places`, if there are any, however many ids are in it, and is whose
    /// [`payer_of`] says in the ledger.
    pub(super) fn loader(&self, reading: Reading, places: Option<Places>) -> Bulk<Asked> {
        let this = self.clone();
        self.cache.bulk(BATCHING, move |asked: Vec<Asked>| {
            let this = payer_of(&asked).map_or_else(|| this.clone(), |payer| this.paid_by(payer));
            let places = places.clone();
            async move {
                // The wait for a place counts into the fetches' timeouts.
                let _place = match &places {
                    Some(places) => Some(places.take().await.map_err(ServiceError::into_failure)?),
                    None => None,
                };
                let ids = asked.iter().map(|one| one.id.clone()).collect();
                let mut read = this.read(ids, reading).await;
                Ok(asked.into_iter().filter_map(|one| read.remove(&one.id).map(|read| (one, read))).collect())
            }
        })
    }

    fn paid_by(&self, payer: &Payer) -> Self {
        let meter = self.ledger.meter(payer.clone(), None);
        let (client, statistics) = (self.client.metered(meter.clone()), self.statistics.metered(meter));
        Self { client, statistics, ..self.clone() }
    }

    async fn read(&self, ids: Vec<VideoId>, reading: Reading) -> Batch<VideoId> {
        let mut batch = Batch::new();
        let mut in_full = Vec::new();
        let mut known = HashMap::new();
        if reading == Reading::WhatChanges {
            known = self.known(&ids).await;
        }
        let (asked, unknown): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| known.contains_key(id));
        in_full.extend(unknown);
        if !asked.is_empty() {
            match self.statistics.read(&asked).await {
                Ok(mut told) => {
                    for id in asked {
                        match (known.remove(&id), told.remove(&id)) {
                            (Some(known), Some(told)) => {
                                let merged = self.merged(known, told);
                                batch.insert(id, merged);
                            }
                            // It may be gone. The full reading says so, or says otherwise.
                            _ => in_full.push(id),
                        }
                    }
                }
                Err(error) if error.is_retryable() => {
                    let failure = ServiceError::from(error).into_failure();
                    batch.extend(asked.into_iter().map(|id| (id, Err(failure.clone()))));
                }
                // The bucket is empty, or whoever stands at the address does not have the method.
                Err(_) => in_full.extend(asked),
            }
        }
        if !in_full.is_empty() {
            batch.extend(read(&self.client, in_full, &self.clock).await);
        }
        batch
    }

    /// Those of which a tier has what may still be believed, fresh or not.
    async fn known(&self, ids: &[VideoId]) -> HashMap<VideoId, KnownVideo> {
        let now = self.clock.now();
        let looks = ids.iter().map(|id| async move {
            let lookup = self.cache.peek(EntryKind::Video.kind(), &CacheKeys::video(id)).await;
            let (Lookup::Fresh(entry) | Lookup::Stale(entry)) = lookup else { return None };
            let known: KnownVideo = serde_json::from_slice(&entry.value).ok()?;
            (known.is_believed(now) && known.video.id == *id).then(|| (id.clone(), known))
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    fn merged(&self, mut known: KnownVideo, told: Statistics) -> Result<Fetched, lently_cache::FetchFailure> {
        let Statistics { view_count, like_count, comment_count, .. } = told;
        known.video = Video { view_count, like_count, comment_count, ..known.video };
        let age = known.details_read_at.map(|at| between(at, self.clock.now())).unwrap_or_default();
        Ok(Fetched { retain: Some(RETENTION.saturating_sub(age)), ..written(&known)? })
    }
}

/// Reads them in one call (1 unit). A refusal that may mean but one of them is not taken for all: then each half is asked for by
/// itself, and so on. One such id among 50 makes 13 calls, 50 of them 99.
async fn read(client: &YouTubeClient, ids: Vec<VideoId>, clock: &Clock) -> Batch<VideoId> {
    let mut batch = Batch::new();
    let mut parts = vec![ids];
    while let Some(mut part) = parts.pop() {
        let started = Instant::now();
        match client.videos(&part).await {
            Ok(call) => batch.extend(sorted(part, call.value, (call.units, started), clock.now())),
            Err(error) if part.len() > 1 && may_mean_one(&error) => {
                let half = part.split_off(part.len() / 2);
                parts.extend([half, part]);
            }
            Err(error) => {
                // What is wrong with the project or the network is wrong for what is left, too.
                let rest = if may_mean_one(&error) { Vec::new() } else { std::mem::take(&mut parts) };
                let failure = ServiceError::from(error).into_failure();
                batch.extend(rest.into_iter().flatten().chain(part).map(|id| (id, Err(failure.clone()))));
            }
        }
    }
    batch
}

/// Each with its share of the units, so that the shares add up to what was paid; those that are not in the answer are not found.
fn sorted(
    asked: Vec<VideoId>,
    answered: Vec<Video>,
    (units, started): (u64, Instant),
    now: Timestamp,
) -> Batch<VideoId> {
    let mut videos: HashMap<VideoId, Video> =
        answered.into_iter().map(|video| (video.id.clone(), video)).collect();
    videos.retain(|id, _| asked.contains(id));
    let found = videos.len() as u64;
    let mut place = 0;
    let mut share = || {
        place += 1;
        units / found + u64::from(place <= units % found)
    };
    let one = |id: VideoId| {
        let read = match videos.remove(&id) {
            Some(video) => fetched(&KnownVideo { video, details_read_at: Some(now) }, share(), started),
            None => Err(ServiceError::from(UpstreamError::VideoNotFound).into_failure()),
        };
        (id, read)
    };
    asked.into_iter().map(one).collect()
}

/// Whether the upstream may have refused all for what is wrong with one of them.
fn may_mean_one(error: &UpstreamError) -> bool {
    matches!(
        error,
        UpstreamError::VideoNotFound | UpstreamError::Forbidden { .. } | UpstreamError::BadRequest { .. }
    )
}
