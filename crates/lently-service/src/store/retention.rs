//! What the tables hold, for how long yet, and the sweep that deletes what is beyond its time: in small transactions, so that nobody
//! waits for it, and harmless where several processes sweep the same file at once.

use std::time::Duration;

use jiff::Timestamp;
use lently_upstream::PacificDay;
use serde::Serialize;
use sqlx::SqlitePool;

use super::erased::TOMBSTONES_MAX;
use super::ledger::LEDGER_DAYS;
use super::usage::USAGE_RETENTION;
use super::{Store, earlier, later, millis, timestamp};
use crate::error::ServiceError;
use crate::popularity::DAYS as ASKED_DAYS;
use crate::ttl::RETENTION;

/// Rows in one transaction: some milliseconds of work.
const ROWS_AT_ONCE: u32 = 1_000;
/// Between two of them, so that whoever waits to write has a turn.
const PAUSE: Duration = Duration::from_millis(5);
/// A store that was swept so lately is not swept again by being opened.
const OPENING_SWEEPS_AFTER: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A table, or a part of one, of which rows are deleted by their age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StorePart {
    /// Finished analyses: YouTube's titles and numbers, quoted comments, and what was derived of them.
    Analyses,
    /// What analyses said before they were made anew.
    Earlier,
    /// What Gemini wrote about counted facts; it may quote.
    Summaries,
    /// Gemini's verdicts by the hash of a text. The text is not there.
    Verdicts,
    /// The comments of videos: what is known of each list, and, swept with it, the comments themselves.
    Comments,
    /// Who asked for which analysis.
    History,
    /// What was erased while a tier may have had a copy: ids alone.
    Tombstones,
    /// Sums of what was spent.
    Ledger,
    /// How many analyses were made for a user in a month.
    Usage,
    /// How often videos were asked for.
    Asked,
}

impl StorePart {
    /// All of them, in the order in which they are swept and told.
    pub const ALL: [Self; 10] = [
        Self::Analyses,
        Self::Earlier,
        Self::Summaries,
        Self::Verdicts,
        Self::Comments,
        Self::History,
        Self::Tombstones,
        Self::Ledger,
        Self::Usage,
        Self::Asked,
    ];

