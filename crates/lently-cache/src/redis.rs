//! A client for one Redis (or Valkey) server under a key prefix. Every call is bounded in time; none waits for a
//! reconnect; none touches a key that is not ours.

mod config;
mod dial;
mod lease;
mod link;
mod sentinel;
mod tags;
mod tracking;

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    config::{Deployment, MAX_CONNECTIONS, RedisConfig, SentinelConfig, TlsConfig},
    dial::{ByteStream, OpenStream, Transport},
    link::LinkState,
};
use self::{
    dial::{Address, Dialer},
    link::{Lane, Link, Source},
    sentinel::Sentinels,
    tracking::Tracking,
};
pub(crate) use self::{
    lease::{Claim, Over},
    tracking::Listener,
};
use crate::{
    breaker::Breaker, clock::Clock, entry::PatternReport, envelope, error::CacheError, pattern::Pattern,
    remote::Head,
};

/// Keys asked for in one `SCAN` step: a few milliseconds of Redis' time at most.
const SCAN_COUNT: usize = 500;
/// An envelope's header fits into this many bytes; measuring a pattern reads no more of a value.
const HEADER_WINDOW: isize = 4095;
/// Keys whose size and header are asked for in one round trip: some 200 KiB of answers.
const MEASURED_AT_ONCE: usize = 100;
/// The code of Redis' answer where a key holds something else than a string.
const WRONG_TYPE: &str = "WRONGTYPE";
/// The same where it is a replica.
const READ_ONLY: &str = "READONLY";

/// A client of one Redis server. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct RedisClient(Arc<Inner>);

struct Inner {
    link: Arc<Link>,
    breaker: Breaker,
    prefix: String,
    /// First words of our keys: with an empty prefix, whatever begins with another word is someone else's.
    words: Vec<String>,
    command_timeout: Duration,
    swallowed: AtomicU64,
    stop: CancellationToken,
}

/// The state of the link, for health reports.
#[derive(Clone, Debug)]
pub(crate) struct RedisHealth {
    pub state: LinkState,
    pub since: jiff::Timestamp,
    pub last_error: Option<String>,
    pub errors: u64,
    pub tracking: bool,
}

impl RedisClient {
    /// Begins to connect, and waits for the first attempt at most `connect_timeout`. A Redis that is not there is no
    /// error: the client goes on trying until `stop`, and its calls answer [`CacheError::Resting`] meanwhile.
    ///
    /// `words` are the first words of the keys that are ours (`word:…`); they matter where `prefix` is empty.
    ///
    /// # Errors
    /// A configuration that can never work: an unreadable CA file, too many connections.
    pub async fn connect(
        config: RedisConfig,
        prefix: impl Into<String>,
        words: impl IntoIterator<Item = String>,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, CacheError> {
        Self::connect_and_listen(config, prefix.into(), words, clock, tasks, stop, None).await
    }

    /// The same, with someone who hears of changes to our keys, by whomever but this client.
    pub(crate) async fn connect_and_listen(
        config: RedisConfig,
        prefix: String,
        words: impl IntoIterator<Item = String>,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        listener: Option<Listener>,
    ) -> Result<Self, CacheError> {
        let dialer = Dialer::new(&config, tasks)?;
        let command_timeout = config.command_timeout;
        let words: Vec<String> = words.into_iter().map(|word| format!("{word}:")).collect();
        let tracking = listener.map(|listener| Tracking::new(listener, &prefix, &words));
        let source = match &config.deployment {
            Deployment::Standalone => Source::Fixed(Address { host: config.host.clone(), port: config.port }),
            Deployment::Sentinel(sentinel) => {
                let speaking = dialer.for_sentinels(sentinel);
                Source::Sentinels(Sentinels::new(sentinel, config.seeds(), speaking))
            }
        };
        let link = Arc::new(Link::new(config, dialer, source, clock, tracking));
        let stop = stop.child_token();
        tasks.spawn(link.clone().supervise(stop.clone()));
        link.first_attempt().await;
        Ok(Self(Arc::new(Inner {
            link,
            breaker: Breaker::new(),
            prefix,
            words,
            command_timeout,
            swallowed: AtomicU64::new(0),
            stop,
        })))
    }

    /// Ends the link for good. Later calls answer [`CacheError::Resting`].
    pub fn disconnect(&self) {
        self.0.stop.cancel();
        self.0.link.close();
    }

    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// As every call: [`CacheError::Resting`] while Redis cannot be asked, [`CacheError::Remote`] if it answered an
    /// error or not in time.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        let value: Option<Vec<u8>> = self.run(redis::cmd("GET").arg(self.full(key))).await?;
        Ok(value.map(Bytes::from))
    }

