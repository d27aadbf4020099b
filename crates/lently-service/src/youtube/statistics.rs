//! Statistics of videos, 50 to a call, in a quota bucket of their own: what tells that nothing has changed, for nothing of the
//! quota that pages are paid with.
//!
//! A call costs the same for 50 videos as for one, so what is left of it is filled with those that were asked about lately and may be
//! again. What it tells of them is kept here for a few minutes; what was asked for, whoever asked keeps. So it is with calls for all of
//! the metadata, which cost a unit of the shared quota.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lently_cache::{Batch, Batching, Bulk, CacheService, Clock};
use lently_upstream::{MAX_IDS, Meter, Statistics, UpstreamError, Video, VideoId, YouTubeClient};
use serde::{Deserialize, Serialize};

use super::videos::{Asked, KnownVideo, payer_of};
use super::written;
use crate::error::ServiceError;
use crate::ledger::Ledger;
use crate::store::between;

/// How long statistics are used that were told along with others'. Whoever wants them younger says so.
const TOLD_LASTS: Duration = Duration::from_secs(300);
/// Whoever has not been asked about for so long is not asked about along with others.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// Metadata is read along with others' when it is so old, and is then used when it is due.
const DETAILS_ALONG_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// So many videos are remembered; beyond, those that were asked about the longest ago are not.
const REMEMBERED_AT_MOST: usize = 4_096;

/// A video's statistics, and when YouTube told them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    pub statistics: Statistics,
    pub at: Timestamp,
}

/// Where statistics come from. Cheap to clone; clones know of each other when the bucket is empty.
#[derive(Clone)]
pub(super) struct StatisticsSource {
    client: YouTubeClient,
    clock: Clock,
    lately: Arc<Mutex<Lately>>,
    /// Until when the bucket is empty, in milliseconds since 1970.
    empty_until: Arc<AtomicI64>,
}

impl StatisticsSource {
    pub(super) fn new(client: YouTubeClient, clock: Clock) -> Self {
        let empty_until = Arc::new(AtomicI64::new(i64::MIN));
        Self { client, clock, lately: Arc::default(), empty_until }
    }

    /// The same, whose calls that meter is told of.
    pub(super) fn metered(&self, meter: Meter) -> Self {
        Self { client: self.client.metered(meter), ..self.clone() }
    }

