//! The disk tier: one SQLite file in WAL mode that several processes may share. It survives the process and a crash;
//! a file that is damaged is set aside and a new one begun, for a cache can be filled again.
//!
//! Calls go through `spawn_blocking`, bounded in number and in time. Reads have a connection of their own, so that none of
//! them waits for a write (write-ahead logging lets them go on); the one for writes is opened when it is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::{
    sync::Semaphore,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod asides;
mod tags;

use crate::{
    clock::Clock, entry::PatternReport, envelope, error::CacheError, pattern::Pattern, remote::Head,
};

/// How long a call waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How often switching to write-ahead logging is tried against others who open the same new file.
const WAL_ATTEMPTS: u32 = 50;
/// How long a caller waits for the file at most; a disk that hangs is a miss.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// So many reads at once, and so many writes; more wait, within their timeout.
const MOST_CALLS: usize = 64;
/// The size is looked at when a process has written this share of it, and at its first write.
const SWEEP_SHARE: u64 = 16;
/// What has expired is dropped this often, whether anything is written or not.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// The version of the table; a file with another is set aside.
const SCHEMA: i64 = 1;

#[derive(Clone)]
pub(crate) struct Disk(Arc<Inner>);

struct Inner {
    path: PathBuf,
    reader: Mutex<Connection>,
    writer: Mutex<Option<Connection>>,
    /// Places of their own, so that writes that wait for another process leave some for reads.
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    max_bytes: u64,
    /// What was written since the size was looked at.
    unswept_bytes: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
    clock: Clock,
}

