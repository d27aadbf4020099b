//! How often videos were asked for, added up by SQLite itself for all processes that share the file.

use std::collections::BTreeMap;

use lently_cache::Amounts;
use lently_upstream::{PacificDay, VideoId};
use sqlx::{QueryBuilder, Sqlite};

use super::Store;
use crate::error::ServiceError;

/// Rows in one statement: three values each, of 32,766 that SQLite takes.
const ROWS_AT_ONCE: usize = 1_000;

impl Store {
    /// Adds to a day's counts, all or none.
    pub(crate) async fn add_asked(
        &self,
        day: PacificDay,
        counts: &BTreeMap<VideoId, u64>,
    ) -> Result<(), ServiceError> {
        let rows: Vec<_> = counts.iter().collect();
        let mut transaction = self.write().await?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let mut statement = QueryBuilder::<Sqlite>::new("INSERT INTO asked (day, video_id, times) ");
            statement.push_values(rows, |mut row, (video_id, times)| {
                row.push_bind(day.to_string()).push_bind(video_id.as_str());
                row.push_bind(i64::try_from(**times).unwrap_or(i64::MAX));
            });
            statement.push(" ON CONFLICT (day, video_id) DO UPDATE SET times = times + excluded.times");
            statement.build().execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The videos that were asked for most on a day, by all who share this store.
    pub(crate) async fn most_asked(&self, day: PacificDay, limit: u32) -> Result<Amounts, ServiceError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT video_id, times FROM asked WHERE day = ?1 ORDER BY times DESC, video_id LIMIT ?2",
        )
        .bind(day.to_string())
        .bind(limit)
        .fetch_all(self.pool().await?)
        .await?;
        Ok(rows.into_iter().map(|(id, times)| (id, u64::try_from(times).unwrap_or_default())).collect())
    }
}
