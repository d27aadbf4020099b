//! How an analysis comes to be made for those who ask: counted against their plan, once for all, as one run.

use std::sync::Arc;

use lently_cache::{AcceptStale, Controls};

use super::Lently;
use crate::analysis::AnalysisAnswer;
use crate::engine::Engine;
use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::jobs::{Joined, Run};
use crate::ledger::Payer;
use crate::request::AnalysisRequest;
use crate::run::Maker;
use crate::store::Reservation;

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
            return Ok((run, false));
        }
        let reservation = self.reserve(user, request.comments_at_most()).await?;
        let making = Making { service: self.clone(), id: id.clone(), request, engine, no_cache };
        let joined = self.begin(&Payer::analysis(user.clone()), reservation, making);
        let (run, own, needless) = match joined {
            Ok(Joined::Started(run)) => (run, true, None),
            Ok(Joined::Shared(run, needless)) => (run, false, needless),
            Err(error) => {
                self.settle(reservation.into_iter().collect(), false).await;
                return Err(error);
            }
        };
        // At once: whoever erases what is being made finds the line, and takes it away.
        self.inner.access.grant(user, id).await;
        self.settle(needless.into_iter().collect(), false).await;
        self.forget_usage(user).await;
        Ok((run, own))
    }

    /// Makes an analysis that nobody has asked for, unless it is there: no history has it, and no plan is charged with it.
    pub(crate) async fn prepare(&self, request: AnalysisRequest) -> Result<AnalysisAnswer, ServiceError> {
        let (id, engine) = self.check(&request)?;
        if let Ok(Some(answer)) = self.inner.analyses.look(&id).await {
            return Ok(answer);
        }
        let making = Making { service: self.clone(), id, request, engine, no_cache: false };
        match self.begin(&Payer::warm(), None, making)? {
            Joined::Started(run) | Joined::Shared(run, _) => run.ended().await,
        }
    }

    fn begin(
        &self,
        payer: &Payer,
        reservation: Option<Reservation>,
        making: Making,
    ) -> Result<Joined, ServiceError> {
        let (settling, id) = (self.clone(), making.id.clone());
        self.inner.runs.join_or_start(
            &id,
            payer,
            reservation,
            self.inner.ttl.analysis_timeout,
            move |run| making.carry_out(run),
            move |claims, counts| async move {
                settling.settle(claims.reservations, counts).await;
                for user in claims.users.iter().chain(&claims.gone) {
                    settling.forget_usage(user).await;
                }
            },
        )
    }

    fn maker(&self) -> Maker {
        Maker {
            youtube: self.inner.youtube.clone(),
            analyses: self.inner.analyses.clone(),
            engines: self.inner.engines.clone(),
            store: self.inner.store.clone(),
            ledger: self.inner.ledger.clone(),
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
    /// Makes it, keeps it and puts it into the tiers. The tiers were looked into and the request was counted before; the store
    /// is asked once more, because another run may have ended since.
    async fn carry_out(self, run: Arc<Run>) -> Result<AnalysisAnswer, ServiceError> {
        let Self { service, id, request, engine, no_cache } = self;
        let (maker, analyses) = (service.maker(), &service.inner.analyses);
        if !no_cache && let Ok(Some(analysis)) = analyses.fresh_in_store(&id).await {
            return Ok(AnalysisAnswer::of_store(analysis, false, service.inner.clock.now()));
        }
        // An analysis is kept for a while itself: it begins with what is fresh, and takes what is stale where that cannot be had.
        let controls = Controls { no_cache, stale: AcceptStale::AfterFailure, ..Controls::DEFAULT };
        let making = maker.make(&id, &request, &engine, &controls, &run);
        let made = tokio::time::timeout(service.inner.ttl.analysis_timeout, making).await;
        let answer = analyses.put(&id, made.map_err(|_| ServiceError::TimedOut)??, &run).await;
        let cost = answer.cost;
        tracing::info!(
            analysis_id = %id,
            stored = answer.stored,
            quota_units = cost.quota_units,
            tokens_in = cost.tokens_in,
            tokens_out = cost.tokens_out,
            duration_ms = cost.milliseconds,
            "analysis made"
        );
        Ok(answer)
    }
}
