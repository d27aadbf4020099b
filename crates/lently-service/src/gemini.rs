//! Gemini through the cache and the store: the verdict on a text, and the words for some counted facts, each paid for once.
//!
//! Redis or disk stand in front, so that nodes share; the store stands behind, so that nothing paid for goes with a cache. It never
//! judges locally: what Gemini leaves is told with the reason, for the caller to deal with.

mod asking;
mod basis;
mod known;
mod summaries;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use lently_analysis::prompt;
use lently_cache::{Bulk, CacheService, Clock, FailureClass, FetchError, FetchFailure};
use lently_upstream::{GeminiClient, GenerateRequest, TokenUsage};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::ids::TextHash;
use crate::keys::{CacheKeys, EntryKind};
use crate::ledger::Ledger;
use crate::store::{Origin, Store};
use crate::ttl::CacheTtl;

use asking::{Asker, Question};
pub(crate) use asking::{BATCH, Payer};
pub(crate) use summaries::{StoredSummary, Subject, Written};
pub(crate) use verdicts::{Judgment, StoredVerdict};

/// The engine's name in keys and in the store.
const ENGINE: &str = "gemini";

/// Gemini with the model it is configured for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CachedGemini(Arc<Inner>);

/// What it stands on.
pub(crate) struct Ground {
    pub cache: CacheService,
    pub store: Store,
    pub ledger: Ledger,
    pub ttl: Arc<CacheTtl>,
    pub clock: Clock,
    /// Whether what was paid for is used again, and kept for that.
    pub reuse: bool,
    /// Whether texts wait for those of other analyses.
    pub gathering: bool,
    pub stop: CancellationToken,
    /// How long a call may go on after `stop`.
    pub grace: Duration,
}

struct Inner {
    client: GeminiClient,
    model: String,
    ground: Arc<Ground>,
    asker: Arc<Asker>,
    questions: Bulk<Question>,
}

impl CachedGemini {
    pub(crate) fn new(client: GeminiClient, model: String, ground: Ground) -> Self {
        let origin = origin(EntryKind::Verdict, &model);
        let kept = ground.reuse.then(|| (ground.store.clone(), origin));
        let asker = Arc::new(Asker::new(
            client.clone(),
            ground.ledger.clone(),
            model.clone(),
            kept,
            ground.stop.clone(),
        ));
        let ground = Arc::new(ground);
        let questions = asking::loader(&ground, &asker);
        Self(Arc::new(Inner { client, model, ground, asker, questions }))
    }

    pub(crate) fn model(&self) -> &str {
        &self.0.model
    }

    /// Tokens spent since the start, those of useless answers included.
    pub(crate) fn tokens_spent(&self) -> TokenUsage {
        self.0.client.tokens_spent()
    }

    fn key(&self, kind: EntryKind, hash: &TextHash) -> String {
        match kind {
            EntryKind::Summary => CacheKeys::summary(ENGINE, &self.0.model, &prompt_version_of(kind), hash),
            _ => CacheKeys::verdict(ENGINE, &self.0.model, &prompt_version_of(kind), hash),
        }
    }

    fn origin(&self, kind: EntryKind) -> Origin {
        origin(kind, &self.0.model)
    }
}

fn origin(kind: EntryKind, model: &str) -> Origin {
    Origin { kind, engine: ENGINE, model: model.to_owned(), prompt_version: prompt_version_of(kind) }
}

impl Ground {
    /// Waits until calls are to end, whatever they have cost.
    async fn given_up(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(self.grace).await;
    }
}

/// Why there is no answer of Gemini's. It travels to other nodes as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unanswered {
    /// Gemini cannot be had just now, and would not answer anything else either. A retry may help.
    #[error("Gemini failed ({0})")]
    Failed(String),
    /// Its answers are of no use one after the other. A retry may help.
    #[error("Gemini gave {} useless answers in a row", asking::USELESS_IN_A_ROW)]
    Useless,
    /// The time was over. A retry helps: it goes on where this one ended.
    #[error("the time for Gemini was over")]
    OutOfTime,
    /// This text has no usable answer even where it stands alone.
    #[error("Gemini gave no usable answer for them")]
    Unusable,
    /// This text is refused. A retry does not help.
    #[error("Gemini refuses to answer for them")]
    Blocked,
    /// It is not what was asked for. A retry may help.
    #[error("Gemini's answer does not follow the schema")]
    NotTheSchema,
}

impl Unanswered {
    fn interrupted() -> Self {
        Self::Failed("the process is stopping".to_owned())
    }

    /// Whether it says nothing about what was asked, and the next question would meet the same.
    pub(crate) fn is_general(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Useless | Self::OutOfTime)
    }

    /// Whether Gemini may do better soon.
    pub(crate) fn may_pass(&self) -> bool {
        *self != Self::Blocked
    }

    /// As the cache shares it, remembered as its class deserves.
    fn failure(self, class: FailureClass) -> FetchFailure {
        let told = serde_json::to_string(&self).unwrap_or_default();
        FetchFailure::new(class, self).with_detail(told)
    }
}

impl From<FetchError> for Unanswered {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Failed(failure) => {
                let told = || serde_json::from_str(failure.detail.as_deref()?).ok();
                let own = failure.source.downcast_ref::<Self>().cloned();
                own.or_else(told).unwrap_or_else(|| Self::Failed(failure.to_string()))
            }
            FetchError::TimedOut { .. } => Self::OutOfTime,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// The version of the prompts, as it stands in keys and analyses.
pub(crate) fn prompt_version() -> String {
    prompt::PROMPT_VERSION.to_string()
}

fn prompt_version_of(kind: EntryKind) -> String {
    match kind {
        EntryKind::Verdict => prompt::VERDICT_PROMPT_VERSION.to_string(),
        _ => prompt_version(),
    }
}

/// The prompt as Gemini's client takes it.
fn generate_request(prompt: prompt::Prompt) -> GenerateRequest {
    GenerateRequest {
        system: prompt.system,
        user: prompt.user,
        schema: prompt.schema,
        max_output_tokens: prompt.max_output_tokens,
    }
}
