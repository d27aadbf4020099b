//! What was erased and may still lie in a tier that could not be reached: it is not served, and goes when the tier is back.
//!
//! The store has the tombstones; they are read once, by the first look at a tier, and remembered from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lently_cache::CacheService;
use tokio::sync::OnceCell;

use crate::error::ServiceError;
use crate::ids::AnalysisId;
use crate::keys::CacheKeys;
use crate::store::{Store, TOMBSTONES_MAX};

/// When a tier turns out to be back, so many others are cleaned along with the one that was asked for.
const CLEANED_AT_ONCE: usize = 16;

/// The tombstones that stand, each with its mark.
type Standing = HashMap<AnalysisId, i64>;

/// What stands in the way of copies of what was erased. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tombstones {
    cache: CacheService,
    store: Store,
    standing: Arc<OnceCell<Mutex<Standing>>>,
}

impl Tombstones {
    pub(crate) fn new(cache: CacheService, store: Store) -> Self {
        Self { cache, store, standing: Arc::default() }
    }

    /// Reads them, if nobody has. A failure is told by the look that meets it.
    pub(crate) async fn prepare(&self) {
        let _ = self.standing().await.map(drop);
    }

    /// Whether what the tiers have of an analysis may be served. A copy of what was erased is removed now, where that is
    /// possible; a store that cannot be read is no reason to refuse everything.
    pub(crate) async fn allow(&self, id: &AnalysisId) -> bool {
        let erased_at = match self.standing().await {
            Ok(standing) => standing.get(id).copied(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "tombstones not readable");
                return true;
            }
        };
        match erased_at {
            None => true,
            Some(erased_at) => self.clean(id, erased_at).await,
        }
    }

    /// Removes what the tiers have of an analysis that the store has just erased. What cannot be reached is removed later.
    pub(crate) async fn erase(&self, id: &AnalysisId, erased_at: i64) {
        if let Ok(mut standing) = self.standing().await {
            standing.insert(id.clone(), erased_at);
            if standing.len() > TOMBSTONES_MAX {
                let oldest = standing.iter().min_by_key(|(_, erased_at)| **erased_at);
                if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                    standing.remove(&oldest);
                }
            }
        }
        if !self.clean(id, erased_at).await {
            return;
        }
        let others: Vec<(AnalysisId, i64)> = match self.standing().await {
            Ok(standing) => standing.iter().take(CLEANED_AT_ONCE).map(|(id, at)| (id.clone(), *at)).collect(),
            Err(_) => Vec::new(),
        };
        for (id, erased_at) in others {
            if !self.clean(&id, erased_at).await {
                return;
            }
        }
    }

    /// Removes the copies and then the tombstone; false where a tier could not be reached.
    async fn clean(&self, id: &AnalysisId, erased_at: i64) -> bool {
        if let Err(error) = self.cache.delete(&CacheKeys::analysis(id)).await {
            tracing::debug!(analysis_id = %id, error = &error as &dyn std::error::Error, "erased analysis not removed yet");
            return false;
        }
        match self.store.lift_tombstone(id, erased_at).await {
            Ok(()) => {
                if let Ok(mut standing) = self.standing().await
                    && standing.get(id) == Some(&erased_at)
                {
                    standing.remove(id);
                }
            }
            Err(error) => {
                tracing::warn!(analysis_id = %id, error = &error as &dyn std::error::Error, "tombstone not lifted");
            }
        }
        true
    }

    async fn standing(&self) -> Result<MutexGuard<'_, Standing>, ServiceError> {
        let load = || async {
            let standing: Standing = self.store.tombstones().await?.into_iter().collect();
            Ok::<_, ServiceError>(Mutex::new(standing))
        };
        let standing = self.standing.get_or_try_init(load).await?;
        Ok(standing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
