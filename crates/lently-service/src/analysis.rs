//! Finished analyses: read through the tiers, kept in the store behind them. It never makes one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{CacheService, Clock, Cost, Entry, Lookup, Policy, Stored, Tier};
use serde::Serialize;

use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::jobs::{Keeping, Runs};
use crate::keys::{CacheKeys, EntryKind};
use crate::store::{Store, StoredAnalysis};
use crate::ttl::CacheTtl;

/// Where an analysis came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerSource {
    /// The memory tier.
    Memory,
    /// Redis.
    Redis,
    /// The disk tier.
    Disk,
    /// The store: no tier had it, and nothing was spent.
    Store,
    /// Made for this caller.
    Fetched,
    /// Made for another caller who asked at the same time.
    Collapsed,
}

impl AnswerSource {
    /// Whether it was there already.
    pub const fn is_cached(self) -> bool {
        match self {
            Self::Memory | Self::Redis | Self::Disk | Self::Store => true,
            Self::Fetched | Self::Collapsed => false,
        }
    }
}

impl From<Tier> for AnswerSource {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Memory => Self::Memory,
            Tier::Redis => Self::Redis,
            Tier::Disk => Self::Disk,
        }
    }
}

/// A finished analysis as its stored bytes, with how it was come by.
#[derive(Debug, Clone)]
pub struct AnalysisAnswer {
    /// Its id.
    pub id: AnalysisId,
    /// The stored JSON object; callers splice `"cached"` in front.
    pub body: Bytes,
    /// Whether it was there already.
    pub cached: bool,
    /// Where it came from.
    pub source: AnswerSource,
    /// Whether a tier keeps it now.
    pub stored: bool,
    /// Time since it was made.
    pub age: Duration,
    /// Time for which the same request is answered with it.
    pub ttl: Duration,
    /// A hash of the body.
    pub etag: String,
    /// What making it took, back then.
    pub cost: Cost,
}

impl AnalysisAnswer {
    pub(crate) fn of_entry(
        id: &AnalysisId,
        entry: Entry,
        source: AnswerSource,
        stored: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            id: id.clone(),
            cached: source.is_cached(),
            source,
            stored,
            age: entry.age(now),
            ttl: entry.ttl(now),
            etag: entry.etag.to_string(),
            cost: entry.cost,
            body: entry.value,
        }
    }

    fn of_store(analysis: StoredAnalysis, stored: bool, now: Timestamp) -> Self {
        Self {
            cached: true,
            source: AnswerSource::Store,
            stored,
            age: between(analysis.created_at, now),
            ttl: between(now, analysis.fresh_until),
            // The same tag that the tiers write, so that a client's copy stays valid wherever the answer comes from.
            etag: blake3::hash(&analysis.body).to_hex().as_str()[..32].to_owned(),
            cost: analysis.cost,
            body: analysis.body,
            id: analysis.id,
        }
    }
}

/// Analyses behind the cache. Cheap to clone.
#[derive(Clone)]
pub struct CachedAnalysisService {
    cache: CacheService,
    store: Store,
    runs: Arc<Runs>,
    ttl: Arc<CacheTtl>,
    clock: Clock,
}

impl CachedAnalysisService {
    pub(crate) fn new(
        cache: CacheService,
        store: Store,
        runs: Arc<Runs>,
        ttl: Arc<CacheTtl>,
        clock: Clock,
    ) -> Self {
        Self { cache, store, runs, ttl, clock }
    }

    pub(crate) fn policy(&self) -> Policy {
        self.ttl.policy(EntryKind::Analysis)
    }

    /// Looks in the tiers, and only there.
    pub async fn get_cached_analysis(&self, id: &AnalysisId) -> Option<AnalysisAnswer> {
        match self.cache.get(EntryKind::Analysis.kind(), &CacheKeys::analysis(id)).await {
            Lookup::Fresh(entry) => {
                let source = AnswerSource::from(entry.tier);
                Some(AnalysisAnswer::of_entry(id, entry, source, true, self.clock.now()))
            }
            _ => None,
        }
    }

    /// The same, but one that is not there is not counted as a miss: its flight will count it.
    pub(crate) async fn get_if_there(&self, id: &AnalysisId) -> Option<AnalysisAnswer> {
        if self.cache.exists(&CacheKeys::analysis(id)).await {
            self.get_cached_analysis(id).await
        } else {
            None
        }
    }