    /// Tells of up to 50 videos, in one call at most; in none where all were told of lately, as young as each is asked for. What is missing
    /// from the answer does not exist, or is not to be seen.
    pub(super) async fn read(&self, asked: &[Asked]) -> Result<HashMap<VideoId, Told>, UpstreamError> {
        let now = self.clock.now();
        let (mut told, ids) = self.lately(|lately| lately.ask(asked, now));
        let missing = asked.iter().filter(|one| !told.contains_key(&one.id)).count();
        if missing == 0 {
            return Ok(told);
        }
        let empty_until = self.empty_until.load(Ordering::Relaxed);
        if now.as_millisecond() < empty_until {
            let until = Timestamp::from_millisecond(empty_until).unwrap_or(Timestamp::MAX);
            return Err(UpstreamError::QuotaExhausted { until });
        }
        match self.client.statistics(&ids).await {
            Ok(call) => {
                let answered = call.value.into_iter().filter(|one| ids.contains(&one.id));
                let answered: Vec<Told> = answered.map(|statistics| Told { statistics, at: now }).collect();
                self.lately(|lately| lately.tell(&answered));
                let wanted = answered
                    .into_iter()
                    .filter(|one| asked.iter().any(|asked| asked.id == one.statistics.id));
                told.extend(wanted.map(|one| (one.statistics.id.clone(), one)));
                Ok(told)
            }
            Err(error) => {
                if let UpstreamError::QuotaExhausted { until } = &error {
                    self.empty_until.store(until.as_millisecond(), Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// Metadata of these that was read along with others', where it may still be believed.
    pub(super) fn details(&self, ids: &[VideoId]) -> Vec<KnownVideo> {
        let now = self.clock.now();
        let taken: Vec<KnownVideo> =
            self.lately(|lately| ids.iter().filter_map(|id| lately.seen(id, now).details.take()).collect());
        taken.into_iter().filter(|details| details.is_believed(now)).collect()
    }

    /// With whom to fill up a call for all of the metadata.
    pub(super) fn beside(&self, ids: &[VideoId]) -> Vec<VideoId> {
        let now = self.clock.now();
        self.lately(|lately| lately.due(ids, now))
    }

    /// Keeps metadata that was read along with others'.
    pub(super) fn keep_details(&self, read: Vec<KnownVideo>) {
        let now = self.clock.now();
        self.lately(|lately| lately.keep(read, now));
    }

    /// Writes down how old the metadata is that somebody keeps of videos that there are.
    pub(super) fn note_details<'a>(&self, of: impl IntoIterator<Item = &'a VideoId>, read_at: Timestamp) {
        let now = self.clock.now();
        self.lately(|lately| of.into_iter().for_each(|id| lately.seen(id, now).details_at = Some(read_at)));
    }

    /// Forgets what was told and read of a video along with others.
    pub(super) fn forget(&self, id: &VideoId) {
        self.lately(|lately| lately.0.remove(id));
    }

    fn lately<T>(&self, with: impl FnOnce(&mut Lately) -> T) -> T {
        with(&mut self.lately.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A loader for those who ask for one video each. A call is whose [`payer_of`] says in the ledger.
    pub(super) fn loader(&self, cache: &CacheService, ledger: &Ledger, batching: Batching) -> Bulk<Asked> {
        let (this, ledger) = (self.clone(), ledger.clone());
        cache.bulk(batching, move |asked: Vec<Asked>| {
            let this = match payer_of(&asked) {
                Some(payer) => this.metered(ledger.meter(payer.clone(), None)),
                None => this.clone(),
            };
            async move {
                let read =
                    this.read(&asked).await.map_err(|error| ServiceError::from(error).into_failure())?;
                let told = |one: Asked| read.get(&one.id).map(|told| (one, written(told)));
                Ok(asked.into_iter().filter_map(told).collect::<Batch<_>>())
            }
        })
    }
}

/// Which videos are asked about, and what was told of them last.
#[derive(Default)]
struct Lately(HashMap<VideoId, Seen>);

struct Seen {
    asked_at: Timestamp,
    told: Option<Told>,
    /// When the metadata was read that somebody keeps.
    details_at: Option<Timestamp>,
    /// Younger metadata, which nobody has yet.
    details: Option<KnownVideo>,
}

impl Seen {
    fn told_at(&self) -> Timestamp {
        self.told.as_ref().map_or(Timestamp::MIN, |told| told.at)
    }
}

impl Lately {
    fn seen(&mut self, id: &VideoId, now: Timestamp) -> &mut Seen {
        let new = Seen { asked_at: now, told: None, details_at: None, details: None };
        let seen = self.0.entry(id.clone()).or_insert(new);
        seen.asked_at = now;
        seen
    }

    /// What was told of these lately, and whom to ask about for the rest: these, and as many others as a call has room for, of whom it is
    /// the longest ago that anything was told.
    fn ask(&mut self, asked: &[Asked], now: Timestamp) -> (HashMap<VideoId, Told>, Vec<VideoId>) {
        let mut told = HashMap::new();
        let mut ids = Vec::with_capacity(MAX_IDS);
        for Asked { id, max_age, .. } in asked {
            let seen = self.seen(id, now);
            let lasts = max_age.map_or(TOLD_LASTS, |age| age.min(TOLD_LASTS));
            match &seen.told {
                Some(last) if between(last.at, now) < lasts => {
                    told.insert(id.clone(), last.clone());
                }
                _ => ids.push(id.clone()),
            }
        }
        if ids.is_empty() {
            return (told, ids);
        }
        self.forget(now);
        let mut others: Vec<(Timestamp, &VideoId)> = self
            .0
            .iter()
            // Of what is not there nothing is known, and nobody is asked about it for others' sake.
            .filter(|(id, seen)| seen.details_at.is_some() && !ids.contains(id))
            .filter(|(_, seen)| between(seen.told_at(), now) >= TOLD_LASTS)
            .map(|(id, seen)| (seen.told_at(), id))
            .collect();
        others.sort_unstable();
        let room = MAX_IDS.saturating_sub(ids.len());
        ids.extend(others.into_iter().take(room).map(|(_, id)| id.clone()));
        (told, ids)
    }

    /// Whose metadata is due before long, the oldest first, as many as a call has room for beside these.
    fn due(&mut self, beside: &[VideoId], now: Timestamp) -> Vec<VideoId> {
        self.forget(now);
        let old = |seen: &Seen| {
            let at = seen.details.as_ref().and_then(|details| details.details_read_at).or(seen.details_at)?;
            (between(at, now) >= DETAILS_ALONG_AFTER).then_some(at)
        };
        let others = self.0.iter().filter(|(id, _)| !beside.contains(id));
        let mut others: Vec<_> = others.filter_map(|(id, seen)| Some((old(seen)?, id))).collect();
        others.sort_unstable();
        let room = MAX_IDS.saturating_sub(beside.len());
        others.into_iter().take(room).map(|(_, id)| id.clone()).collect()
    }

    fn keep(&mut self, read: Vec<KnownVideo>, now: Timestamp) {
        for known in read {
            let Some(seen) = self.0.get_mut(&known.video.id) else { continue };
            let Video { view_count, like_count, comment_count, .. } = known.video;
            let statistics = Statistics { id: known.video.id.clone(), view_count, like_count, comment_count };
            seen.told = Some(Told { statistics, at: now });
            seen.details = Some(known);
        }
    }

    fn tell(&mut self, told: &[Told]) {
        for told in told {
            if let Some(seen) = self.0.get_mut(&told.statistics.id) {
                seen.told = Some(told.clone());
            }
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, seen| between(seen.asked_at, now) < REMEMBERED);
        let surplus = self.0.len().saturating_sub(REMEMBERED_AT_MOST);
        if surplus > 0 {
            let mut asked: Vec<Timestamp> = self.0.values().map(|seen| seen.asked_at).collect();
            let (_, last, _) = asked.select_nth_unstable(surplus - 1);
            let last = *last;
            self.0.retain(|_, seen| seen.asked_at > last);
        }
    }
}
