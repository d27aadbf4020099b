//! Gemini's answers that were paid for, by what determines them. No text of anybody's stands here but in a summary, which goes with
//! the analysis that it was written for.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::Cost;
use lently_upstream::VideoId;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteExecutor;

use super::{Store, later, millis, timestamp};
use crate::error::ServiceError;
use crate::ids::{AnalysisId, TextHash};
use crate::keys::{CacheKeys, EntryKind};
use crate::ttl::RETENTION;

/// A video's comments are summed up for each amount and order that is asked for; older words than the last few are on other comments.
const LOOKED_AT: i64 = 16;

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

/// What a summary is about.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub video_id: &'a VideoId,
    /// Which of its comments, in JSON.
    pub basis: String,
}

/// A summary that is kept, with what it is about.
#[derive(Debug)]
pub(crate) struct KeptWords {
    pub json: Vec<u8>,
    /// As [`About::basis`].
    pub basis: String,
    pub retain_until: Timestamp,
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
    /// Keeps answers in one transaction, replacing older ones to the same questions.
    pub(crate) async fn save_answers(
        &self,
        origin: &Origin,
        answers: &[PaidAnswer],
    ) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let mut transaction = self.write().await?;
        save(&mut transaction, origin, answers, (now, later(now, RETENTION))).await?;
        Ok(transaction.commit().await?)
    }

    /// Keeps a summary with that analysis, and no longer than it.
    pub(crate) async fn save_summary(
        &self,
        origin: &Origin,
        summary: PaidAnswer,
        (of, until): (&AnalysisId, Timestamp),
        about: Option<About<'_>>,
    ) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let life = (now, until.min(later(now, RETENTION)));
        let mut transaction = self.write().await?;
        save(&mut transaction, origin, std::slice::from_ref(&summary), life).await?;
        let (video_id, basis) = about.map(|about| (about.video_id.as_str(), about.basis)).unzip();
        sqlx::query(
            "UPDATE answers SET analysis_id = ?6, about = ?7, basis = ?8 \
             WHERE kind = ?1 AND engine = ?2 AND model = ?3 AND prompt_version = ?4 AND hash = ?5",
        )
        .bind(origin.kind.name())
        .bind(origin.engine)
        .bind(&origin.model)
        .bind(&origin.prompt_version)
        .bind(summary.hash.as_str())
        .bind(of.as_str())
        .bind(video_id)
        .bind(basis)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The latest summaries about a video's comments that were made after `since`, each with which comments it is about; the
    /// latest first.
    pub(crate) async fn answers_about(
        &self,
        origin: &Origin,
        video_id: &VideoId,
        since: Timestamp,
    ) -> Result<Vec<KeptWords>, ServiceError> {
        let rows: Vec<(Vec<u8>, String, i64)> = sqlx::query_as(
            "SELECT answer, basis, retain_until FROM answers \
             WHERE about = ?1 AND kind = ?2 AND engine = ?3 AND model = ?4 AND prompt_version = ?5 \
             AND made_at > ?6 AND retain_until > ?7 AND basis IS NOT NULL ORDER BY made_at DESC LIMIT ?8",
        )
        .bind(video_id.as_str())
        .bind(origin.kind.name())
        .bind(origin.engine)
        .bind(&origin.model)
        .bind(&origin.prompt_version)
        .bind(millis(since))
        .bind(millis(self.clock.now()))
        .bind(LOOKED_AT)
        .fetch_all(self.pool().await?)
        .await?;
        let kept = |(json, basis, until)| KeptWords { json, basis, retain_until: timestamp(until) };
        Ok(rows.into_iter().map(kept).collect())
    }

    /// The answers on these that were made after `since` and are within their retention.
    pub(crate) async fn answers(
        &self,
        origin: &Origin,
        hashes: &[&TextHash],
        since: Timestamp,
    ) -> Result<HashMap<TextHash, KeptAnswer>, ServiceError> {
        type Row = (String, String, u64, u64, u64, i64, i64);
        // One statement whatever their number, and one row: they travel as one list, there and back.
        let hashes: Vec<&str> = hashes.iter().map(|hash| hash.as_str()).collect();
        let hashes = serde_json::to_string(&hashes)
            .map_err(|error| ServiceError::internal("hashes cannot be written", error))?;
        let (rows,): (String,) = sqlx::query_as(
            "SELECT json_group_array(json_array(\
             hash, CAST(answer AS TEXT), tokens_in, tokens_out, micro_dollars, made_at, retain_until)) FROM answers \
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
        .fetch_one(self.pool().await?)
        .await?;
        let unreadable = |error| ServiceError::internal("kept answers cannot be read", error);
        let rows: Vec<Row> = serde_json::from_str(&rows).map_err(unreadable)?;
        let kept =
            rows.into_iter().map(|(hash, json, tokens_in, tokens_out, micro_dollars, made_at, until)| {
                let cost = Cost { tokens_in, tokens_out, micro_dollars, ..Cost::default() };
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

/// Writes all by one statement.
async fn save(
    connection: &mut SqliteConnection,
    origin: &Origin,
    answers: &[PaidAnswer],
    (now, until): (Timestamp, Timestamp),
) -> Result<(), sqlx::Error> {
    let row = |PaidAnswer { hash, json, cost }: &PaidAnswer| {
        let answer = String::from_utf8_lossy(json);
        serde_json::json!([hash.as_str(), answer, cost.tokens_in, cost.tokens_out, cost.micro_dollars])
    };
    let rows: serde_json::Value = answers.iter().map(row).collect();
    sqlx::query(
        "INSERT OR REPLACE INTO answers (kind, engine, model, prompt_version, hash, answer, \
         tokens_in, tokens_out, micro_dollars, made_at, retain_until) \
         SELECT ?1, ?2, ?3, ?4, value ->> 0, CAST(value ->> 1 AS BLOB), value ->> 2, value ->> 3, value ->> 4, ?5, ?6 \
         FROM json_each(?7)",
    )
    .bind(origin.kind.name())
    .bind(origin.engine)
    .bind(&origin.model)
    .bind(&origin.prompt_version)
    .bind(millis(now))
    .bind(millis(until))
    .bind(rows.to_string())
    .execute(connection)
    .await?;
    Ok(())
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
