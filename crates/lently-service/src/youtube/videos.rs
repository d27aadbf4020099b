//! Metadata of videos, 50 to a call: whoever asks for a video within a short window shares a unit with the others.
//!
//! Title, channel and description hardly ever change, and the statistics do, so what is known of a video is brought up to date
//! by its statistics alone, which cost nothing of the shared quota; all of it is read again every [`DETAILS_LAST`]. What it
//! brings is kept by whoever asked for it.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use lently_cache::{Batch, Batching, Bulk, CacheService, Clock, Fetched, Lookup};
use lently_upstream::{MAX_IDS, Statistics, UpstreamError, Video, VideoId, YouTubeClient};
use serde::{Deserialize, Serialize};

use super::statistics::{StatisticsSource, Told};
use super::{fetched, written};
use crate::error::ServiceError;
use crate::keys::{CacheKeys, EntryKind};
use crate::ledger::{Ledger, Payer};
use crate::places::Places;
use crate::store::{between, later};
use crate::ttl::RETENTION;

/// As many ids as a call takes; the first of them waits for others no longer than anyone notices beside a call over the Internet.
pub(super) const BATCHING: Batching = Batching { max_ids: MAX_IDS, window: Duration::from_millis(5) };
/// The same where nobody else comes.
pub(super) const LONE: Batching = Batching { max_ids: MAX_IDS, window: Duration::ZERO };

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
    /// When YouTube told the statistics; `None` where that is when it was read.
    #[serde(default)]
    pub counted_at: Option<Timestamp>,
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
    /// How long metadata is fresh.
    pub fresh: Duration,
    pub ledger: Ledger,
    pub clock: Clock,
}

/// A video, and who asks for it. Two who ask for the same are one.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub id: VideoId,
    pub payer: Payer,
    /// How old statistics may be that were told already; `None` leaves it to their source.
    pub max_age: Option<Duration>,
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
    pub(super) fn loader(&self, reading: Reading, places: Option<Places>, batching: Batching) -> Bulk<Asked> {
        let this = self.clone();
        self.cache.bulk(batching, move |asked: Vec<Asked>| {
            let this = payer_of(&asked).map_or_else(|| this.clone(), |payer| this.paid_by(payer));
            let places = places.clone();
            async move {
                // The wait for a place counts into the fetches' timeouts.
                let _place = match &places {
                    Some(places) => Some(places.take().await.map_err(ServiceError::into_failure)?),
                    None => None,
                };
                let mut read = this.read(asked.clone(), reading).await;
                Ok(asked.into_iter().filter_map(|one| read.remove(&one.id).map(|read| (one, read))).collect())
            }
        })
    }

    fn paid_by(&self, payer: &Payer) -> Self {
        let meter = self.ledger.meter(payer.clone(), None);
        let (client, statistics) = (self.client.metered(meter.clone()), self.statistics.metered(meter));
        Self { client, statistics, ..self.clone() }
    }

    async fn read(&self, asked: Vec<Asked>, reading: Reading) -> Batch<VideoId> {
        let mut batch = Batch::new();
        let mut known = HashMap::new();
        if reading == Reading::WhatChanges {
            known = self.known(&asked).await;
        }
        let (asked, unknown): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|one| known.contains_key(&one.id));
        let ids = |asked: Vec<Asked>| asked.into_iter().map(|one| one.id);
        let mut in_full: Vec<VideoId> = ids(unknown).collect();
        if !asked.is_empty() {
            match self.statistics.read(&asked).await {
                Ok(mut told) => {
                    for id in ids(asked) {
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
                    batch.extend(ids(asked).map(|id| (id, Err(failure.clone()))));
                }
                // The bucket is empty, or whoever stands at the address does not have the method.
                Err(_) => in_full.extend(ids(asked)),
            }
        }
        if !in_full.is_empty() {
            batch.extend(self.read_in_full(in_full, reading).await);
        }
        batch
    }

    /// All of the metadata, and along with it that of others for which it is due before long.
    async fn read_in_full(&self, ids: Vec<VideoId>, reading: Reading) -> Batch<VideoId> {
        let along = match reading {
            Reading::WhatChanges => self.statistics.beside(&ids),
            Reading::InFull => Vec::new(),
        };
        let (batch, others) = read(&self.client, ids, along, &self.clock).await;
        self.statistics.keep_details(others);
        let found = batch.iter().filter(|(_, read)| read.is_ok()).map(|(id, _)| id);
        self.statistics.note_details(found, self.clock.now());
        batch
    }

    /// Those of which a tier has what may still be believed, fresh or not.
    async fn known(&self, asked: &[Asked]) -> HashMap<VideoId, KnownVideo> {
        let now = self.clock.now();
        let looks = asked.iter().map(|Asked { id, .. }| async move {
            let lookup = self.cache.peek(EntryKind::Video.kind(), &CacheKeys::video(id)).await;
            let (Lookup::Fresh(entry) | Lookup::Stale(entry)) = lookup else { return None };
            let known: KnownVideo = serde_json::from_slice(&entry.value).ok()?;
            (known.is_believed(now) && known.video.id == *id).then(|| (id.clone(), known))
        });
        let mut known: HashMap<_, _> = join_all(looks).await.into_iter().flatten().collect();
        let ids: Vec<VideoId> = asked.iter().map(|one| one.id.clone()).collect();
        let along = self.statistics.details(&ids).into_iter();
        known.extend(along.map(|details| (details.video.id.clone(), details)));
        for known in known.values() {
            self.statistics.note_details([&known.video.id], known.details_read_at.unwrap_or(now));
        }
        known
    }

    fn merged(&self, mut known: KnownVideo, told: Told) -> Result<Fetched, lently_cache::FetchFailure> {
        let Statistics { view_count, like_count, comment_count, .. } = told.statistics;
        let now = self.clock.now();
        known.video = Video { view_count, like_count, comment_count, ..known.video };
        known.counted_at = Some(told.at);
        let age = known.details_read_at.map(|at| between(at, now)).unwrap_or_default();
        Ok(Fetched {
            fresh: Some(self.fresh.saturating_sub(between(told.at, now))),
            retain: Some(RETENTION.saturating_sub(age)),
            ..written(&known)?
        })
    }
}

/// Reads them in one call (1 unit), and `along` with them as long as nothing is refused. A refusal that may mean but one of them is not
/// taken for all: then each half is asked for by itself, and so on. One such id among 50 makes 13 calls, 50 of them 99.
async fn read(
    client: &YouTubeClient,
    ids: Vec<VideoId>,
    mut along: Vec<VideoId>,
    clock: &Clock,
) -> (Batch<VideoId>, Vec<KnownVideo>) {
    let mut batch = Batch::new();
    let mut others = Vec::new();
    let mut parts = vec![ids];
    while let Some(mut part) = parts.pop() {
        let started = Instant::now();
        let beside = std::mem::take(&mut along);
        match client.videos(&[&part[..], &beside[..]].concat()).await {
            Ok(mut call) => {
                let now = clock.now();
                let read = call.value.extract_if(.., |video| beside.contains(&video.id));
                let known = |video| KnownVideo { video, details_read_at: Some(now), counted_at: Some(now) };
                others.extend(read.map(known));
                batch.extend(sorted(part, call.value, (call.units, started), now));
            }
            // Whichever of them was meant.
            Err(error) if !beside.is_empty() && may_mean_one(&error) => parts.push(part),
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
    (batch, others)
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
            Some(video) => {
                fetched(&KnownVideo { video, details_read_at: Some(now), counted_at: None }, share(), started)
            }
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
