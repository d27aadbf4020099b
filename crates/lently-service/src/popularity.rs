//! How often videos were asked for lately, so that those can be warmed that will be asked for again. It counts requests and not users,
//! and decides nothing.
//!
//! Counts go behind the answers into the store, where the processes that share it find them (a command beside a server, for one), and
//! from there into a tally that all nodes share in Redis. A crash loses some seconds of them, which nobody is charged by.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lently_cache::{Amounts, Clock};
use lently_upstream::{PacificDay, VideoId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ServiceError;
use crate::ledger::Ledger;
use crate::store::Store;

/// Days that count, today's included: as long as Redis keeps a tally.
pub(crate) const DAYS: u32 = 3;
/// Videos counted between two writes; more are not counted.
const PENDING_MAX: usize = 10_000;
/// Of one store and day, as many are told to others.
const TOLD_MAX: u32 = 500;
/// Between two writes.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);
/// Between two tellings.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// The most that its end is waited for.
const CLOSING: Duration = Duration::from_secs(5);

/// The counts. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Popularity(Arc<Inner>);

struct Inner {
    store: Store,
    ledger: Ledger,
    clock: Clock,
    pending: Mutex<HashMap<VideoId, u64>>,
    upkeep: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Popularity {
    pub(crate) fn new(store: Store, ledger: Ledger, clock: Clock, stop: &CancellationToken) -> Self {
        let (upkeep, stop) = (TaskTracker::new(), stop.child_token());
        let pending = Mutex::default();
        let inner =
            Arc::new(Inner { store, ledger, clock, pending, upkeep: upkeep.clone(), stop: stop.clone() });
        let weak = Arc::downgrade(&inner);
        upkeep.spawn(async move {
            let mut told = Instant::now();
            while stop.run_until_cancelled(tokio::time::sleep(WRITTEN_EVERY)).await.is_some() {
                let Some(inner) = weak.upgrade() else { return };
                let own = Self(inner);
                own.write_or_log().await;
                if told.elapsed() >= TOLD_EVERY {
                    told = Instant::now();
                    own.tell().await;
                }
            }
        });
        Self(inner)
    }

    /// Counts a request. It does not wait.
    pub(crate) fn count(&self, video_id: &VideoId) {
        let mut pending = self.pending();
        if let Some(times) = pending.get_mut(video_id) {
            *times += 1;
        } else if pending.len() < PENDING_MAX {
            pending.insert(video_id.clone(), 1);
        }
    }

    /// The videos that were asked for most on all nodes as far as they can be heard, the first one most.
    pub(crate) async fn most_asked(&self, count: u32) -> Result<Vec<VideoId>, ServiceError> {
        self.write().await?;
        let mut times: BTreeMap<String, u64> = BTreeMap::new();
        let today = PacificDay::of(self.0.clock.now());
        for day in (0..DAYS).map(|before| today.days_before(before)) {
            for (video_id, more) in self.of_day(day).await? {
                let sum = times.entry(video_id).or_default();
                *sum = sum.saturating_add(more);
            }
        }
        let mut most: Vec<_> = times.into_iter().collect();
        most.sort_by(|(one, times), (other, others)| others.cmp(times).then_with(|| one.cmp(other)));
        let ids = most.into_iter().filter_map(|(id, _)| id.parse().ok());
        Ok(ids.take(usize::try_from(count).unwrap_or(usize::MAX)).collect())
    }

    /// Ends the upkeep and writes what is still to be written.
    pub(crate) async fn close(&self) {
        self.0.stop.cancel();
        self.0.upkeep.close();
        let _ = tokio::time::timeout(CLOSING, self.0.upkeep.wait()).await;
        self.write_or_log().await;
    }

    /// This store's counts of a day, or those of all nodes, of which each is told its own.
    async fn of_day(&self, day: PacificDay) -> Result<Amounts, ServiceError> {
        let own = self.0.store.most_asked(day, TOLD_MAX).await?;
        let sums = self.0.ledger.exchange_totals(&format!("asked:{day}"), own.clone()).await;
        Ok(sums.map_or(own, |sums| sums.totals))
    }

    /// Yesterday's too, to which the last minutes of a day may still have been added.
    async fn tell(&self) {
        let today = PacificDay::of(self.0.clock.now());
        for day in [today.days_before(1), today] {
            if let Err(error) = self.of_day(day).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "counts of requests not told");
            }
        }
    }

    async fn write(&self) -> Result<(), ServiceError> {
        let counts: BTreeMap<_, _> = std::mem::take(&mut *self.pending()).into_iter().collect();
        if counts.is_empty() {
            return Ok(());
        }
        self.0.store.add_asked(PacificDay::of(self.0.clock.now()), &counts).await
    }

    async fn write_or_log(&self) {
        if let Err(error) = self.write().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "counts of requests not written");
        }
    }

    /// A panic elsewhere leaves plain numbers behind, not broken ones.
    fn pending(&self) -> MutexGuard<'_, HashMap<VideoId, u64>> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
