//! Finished analyses: read through the tiers, kept in the store behind them. It never makes one.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{
    AcceptStale, CacheService, Clock, Controls, Cost, Entry, FailureClass, FailureTtl, FetchFailure, Fetched,
    Lookup, Outcome, Policy, StaleReason, Stored, Tier,
};
use serde::Serialize;

use crate::cached::Served;
use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::jobs::{Keeping, Run, Runs};
use crate::keys::{CacheKeys, EntryKind};
use crate::ledger::Ledger;
use crate::shape;
use crate::store::{Store, StoredAnalysis};
use crate::tombstones::Tombstones;
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
    /// The stored JSON object; [`Served`] goes in front of it.
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
    /// The same in seconds, below zero since it is no longer fresh.
    pub ttl_seconds: i64,
    /// Why it is given though it is no longer fresh, where it is not.
    pub stale: Option<StaleReason>,
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
            ttl_seconds: entry.ttl_seconds(now),
            stale: None,
            etag: entry.etag.to_string(),
            cost: entry.cost,
            body: entry.value.clone(),
        }
    }

    /// How it was come by.
    pub fn served(&self) -> Served {
        let (age_seconds, ttl_seconds) = (self.age.as_secs(), self.ttl_seconds);
        Served { from: self.source, age_seconds, ttl_seconds, stale: self.stale.map(StaleReason::name) }
    }

    pub(crate) fn of_store(analysis: StoredAnalysis, stored: bool, now: Timestamp) -> Self {
        Self {
            cached: true,
            source: AnswerSource::Store,
            stored,
            age: between(analysis.created_at, now),
            ttl: between(now, analysis.fresh_until),
            ttl_seconds: whole_seconds(between(now, analysis.fresh_until)),
            stale: None,
            etag: etag(&analysis.body),
            cost: analysis.cost,
            body: analysis.body,
            id: analysis.id,
        }
    }
}

/// Analyses behind the cache. Cheap to clone.
#[derive(Clone)]
pub struct CachedAnalysisService {
    pub(crate) cache: CacheService,
    pub(crate) store: Store,
    pub(crate) runs: Arc<Runs>,
    ledger: Ledger,
    tombstones: Tombstones,
    ttl: Arc<CacheTtl>,
    clock: Clock,
}

impl CachedAnalysisService {
    pub(crate) fn new(
        cache: CacheService,
        store: Store,
        runs: Arc<Runs>,
        ledger: Ledger,
        ttl: Arc<CacheTtl>,
        clock: Clock,
    ) -> Self {
        let tombstones = Tombstones::new(cache.clone(), store.clone());
        Self { cache, store, runs, ledger, tombstones, ttl, clock }
    }

    /// Reads what the first look would wait for.
    pub(crate) async fn prepare(&self) {
        self.tombstones.prepare().await;
    }

    pub(crate) fn policy(&self) -> Policy {
        self.ttl.policy(EntryKind::Analysis)
    }

    /// How the tiers are looked into before an analysis is made.
    fn looking(&self) -> Policy {
        Policy { fetch_timeout: self.ttl.fetch_timeout, failures: FailureTtl::NONE, ..self.policy() }
    }

    /// Looks in the tiers, and only there.
    pub async fn get_cached_analysis(&self, id: &AnalysisId) -> Option<AnalysisAnswer> {
        let allowed = self.tombstones.allow(id).await;
        let (kind, key) = (EntryKind::Analysis, CacheKeys::analysis(id));
        match self.cache.get(kind.kind(), &key).await {
            Lookup::Fresh(entry) if allowed && shape::is_sound(&self.cache, kind, &key, &entry).await => {
                let source = AnswerSource::from(entry.tier);
                Some(AnalysisAnswer::of_entry(id, entry, source, true, self.clock.now()))
            }
            _ => None,
        }
    }