impl Disk {
    /// Opens the file, or makes it and its folder. What has expired is dropped in the background until `stop`.
    pub(crate) async fn open(
        path: PathBuf,
        max_bytes: u64,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, CacheError> {
        let (file, now) = (path.clone(), clock.now());
        let opened = tokio::task::spawn_blocking(move || open_or_begin_anew(&file, now));
        let reader = opened.await.map_err(|error| CacheError::Remote(error.to_string()))??;
        let disk = Self(Arc::new(Inner {
            path,
            reader: Mutex::new(reader),
            writer: Mutex::new(None),
            reads: Arc::new(Semaphore::new(MOST_CALLS)),
            writes: Arc::new(Semaphore::new(MOST_CALLS)),
            max_bytes,
            unswept_bytes: AtomicU64::new(u64::MAX),
            errors: AtomicU64::new(0),
            last_error: Mutex::new(None),
            clock,
        }));
        // Not the file's owner: it is closed with the cache, whether anyone stops the sweeping or not.
        let (sweeping, stop) = (sweep_now_and_then(Arc::downgrade(&disk.0)), stop.clone());
        tasks.spawn(async move { stop.run_until_cancelled(sweeping).await });
        Ok(disk)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        let key = key.to_owned();
        self.read(move |connection, now| {
            connection
                .prepare_cached("SELECT stored FROM entries WHERE key = ?1 AND expires_at > ?2")?
                .query_row(params![key, now], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        })
        .await
        .map(|stored| stored.map(Bytes::from))
    }

    pub(crate) async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        self.read(move |connection, now| {
            let mut read =
                connection.prepare_cached("SELECT stored FROM entries WHERE key = ?1 AND expires_at > ?2")?;
            let stored = keys
                .iter()
                .map(|key| read.query_row(params![key, now], |row| row.get::<_, Vec<u8>>(0)).optional());
            stored.map(|stored| Ok(stored?.map(Bytes::from))).collect()
        })
        .await
    }

    pub(crate) async fn set(&self, key: &str, stored: Bytes, ttl: Duration) -> Result<(), CacheError> {
        let key = key.to_owned();
        let (max_bytes, path) = (self.0.max_bytes, self.0.path.clone());
        let trim = self.0.is_to_be_swept(stored.len() as u64);
        self.write(move |connection, now| {
            let expires_at = now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
            connection
                .prepare_cached(
                    "INSERT INTO entries (key, stored, size, written_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (key) DO UPDATE SET stored = excluded.stored, size = excluded.size,
                         written_at = excluded.written_at, expires_at = excluded.expires_at",
                )?
                .execute(params![key, &stored[..], stored.len() as i64, now, expires_at])?;
            if trim {
                asides::drop_old(&path, now);
                trim_to(connection, max_bytes, now)?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<u64, CacheError> {
        let key = key.to_owned();
        self.write(move |connection, now| {
            let fresh = connection
                .prepare_cached("DELETE FROM entries WHERE key = ?1 AND expires_at > ?2")?
                .execute(params![key, now])?;
            connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])?;
            Ok(fresh as u64)
        })
        .await
    }

    /// Makes a value stale from `now` on, or deletes one that has no header; whether there was one.
    pub(crate) async fn expire(&self, key: &str, now: Timestamp) -> Result<bool, CacheError> {
        let key = key.to_owned();
        self.write(move |connection, at| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let stored = transaction
                .prepare_cached("SELECT stored FROM entries WHERE key = ?1 AND expires_at > ?2")?
                .query_row(params![key, at], |row| row.get::<_, Vec<u8>>(0))
                .optional()?;
            let Some(stored) = stored.map(Bytes::from) else { return Ok(false) };
            match envelope::expired(&stored, now) {
                Some(mut stale) => {
                    let head = envelope::head(&stored).len();
                    stale = [&stale[..], &stored[head..]].concat().into();
                    transaction
                        .prepare_cached("UPDATE entries SET stored = ?2, size = ?3 WHERE key = ?1")?
                        .execute(params![key, &stale[..], stale.len() as i64])?;
                }
                None => drop(transaction.execute("DELETE FROM entries WHERE key = ?1", [key])?),
            }
            transaction.commit()?;
            Ok(true)
        })
        .await
    }

    pub(crate) async fn ttl(&self, key: &str) -> Result<Option<Duration>, CacheError> {
        let key = key.to_owned();
        self.read(move |connection, now| {
            let expires_at: Option<i64> = connection
                .prepare_cached("SELECT expires_at FROM entries WHERE key = ?1 AND expires_at > ?2")?
                .query_row(params![key, now], |row| row.get(0))
                .optional()?;
            Ok(expires_at.and_then(|at| u64::try_from(at - now).ok()).map(Duration::from_millis))
        })
        .await
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<Head>, CacheError> {
        let key = key.to_owned();
        self.read(move |connection, now| {
            connection
                .prepare_cached(
                    "SELECT substr(stored, 1, 4096), expires_at FROM entries WHERE key = ?1 AND expires_at > ?2",
                )?
                .query_row(params![key, now], |row| {
                    let (bytes, expires_at): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
                    let ttl = u64::try_from(expires_at - now).ok().map(Duration::from_millis);
                    Ok(Head { bytes: bytes.into(), ttl })
                })
                .optional()
        })
        .await
    }

    pub(crate) async fn delete_pattern(&self, pattern: &Pattern) -> Result<u64, CacheError> {
        let pattern = pattern.clone();
        self.write(move |connection, now| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let mut deleted = 0;
            for key in matching(&transaction, &pattern, now)? {
                deleted +=
                    transaction.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])? as u64;
            }
            transaction.commit()?;
            Ok(deleted)
        })
        .await
    }

