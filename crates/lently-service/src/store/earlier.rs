//! Earlier versions of analyses: of each the last of a day, for as long as what it was made of may be kept. They go with the analysis.

use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};
use sqlx::SqliteConnection;

use super::{Store, millis, timestamp};
use crate::error::ServiceError;
use crate::ids::AnalysisId;

/// A version of an analysis that another has replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EarlierAnalysis {
    pub created_at: Timestamp,
    /// Without verdicts.
    pub body: Bytes,
    pub retain_until: Timestamp,
}

/// Keeps a version in the place of an earlier one of the same day.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    id: &AnalysisId,
    earlier: &EarlierAnalysis,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR REPLACE INTO earlier_analyses (analysis_id, day, created_at, body, retain_until) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(id.as_str())
    .bind(earlier.created_at.to_zoned(TimeZone::UTC).date().to_string())
    .bind(millis(earlier.created_at))
    .bind(&earlier.body[..])
    .bind(millis(earlier.retain_until))
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes all of an analysis.
pub(super) async fn erase(connection: &mut SqliteConnection, id: &AnalysisId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM earlier_analyses WHERE analysis_id = ?1")
        .bind(id.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// The earlier versions of an analysis within their retention, the latest first.
    pub(crate) async fn earlier_analyses(
        &self,
        id: &AnalysisId,
    ) -> Result<Vec<EarlierAnalysis>, ServiceError> {
        let rows: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT created_at, body, retain_until FROM earlier_analyses \
             WHERE analysis_id = ?1 AND retain_until > ?2 ORDER BY created_at DESC",
        )
        .bind(id.as_str())
        .bind(millis(self.clock.now()))
        .fetch_all(self.pool().await?)
        .await?;
        let version = |(created_at, body, retain_until)| EarlierAnalysis {
            created_at: timestamp(created_at),
            body: Bytes::from(body),
            retain_until: timestamp(retain_until),
        };
        Ok(rows.into_iter().map(version).collect())
    }
}
