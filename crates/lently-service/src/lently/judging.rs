//! Verdicts on texts that belong to no analysis: to see how well an engine judges. What Gemini is paid for them is kept as any verdict.

use lently_analysis::Verdict;
use lently_cache::Cost;
use serde::Serialize;
use tokio::time::Instant;

use super::Lently;
use crate::body::JudgedCounts;
use crate::error::ServiceError;
use crate::gemini::Payer;
use crate::ids::UserId;
use crate::judge::{self, OnJudged};
use crate::ledger::Payer as LedgerPayer;
use crate::purse::Purse;
use crate::request::EngineChoice;
use crate::store::later;
use crate::ttl::RETENTION;

/// The verdicts on some texts, and who made them.
#[derive(Debug, Clone, Serialize)]
pub struct JudgedTexts {
    /// One for each text, in order.
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
    /// `local` or `gemini`.
    pub engine: String,
    /// Gemini's model, as it named itself, or as it was asked for where no answer came.
    pub model: Option<String>,
    /// How many texts each engine judged.
    pub judged: JudgedCounts,
    /// How many of Gemini's verdicts had been paid for before.
    pub reused: u64,
    /// Why some texts were judged locally though Gemini was asked.
    pub degraded: Option<String>,
    /// What it took.
    pub cost: Cost,
}

impl Lently {
    /// Judges texts by an engine, within the time limit of an analysis: what Gemini has no time for is judged locally, and
    /// labelled so. `on_judged` is told how many are judged so far.
    ///
    /// # Errors
    /// Gemini is asked for and has no key.
    pub async fn judge(
        &self,
        user: &UserId,
        choice: EngineChoice,
        texts: &[String],
        on_judged: OnJudged,
    ) -> Result<JudgedTexts, ServiceError> {
        let engine = self.inner.engines.resolve(choice)?;
        let purse = Purse::default();
        let payer = Payer {
            by: LedgerPayer::analysis(user.clone()),
            purse: purse.clone(),
            deadline: Instant::now() + self.inner.ttl.analysis_timeout,
            retain_until: later(self.inner.clock.now(), RETENTION),
        };
        let judged = judge::judge(&self.inner.engines, &engine, texts, payer, on_judged).await?;
        Ok(JudgedTexts {
            verdicts: judged.verdicts,
            engine: engine.name().to_owned(),
            model: judged.model_version.or_else(|| engine.model().map(str::to_owned)),
            judged: judged.counts,
            reused: judged.reused,
            degraded: judged.degraded.map(|degraded| degraded.reason),
            cost: purse.spent(),
        })
    }
}
