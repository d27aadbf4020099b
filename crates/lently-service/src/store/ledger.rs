//! The ledger's rows in the store: what was spent, added up by SQLite itself, so that all processes that share the file count into one sum.

use std::collections::BTreeMap;

use lently_cache::Amounts;
use lently_upstream::PacificDay;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::Store;
use crate::error::ServiceError;

/// For how many days who spent what is kept.
pub(super) const LEDGER_DAYS: u32 = 60;
/// Rows in one statement: five values each, of 32,766 that SQLite takes.
const ROWS_AT_ONCE: usize = 500;

/// What an amount was spent for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub day: PacificDay,
    pub user: String,
    pub purpose: String,
    pub counter: String,
}

impl Store {
    /// The name of this store's part of the ledger, and one that no process had before.
    pub(crate) async fn ledger_names(&self) -> Result<(String, String), ServiceError> {
        let names = sqlx::query_as("SELECT name, lower(hex(randomblob(8))) FROM ledger_part")
            .fetch_one(self.pool().await?)
            .await?;
        Ok(names)
    }

    /// Adds to the lines and to the sums of their counters, all or none, and returns the sums of a day since.
    pub(crate) async fn add_to_ledger(
        &self,
        lines: &BTreeMap<Line, u64>,
        day: PacificDay,
    ) -> Result<Amounts, ServiceError> {
        let mut rows = lines.clone();
        for (line, amount) in lines {
            let sum = Line { user: String::new(), purpose: String::new(), ..line.clone() };
            *rows.entry(sum).or_default() += amount;
        }
        let rows: Vec<_> = rows.into_iter().collect();
        let mut transaction = self.write().await?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let mut statement =
                QueryBuilder::<Sqlite>::new("INSERT INTO ledger (day, user_id, purpose, counter, amount) ");
            statement.push_values(rows, |mut row, (line, amount)| {
                row.push_bind(line.day.to_string()).push_bind(&line.user).push_bind(&line.purpose);
                row.push_bind(&line.counter).push_bind(i64::try_from(*amount).unwrap_or(i64::MAX));
            });
            statement.push(
                " ON CONFLICT (day, user_id, purpose, counter) DO UPDATE SET amount = amount + excluded.amount",
            );
            statement.build().execute(&mut *transaction).await?;
        }
        let sums = sums(&mut transaction, day).await?;
        transaction.commit().await?;
        Ok(sums)
    }

    /// What all who share this store spent on a day, by counter.
    pub(crate) async fn ledger_sums(&self, day: PacificDay) -> Result<Amounts, ServiceError> {
        let mut connection = self.pool().await?.acquire().await?;
        Ok(sums(&mut connection, day).await?)
    }

    /// Who spent it: the lines of a day in the order in which they were begun, at most so many.
    pub(crate) async fn ledger_lines(
        &self,
        day: PacificDay,
        at_most: usize,
    ) -> Result<Vec<(Line, u64)>, ServiceError> {
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT user_id, purpose, counter, amount FROM ledger \
             WHERE day = ?1 AND purpose <> '' ORDER BY rowid LIMIT ?2",
        )
        .bind(day.to_string())
        .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
        .fetch_all(self.pool().await?)
        .await?;
        let line = |(user, purpose, counter, amount)| (Line { day, user, purpose, counter }, whole(amount));
        Ok(rows.into_iter().map(line).collect())
    }
}

async fn sums(connection: &mut SqliteConnection, day: PacificDay) -> Result<Amounts, sqlx::Error> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT counter, amount FROM ledger WHERE day = ?1 AND user_id = '' AND purpose = ''")
            .bind(day.to_string())
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(counter, amount)| (counter, whole(amount))).collect())
}

fn whole(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or_default()
}
