//! What an analysis said before, beside what it says now. It reads the store and changes nothing there.

use std::collections::HashSet;

use bytes::Bytes;
use lently_analysis::{Report, compare};

use crate::body::{AnalysisBody, BodySince, BodyVerdict};
use crate::ids::AnalysisId;
use crate::store::{EarlierAnalysis, Store, StoredAnalysis};

/// The version that is about to be replaced.
pub(crate) struct Before {
    stored: StoredAnalysis,
    body: AnalysisBody,
}

impl Before {
    /// A store that fails, and a version that cannot be read any more, are no reason to fail: then there is none.
    pub(crate) async fn load(store: &Store, id: &AnalysisId) -> Option<Self> {
        let stored = store.load_analysis(id).await.unwrap_or_else(|error| {
            tracing::warn!(analysis_id = %id, error = &error as &dyn std::error::Error, "earlier version not read");
            None
        })?;
        let body = serde_json::from_slice(&stored.body).ok()?;
        Some(Self { stored, body })
    }

    /// What has changed since.
    pub(crate) fn since(&self, report: &Report, verdicts: &[BodyVerdict]) -> BodySince {
        let ids = |verdicts: &[BodyVerdict]| -> HashSet<String> {
            verdicts.iter().map(|verdict| verdict.id.clone()).collect()
        };
        let (then, now) = (ids(&self.body.verdicts), ids(verdicts));
        BodySince {
            created_at: self.body.created_at,
            new_comments: now.difference(&then).count() as u64,
            gone_comments: then.difference(&now).count() as u64,
            changes: compare(&self.body.report, report),
        }
    }

    /// As it is kept: without the verdicts, which are by far the most of it.
    pub(crate) fn into_earlier(self) -> Option<EarlierAnalysis> {
        let Self { stored, mut body } = self;
        body.verdicts.clear();
        body.since = None;
        let json = serde_json::to_vec(&body).ok()?;
        Some(EarlierAnalysis {
            created_at: body.created_at,
            body: Bytes::from(json),
            retain_until: stored.retain_until,
        })
    }
}
