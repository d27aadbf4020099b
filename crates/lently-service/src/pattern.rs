//! Invalidating by pattern: the tiers' keys, and the analyses in the store that the next start would answer with instead.

use lently_cache::{Pattern, PatternReport};

use crate::analysis::CachedAnalysisService;
use crate::error::ServiceError;
use crate::ids::AnalysisId;
use crate::jobs::Keeping;
use crate::keys::{CacheKeys, EntryKind};

/// Rows of the store looked at in one go.
const PAGE: u32 = 500;

/// What invalidating by a pattern did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternInvalidation {
    /// Cache entries removed.
    pub deleted: u64,
    /// Analyses in the store that were fresh and no longer are.
    pub expired: u64,
}

/// What invalidating by a pattern would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternMeasure {
    /// Cache entries that would be removed, with their bytes; the cost is that of making everything anew, what is in the store
    /// alone included.
    pub report: PatternReport,
    /// Analyses in the store that would no longer be fresh.
    pub expired: u64,
}

impl CachedAnalysisService {
    /// Removes every key that matches from the tiers. Analyses that match are made anew by the next request, also those that are
    /// in the store alone or being made; by their ids they stay readable.
    pub async fn invalidate_pattern(&self, pattern: &Pattern) -> Result<PatternInvalidation, ServiceError> {
        let mut expired = 0;
        if CacheKeys::may_reach(pattern, EntryKind::Analysis) {
            // The same order as for one analysis: the runs, the store, the tiers.
            for (id, run) in self.runs.all() {
                if pattern.matches(&CacheKeys::analysis(&id)) {
                    run.keep_as(Keeping::Expired).await;
                }
            }
            let mut after = None;
            while let Some(page) = self.matching_page(pattern, &mut after).await? {
                for (id, _) in page {
                    expired += u64::from(self.store.expire_analysis(&id).await?);
                }
            }
        }
        // Comments in the store would only come back.
        if CacheKeys::may_reach(pattern, EntryKind::Comments) {
            self.store.remove_shelves_matching(pattern).await?;
        }
        let deleted = self.cache.delete_pattern(pattern).await.map_err(ServiceError::cache)?;
        Ok(PatternInvalidation { deleted, expired })
    }

    /// What [`invalidate_pattern`](Self::invalidate_pattern) would do.
    pub async fn measure_pattern(&self, pattern: &Pattern) -> Result<PatternMeasure, ServiceError> {
        let mut report = self.cache.measure_pattern(pattern).await.map_err(ServiceError::cache)?;
        let mut expired = 0;
        if CacheKeys::may_reach(pattern, EntryKind::Analysis) {
            let mut after = None;
            while let Some(page) = self.matching_page(pattern, &mut after).await? {
                for (id, cost) in page {
                    expired += 1;
                    if !self.cache.exists(&CacheKeys::analysis(&id)).await {
                        report.cost = report.cost + cost;
                    }
                }
            }
        }
        Ok(PatternMeasure { report, expired })
    }

    /// What matches of the next page of fresh analyses in the store; `None` behind the last.
    async fn matching_page(
        &self,
        pattern: &Pattern,
        after: &mut Option<AnalysisId>,
    ) -> Result<Option<Vec<(AnalysisId, lently_cache::Cost)>>, ServiceError> {
        let mut page = self.store.fresh_page(after.as_ref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        *after = Some(last.clone());
        page.retain(|(id, _)| pattern.matches(&CacheKeys::analysis(id)));
        Ok(Some(page))
    }
}