    /// The name in labels and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Analyses => "analyses",
            Self::Earlier => "earlier_analyses",
            Self::Summaries => "summaries",
            Self::Verdicts => "verdicts",
            Self::Comments => "comments",
            Self::History => "history",
            Self::Tombstones => "tombstones",
            Self::Ledger => "ledger",
            Self::Usage => "usage",
            Self::Asked => "asked",
        }
    }

    /// Whether rows hold what YouTube gave. A verdict is derived from it, and holds none of it.
    pub const fn is_from_youtube(self) -> bool {
        matches!(self, Self::Analyses | Self::Earlier | Self::Summaries | Self::Comments)
    }

    /// The longest that a row stays.
    pub const fn kept_for(self) -> Duration {
        match self {
            Self::Analyses
            | Self::Earlier
            | Self::Summaries
            | Self::Verdicts
            | Self::Comments
            | Self::History
            | Self::Tombstones => RETENTION,
            Self::Ledger => Duration::from_secs(LEDGER_DAYS as u64 * DAY.as_secs()),
            Self::Usage => USAGE_RETENTION,
            Self::Asked => Duration::from_secs(ASKED_DAYS as u64 * DAY.as_secs()),
        }
    }

    /// Deletes rows that are due by `?1`, at most `?2`. Those of comments are deleted by [`sweep_shelf`].
    const fn deletion(self) -> &'static str {
        match self {
            Self::Analyses => {
                "DELETE FROM analyses WHERE rowid IN \
                 (SELECT rowid FROM analyses WHERE retain_until <= ?1 LIMIT ?2)"
            }
            Self::Earlier => {
                "DELETE FROM earlier_analyses WHERE rowid IN \
                 (SELECT rowid FROM earlier_analyses WHERE retain_until <= ?1 LIMIT ?2)"
            }
            Self::Summaries => {
                "DELETE FROM answers WHERE (kind, engine, model, prompt_version, hash) IN \
                 (SELECT kind, engine, model, prompt_version, hash FROM answers \
                 WHERE retain_until <= ?1 AND kind = 'summary' LIMIT ?2)"
            }
            Self::Verdicts => {
                "DELETE FROM answers WHERE (kind, engine, model, prompt_version, hash) IN \
                 (SELECT kind, engine, model, prompt_version, hash FROM answers \
                 WHERE retain_until <= ?1 AND kind <> 'summary' LIMIT ?2)"
            }
            Self::Comments => "",
            Self::History => {
                "DELETE FROM user_analyses WHERE (user_id, analysis_id) IN \
                 (SELECT user_id, analysis_id FROM user_analyses AS line WHERE requested_at <= ?1 \
                 AND NOT EXISTS (SELECT 1 FROM analyses WHERE id = line.analysis_id) LIMIT ?2)"
            }
            Self::Tombstones => {
                "DELETE FROM tombstones WHERE analysis_id IN \
                 (SELECT analysis_id FROM tombstones WHERE erased_at <= ?1 LIMIT ?2)"
            }
            Self::Ledger => {
                "DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM ledger WHERE day < ?1 LIMIT ?2)"
            }
            Self::Usage => {
                "DELETE FROM usage WHERE id IN (SELECT id FROM usage WHERE reserved_at <= ?1 LIMIT ?2)"
            }
            Self::Asked => {
                "DELETE FROM asked WHERE (day, video_id) IN \
                 (SELECT day, video_id FROM asked WHERE day <= ?1 LIMIT ?2)"
            }
        }
    }

    /// Counts the rows and those that are due by `?1`, and tells the first by the time that its deletion goes by.
    const fn question(self) -> &'static str {
        match self {
            Self::Analyses => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE retain_until <= ?1), MIN(retain_until) FROM analyses"
            }
            Self::Earlier => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE retain_until <= ?1), MIN(retain_until) \
                 FROM earlier_analyses"
            }
            Self::Summaries => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE retain_until <= ?1), MIN(retain_until) \
                 FROM answers WHERE kind = 'summary'"
            }
            Self::Verdicts => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE retain_until <= ?1), MIN(retain_until) \
                 FROM answers WHERE kind <> 'summary'"
            }
            Self::Comments => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE retain_until <= ?1), MIN(retain_until) \
                 FROM shelf_comments JOIN shelves ON shelves.id = shelf_id"
            }
            Self::History => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE requested_at <= ?1 \
                 AND NOT EXISTS (SELECT 1 FROM analyses WHERE id = analysis_id)), MIN(requested_at) \
                 FROM user_analyses"
            }
            Self::Tombstones => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE erased_at <= ?1), MIN(erased_at) FROM tombstones"
            }
            Self::Ledger => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE day < ?1), \
                 CAST(strftime('%s', MIN(day)) AS INTEGER) * 1000 FROM ledger"
            }
            Self::Usage => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE reserved_at <= ?1), MIN(reserved_at) FROM usage"
            }
            Self::Asked => {
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE day <= ?1), \
                 CAST(strftime('%s', MIN(day)) AS INTEGER) * 1000 FROM asked"
            }
        }
    }

    /// What rows are due by.
    fn due(self, now: Timestamp) -> Due {
        match self {
            Self::Analyses | Self::Earlier | Self::Summaries | Self::Verdicts | Self::Comments => {
                Due::Time(millis(now))
            }
            Self::History | Self::Tombstones | Self::Usage => {
                Due::Time(millis(earlier(now, self.kept_for())))
            }
            Self::Ledger => Due::Day(PacificDay::of(now).days_before(LEDGER_DAYS).to_string()),
            Self::Asked => Due::Day(PacificDay::of(now).days_before(ASKED_DAYS).to_string()),
        }
    }

    /// Whether the oldest is told by when it is due and not by when it was written.
    const fn tells_end(self) -> bool {
        matches!(self, Self::Analyses | Self::Earlier | Self::Summaries | Self::Verdicts | Self::Comments)
    }
}

/// The time or the day that rows are due by.
enum Due {
    Time(i64),
    Day(String),
}

/// What a part of the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartReport {
    /// Which part.
    pub part: StorePart,
    /// Whether its rows hold what YouTube gave.
    pub from_youtube: bool,
    /// The longest that a row stays.
    pub kept_seconds: u64,
    /// How many there are.
    pub rows: u64,
    /// How old the oldest is, by what is in it and not by when it was written.
    pub oldest_at: Option<Timestamp>,
    /// When the first is due. A line of a history stays as long as its analysis does.
    pub next_due_at: Option<Timestamp>,
    /// Those that are beyond their time: the next sweep deletes them, and no read tells of them.
    pub overdue: u64,
    /// When it was swept last, by whichever process.
    pub swept_at: Option<Timestamp>,
    /// What that deleted.
    pub deleted: u64,
    /// What all sweeps have deleted.
    pub deleted_so_far: u64,
}

impl Store {
    /// Deletes what is beyond its retention, and tells how many rows of each part that were. It may be dropped at any time: what is
    /// left is deleted the next time.
    pub(crate) async fn sweep(&self) -> Result<Vec<(StorePart, u64)>, ServiceError> {
        let deleted = sweep(self.pool().await?, self.clock.now()).await?;
        if deleted.iter().any(|(_, rows)| *rows > 0) {
            self.scrub().await;
        }
        Ok(deleted)
    }

