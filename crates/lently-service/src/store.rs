//! The durable store: finished analyses, what Gemini was paid for, each user's history, plans and usage, in one SQLite file.
//!
//! It is opened on first use and is not a cache: what is here outlives every tier, up to the retention, and no longer.

mod answers;
mod asked;
mod earlier;
mod erased;
mod erasing;
mod ledger;
mod retention;
mod shelves;
mod usage;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{Clock, Cost};
use serde::Serialize;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::time::timeout;

use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};

pub(crate) use answers::{About, Origin, PaidAnswer};
pub(crate) use earlier::EarlierAnalysis;
pub(crate) use erased::{Erased, TOMBSTONES_MAX};
pub(crate) use ledger::Line;
pub use retention::{PartReport, StorePart};
pub(crate) use usage::Reservation;

static MIGRATOR: Migrator = sqlx::migrate!();

/// How long a statement waits for another process's write, and a caller for a connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Reads do not wait for one another; writes are one at a time in SQLite anyway.
const MAX_CONNECTIONS: u32 = 4;
/// Processes that open a new file at once all change its journal and migrate it, which SQLite makes none of them wait for; who
/// comes second sees it done at a next try.
const OPEN_ATTEMPTS: u32 = 8;
/// Between the first two tries; each pause is longer by as much.
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// The longest page of a history.
pub const LIST_MAX: u32 = 200;

/// The store. Cheap to clone; all clones share one pool.
#[derive(Debug, Clone)]
pub struct Store {
    options: Arc<SqliteConnectOptions>,
    in_memory: bool,
    pool: Arc<OnceCell<SqlitePool>>,
    /// How often comments were removed: those that are being read meanwhile are not kept.
    removals: Arc<AtomicU64>,
    /// Who writes.
    writing: Arc<Mutex<()>>,
    clock: Clock,
}

/// An analysis as the store keeps it.
#[derive(Debug, Clone)]
pub(crate) struct StoredAnalysis {
    pub id: AnalysisId,
    pub body: Bytes,
    pub cost: Cost,
    pub title: String,
    pub video_id: Option<String>,
    pub comments: u64,
    pub created_at: Timestamp,
    /// Until when the same request is answered with it rather than made anew.
    pub fresh_until: Timestamp,
    /// Until when it is kept: the oldest of what YouTube gave for it is 28 days old then.
    pub retain_until: Timestamp,
}

/// One line of a user's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnalysisListItem {
    /// The analysis.
    pub analysis_id: AnalysisId,
    /// The video's title, or the file's name.
    pub title: String,
    /// The video, where it is known.
    pub video_id: Option<String>,
    /// How many comments were judged.
    pub comments: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When this user asked for it last, to the second.
    pub requested_at: Timestamp,
}

/// A transaction that writes, and the turn to do so; rolled back unless it is committed.
struct Writing<'a> {
    // Dropped first: the next one finds the file unlocked.
    transaction: Transaction<'a, Sqlite>,
    _turn: MutexGuard<'a, ()>,
}

impl Writing<'_> {
    async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

impl std::ops::Deref for Writing<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl std::ops::DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

impl Store {
    /// Reads the address (`sqlite:PATH`, or `sqlite::memory:` for tests) and opens nothing yet.
    pub fn new(database_url: &str, clock: Clock) -> Result<Self, ServiceError> {
        // sqlx itself takes any text for a path.
        let options = database_url
            .starts_with("sqlite:")
            .then(|| SqliteConnectOptions::from_str(database_url).ok())
            .flatten()
            .ok_or_else(|| ServiceError::Invalid {
                field: "database_url",
                message: "must be `sqlite:` and a path".to_owned(),
            })?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            // What is deleted is overwritten and does not stay readable in the file until its place is taken.
            .pragma("secure_delete", "ON")
            .foreign_keys(true);
        let in_memory = database_url.contains(":memory:");
        Ok(Self {
            options: Arc::new(options),
            in_memory,
            pool: Arc::default(),
            removals: Arc::default(),
            writing: Arc::default(),
            clock,
        })
    }

    /// Opens the file where that has not happened, and asks it something: whether the store works.
    pub async fn ping(&self) -> Result<(), ServiceError> {
        sqlx::query("SELECT 1").execute(self.pool().await?).await?;
        Ok(())
    }

    /// Waits for what is being written and closes the file. Later calls fail.
    pub async fn close(&self) {
        if let Some(pool) = self.pool.get() {
            pool.close().await;
        }
    }