    /// Returns an analysis from a tier, else from the store where it is still fresh there; that puts it back into the tiers for
    /// the rest of its life. While little of the day's quota is left, one that is no longer fresh will do for longer. One request to the cache: one hit or one miss, and on a hit one round trip.
    pub(crate) async fn look(&self, id: &AnalysisId) -> Result<Option<AnalysisAnswer>, ServiceError> {
        let allowed = self.tombstones.allow(id).await;
        let restored = Arc::new(OnceLock::new());
        let (service, own_id, found) = (self.clone(), id.clone(), Arc::clone(&restored));
        let fetch = move || async move {
            let analysis = service.fresh_in_store(&own_id).await.map_err(ServiceError::into_failure)?;
            let analysis = analysis.ok_or_else(nothing_kept)?;
            let fresh = Some(between(service.clock.now(), analysis.fresh_until));
            // In the tiers no longer than here: it is not as young as its entry will be.
            let retain = Some(between(service.clock.now(), analysis.retain_until));
            let fetched =
                Fetched { fresh, retain, ..Fetched::new(analysis.body.clone()).with_cost(analysis.cost) };
            let _ = found.set(analysis);
            Ok(fetched)
        };
        let (kind, policy, key) = (EntryKind::Analysis, self.looking(), CacheKeys::analysis(id));
        // Making an analysis is no fetch of the cache's: it is not done behind a stale one, and a look that finds nothing in the store is
        // no reason to serve one.
        let stale = AcceptStale::Within(self.ledger.spared_for(kind).unwrap_or_default());
        let controls = Controls { stale, ..Controls::DEFAULT };
        let looked = shape::get_or_set(&self.cache, kind, &key, &policy, &controls, fetch).await;
        let answer = match looked {
            Ok(answer) => answer,
            Err(error) => {
                return match ServiceError::from(error) {
                    ServiceError::NotFound => Ok(None),
                    error => Err(error),
                };
            }
        };
        let now = self.clock.now();
        let (source, stored) = match answer.outcome {
            // A copy of what was erased, in a tier that could not be cleaned and came back just now.
            Outcome::Hit | Outcome::Stale(_) if !allowed => {
                let made_since = self.fresh_in_store(id).await?;
                return Ok(made_since.map(|analysis| AnalysisAnswer::of_store(analysis, false, now)));
            }
            Outcome::Hit | Outcome::Stale(_) => (AnswerSource::from(answer.entry.tier), true),
            Outcome::Fetched { stored } => (AnswerSource::Store, stored),
            _ => (AnswerSource::Store, true),
        };
        // The store knows how old it is; the entry only since when it is in the tiers again.
        let restored = restored.get().filter(|_| source == AnswerSource::Store).cloned();
        Ok(Some(match restored {
            Some(analysis) => AnalysisAnswer::of_store(analysis, stored, now),
            None => {
                let stale = match answer.outcome {
                    Outcome::Stale(reason) => Some(reason),
                    _ => None,
                };
                AnalysisAnswer { stale, ..AnalysisAnswer::of_entry(id, answer.entry, source, stored, now) }
            }
        }))
    }

    /// Counts a request that will not have what is kept, as the miss that it is. What the tiers have stays.
    pub(crate) async fn pass_by(&self, id: &AnalysisId) {
        let fetch = || async { Err(nothing_kept()) };
        let (key, policy) = (CacheKeys::analysis(id), self.looking());
        let _ = self.cache.get_or_set_with(&key, &policy, &Controls::NO_CACHE, fetch).await;
    }

    /// Puts what a run has made into the tiers, unless it was invalidated or erased meanwhile, and returns the answer for those who wait.
    pub(crate) async fn put(&self, id: &AnalysisId, made: Fetched, run: &Run) -> AnalysisAnswer {
        let mut policy = self.policy();
        policy.fresh = made.fresh.unwrap_or(policy.fresh);
        policy.retention = made.retain.unwrap_or(policy.retention).min(policy.retention);
        let keeping = run.keeping().await;
        let stored = match *keeping {
            Keeping::Fresh => {
                let key = CacheKeys::analysis(id);
                let stored = self.cache.set(&key, &policy, made.value.clone(), made.cost).await;
                stored.map(Stored::anywhere).unwrap_or_else(|error| {
                    tracing::warn!(analysis_id = %id, error = &error as &dyn std::error::Error, "analysis not cached");
                    false
                })
            }
            Keeping::Expired | Keeping::Not => false,
        };
        drop(keeping);
        AnalysisAnswer {
            id: id.clone(),
            cached: false,
            source: AnswerSource::Fetched,
            stored,
            age: Duration::ZERO,
            ttl: policy.fresh,
            ttl_seconds: whole_seconds(policy.fresh),
            stale: None,
            etag: etag(&made.value),
            cost: made.cost,
            body: made.value,
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

    /// Returns what the store holds, where that is still fresh.
    pub(crate) async fn fresh_in_store(
        &self,
        id: &AnalysisId,
    ) -> Result<Option<StoredAnalysis>, ServiceError> {
        let now = self.clock.now();
        Ok(self.store.load_analysis(id).await?.filter(|analysis| analysis.fresh_until > now))
    }

    /// Returns a finished analysis by its id, fresh or not, within the retention.
    pub(crate) async fn find(&self, id: &AnalysisId) -> Result<Option<AnalysisAnswer>, ServiceError> {
        if let Some(answer) = self.look(id).await? {
            return Ok(Some(answer));
        }
        let now = self.clock.now();
        let analysis = self.store.load_analysis(id).await?;
        Ok(analysis.map(|analysis| AnalysisAnswer::of_store(analysis, false, now)))
    }

    /// Takes an erased analysis out of the tiers, along with the look that may be bringing it back. What cannot be reached is
    /// not served any more.
    pub(crate) async fn forget(&self, id: &AnalysisId, erased_at: i64) {
        self.tombstones.erase(id, erased_at).await;
    }

    /// Takes what was written for an erased analysis out of the tiers, by its keys. What cannot be reached is owed to it.
    pub(crate) async fn forget_summaries(&self, keys: &[String]) {
        for key in keys {
            if let Err(error) = self.cache.delete(key).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "summary not removed yet");
            }
        }
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The same tag that the tiers write, so that a client's copy stays valid wherever the answer comes from.
fn etag(body: &[u8]) -> String {
    blake3::hash(body).to_hex().as_str()[..32].to_owned()
}

/// How a look ends that found nothing, whether or not it may be made: nothing to remember.
fn nothing_kept() -> FetchFailure {
    FetchFailure::new(FailureClass::Transient, ServiceError::NotFound)
}

/// From `earlier` to `later`, or zero.
fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or(Duration::ZERO)
}