    /// Stores `value` for `ttl`, at least a millisecond.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), CacheError> {
        self.change(redis::cmd("SET").arg(self.full(key)).arg(value).arg("PX").arg(milliseconds(ttl))).await
    }

    /// Deletes `key`; how many there were, 0 or 1.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn delete(&self, key: &str) -> Result<u64, CacheError> {
        self.change(redis::cmd("UNLINK").arg(self.full(key))).await
    }

    /// Whether `key` is there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn exists(&self, key: &str) -> Result<bool, CacheError> {
        self.run(redis::cmd("EXISTS").arg(self.full(key))).await
    }

    /// The remaining life of `key`; `None` if it is not there or lives forever.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, CacheError> {
        let milliseconds: i64 = self.run(redis::cmd("PTTL").arg(self.full(key))).await?;
        Ok(u64::try_from(milliseconds).ok().map(Duration::from_millis))
    }

    /// The first bytes of a value, enough for its header, and its remaining life.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<Head>, CacheError> {
        let key = self.full(key);
        let mut both = redis::pipe();
        both.cmd("GETRANGE").arg(&key).arg(0).arg(HEADER_WINDOW).cmd("PTTL").arg(&key);
        let (bytes, ttl): (Vec<u8>, i64) =
            self.bounded(Lane::Any, async |mut connection| both.query_async(&mut connection).await).await?;
        let ttl = u64::try_from(ttl).ok().map(Duration::from_millis);
        // No value of ours is empty.
        Ok((!bytes.is_empty()).then(|| Head { bytes: bytes.into(), ttl }))
    }

    /// Deletes our keys that match, in batches (`SCAN`, `UNLINK`), without blocking Redis; how many there were.
    /// A key that is written meanwhile may stay. Dropping the call stops between two batches.
    ///
    /// # Errors
    /// As [`get`](Self::get); some keys may then be gone already.
    pub async fn delete_pattern(&self, pattern: &Pattern) -> Result<u64, CacheError> {
        // First whoever fetches one of them: what they bring would come after.
        self.forbid_matching(pattern).await?;
        let mut deleted = 0;
        let mut scan = Scan::new(self, pattern);
        while let Some(keys) = scan.next().await? {
            if !keys.is_empty() {
                deleted += self.change::<u64>(redis::cmd("UNLINK").arg(keys)).await?;
            }
        }
        Ok(deleted)
    }

    /// Deletes all our keys and nobody else's; how many there were.
    ///
    /// # Errors
    /// As [`delete_pattern`](Self::delete_pattern).
    pub async fn flush_all(&self) -> Result<u64, CacheError> {
        self.delete_pattern(&Pattern::any()).await
    }

    /// How many keys match, their size, and what their envelopes say they cost.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn measure_pattern(&self, pattern: &Pattern) -> Result<PatternReport, CacheError> {
        let mut report = PatternReport::default();
        // SCAN may tell a key twice. Of a key a hash is kept: eight bytes, so that a million of them is no matter.
        let (mut seen, hasher) = (HashSet::new(), RandomState::new());
        let mut scan = Scan::new(self, pattern);
        while let Some(mut keys) = scan.next().await? {
            keys.retain(|key| seen.insert(hasher.hash_one(key)));
            for batch in keys.chunks(MEASURED_AT_ONCE) {
                let mut pipe = redis::pipe();
                pipe.ignore_errors();
                for key in batch {
                    pipe.cmd("STRLEN").arg(key);
                    pipe.cmd("GETRANGE").arg(key).arg(0).arg(HEADER_WINDOW);
                }
                let told: Vec<RedisResult<redis::Value>> = self
                    .bounded(Lane::Any, async |mut connection| pipe.query_async(&mut connection).await)
                    .await?;
                for pair in told.chunks(2) {
                    // A key of another type is someone else's; one that is gone meanwhile has no bytes.
                    let [Ok(bytes), Ok(head)] = pair else { continue };
                    let (Ok(bytes), Ok(head)) =
                        (u64::from_redis_value_ref(bytes), Vec::<u8>::from_redis_value_ref(head))
                    else {
                        continue;
                    };
                    if bytes > 0 {
                        report.keys += 1;
                        report.bytes += bytes;
                        report.cost = report.cost + envelope::cost_of(&head);
                    }
                }
            }
        }
        Ok(report)
    }

    /// The time a `PING` takes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn ping(&self) -> Result<Duration, CacheError> {
        let began = Instant::now();
        self.run::<redis::Value>(&redis::cmd("PING")).await?;
        Ok(began.elapsed())
    }

    /// A section of Redis' `INFO`, as it is.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn info(&self, section: &str) -> Result<String, CacheError> {
        self.run(redis::cmd("INFO").arg(section)).await
    }

    /// One setting of the server; `None` if it does not know it. Managed servers often forbid asking.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn config_get(&self, name: &str) -> Result<Option<String>, CacheError> {
        let pair: std::collections::HashMap<String, String> =
            self.run(redis::cmd("CONFIG").arg("GET").arg(name)).await?;
        Ok(pair.into_values().next())
    }

    /// The address of the server it was connected to last; with Sentinel, the primary.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        self.0.link.server()
    }

    pub(crate) fn health(&self) -> RedisHealth {
        let status = self.0.link.status();
        let state = match status.state {
            LinkState::Up if !self.0.breaker.is_closed() => LinkState::Resting,
            state => state,
        };
        RedisHealth {
            state,
            since: status.since,
            last_error: status.last_error,
            errors: self.0.swallowed.load(Ordering::Relaxed),
            tracking: self.0.link.is_tracking(),
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.0.prefix)
    }

    fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Asks, on any connection.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        self.bounded(Lane::Any, async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Changes something, on the connection that hears of changes by others and not of its own.
    async fn change<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        self.bounded(Lane::Tracked, async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Makes a call on a live connection within the command timeout, if Redis may be asked at all.
    async fn bounded<T>(
        &self,
        lane: Lane,
        call: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, CacheError> {
        let inner = &*self.0;
        let Some(connection) = inner.link.connection(lane) else {
            let reason = inner.link.status().last_error.unwrap_or_else(|| "not connected yet".to_owned());
            return Err(CacheError::Resting { reason });
        };
        if !inner.breaker.permits(Instant::now()) {
            return Err(CacheError::Resting { reason: "Redis failed call after call".to_owned() });
        }
        match timeout(inner.command_timeout, call(connection)).await {
            Ok(Ok(value)) => {
                self.succeeded();
                Ok(value)
            }
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => {
                let told = format!("no answer within {:?}", inner.command_timeout);
                inner.swallowed.fetch_add(1, Ordering::Relaxed);
                inner.link.suspect(told.clone());
                self.count_towards_the_breaker(&told);
                Err(CacheError::Remote(told))
            }
        }
    }

    fn succeeded(&self) {
        if self.0.breaker.succeeded() {
            tracing::info!("Redis answers again");
        }
    }

    /// Sorts an error: a broken wire suspends the link at once, an error from the server counts towards the breaker (as
    /// does no answer in time).
    fn failed(&self, error: &RedisError) -> CacheError {
        let inner = &*self.0;
        if error.code() == Some(WRONG_TYPE) {
            // Redis is well; somebody else uses the key for something else.
            self.succeeded();
            return CacheError::WrongType;
        }
        let told = error.to_string();
        inner.swallowed.fetch_add(1, Ordering::Relaxed);
        if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
            inner.link.suspect(told.clone());
        } else if error.code() == Some(READ_ONLY) {
            // It was the primary, and another one is now.
            inner.link.renounce(told.clone());
        } else {
            inner.link.note_error(told.clone());
            self.count_towards_the_breaker(&told);
        }
        CacheError::Remote(told)
    }

    fn count_towards_the_breaker(&self, told: &str) {
        if self.0.breaker.failed(Instant::now()) {
            tracing::warn!(error = %told, "Redis fails call after call; going on without it for a while");
        }
    }
}

/// What Redis takes for a life: at least a millisecond.
fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}