    /// A turn to write. In this process those who write take turns: SQLite makes whoever finds the file locked sleep and try again,
    /// and lets none in by order.
    async fn turn(&self) -> Result<MutexGuard<'_, ()>, ServiceError> {
        Ok(timeout(BUSY_TIMEOUT, self.writing.lock()).await.map_err(|_| sqlx::Error::PoolTimedOut)?)
    }

    /// A transaction that writes.
    async fn write(&self) -> Result<Writing<'_>, ServiceError> {
        let pool = self.pool().await?;
        let turn = self.turn().await?;
        let transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Writing { transaction, _turn: turn })
    }

    async fn pool(&self) -> Result<&SqlitePool, ServiceError> {
        self.pool.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<SqlitePool, ServiceError> {
        if !self.in_memory
            && let Some(directory) =
                self.options.get_filename().parent().filter(|path| *path != Path::new(""))
        {
            tokio::fs::create_dir_all(directory).await.map_err(sqlx::Error::Io)?;
        }
        // Each connection to memory is a database of its own, so there must be one and it must never close.
        let connections = if self.in_memory { 1 } else { MAX_CONNECTIONS };
        let mut pool = SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY_TIMEOUT);
        if self.in_memory {
            pool = pool.min_connections(1).idle_timeout(None).max_lifetime(None);
        }
        let mut attempt = 1;
        loop {
            match self.open_once(pool.clone()).await {
                Err(error) if attempt < OPEN_ATTEMPTS && may_pass(&error) => {
                    tokio::time::sleep(OPEN_PAUSE * attempt).await;
                    attempt += 1;
                }
                opened => return Ok(opened?),
            }
        }
    }

    async fn open_once(&self, pool: SqlitePoolOptions) -> Result<SqlitePool, sqlx::Error> {
        let pool = pool.connect_with(SqliteConnectOptions::clone(&self.options)).await?;
        MIGRATOR.run(&pool).await?;
        retention::sweep_at_opening(&pool, self.clock.now()).await?;
        Ok(pool)
    }

    /// Keeps an analysis with its packed comments, replacing an older one of the same id, which may be kept as an earlier version.
    pub(crate) async fn save_analysis(
        &self,
        analysis: &StoredAnalysis,
        packed: Option<&[u8]>,
        earlier: Option<&EarlierAnalysis>,
    ) -> Result<(), ServiceError> {
        let cost = serde_json::to_string(&analysis.cost)
            .map_err(|error| ServiceError::internal("a cost cannot be written", error))?;
        let mut writing = self.write().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO analyses \
             (id, body, cost, title, video_id, comments, created_at, fresh_until, retain_until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .bind(analysis.id.as_str())
        .bind(&analysis.body[..])
        .bind(cost)
        .bind(&analysis.title)
        .bind(&analysis.video_id)
        .bind(i64::try_from(analysis.comments).unwrap_or(i64::MAX))
        .bind(millis(analysis.created_at))
        .bind(millis(analysis.fresh_until))
        .bind(millis(analysis.retain_until))
        .execute(&mut *writing)
        .await?;
        if let Some(earlier) = earlier {
            earlier::keep(&mut writing, &analysis.id, earlier).await?;
        }
        if let Some(packed) = packed {
            sqlx::query("INSERT INTO analysis_comments (analysis_id, packed) VALUES (?1, ?2)")
                .bind(analysis.id.as_str())
                .bind(packed)
                .execute(&mut *writing)
                .await?;
        }
        Ok(writing.commit().await?)
    }

    /// Returns the packed comments of an analysis within its retention, where they are kept.
    pub(crate) async fn load_comments(&self, id: &AnalysisId) -> Result<Option<Vec<u8>>, ServiceError> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as(
            "SELECT packed FROM analysis_comments JOIN analyses ON id = analysis_id \
             WHERE id = ?1 AND retain_until > ?2",
        )
        .bind(id.as_str())
        .bind(millis(self.clock.now()))
        .fetch_optional(self.pool().await?)
        .await?;
        Ok(row.map(|(packed,)| packed))
    }

    /// Returns an analysis within its retention.
    pub(crate) async fn load_analysis(
        &self,
        id: &AnalysisId,
    ) -> Result<Option<StoredAnalysis>, ServiceError> {
        type Row = (Vec<u8>, String, String, Option<String>, i64, i64, i64, i64);
        let row: Option<Row> = sqlx::query_as(
            "SELECT body, cost, title, video_id, comments, created_at, fresh_until, retain_until \
             FROM analyses WHERE id = ?1 AND retain_until > ?2",
        )
        .bind(id.as_str())
        .bind(millis(self.clock.now()))
        .fetch_optional(self.pool().await?)
        .await?;
        Ok(row.map(|(body, cost, title, video_id, comments, created_at, fresh_until, retain_until)| {
            StoredAnalysis {
                id: id.clone(),
                body: Bytes::from(body),
                cost: serde_json::from_str(&cost).unwrap_or_default(),
                title,
                video_id,
                comments: u64::try_from(comments).unwrap_or_default(),
                created_at: timestamp(created_at),
                fresh_until: timestamp(fresh_until),
                retain_until: timestamp(retain_until),
            }
        }))
    }

    /// Lets the next request for it make it anew; the analysis stays readable by its id. Returns whether it was fresh.
    pub(crate) async fn expire_analysis(&self, id: &AnalysisId) -> Result<bool, ServiceError> {
        let now = millis(self.clock.now());
        let _turn = self.turn().await?;
        let done = sqlx::query("UPDATE analyses SET fresh_until = ?2 WHERE id = ?1 AND fresh_until > ?2")
            .bind(id.as_str())
            .bind(now)
            .execute(self.pool().await?)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The fresh analyses behind `after` in the order of their ids, with what making them took; at most so many. Begin without
    /// `after`; a short page is the last.
    pub(crate) async fn fresh_page(
        &self,
        after: Option<&AnalysisId>,
        limit: u32,
    ) -> Result<Vec<(AnalysisId, Cost)>, ServiceError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, cost FROM analyses WHERE id > ?1 AND fresh_until > ?2 ORDER BY id LIMIT ?3",
        )
        .bind(after.map_or("", AnalysisId::as_str))
        .bind(millis(self.clock.now()))
        .bind(limit)
        .fetch_all(self.pool().await?)
        .await?;
        rows.into_iter()
            .map(|(id, cost)| Ok((id.parse()?, serde_json::from_str(&cost).unwrap_or_default())))
            .collect()
    }

    /// What the latest analyses took, and how many comments each judged.
    pub(crate) async fn recent_costs(&self, limit: u32) -> Result<Vec<(Cost, u64)>, ServiceError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT cost, comments FROM analyses ORDER BY created_at DESC LIMIT ?1")
                .bind(limit)
                .fetch_all(self.pool().await?)
                .await?;
        let read = |(cost, comments): (String, i64)| {
            (serde_json::from_str(&cost).unwrap_or_default(), u64::try_from(comments).unwrap_or_default())
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// The ids of everything a user has asked for.
    pub(crate) async fn analyses_of(&self, user: &UserId) -> Result<Vec<AnalysisId>, ServiceError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT analysis_id FROM user_analyses WHERE user_id = ?1 ORDER BY analysis_id")
                .bind(user.as_str())
                .fetch_all(self.pool().await?)
                .await?;
        rows.into_iter().map(|(id,)| id.parse()).collect()
    }

    /// Writes down that a user asked for an analysis; the last time counts.
    pub(crate) async fn link(&self, user: &UserId, id: &AnalysisId) -> Result<(), ServiceError> {
        let _turn = self.turn().await?;
        sqlx::query(
            "INSERT INTO user_analyses (user_id, analysis_id, requested_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (user_id, analysis_id) \
             DO UPDATE SET requested_at = MAX(requested_at, excluded.requested_at)",
        )
        .bind(user.as_str())
        .bind(id.as_str())
        .bind(millis(self.clock.now()))
        .execute(self.pool().await?)
        .await?;
        Ok(())
    }

    /// Whether a user has asked for an analysis.
    pub(crate) async fn is_linked(&self, user: &UserId, id: &AnalysisId) -> Result<bool, ServiceError> {
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT 1 FROM user_analyses WHERE user_id = ?1 AND analysis_id = ?2")
                .bind(user.as_str())
                .bind(id.as_str())
                .fetch_optional(self.pool().await?)
                .await?;
        Ok(row.is_some())
    }

    /// A user's finished analyses, the latest request first; `before` continues a list.
    pub(crate) async fn list(
        &self,
        user: &UserId,
        limit: u32,
        before: Option<Timestamp>,
    ) -> Result<Vec<AnalysisListItem>, ServiceError> {
        let rows: Vec<(String, String, Option<String>, i64, i64, i64)> = sqlx::query_as(
            "SELECT a.id, a.title, a.video_id, a.comments, a.created_at, u.requested_at \
             FROM user_analyses u JOIN analyses a ON a.id = u.analysis_id \
             WHERE u.user_id = ?1 AND u.requested_at < ?2 AND a.retain_until > ?3 \
             ORDER BY u.requested_at DESC, a.id LIMIT ?4",
        )
        .bind(user.as_str())
        .bind(before.map_or(i64::MAX, millis))
        .bind(millis(self.clock.now()))
        .bind(limit.min(LIST_MAX))
        .fetch_all(self.pool().await?)
        .await?;
        rows.into_iter()
            .map(|(id, title, video_id, comments, created_at, requested_at)| {
                Ok(AnalysisListItem {
                    analysis_id: id.parse()?,
                    title,
                    video_id,
                    comments: u64::try_from(comments).unwrap_or_default(),
                    created_at: timestamp(created_at),
                    requested_at: timestamp(requested_at),
                })
            })
            .collect()
    }
}

/// Whether opening may succeed at the next try: another process was at it.
fn may_pass(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_) | sqlx::Error::Migrate(_))
}

#[cfg(test)]
mod tests;

fn millis(timestamp: Timestamp) -> i64 {
    timestamp.as_millisecond()
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `timestamp` plus `duration`, or the end of time.
pub(crate) fn later(timestamp: Timestamp, duration: Duration) -> Timestamp {
    timestamp.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The time from `from` to `to`; none where that is backwards.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

pub(crate) fn earlier(timestamp: Timestamp, duration: Duration) -> Timestamp {
    timestamp.checked_sub(duration).unwrap_or(Timestamp::MIN)
}
