//! Verdicts through the tiers and the store: what was paid for before, and what is to be paid for now.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use lently_analysis::{Category, JudgedBy, Sentiment, Verdict};
use lently_cache::{Answer, Controls, FetchError, Outcome, Wanted};
use serde::{Deserialize, Serialize};

use super::known::Known;
use super::{CachedGemini, Payer, Question, Unanswered};
use crate::ids::TextHash;
use crate::keys::EntryKind;
use crate::shape;

/// Texts that are looked for at a time: for each such number the store is asked once.
const LOOKED_FOR_AT_ONCE: usize = 500;

/// A verdict as the tiers and the store keep it. A change of shape raises [`EntryKind::Verdict`]'s schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredVerdict {
    sentiment: Sentiment,
    score: f64,
    category: Category,
    language: Option<String>,
    #[serde(default)]
    toxic: bool,
    model_version: String,
}

impl StoredVerdict {
    pub(super) fn new(verdict: Verdict, model_version: &str) -> Self {
        let Verdict { sentiment, score, category, language, toxic, .. } = verdict;
        Self { sentiment, score, category, language, toxic, model_version: model_version.to_owned() }
    }

    /// `None` for what JSON has no words for, which no verdict is.
    pub(super) fn to_json(&self) -> Option<Bytes> {
        serde_json::to_vec(self).ok().map(Bytes::from)
    }

    fn read(json: &[u8], reused: bool) -> Option<Judgment> {
        let Self { sentiment, score, category, language, toxic, model_version } =
            serde_json::from_slice(json).ok()?;
        let (confidence, judged_by) = (None, JudgedBy::Gemini);
        let verdict = Verdict { sentiment, score, category, language, toxic, confidence, judged_by };
        Some(Judgment { verdict, model_version, reused })
    }
}

/// Gemini's verdict on a text.
#[derive(Debug, Clone)]
pub(crate) struct Judgment {
    pub verdict: Verdict,
    /// The model, as it named itself.
    pub model_version: String,
    /// Whether it was paid for by somebody else.
    pub reused: bool,
}

impl CachedGemini {
    /// Tells `found` of each text whose verdict was paid for before, by its place.
    pub(crate) async fn recall(&self, texts: &[Arc<str>], mut found: impl FnMut(usize, Judgment) + Send) {
        if !self.0.ground.reuse {
            return;
        }
        let mut known = Known::of(self, EntryKind::Verdict);
        for (chunk, texts) in texts.chunks(LOOKED_FOR_AT_ONCE).enumerate() {
            let hashes: Vec<TextHash> = texts.iter().map(|text| TextHash::of(text)).collect();
            for (place, json) in known.find(&hashes).await.into_iter().enumerate() {
                if let Some(judgment) = json.and_then(|json| StoredVerdict::read(&json, true)) {
                    found(chunk * LOOKED_FOR_AT_ONCE + place, judgment);
                }
            }
        }
    }

    /// Has each text judged, at most [`BATCH`](super::BATCH) of them: together in one call, if nobody else has them judged just
    /// now, here or on another node. Who leaves does not end the call.
    pub(crate) async fn judge(&self, texts: &[Arc<str>], payer: &Payer) -> Vec<Result<Judgment, Unanswered>> {
        let question = |text: &Arc<str>| Question { text: Arc::clone(text), payer: payer.clone() };
        let unread = || Unanswered::Failed("a verdict cannot be read".to_owned());
        if !self.0.ground.reuse {
            let answers = self.0.asker.ask(texts.iter().map(question).collect()).await;
            let mut answers: HashMap<Arc<str>, _> =
                answers.into_iter().map(|(question, answer)| (question.text, answer)).collect();
            let one = |text: &Arc<str>| {
                let fetched = answers.remove(text).ok_or_else(unread)?.map_err(FetchError::Failed)?;
                StoredVerdict::read(&fetched.value, false).ok_or_else(unread)
            };
            return texts.iter().map(one).collect();
        }
        let policy = self.0.ground.ttl.policy(EntryKind::Verdict);
        let wanted: Vec<Wanted<Question>> = texts
            .iter()
            .map(|text| Wanted {
                id: question(text),
                key: self.key(EntryKind::Verdict, &TextHash::of(text)),
                policy: policy.clone(),
            })
            .collect();
        let (cache, questions) = (&self.0.ground.cache, &self.0.questions);
        let answers =
            shape::get_or_set_many(cache, EntryKind::Verdict, &wanted, &Controls::DEFAULT, questions).await;
        let one = |answer: Result<Answer, FetchError>| {
            let answer = answer?;
            let reused = !matches!(answer.outcome, Outcome::Fetched { .. });
            StoredVerdict::read(&answer.entry.value, reused).ok_or_else(unread)
        };
        answers.into_iter().map(one).collect()
    }
}
