//! Gemini's answers that were paid for, by what determines them. No text of anybody's stands here but in a summary, which goes with
//! the analysis that it was written for.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::Cost;
use sqlx::sqlite::SqliteExecutor;

use super::{Store, later, millis, timestamp};
use crate::error::ServiceError;
use crate::ids::{AnalysisId, TextHash};
use crate::keys::{CacheKeys, EntryKind};
use crate::ttl::RETENTION;

/// By whom, and to which question: everything about an answer but what it is on.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub kind: EntryKind,
    pub engine: &'static str,
    pub model: String,
    pub prompt_version: String,
}

/// An answer to be kept.
#[derive(Debug, Clone)]
pub(crate) struct PaidAnswer {
    /// Of what it is on.
    pub hash: TextHash,
    pub json: Bytes,
    /// Its share of what was paid.
    pub cost: Cost,
}

/// An answer that is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptAnswer {
    pub json: Bytes,
    pub cost: Cost,
    pub made_at: Timestamp,
    pub retain_until: Timestamp,
}

impl Store {
    /// Keeps answers in one transaction, replacing older ones to the same questions; with that analysis, and no longer than it, where one
    /// is named.
    pub(crate) async fn save_answers(
        &self,
        origin: &Origin,
        answers: &[PaidAnswer],
        of: Option<(&AnalysisId, Timestamp)>,
    ) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let full = later(now, RETENTION);
        let retain_until = of.map_or(full, |(_, until)| until.min(full));
        let pool = self.pool().await?;
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        for PaidAnswer { hash, json, cost } in answers {
            sqlx::query(
                "INSERT OR REPLACE INTO answers (kind, engine, model, prompt_version, hash, answer, \
                 tokens_in, tokens_out, micro_dollars, made_at, retain_until, analysis_id) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )
            .bind(origin.kind.name())
            .bind(origin.engine)
            .bind(&origin.model)
            .bind(&origin.prompt_version)
            .bind(hash.as_str())
            .bind(&json[..])
            .bind(i64::try_from(cost.tokens_in).unwrap_or(i64::MAX))
            .bind(i64::try_from(cost.tokens_out).unwrap_or(i64::MAX))
            .bind(i64::try_from(cost.micro_dollars).unwrap_or(i64::MAX))
            .bind(millis(now))
            .bind(millis(retain_until))
            .bind(of.map(|(id, _)| id.as_str()))
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The answers on these that were made after `since` and are within their retention.
    pub(crate) async fn answers(
        &self,
        origin: &Origin,
        hashes: &[&TextHash],
        since: Timestamp,
    ) -> Result<HashMap<TextHash, KeptAnswer>, ServiceError> {
        type Row = (String, Vec<u8>, i64, i64, i64, i64, i64);
        // One statement whatever their number: they travel as one list.
        let hashes: Vec<&str> = hashes.iter().map(|hash| hash.as_str()).collect();
        let hashes = serde_json::to_string(&hashes)
            .map_err(|error| ServiceError::internal("hashes cannot be written", error))?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT hash, answer, tokens_in, tokens_out, micro_dollars, made_at, retain_until FROM answers \
             WHERE kind = ?1 AND engine = ?2 AND model = ?3 AND prompt_version = ?4 \
             AND hash IN (SELECT value FROM json_each(?5)) AND made_at > ?6 AND retain_until > ?7",
        )
        .bind(origin.kind.name())
        .bind(origin.engine)
        .bind(&origin.model)
        .bind(&origin.prompt_version)
        .bind(hashes)
        .bind(millis(since))
        .bind(millis(self.clock.now()))
        .fetch_all(self.pool().await?)
        .await?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let kept =
            rows.into_iter().map(|(hash, json, tokens_in, tokens_out, micro_dollars, made_at, until)| {
                let (tokens_in, tokens_out) = (count(tokens_in), count(tokens_out));
                let cost =
                    Cost { tokens_in, tokens_out, micro_dollars: count(micro_dollars), ..Cost::default() };
                let (made_at, retain_until) = (timestamp(made_at), timestamp(until));
                let kept = KeptAnswer { json: Bytes::from(json), cost, made_at, retain_until };
                (TextHash::written(hash), kept)
            });
        Ok(kept.collect())
    }

    /// Deletes what was written for an analysis, and tells the keys under which tiers may have it.
    pub(crate) async fn take_summaries(&self, id: &AnalysisId) -> Result<Vec<String>, ServiceError> {
        Ok(take_summaries(self.pool().await?, id).await?)
    }
}

pub(super) async fn take_summaries(
    store: impl SqliteExecutor<'_>,
    id: &AnalysisId,
) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "DELETE FROM answers WHERE analysis_id = ?1 RETURNING engine, model, prompt_version, hash",
    )
    .bind(id.as_str())
    .fetch_all(store)
    .await?;
    let key = |(engine, model, prompt_version, hash): (String, String, String, String)| {
        CacheKeys::summary(&engine, &model, &prompt_version, &TextHash::written(hash))
    };
    Ok(rows.into_iter().map(key).collect())
}
