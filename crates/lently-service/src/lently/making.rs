//! How an analysis comes to be made for those who ask: counted against their plan, once for all, inside its flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lently_cache::{Fetched, Outcome};

use super::Lently;
use crate::analysis::{AnalysisAnswer, AnswerSource};
use crate::engine::Engine;
use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::jobs::{Joined, Run};
use crate::keys::CacheKeys;
use crate::request::AnalysisRequest;
use crate::run::Maker;
use crate::youtube::Freshness;

impl Lently {
    /// Joins or begins the making; the second value tells whether it was begun for this caller.
    pub(super) async fn submit(
        &self,
        user: &UserId,
        id: &AnalysisId,
        request: AnalysisRequest,
        engine: Engine,
        no_cache: bool,
    ) -> Result<(Arc<Run>, bool), ServiceError> {
        if let Some(run) = self.inner.runs.get(id).filter(|run| run.is_of(user)) {
            self.inner.analyses.get_cached_analysis(id).await;
            return Ok((run, false));
        }
        let reservation = self.reserve(user, request.comments_at_most()).await?;
        let making = Making { service: self.clone(), id: id.clone(), request, engine, no_cache };
        let settling = self.clone();
        let joined = self.inner.runs.join_or_start(
            id,
            user,
            reservation,
            self.inner.ttl.analysis_timeout,
            move |run| making.carry_out(run),
            move |claims, counts| async move {
                settling.settle(claims.reservations, counts).await;
                for user in &claims.users {
                    settling.forget_usage(user).await;
                }
            },
        );
        let (run, own, needless) = match joined {
            Ok(Joined::Started(run)) => (run, true, None),
            Ok(Joined::Shared(run, needless)) => {
                // The flight counts the caller it was begun for; this look counts the one who shares it.
                self.inner.analyses.get_cached_analysis(id).await;
                (run, false, needless)
            }
            Err(error) => {
                self.settle(reservation.into_iter().collect(), false).await;
                return Err(error);
            }
        };
        self.settle(needless.into_iter().collect(), false).await;
        self.forget_usage(user).await;
        self.inner.access.grant(user, id).await;
        Ok((run, own))
    }

    fn maker(&self) -> Maker {
        Maker {
            youtube: self.inner.youtube.clone(),
            analyses: self.inner.analyses.clone(),
            engines: self.inner.engines.clone(),
            store: self.inner.store.clone(),
            clock: self.inner.clock.clone(),
        }
    }
}

/// One analysis to be made, with all it takes.
struct Making {
    service: Lently,
    id: AnalysisId,
    request: AnalysisRequest,
    engine: Engine,
    no_cache: bool,
}

impl Making {
    /// Makes it inside the flight of its key. The tiers were looked into before; the store is asked once more, because another
    /// run may have ended since.
    async fn carry_out(self, run: Arc<Run>) -> Result<AnalysisAnswer, ServiceError> {
        let Self { service, id, request, engine, no_cache } = self;
        let restored = Arc::new(AtomicBool::new(false));
        let (maker, analyses) = (service.maker(), service.inner.analyses.clone());
        let (own_id, was_restored) = (id.clone(), Arc::clone(&restored));
        let fetch = move || async move {
            if !no_cache && let Ok(Some(analysis)) = analyses.fresh_in_store(&own_id).await {
                was_restored.store(true, Ordering::Relaxed);
                let mut fetched = Fetched::new(analysis.body);
                fetched.cost = analysis.cost;
                fetched.fresh = Some(analyses.remaining(analysis.fresh_until));
                return Ok(fetched);
            }
            let freshness = if no_cache { Freshness::Anew } else { Freshness::Cached };
            let made = maker.make(&own_id, &request, &engine, freshness, &run).await;
            made.map_err(ServiceError::into_failure)
        };
        let policy = service.inner.analyses.policy();
        let answer = service.inner.cache.refresh(&CacheKeys::analysis(&id), &policy, fetch).await?;
        let (source, stored) = match answer.outcome {
            Outcome::Fetched { stored } if restored.load(Ordering::Relaxed) => (AnswerSource::Store, stored),
            Outcome::Fetched { stored } => (AnswerSource::Fetched, stored),
            Outcome::Collapsed => (AnswerSource::Collapsed, true),
            _ => (AnswerSource::from(answer.entry.tier), true),
        };
        let cost = answer.entry.cost;
        tracing::info!(
            analysis_id = %id,
            ?source,
            stored,
            quota_units = cost.quota_units,
            tokens_in = cost.tokens_in,
            tokens_out = cost.tokens_out,
            duration_ms = cost.milliseconds,
            "analysis ready"
        );
        Ok(AnalysisAnswer::of_entry(&id, answer.entry, source, stored, service.inner.clock.now()))
    }
}