    /// Writes what was deleted out of the journal, too. Where somebody reads or writes for long, that waits for the next time.
    pub(crate) async fn scrub(&self) {
        let Ok(pool) = self.pool().await else { return };
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the journal is not written back yet");
        }
    }

    /// What each part holds, and how it was swept last.
    pub(crate) async fn parts(&self) -> Result<Vec<PartReport>, ServiceError> {
        let (pool, now) = (self.pool().await?, self.clock.now());
        let mut parts = Vec::new();
        for part in StorePart::ALL {
            let asked = sqlx::query_as(part.question());
            let asked = match part.due(now) {
                Due::Time(at) => asked.bind(at),
                Due::Day(day) => asked.bind(day),
            };
            let (rows, overdue, first): (i64, i64, Option<i64>) = asked.fetch_one(pool).await?;
            let sweep: Option<(i64, i64, i64)> =
                sqlx::query_as("SELECT swept_at, deleted, deleted_so_far FROM sweeps WHERE part = ?1")
                    .bind(part.name())
                    .fetch_optional(pool)
                    .await?;
            let first = first.map(timestamp);
            let (oldest_at, next_due_at) = if part.tells_end() {
                (first.map(|end| earlier(end, part.kept_for())), first)
            } else {
                (first, first.map(|begin| later(begin, part.kept_for())))
            };
            let (_, deleted, deleted_so_far) = sweep.unwrap_or_default();
            parts.push(PartReport {
                part,
                from_youtube: part.is_from_youtube(),
                kept_seconds: part.kept_for().as_secs(),
                rows: whole(rows),
                oldest_at,
                next_due_at,
                overdue: whole(overdue),
                swept_at: sweep.map(|(at, ..)| timestamp(at)),
                deleted: whole(deleted),
                deleted_so_far: whole(deleted_so_far),
            });
        }
        Ok(parts)
    }
}

/// The sweep of a store that has just been opened, for commands, which live too shortly to have another: where nobody has swept it
/// for an hour.
pub(super) async fn sweep_at_opening(pool: &SqlitePool, now: Timestamp) -> Result<(), sqlx::Error> {
    let (swept_at,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(swept_at) FROM sweeps").fetch_one(pool).await?;
    let lately = millis(earlier(now, OPENING_SWEEPS_AFTER));
    if swept_at.is_none_or(|at| at < lately || at > millis(now)) {
        sweep(pool, now).await?;
    }
    Ok(())
}

async fn sweep(pool: &SqlitePool, now: Timestamp) -> Result<Vec<(StorePart, u64)>, sqlx::Error> {
    let mut swept = Vec::new();
    for part in StorePart::ALL {
        let mut deleted = 0;
        loop {
            let rows = match part {
                StorePart::Comments => match sweep_shelf(pool, now).await? {
                    Some(rows) => rows,
                    None => break,
                },
                _ => sweep_rows(pool, part, now).await?,
            };
            deleted += rows;
            if part != StorePart::Comments && rows < u64::from(ROWS_AT_ONCE) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if part == StorePart::Tombstones {
            deleted += sweep_surplus_tombstones(pool).await?;
        }
        sqlx::query(
            "INSERT INTO sweeps (part, swept_at, deleted, deleted_so_far) VALUES (?1, ?2, ?3, ?3) \
             ON CONFLICT (part) DO UPDATE SET swept_at = excluded.swept_at, deleted = excluded.deleted, \
             deleted_so_far = deleted_so_far + excluded.deleted",
        )
        .bind(part.name())
        .bind(millis(now))
        .bind(i64::try_from(deleted).unwrap_or(i64::MAX))
        .execute(pool)
        .await?;
        swept.push((part, deleted));
    }
    Ok(swept)
}

async fn sweep_rows(pool: &SqlitePool, part: StorePart, now: Timestamp) -> Result<u64, sqlx::Error> {
    let deletion = sqlx::query(part.deletion());
    let deletion = match part.due(now) {
        Due::Time(at) => deletion.bind(at),
        Due::Day(day) => deletion.bind(day),
    };
    Ok(deletion.bind(ROWS_AT_ONCE).execute(pool).await?.rows_affected())
}

/// Deletes some comments of a list that is due, and the list with the last; `None` where none is. A list of which comments are gone
/// is not taken for a whole one by whoever writes it anew.
async fn sweep_shelf(pool: &SqlitePool, now: Timestamp) -> Result<Option<u64>, sqlx::Error> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let due: Option<(i64,)> = sqlx::query_as(
        "UPDATE shelves SET held = 0, digest = x'' WHERE id = \
             (SELECT id FROM shelves WHERE retain_until <= ?1 LIMIT 1) RETURNING id",
    )
    .bind(millis(now))
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((id,)) = due else { return Ok(None) };
    let rows = sqlx::query(
        "DELETE FROM shelf_comments WHERE shelf_id = ?1 AND place IN \
         (SELECT place FROM shelf_comments WHERE shelf_id = ?1 LIMIT ?2)",
    )
    .bind(id)
    .bind(ROWS_AT_ONCE)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    if rows < u64::from(ROWS_AT_ONCE) {
        sqlx::query("DELETE FROM shelves WHERE id = ?1").bind(id).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(Some(rows))
}

/// The oldest of more tombstones than there may be.
async fn sweep_surplus_tombstones(pool: &SqlitePool) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM tombstones WHERE analysis_id IN \
         (SELECT analysis_id FROM tombstones ORDER BY erased_at DESC LIMIT -1 OFFSET ?1)",
    )
    .bind(i64::try_from(TOMBSTONES_MAX).unwrap_or(i64::MAX))
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;
