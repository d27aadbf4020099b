//! What the cache costs beside its floors and a peer, each as a ratio within one run: what `cargo bench` and `lently bench
//! cache` show. Behind the feature `bench`, because it brings a peer along.
//!
//! It starts a `redis-server` of its own on a free port of loopback and speaks to no other. The contestants take turns, round after
//! round, and a ratio is the median of the rounds' ratios, so that a machine that slows down slows all of them.

mod bulk;
mod coalescing;
mod hits;
mod patterns;
mod server;
mod sizes;
mod tags;

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use self::server::Server;
use crate::{
    budget::Budget,
    clock::Clock,
    error::CacheError,
    failure::FailureTtl,
    policy::{AfterWait, Kind, Policy},
    redis::RedisConfig,
    service::{CacheConfig, CacheService, RemoteConfig},
    tags::Tags,
};

const THING: Kind = Kind { name: "thing", schema: 1 };
const PREFIX: &str = "bench:";
/// So many keys are read.
const KEYS: usize = 1000;
const ROUNDS: usize = 9;
/// A link to a server on loopback is up in milliseconds.
const LINK_BOUND: Duration = Duration::from_secs(60);

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// There is no `redis-server` on the path.
    #[error(
        "`redis-server` is not on the path, and what Redis does is measured against one of our own: install Redis 7.0 or newer \
         (Debian: `apt-get install redis-server`; macOS: `brew install redis`)"
    )]
    NoServer,
    /// It was started and did not come up, or does not say what it is asked.
    #[error("our own redis-server {0}")]
    Server(String),
    /// A contestant did not do what was to be measured.
    #[error("nothing to measure: {0}")]
    Wrong(String),
    /// The cache refused.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// redis-rs alone failed.
    #[error("redis-rs alone failed")]
    Redis(#[from] redis::RedisError),
    /// A process could not be started or read.
    #[error("cannot run what is measured")]
    Io(#[from] io::Error),
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was done.
    pub what: String,
    /// Beside what it is shown; empty where it stands alone.
    pub beside: &'static str,
    /// Of `ours` and `theirs`.
    pub unit: &'static str,
    /// What it took here, the median of the rounds.
    pub ours: f64,
    /// What it took there.
    pub theirs: Option<f64>,
    /// `ours / theirs`, the median of the rounds' ratios.
    pub ratio: Option<f64>,
    /// The most that the ratio, or `ours` where there is none, is meant to be.
    pub target: Option<f64>,
}

impl Measured {
    /// Of two contestants' rounds.
    fn beside(
        what: impl Into<String>,
        beside: &'static str,
        unit: &'static str,
        ours: &[f64],
        theirs: &[f64],
    ) -> Self {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Self {
            what: what.into(),
            beside,
            unit,
            ours: median(ours.to_vec()),
            theirs: Some(median(theirs.to_vec())),
            ratio: Some(median(ratios)),
            target: None,
        }
    }

    fn alone(what: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        Self { what: what.into(), beside: "", unit, ours, theirs: None, ratio: None, target: None }
    }

    fn at_most(self, target: f64) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Whether the target is met; true without one.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.target.is_none_or(|target| self.ratio.unwrap_or(self.ours) <= target)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<44} {:>12.1} {:<2}", self.what, self.ours, self.unit)?;
        if let (Some(theirs), Some(ratio)) = (self.theirs, self.ratio) {
            write!(f, "   {:<26} {theirs:>12.1} {:<2}   ratio {ratio:.2}", self.beside, self.unit)?;
        }
        if let Some(target) = self.target {
            write!(f, "   at most {target}: {}", if self.is_met() { "met" } else { "missed" })?;
        }
        Ok(())
    }
}

/// Measures everything, or what has `only` in its name, with so many `keys` for the invalidation by tag and the deletion by pattern,
/// and tells `told` what comes next. About four minutes with a million keys.
///
/// # Errors
/// There is no `redis-server`, or what was to be measured did not work.
pub async fn run(
    keys: u64,
    only: Option<&str>,
    mut told: impl FnMut(&str),
) -> Result<Vec<Measured>, BenchError> {
    let server = Server::start().await?;
    let mut lines = Vec::new();
    let mut is_wanted = |name: &str| {
        let wanted = only.is_none_or(|only| name.contains(only));
        if wanted {
            told(name);
        }
        wanted
    };
    // First, while nothing that was freed lies about to be taken again.
    if is_wanted("bytes of an entry in memory") {
        lines.extend(sizes::in_memory().await?);
    }
    if is_wanted("hits in memory") {
        lines.extend(hits::in_memory(&server).await?);
    }
    if is_wanted("hits in Redis") {
        lines.extend(hits::in_redis(&server).await?);
    }
    if is_wanted("50 ids at once") {
        lines.extend(bulk::of_50(&server).await?);
    }
    if is_wanted("waiters on one fetch") {
        lines.extend(coalescing::waiters(&server).await?);
    }
    if is_wanted("changes by another node") {
        lines.extend(coalescing::changes(&server).await?);
    }
    if is_wanted("bytes of an entry in Redis") {
        lines.extend(sizes::in_redis(&server).await?);
    }
    if is_wanted("invalidation by tag") {
        lines.extend(tags::invalidate(&server, keys).await?);
    }
    if is_wanted("deletion by pattern") {
        lines.extend(patterns::delete(&server, keys).await?);
    }
    if lines.is_empty() {
        return Err(BenchError::Wrong(format!(
            "no measurement has `{}` in its name",
            only.unwrap_or_default()
        )));
    }
    Ok(lines)
}

fn policy() -> Policy {
    Policy {
        kind: THING,
        fresh: Duration::from_secs(3600),
        stale: Duration::ZERO,
        retention: Duration::from_secs(86_400),
        refresh_ahead: Duration::ZERO,
        fetch_timeout: Duration::from_secs(30),
        after_wait: AfterWait::Fetch,
        failures: FailureTtl::default(),
        tags: Tags::NONE,
    }
}

async fn open(remote: RemoteConfig, memory_bytes: u64) -> Result<CacheService, BenchError> {
    let config = CacheConfig {
        kinds: &[THING],
        prefix: PREFIX.to_owned(),
        memory_bytes,
        remote,
        clock: Clock::system(),
        tasks: TaskTracker::new(),
        max_value_bytes: 1 << 20,
        budget: Budget::UNLIMITED,
    };
    Ok(CacheService::open(config).await?)
}

/// A node whose link to `server` is up.
async fn node(server: &Server, memory_bytes: u64) -> Result<CacheService, BenchError> {
    let redis = RedisConfig { port: server.port(), ..RedisConfig::default() };
    let cache = open(RemoteConfig::Redis(redis), memory_bytes).await?;
    let began = Instant::now();
    while !cache.health().tracking {
        if began.elapsed() > LINK_BOUND {
            return Err(BenchError::Server("was not connected to".to_owned()));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(cache)
}

/// JSON that packs to about a half.
fn value(bytes: usize) -> Bytes {
    let mut random = SmallRng::seed_from_u64(7);
    let words: Vec<String> = (0..bytes / 8).map(|_| format!("{:07x}", random.random::<u32>() >> 4)).collect();
    Bytes::from(format!("\"{}\"", words.join(" ")))
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|n| format!("thing:{n}:max_100:order_relevance")).collect()
}

/// The same order of keys for every contestant.
fn order(length: usize) -> Vec<usize> {
    let mut random = SmallRng::seed_from_u64(11);
    (0..length).map(|_| random.random_range(0..KEYS)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
