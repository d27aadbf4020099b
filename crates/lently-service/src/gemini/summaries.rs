//! Summaries through the tiers and the store, by the facts that they are about, or by nearly the same comments.
//!
//! Gemini's answer is kept as it came, with its numbers named and not written, and is checked each time it is used: a number that was
//! not counted never gets through, wherever the answer lay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lently_analysis::prompt::{self, PromptError, Words};
use lently_analysis::{Comment, Report, mood};
use lently_cache::{Controls, FailureClass, FetchError, FetchFailure, Fetched};
use lently_upstream::{GenerateRequest, UpstreamError, VideoId};
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;

use super::basis::Basis;
use super::known::Known;
use super::{CachedGemini, Payer, Unanswered, generate_request};
use crate::ids::{AnalysisId, TextHash};
use crate::keys::EntryKind;
use crate::shape;
use crate::store::{About, PaidAnswer, between, earlier};

/// How long an answer is remembered that states an uncounted number. Asked again, a model at temperature 0 would say the same; but
/// not for good, for behind the name of a model there is a new one now and then.
const REFUSED_FRESH: Duration = Duration::from_secs(24 * 3_600);

/// Gemini's answer as the tiers and the store keep it. A change of shape raises [`EntryKind::Summary`]'s schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSummary {
    /// As it came.
    answer: String,
    /// The comments that were quoted, in the order of the ids that the answer names them by.
    quoted: Vec<String>,
    model_version: String,
    made_at: Timestamp,
}

/// What is to be put into words.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The analysis that the words are for, and with which they go when it is erased.
    pub id: AnalysisId,
    pub report: Report,
    /// In which language, ISO 639-1.
    language: String,
    /// The video with the comments that were read, where words on nearly the same ones will do.
    about: Option<(VideoId, Basis)>,
}

impl Subject {
    pub(crate) fn new(
        id: AnalysisId,
        report: Report,
        language: &str,
        video: Option<(&VideoId, &[Comment])>,
    ) -> Self {
        let about = video.map(|(video_id, comments)| {
            let ids = comments.iter().map(|comment| comment.id.as_str());
            (video_id.clone(), Basis::of(ids, mood(&report.sentiment), language))
        });
        Self { id, report, language: language.to_owned(), about }
    }
}

/// An answer to the question for a summary.
pub(crate) struct Written {
    /// The words, or why they are refused.
    pub words: Result<Words, PromptError>,
    pub model_version: String,
    pub made_at: Timestamp,
    /// How many comments have come or gone since it was written.
    pub changed: u64,
    /// Until when they may be kept, where they are about comments that were read before.
    pub retain_until: Option<Timestamp>,
}

/// The question, with all it takes to put it on a task of its own.
struct Asking {
    gemini: CachedGemini,
    hash: TextHash,
    request: GenerateRequest,
    subject: Subject,
    payer: Payer,
}

impl CachedGemini {
    /// Has the facts of a report put into words.
    pub(crate) async fn summarize(&self, subject: &Subject, payer: &Payer) -> Result<Written, Unanswered> {
        match timeout_at(payer.deadline, self.answer(subject, payer)).await {
            Ok(written) => written,
            Err(_) => Err(Unanswered::OutOfTime),
        }
    }

    async fn answer(&self, subject: &Subject, payer: &Payer) -> Result<Written, Unanswered> {
        let (ground, kind, report) = (&self.0.ground, EntryKind::Summary, &subject.report);
        let request = generate_request(prompt::summary_request(report, &subject.language));
        let hash = TextHash::of(&request.user);
        if ground.reuse {
            let known = Known::of(self, kind).find(std::slice::from_ref(&hash)).await;
            if let Some(value) = known.into_iter().flatten().next() {
                return written(&value, report);
            }
            if let Some(written) = self.on_nearly_the_same(subject).await {
                return Ok(written);
            }
        }
        let (key, policy) = (self.key(kind, &hash), ground.ttl.policy(kind));
        let asking =
            Asking { gemini: self.clone(), hash, request, subject: subject.clone(), payer: payer.clone() };
        if !ground.reuse {
            return written(&asking.ask().await.map_err(FetchError::Failed)?.value, report);
        }
        let asking = Arc::new(asking);
        let fetch = move || async move { asking.ask_until_given_up().await };
        let answer = shape::get_or_set(&ground.cache, kind, &key, &policy, &Controls::DEFAULT, fetch).await?;
        written(&answer.entry.value, report)
    }

    /// The latest words on comments of which few have come or gone since. A store that fails is no reason to fail: then Gemini is asked.
    async fn on_nearly_the_same(&self, subject: &Subject) -> Option<Written> {
        let (video_id, basis) = subject.about.as_ref()?;
        let ground = &self.0.ground;
        let since = earlier(ground.clock.now(), ground.ttl.policy(EntryKind::Summary).fresh);
        let found = ground.store.answers_about(&self.origin(EntryKind::Summary), video_id, since).await;
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "summaries not read from the store");
            Vec::new()
        });
        found.into_iter().find_map(|words| {
            let changed = basis.changed_since(&serde_json::from_str(&words.basis).ok()?)?;
            let StoredSummary { answer, quoted, model_version, made_at } =
                serde_json::from_slice(&words.json).ok()?;
            let retain_until = Some(words.retain_until);
            let words = Ok(prompt::parse_earlier_summary(&answer, &quoted, &subject.report)?);
            Some(Written { words, model_version, made_at, changed, retain_until })
        })
    }
}

fn written(value: &[u8], report: &Report) -> Result<Written, Unanswered> {
    let stored = serde_json::from_slice(value).map_err(|_| Unanswered::NotTheSchema)?;
    // Whoever asks for the same words quotes the same texts; which comments these are is told by the report at hand.
    let StoredSummary { answer, quoted: _, model_version, made_at } = stored;
    let words = prompt::parse_summary(&answer, report);
    Ok(Written { words, model_version, made_at, changed: 0, retain_until: None })
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
        let refused = match prompt::parse_summary(&generated.text, &self.subject.report) {
            Ok(_) => false,
            Err(PromptError::UncountedNumber) => true,
            Err(_) => return Err(Unanswered::NotTheSchema.failure(FailureClass::Transient)),
        };
        let made_at = inner.ground.clock.now();
        let quoted = prompt::quoted_ids(&self.subject.report);
        let stored =
            StoredSummary { answer: generated.text, quoted, model_version: generated.model_version, made_at };
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
        let Subject { id, about, .. } = &self.subject;
        let about = about.as_ref().and_then(|(video_id, basis)| {
            Some(About { video_id, basis: serde_json::to_string(basis).ok()? })
        });
        let of = (id, self.payer.retain_until);
        if let Err(error) = store.save_summary(&origin, paid, of, about).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a summary is not kept in the store");
        }
    }
}
