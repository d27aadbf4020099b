//! Nothing of YouTube's is kept for longer than 28 days without being read anew: the sweep that sees to it, and the report that tells
//! how it stands. Reads refuse what is beyond its time by themselves; the sweep deletes it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lently_cache::{CacheService, Clock, Pattern, Swept};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::error::ServiceError;
use crate::keys::{CacheKeys, EntryKind};
use crate::store::{PartReport, Store, StorePart};
use crate::ttl::{CacheTtl, RETENTION};

/// After the start, so that whoever waits for the first answers does not wait for this too.
pub const FIRST_SWEEP_AFTER: Duration = Duration::from_secs(60);
/// The ceiling of 28 days is two days below YouTube's; an hour is nothing beside them.
pub const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// What sees to it that nothing is kept for too long. Cheap to clone.
#[derive(Clone)]
pub struct Retention {
    store: Store,
    cache: CacheService,
    ttl: Arc<CacheTtl>,
    clock: Clock,
    last: Arc<Mutex<Option<SweepReport>>>,
}

/// What a sweep of this process did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took_ms: u64,
    /// Rows deleted from the store, by part.
    pub store: Vec<PartSwept>,
    /// Values dropped from the tiers. Redis drops its own.
    pub tiers: Swept,
    /// Why not all was swept, where that is so. The next sweep tries again.
    pub failed: Option<String>,
}

/// Rows deleted from a part of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartSwept {
    /// The part.
    pub part: StorePart,
    /// How many rows.
    pub deleted: u64,
}

/// What is kept, since when and for how long yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetentionReport {
    /// As of when.
    pub at: Timestamp,
    /// The longest that anything of YouTube's is kept without being read anew.
    pub retention_seconds: u64,
    /// How often a server sweeps.
    pub sweep_every_seconds: u64,
    /// The last sweep of this process, where there was one; of any process, see each part.
    pub last_sweep: Option<SweepReport>,
    /// The store, by part.
    pub store: Vec<PartReport>,
    /// The tiers, by kind.
    pub tiers: Vec<KindReport>,
    /// Whether all tiers could be asked.
    pub tiers_complete: bool,
}

/// What a tier holds of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindReport {
    /// `memory`, `redis` or `disk`.
    pub tier: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The longest that an entry stays.
    pub kept_seconds: u64,
    /// How many there are.
    pub rows: u64,
    /// Their size as stored.
    pub bytes: u64,
    /// When the oldest was stored.
    pub oldest_at: Option<Timestamp>,
    /// When the first goes.
    pub next_due_at: Option<Timestamp>,
}

impl Retention {
    pub(crate) fn new(store: Store, cache: CacheService, ttl: Arc<CacheTtl>, clock: Clock) -> Self {
        Self { store, cache, ttl, clock, last: Arc::default() }
    }

    /// Deletes what is beyond its time, from the store in small steps and from the tiers of this process. Several may do it at once.
    ///
    /// # Errors
    /// A part that could not be swept; the others have been.
    pub async fn sweep(&self) -> Result<SweepReport, ServiceError> {
        let (at, began) = (self.clock.now(), Instant::now());
        let stored = self.store.sweep().await;
        let tiers = self.cache.sweep().await;
        for (part, deleted) in stored.iter().flatten() {
            count(part.name(), *deleted);
        }
        if let Ok(swept) = &tiers {
            count("memory", swept.memory);
            count("disk", swept.disk);
        }
        let error = match (&stored, &tiers) {
            (Err(error), _) => Some(error.clone()),
            (_, Err(error)) => Some(ServiceError::cache(error.clone())),
            _ => None,
        };
        let report = SweepReport {
            at,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            store: stored.into_iter().flatten().map(|(part, deleted)| PartSwept { part, deleted }).collect(),
            tiers: tiers.unwrap_or_default(),
            failed: error.as_ref().map(ToString::to_string),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        let outcome = if error.is_some() { "failed" } else { "done" };
        metrics::counter!("lently_retention_sweeps_total", "outcome" => outcome).increment(1);
        match error {
            Some(error) => Err(error),
            None => {
                metrics::gauge!("lently_retention_swept_timestamp_seconds").set(at.as_second() as f64);
                Ok(report)
            }
        }
    }

    /// Sweeps for the first time after `first`, then at every `every`, until `stop`. To be run on the tracker.
    pub async fn keep_sweeping(self, first: Duration, every: Duration, stop: CancellationToken) {
        let mut wait = first;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = every;
            // What is deleted in one step is deleted; what is not, by the next sweep.
            match stop.run_until_cancelled(self.sweep()).await {
                None => return,
                Some(Ok(report)) => {
                    let deleted: u64 = report.store.iter().map(|part| part.deleted).sum();
                    tracing::debug!(deleted, took_ms = report.took_ms, "swept what is beyond its retention");
                }
                Some(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "not all was swept that is beyond its retention"
                    );
                }
            }
        }
    }

    /// What is kept, since when and for how long yet. It counts the store's rows and walks over the keys of the tiers.
    pub async fn report(&self) -> Result<RetentionReport, ServiceError> {
        let (mut tiers, mut tiers_complete) = (Vec::new(), true);
        for kind in EntryKind::ALL {
            let pattern = Pattern::parse(&CacheKeys::kind_pattern(kind))
                .map_err(|error| ServiceError::internal("a pattern of ours is not one", error))?;
            let Ok(holdings) = self.cache.holdings(&pattern).await else {
                tiers_complete = false;
                continue;
            };
            let kept_seconds = self.ttl.policy(kind).retention.as_secs();
            tiers.extend(holdings.into_iter().filter(|holding| holding.report.keys > 0).map(|holding| {
                let report = holding.report;
                KindReport {
                    tier: holding.tier.name(),
                    kind: kind.name(),
                    kept_seconds,
                    rows: report.keys,
                    bytes: report.bytes,
                    oldest_at: report.oldest_at,
                    next_due_at: report.next_due_at,
                }
            }));
        }
        let store = self.store.parts().await?;
        let last_sweep = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(RetentionReport {
            at: self.clock.now(),
            retention_seconds: RETENTION.as_secs(),
            sweep_every_seconds: SWEEP_EVERY.as_secs(),
            last_sweep,
            store,
            tiers,
            tiers_complete,
        })
    }
}

fn count(from: &'static str, deleted: u64) {
    metrics::counter!("lently_retention_deleted_total", "from" => from).increment(deleted);
}
