//! Summaries through the tiers and the store, by the facts that they are about.
//!
//! Gemini's answer is kept as it came and is checked each time it is used: a number that was not counted never gets through,
//! wherever the answer lay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lently_analysis::Report;
use lently_analysis::prompt::{self, PromptError};
use lently_cache::{Controls, FailureClass, FetchError, FetchFailure, Fetched};
use lently_upstream::{GenerateRequest, UpstreamError};
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;

use super::known::Known;
use super::{CachedGemini, Payer, Unanswered, generate_request};
use crate::ids::{AnalysisId, TextHash};
use crate::keys::EntryKind;
use crate::shape;
use crate::store::{PaidAnswer, between};

/// How long an answer is remembered that states an uncounted number. Asked again, a model at temperature 0 would say the same; but
/// not for good, for behind the name of a model there is a new one now and then.
const REFUSED_FRESH: Duration = Duration::from_secs(24 * 3_600);

/// Gemini's answer as the tiers and the store keep it. A change of shape raises [`EntryKind::Summary`]'s schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSummary {
    /// As it came.
    answer: String,
    model_version: String,
}

/// An answer to the question for a summary.
pub(crate) struct Written {
    /// The words, or why they are refused.
    pub text: Result<String, PromptError>,
    pub model_version: String,
}

/// The question, with all it takes to put it on a task of its own.
struct Asking {
    gemini: CachedGemini,
    id: AnalysisId,
    hash: TextHash,
    request: GenerateRequest,
    report: Report,
    payer: Payer,
}

impl CachedGemini {
    /// Has the facts of a report put into words, for an analysis, with which they go when it is erased.
    pub(crate) async fn summarize(
        &self,
        id: &AnalysisId,
        report: &Report,
        payer: &Payer,
    ) -> Result<Written, Unanswered> {
        let request = generate_request(prompt::summary_request(report));
        let hash = TextHash::of(&request.user);
        let value = match timeout_at(payer.deadline, self.answer(id, report, request, hash, payer)).await {
            Ok(value) => value?,
            Err(_) => return Err(Unanswered::OutOfTime),
        };
        let stored = serde_json::from_slice(&value).map_err(|_| Unanswered::NotTheSchema)?;
        let StoredSummary { answer, model_version } = stored;
        Ok(Written { text: prompt::parse_summary(&answer, report), model_version })
    }

    async fn answer(
        &self,
        id: &AnalysisId,
        report: &Report,
        request: GenerateRequest,
        hash: TextHash,
        payer: &Payer,
    ) -> Result<Bytes, FetchError> {
        let (ground, kind) = (&self.0.ground, EntryKind::Summary);
        if ground.reuse {
            let known = Known::of(self, kind).find(std::slice::from_ref(&hash)).await;
            if let Some(value) = known.into_iter().flatten().next() {
                return Ok(value);
            }
        }
        let (key, policy) = (self.key(kind, &hash), ground.ttl.policy(kind));
        let asking = Arc::new(Asking {
            gemini: self.clone(),
            id: id.clone(),
            hash,
            request,
            report: report.clone(),
            payer: payer.clone(),
        });
        if !ground.reuse {
            return Ok(asking.ask().await.map_err(FetchError::Failed)?.value);
        }
        let fetch = move || async move { asking.ask_until_given_up().await };
        let answer = shape::get_or_set(&ground.cache, kind, &key, &policy, &Controls::DEFAULT, fetch).await?;
        Ok(answer.entry.value.clone())
    }
}

impl Asking {
    async fn ask_until_given_up(&self) -> Result<Fetched, FetchFailure> {
        let ground = &self.gemini.0.ground;
        tokio::select! {
            biased;
            answer = self.ask() => answer,
            () = ground.given_up() => Err(Unanswered::interrupted().failure(FailureClass::Transient)),
        }
    }

    async fn ask(&self) -> Result<Fetched, FetchFailure> {
        let CachedGemini(inner) = &self.gemini;
        let cost = |usage: lently_upstream::TokenUsage| {
            let cost = inner.ground.ledger.token_cost(&inner.model, usage);
            self.payer.purse.charge(cost);
            cost
        };
        let client = inner.client.metered(inner.ground.ledger.meter(self.payer.by.clone(), None));
        let generated = client.generate_json(&self.request).await.map_err(|error| {
            if let UpstreamError::Unusable { usage, .. } = &error {
                cost(*usage);
            }
            Unanswered::Failed(error.to_string()).failure(FailureClass::Transient)
        })?;
        let cost = cost(generated.usage);
        let refused = match prompt::parse_summary(&generated.text, &self.report) {
            Ok(_) => false,
            Err(PromptError::UncountedNumber) => true,
            Err(_) => return Err(Unanswered::NotTheSchema.failure(FailureClass::Transient)),
        };
        let stored = StoredSummary { answer: generated.text, model_version: generated.model_version };
        let json = serde_json::to_vec(&stored)
            .map_err(|error| Unanswered::Failed(error.to_string()).failure(FailureClass::Permanent))?;
        let json = Bytes::from(json);
        if !refused && inner.ground.reuse {
            self.keep(json.clone(), cost).await;
        }
        let retain = Some(between(inner.ground.clock.now(), self.payer.retain_until));
        Ok(Fetched { value: json, cost, fresh: refused.then_some(REFUSED_FRESH), retain })
    }

    /// A store that fails is no reason to throw away what was paid for.
    async fn keep(&self, json: Bytes, cost: lently_cache::Cost) {
        let paid = PaidAnswer { hash: self.hash.clone(), json, cost };
        let (store, origin) = (&self.gemini.0.ground.store, self.gemini.origin(EntryKind::Summary));
        if let Err(error) =
            store.save_answers(&origin, &[paid], Some((&self.id, self.payer.retain_until))).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "a summary is not kept in the store");
        }
    }
}
