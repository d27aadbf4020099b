//! Erasing, and the tombstones of what was erased: a copy that a tier still holds is not to be served, also after a restart.

use sqlx::sqlite::{SqliteConnectOptions, SqliteExecutor};
use sqlx::{Connection as _, SqliteConnection};

use super::answers::take_summaries;
use super::{BUSY_TIMEOUT, Store, earlier, millis};
use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};

/// Tombstones kept; the oldest go first. None outlives the retention, for no copy does. There is one for each analysis erased while Redis could not be reached.
pub(crate) const TOMBSTONES_MAX: usize = 10_000;

/// What erasing took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Erased {
    /// This user never had it.
    Nothing,
    /// Only the user's own line; others have the analysis too.
    Line,
    /// The analysis itself: nobody else had it.
    Analysis {
        /// The mark of its tombstone, in milliseconds.
        erased_at: i64,
        /// The keys under which tiers may have the summaries that were written for it.
        summaries: Vec<String>,
    },
}

impl Store {
    /// Removes a user's line, and the analysis with the last one, and what was written for it. That leaves a tombstone, until the tiers are clean too.
    pub(crate) async fn erase(&self, user: &UserId, id: &AnalysisId) -> Result<Erased, ServiceError> {
        let now = millis(self.clock.now());
        let mut transaction = self.write().await?;
        let line = sqlx::query("DELETE FROM user_analyses WHERE user_id = ?1 AND analysis_id = ?2")
            .bind(user.as_str())
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        let mut erased = Erased::Nothing;
        if line.rows_affected() > 0 {
            erased = Erased::Line;
            let others: Option<(i64,)> =
                sqlx::query_as("SELECT 1 FROM user_analyses WHERE analysis_id = ?1 LIMIT 1")
                    .bind(id.as_str())
                    .fetch_optional(&mut *transaction)
                    .await?;
            if others.is_none() {
                let summaries = bury(&mut transaction, id, now).await?;
                erased = Erased::Analysis { erased_at: now, summaries };
            }
        }
        transaction.commit().await?;
        Ok(erased)
    }

    /// The tombstones that stand, the latest first, each with its mark.
    ///
    /// A store that was not opened yet is only looked into: a hit in a tier should cost a new process no more than that.
    pub(crate) async fn tombstones(&self) -> Result<Vec<(AnalysisId, i64)>, ServiceError> {
        let rows = if self.pool.initialized() || self.in_memory {
            standing(self.pool().await?).await?
        } else {
            let file = self.options.get_filename();
            if !tokio::fs::try_exists(file).await.unwrap_or(true) {
                return Ok(Vec::new());
            }
            let options = SqliteConnectOptions::new().filename(file).busy_timeout(BUSY_TIMEOUT);
            let mut connection = SqliteConnection::connect_with(&options).await?;
            match standing(&mut connection).await {
                // An older Lently's, without the table; opening it will make one.
                Err(sqlx::Error::Database(error)) if error.message().starts_with("no such table") => {
                    Vec::new()
                }
                rows => rows?,
            }
        };
        rows.into_iter().map(|(id, erased_at)| Ok((id.parse()?, erased_at))).collect()
    }

    /// Removes a tombstone, unless the analysis was erased again since it was given this mark.
    pub(crate) async fn lift_tombstone(&self, id: &AnalysisId, erased_at: i64) -> Result<(), ServiceError> {
        sqlx::query("DELETE FROM tombstones WHERE analysis_id = ?1 AND erased_at = ?2")
            .bind(id.as_str())
            .bind(erased_at)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }
}

/// Removes an analysis, its earlier versions and what was written for it, and leaves a tombstone. Gives the keys under which tiers may have the summaries.
pub(super) async fn bury(
    connection: &mut SqliteConnection,
    id: &AnalysisId,
    erased_at: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query("DELETE FROM analyses WHERE id = ?1").bind(id.as_str()).execute(&mut *connection).await?;
    earlier::erase(connection, id).await?;
    sqlx::query("INSERT OR REPLACE INTO tombstones (analysis_id, erased_at) VALUES (?1, ?2)")
        .bind(id.as_str())
        .bind(erased_at)
        .execute(&mut *connection)
        .await?;
    take_summaries(connection, id).await
}

async fn standing(store: impl SqliteExecutor<'_>) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("SELECT analysis_id, erased_at FROM tombstones ORDER BY erased_at DESC LIMIT ?1")
        .bind(i64::try_from(TOMBSTONES_MAX).unwrap_or(i64::MAX))
        .fetch_all(store)
        .await
}