/// Walks over our keys that match, a batch at a time.
struct Scan<'a> {
    client: &'a RedisClient,
    glob: String,
    leases: bool,
    cursor: Option<u64>,
}

impl<'a> Scan<'a> {
    fn new(client: &'a RedisClient, pattern: &Pattern) -> Self {
        let glob = format!("{}{pattern}", Pattern::escape(&client.0.prefix));
        Self { client, glob, leases: false, cursor: Some(0) }
    }

    fn of_leases(client: &'a RedisClient, glob: String) -> Self {
        Self { client, glob, leases: true, cursor: Some(0) }
    }

    /// The next batch of full keys, perhaps empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<String>>, CacheError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(&self.glob).arg("COUNT").arg(SCAN_COUNT);
        let (next, keys): (u64, Vec<Vec<u8>>) = self.client.run(&command).await?;
        self.cursor = (next != 0).then_some(next);
        // A key of ours is text; whatever is not is someone else's.
        let ours =
            keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).filter(|key| self.wants(key));
        Ok(Some(ours.collect()))
    }

    fn wants(&self, key: &str) -> bool {
        let inner = &self.client.0;
        let Some(bare) = key.strip_prefix(inner.prefix.as_str()) else { return false };
        if self.leases || lease::is_internal(bare) {
            return self.leases && lease::is_internal(bare);
        }
        !inner.prefix.is_empty() || inner.words.iter().any(|word| bare.starts_with(word.as_str()))
    }
}
