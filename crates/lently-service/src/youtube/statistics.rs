//! Statistics of videos, 50 to a call, in a quota bucket of their own: what tells that nothing has changed, for nothing of the
//! quota that pages are paid with.
//!
//! It keeps no number: whoever asked does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lently_cache::{Batch, Bulk, CacheService, Clock};
use lently_upstream::{Meter, Statistics, UpstreamError, VideoId, YouTubeClient};

use super::videos::{Asked, BATCHING, payer_of};
use super::written;
use crate::error::ServiceError;
use crate::ledger::Ledger;

/// Where statistics come from. Cheap to clone; clones know of each other when the bucket is empty.
#[derive(Clone)]
pub(super) struct StatisticsSource {
    client: YouTubeClient,
    clock: Clock,
    /// Until when the bucket is empty, in milliseconds since 1970.
    empty_until: Arc<AtomicI64>,
}

impl StatisticsSource {
    pub(super) fn new(client: YouTubeClient, clock: Clock) -> Self {
        Self { client, clock, empty_until: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The same, whose calls that meter is told of.
    pub(super) fn metered(&self, meter: Meter) -> Self {
        Self { client: self.client.metered(meter), ..self.clone() }
    }

    /// Reads up to 50 in one call. What is missing from the answer does not exist, or is not to be seen.
    pub(super) async fn read(&self, ids: &[VideoId]) -> Result<HashMap<VideoId, Statistics>, UpstreamError> {
        let empty_until = self.empty_until.load(Ordering::Relaxed);
        if self.clock.now().as_millisecond() < empty_until {
            let until = jiff::Timestamp::from_millisecond(empty_until).unwrap_or(jiff::Timestamp::MAX);
            return Err(UpstreamError::QuotaExhausted { until });
        }
        match self.client.statistics(ids).await {
            Ok(call) => {
                let mut found: HashMap<_, _> =
                    call.value.into_iter().map(|told| (told.id.clone(), told)).collect();
                found.retain(|id, _| ids.contains(id));
                Ok(found)
            }
            Err(error) => {
                if let UpstreamError::QuotaExhausted { until } = &error {
                    self.empty_until.store(until.as_millisecond(), Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// A loader for those who ask for one video each. A call is whose [`payer_of`] says in the ledger.
    pub(super) fn loader(&self, cache: &CacheService, ledger: &Ledger) -> Bulk<Asked> {
        let (this, ledger) = (self.clone(), ledger.clone());
        cache.bulk(BATCHING, move |asked: Vec<Asked>| {
            let this = match payer_of(&asked) {
                Some(payer) => this.metered(ledger.meter(payer.clone(), None)),
                None => this.clone(),
            };
            async move {
                let ids: Vec<VideoId> = asked.iter().map(|one| one.id.clone()).collect();
                let read = this.read(&ids).await.map_err(|error| ServiceError::from(error).into_failure())?;
                let told = |one: Asked| read.get(&one.id).map(|told| (one, written(told)));
                Ok(asked.into_iter().filter_map(told).collect::<Batch<_>>())
            }
        })
    }
}