    pub(crate) async fn measure_pattern(&self, pattern: &Pattern) -> Result<PatternReport, CacheError> {
        let pattern = pattern.clone();
        self.read(move |connection, now| {
            let mut report = PatternReport::default();
            let mut read = connection
                .prepare_cached("SELECT size, substr(stored, 1, 4096) FROM entries WHERE key = ?1")?;
            for key in matching(connection, &pattern, now)? {
                let found = read
                    .query_row([key], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
                    .optional()?;
                if let Some((size, head)) = found {
                    let (cost, times) = (envelope::cost_of(&head), envelope::kept_between(&head));
                    report.add(size.unsigned_abs(), cost, times);
                }
            }
            Ok(report)
        })
        .await
    }

    /// The keys of values within their retention that match.
    pub(crate) async fn keys(&self, pattern: &Pattern) -> Result<Vec<String>, CacheError> {
        let pattern = pattern.clone();
        self.read(move |connection, now| matching(connection, &pattern, now)).await
    }

    /// Drops what has expired now and not at the next round; how many there were.
    pub(crate) async fn sweep(&self) -> Result<u64, CacheError> {
        let (max_bytes, path) = (self.0.max_bytes, self.0.path.clone());
        self.write(move |connection, now| {
            asides::drop_old(&path, now);
            trim_to(connection, max_bytes, now)
        })
        .await
    }

    /// Swallowed errors so far, and the last.
    pub(crate) fn errors(&self) -> (u64, Option<String>) {
        let last = lock(&self.0.last_error).clone();
        (self.0.errors.load(Ordering::Relaxed), last)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CacheError> {
        let this = self.0.clone();
        self.call(&self.0.reads, move |now| work(&mut lock(&this.reader), now)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CacheError> {
        let this = self.0.clone();
        self.call(&self.0.writes, move |now| {
            let mut writer = lock(&this.writer);
            let connection = match writer.take() {
                Some(connection) => writer.insert(connection),
                None => writer.insert(open(&this.path)?),
            };
            work(connection, now)
        })
        .await
    }

    async fn call<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: impl FnOnce(i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CacheError> {
        let this = self.0.clone();
        let done = timeout(CALL_TIMEOUT, async {
            let Ok(place) = places.clone().acquire_owned().await else {
                return Err("it is closed".to_owned());
            };
            let done = tokio::task::spawn_blocking(move || {
                let _place = place;
                let done = work(this.clock.now().as_millisecond());
                if done.as_ref().is_err_and(is_damage) {
                    this.heal();
                }
                done
            });
            match done.await {
                Ok(done) => done.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });
        let failed = match done.await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(failed)) => failed,
            Err(_) => format!("no answer within {CALL_TIMEOUT:?}"),
        };
        if self.0.errors.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(file = %self.0.path.display(), error = %failed, "the disk cache fails; going on without it");
        }
        *lock(&self.0.last_error) = Some(failed.clone());
        Err(CacheError::Remote(failed))
    }
}

async fn sweep_now_and_then(disk: Weak<Inner>) {
    let mut every = interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and a command that only reads need not wait for a sweep.
    every.tick().await;
    loop {
        every.tick().await;
        let Some(disk) = disk.upgrade().map(Disk) else { return };
        // An error is counted, and the next round tries again.
        let _ = disk.sweep().await;
    }
}

impl Inner {
    /// Whether a write of so many bytes is to look at the size.
    fn is_to_be_swept(&self, bytes: u64) -> bool {
        let unswept = self.unswept_bytes.load(Ordering::Relaxed).saturating_add(bytes);
        let sweep = unswept > self.max_bytes / SWEEP_SHARE;
        self.unswept_bytes.store(if sweep { 0 } else { unswept }, Ordering::Relaxed);
        sweep
    }

    /// Begins a new file in the place of one that turned out to be damaged while it was in use.
    fn heal(&self) {
        let (mut reader, mut writer) = (lock(&self.reader), lock(&self.writer));
        let healed = match open(&self.path) {
            // Another call or process has begun a new one already.
            Ok(fresh) if is_sound(&fresh) => Ok(fresh),
            Ok(_) => set_aside(&self.path, self.clock.now(), "it is damaged"),
            Err(error) => set_aside(&self.path, self.clock.now(), &error.to_string()),
        };
        match healed {
            Ok(fresh) => (*reader, *writer) = (fresh, None),
            Err(error) => tracing::warn!(%error, "no new file for the disk cache could be begun"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_or_begin_anew(path: &Path, now: Timestamp) -> Result<Connection, CacheError> {
    let unusable = |reason: String| CacheError::Disk { path: path.to_owned(), reason };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| unusable(error.to_string()))?;
    }
    match open(path) {
        Ok(connection) => Ok(connection),
        Err(error) if is_damage(&error) => set_aside(path, now, &error.to_string()),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// Keeps the damaged file under another name for a while, for whoever wants to look, and opens a new one.
fn set_aside(path: &Path, now: Timestamp, reason: &str) -> Result<Connection, CacheError> {
    let unusable = |reason: String| CacheError::Disk { path: path.to_owned(), reason };
    let aside = asides::name(path, now);
    tracing::warn!(file = %path.display(), aside = %aside.display(), %reason,
        "the disk cache's file cannot be read; it is set aside and a new one begun");
    fs::rename(path, &aside).map_err(|error| unusable(error.to_string()))?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        // It may not be there; what is there belonged to the damaged file.
        let _ = fs::remove_file(PathBuf::from(beside));
    }
    open(path).map_err(|error| unusable(error.to_string()))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set_write_ahead_logging(&connection)?;
    // A crash of the machine may lose the last writes, never damage the file: right for a cache.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        SCHEMA => {}
        0 => connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS entries (
                 key TEXT PRIMARY KEY NOT NULL, stored BLOB NOT NULL, size INTEGER NOT NULL,
                 written_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);
             CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires_at);
             CREATE INDEX IF NOT EXISTS entries_by_writing ON entries (written_at, size);
             PRAGMA user_version = {SCHEMA};
             COMMIT;"
        ))?,
        _ => return Err(damage()),
    }
    // Reads a page or two, so that a damaged file is noticed now.
    connection.query_row("SELECT count(*) FROM (SELECT key FROM entries LIMIT 1)", [], |_| Ok(()))?;
    Ok(connection)
}

/// Changing the mode needs the file for a moment alone, and SQLite does not wait for that; the mode stays with the
/// file, so whoever lost against another process that opens it finds it changed.
fn set_write_ahead_logging(connection: &Connection) -> rusqlite::Result<()> {
    let mut attempts = 0;
    loop {
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))?;
        if mode == "wal" {
            return Ok(());
        }
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && attempts < WAL_ATTEMPTS => attempts += 1,
            done => return done,
        }
        // Waits, within the busy timeout, until nobody writes.
        match connection.execute_batch("BEGIN IMMEDIATE; COMMIT") {
            Err(error) if !is_busy(&error) => return Err(error),
            _ => {}
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn is_sound(connection: &Connection) -> bool {
    connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .is_ok_and(|verdict| verdict == "ok")
}

fn damage() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
        Some("it is not a cache of this version".to_owned()),
    )
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn matching(connection: &Connection, pattern: &Pattern, now: i64) -> rusqlite::Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut select =
        connection.prepare_cached("SELECT key FROM entries WHERE expires_at > ?1 AND key NOT LIKE '~%'")?;
    for key in select.query_map([now], |row| row.get::<_, String>(0))? {
        let key = key?;
        if pattern.matches(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Drops what has expired, which is counted, then the oldest until a tenth of the room is free again.
fn trim_to(connection: &Connection, max_bytes: u64, now: i64) -> rusqlite::Result<u64> {
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let expired = connection.prepare_cached("DELETE FROM entries WHERE expires_at <= ?1")?.execute([now])?;
    let expired = expired as u64;
    let used: i64 = connection
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM entries")?
        .query_row([], |row| row.get(0))?;
    if used <= max_bytes {
        return Ok(expired);
    }
    let surplus = used - max_bytes / 10 * 9;
    connection
        .prepare_cached(
            "DELETE FROM entries WHERE key IN (
                 SELECT key FROM (SELECT key, sum(size) OVER (ORDER BY written_at, key) - size AS before FROM entries)
                 WHERE before < ?1)",
        )?
        .execute([surplus])?;
    Ok(expired)
}