    /// Puts an analysis into the tiers.
    pub async fn cache_analysis(
        &self,
        id: &AnalysisId,
        body: Bytes,
        cost: Cost,
    ) -> Result<Stored, ServiceError> {
        let key = CacheKeys::analysis(id);
        self.cache.set(&key, &self.policy(), body, cost).await.map_err(ServiceError::cache)
    }

    /// Removes an analysis from the tiers and lets the next request make it anew. By its id it stays readable from the store,
    /// for those who asked for it. Returns how many cache entries were removed.
    ///
    /// One that is being made goes to those who wait for it and is kept as if it had been invalidated afterwards.
    pub async fn invalidate_analysis(&self, id: &AnalysisId) -> Result<u64, ServiceError> {
        // The run before the store: what it keeps from here on is expired, and what it has kept is expired next.
        if let Some(run) = self.runs.get(id) {
            run.keep_as(Keeping::Expired).await;
        }
        // The store first: a reader between the two finds the entry, not a fresh copy to refill it with.
        let expired = self.store.expire_analysis(id).await;
        let removed = self.cache.delete(&CacheKeys::analysis(id)).await.map_err(ServiceError::cache)?;
        expired?;
        Ok(removed)
    }

    /// The same for everything a user has asked for; ids come from the store and from what is being made for the user, never
    /// from a pattern.
    pub async fn invalidate_user_analyses(&self, user: &UserId) -> Result<u64, ServiceError> {
        let mut ids: BTreeSet<AnalysisId> = self.runs.of(user).into_iter().collect();
        ids.extend(self.store.analyses_of(user).await?);
        let mut removed = 0;
        for id in ids {
            removed += self.invalidate_analysis(&id).await?;
        }
        Ok(removed)
    }

    /// Returns what the store holds, where that is still fresh, and puts it back into the tiers for the rest of its life.
    pub(crate) async fn restore(&self, id: &AnalysisId) -> Result<Option<AnalysisAnswer>, ServiceError> {
        let Some(analysis) = self.fresh_in_store(id).await? else { return Ok(None) };
        // No flight will count this request, so this look does; another caller may have refilled the tiers by now.
        if let Some(answer) = self.get_cached_analysis(id).await {
            return Ok(Some(answer));
        }
        let now = self.clock.now();
        let policy = Policy { fresh: between(now, analysis.fresh_until), ..self.policy() };
        let key = CacheKeys::analysis(id);
        let stored = self.cache.set(&key, &policy, analysis.body.clone(), analysis.cost).await;
        let stored = stored.is_ok_and(|stored| stored.memory || stored.remote);
        Ok(Some(AnalysisAnswer::of_store(analysis, stored, now)))
    }

    /// Returns what the store holds, where that is still fresh.
    pub(crate) async fn fresh_in_store(
        &self,
        id: &AnalysisId,
    ) -> Result<Option<StoredAnalysis>, ServiceError> {
        let now = self.clock.now();
        Ok(self.store.load_analysis(id).await?.filter(|analysis| analysis.fresh_until > now))
    }

    /// How long until then, by this service's clock.
    pub(crate) fn remaining(&self, fresh_until: Timestamp) -> Duration {
        between(self.clock.now(), fresh_until)
    }

    /// Returns a finished analysis by its id, fresh or not, within the retention.
    ///
    /// `refill` puts a fresh one back into the tiers; not while it is being made anew, for a write wins over a running fetch.
    pub(crate) async fn find(
        &self,
        id: &AnalysisId,
        refill: bool,
    ) -> Result<Option<AnalysisAnswer>, ServiceError> {
        if let Some(answer) = self.get_if_there(id).await {
            return Ok(Some(answer));
        }
        if refill && let Some(answer) = self.restore(id).await? {
            return Ok(Some(answer));
        }
        let now = self.clock.now();
        let analysis = self.store.load_analysis(id).await?;
        Ok(analysis.map(|analysis| AnalysisAnswer::of_store(analysis, false, now)))
    }

    /// Takes an erased analysis out of the tiers, along with the fetch that may be running for it.
    pub(crate) async fn forget(&self, id: &AnalysisId) -> Result<(), ServiceError> {
        self.cache.delete(&CacheKeys::analysis(id)).await.map_err(ServiceError::cache)?;
        Ok(())
    }
}

/// From `earlier` to `later`, or zero.
fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or(Duration::ZERO)
}
