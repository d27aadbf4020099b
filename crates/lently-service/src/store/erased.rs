//! Erasing, and the tombstones of what was erased: a copy that a tier still holds is not to be served, also after a restart.

use jiff::Timestamp;
use sqlx::SqlitePool;

use super::{Store, earlier, millis};
use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::ttl::RETENTION;

/// Tombstones kept; the oldest go first. There is one for each analysis erased while Redis could not be reached.
pub(crate) const TOMBSTONES_MAX: usize = 10_000;

/// What erasing took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Erased {
    /// This user never had it.
    Nothing,
    /// Only the user's own line; others have the analysis too.
    Line,
    /// The analysis itself: nobody else had it.
    Analysis {
        /// The mark of its tombstone, in milliseconds.
        erased_at: i64,
    },
}

impl Store {
    /// Removes a user's line, and the analysis with the last one. That leaves a tombstone, until the tiers are clean too.
    pub(crate) async fn erase(&self, user: &UserId, id: &AnalysisId) -> Result<Erased, ServiceError> {
        let now = millis(self.clock.now());
        let mut transaction = self.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
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
                sqlx::query("DELETE FROM analyses WHERE id = ?1")
                    .bind(id.as_str())
                    .execute(&mut *transaction)
                    .await?;
                sqlx::query("INSERT OR REPLACE INTO tombstones (analysis_id, erased_at) VALUES (?1, ?2)")
                    .bind(id.as_str())
                    .bind(now)
                    .execute(&mut *transaction)
                    .await?;
                erased = Erased::Analysis { erased_at: now };
            }
        }
        transaction.commit().await?;
        Ok(erased)
    }

    /// The tombstones that stand, the latest first, each with its mark.
    pub(crate) async fn tombstones(&self) -> Result<Vec<(AnalysisId, i64)>, ServiceError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT analysis_id, erased_at FROM tombstones ORDER BY erased_at DESC LIMIT ?1")
                .bind(i64::try_from(TOMBSTONES_MAX).unwrap_or(i64::MAX))
                .fetch_all(self.pool().await?)
                .await?;
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

/// No copy outlives the retention, so no tombstone needs to.
pub(super) async fn sweep(pool: &SqlitePool, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM tombstones WHERE erased_at <= ?1")
        .bind(millis(earlier(now, RETENTION)))
        .execute(pool)
        .await?;
    sqlx::query(
        "DELETE FROM tombstones WHERE analysis_id IN \
         (SELECT analysis_id FROM tombstones ORDER BY erased_at DESC LIMIT -1 OFFSET ?1)",
    )
    .bind(i64::try_from(TOMBSTONES_MAX).unwrap_or(i64::MAX))
    .execute(pool)
    .await?;
    Ok(())
}
