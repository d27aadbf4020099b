//! What the cache promises over any remote tier, as a suite to run against a server of one's own: a Valkey, a managed
//! Redis, a proxy in front of one. Behind the feature `conformance`, for tests.
//!
//! ```no_run
//! use lently_cache::{RedisConfig, RemoteConfig, conformance};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // #[tokio::test] async fn our_server_keeps_every_promise()
//! let server = RedisConfig::from_url("redis://127.0.0.1:6379")?;
//! conformance::run(&RemoteConfig::Redis(server), "conformance:").await.assert_kept();
//! # Ok(())
//! # }
//! ```
//!
//! The suite writes only keys that begin with the prefix it is given, and removes the values it wrote; marks of fetches that
//! were cut off go by themselves within an hour. It moves a clock of its own; where a promise hangs on the server's clock it
//! waits for fractions of a second. All of it takes seconds.

mod nodes;
mod one_node;

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, LocalBoxFuture};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{
    AfterWait, Budget, CacheConfig, CacheService, Clock, Cost, FailureClass, FailureTtl, FetchFailure,
    Fetched, Kind, Lookup, Policy, RemoteConfig, Stored, Tags,
};

/// No promise needs this long but a broken one.
const BOUND: Duration = Duration::from_secs(30);
/// What all promises hang on.
const OPENS: &str = "the remote tier can be opened and reached";
/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(5);

const THING: Kind = Kind { name: "thing", schema: 1 };
const THING_OF_LATER: Kind = Kind { name: "thing", schema: 2 };
const MAX_VALUE_BYTES: u64 = 1 << 20;

/// What the promises need of a remote tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// Nothing; memory alone keeps them.
    Nothing,
    /// That several nodes share it.
    Sharing,
    /// A server that runs scripts and tells of changes.
    Server,
}

type Kept = Result<(), Box<dyn Error + Send + Sync>>;
type Check = for<'a> fn(&'a Site) -> LocalBoxFuture<'a, Kept>;

struct Promise {
    name: &'static str,
    needs: Needs,
    check: Check,
}

/// Fails the promise with the words unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+).into());
        }
    };
}

/// The same where two values are to be equal; tells both.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $words:expr) => {
        match (&$found, &$expected) {
            (found, expected) => {
                ensure!(found == expected, "{}: found {:?}, expected {:?}", $words, found, expected)
            }
        }
    };
}

/// A table of promises: each is a function of that name beside it.
macro_rules! promises {
    ($needs:expr; $($name:ident)*) => {
        [$($crate::conformance::Promise {
            name: stringify!($name),
            needs: $needs,
            check: |site| Box::pin($name(site)),
        }),*]
    };
}
use {ensure, ensure_eq, promises};

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Which promises a remote tier kept.
#[derive(Clone, Debug, Default)]
#[must_use = "a broken promise is told here and nowhere else"]
pub struct Report {
    /// The names of those it kept.
    pub kept: Vec<String>,
    /// Those it broke.
    pub broken: Vec<Broken>,
    /// The names of those it cannot make: what only several nodes or only a server can.
    pub not_made: Vec<String>,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Its name: a sentence.
    pub promise: String,
    /// How it was broken.
    pub how: String,
}

impl Report {
    /// For a test.
    ///
    /// # Panics
    /// With every broken promise and how it was broken.
    pub fn assert_kept(&self) {
        assert!(self.broken.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} promises kept, {} broken", self.kept.len(), self.broken.len())?;
        self.broken.iter().try_for_each(|Broken { promise, how }| writeln!(f, "- {promise}: {how}"))
    }
}

/// Checks every promise that can be made over `remote`, one after the other, each with keys of its own below `prefix`
/// (at most 100 bytes). A disk file is emptied: give it one of its own.
///
/// It does not stop at a broken promise, and a promise that does not come to an end is broken. Where the tier cannot be
/// reached at all, that is the one promise it tells of.
pub async fn run(remote: &RemoteConfig, prefix: &str) -> Report {
    let offers = match remote {
        RemoteConfig::None => Needs::Nothing,
        RemoteConfig::Disk { .. } => Needs::Sharing,
        RemoteConfig::Redis(_) => Needs::Server,
    };
    let mut report = Report::default();
    let site = || Site {
        remote: remote.clone(),
        prefix: format!("{prefix}{:016x}:", rand::random::<u64>()),
        clock: Clock::manual(Clock::system().now()),
        tasks: TaskTracker::new(),
    };
    if let Err(error) = site().node().await {
        report.broken.push(Broken { promise: OPENS.to_owned(), how: error.to_string() });
        return report;
    }
    let promises = one_node::PROMISES.iter().chain(&nodes::PROMISES).chain(&nodes::PROMISES_OF_A_SERVER);
    for Promise { name, needs, check } in promises {
        let promise = name.replace('_', " ");
        if *needs > offers {
            report.not_made.push(promise);
            continue;
        }
        let site = site();
        let checked = timeout(2 * BOUND, async {
            // Of a run that was cut off, where all share one file.
            site.node().await?.flush_all().await?;
            check(&site).await
        });
        let kept = checked.await.unwrap_or_else(|_| Err("it did not come to an end".into()));
        site.leave().await;
        match kept {
            Ok(()) => report.kept.push(promise),
            Err(how) => report.broken.push(Broken { promise, how: how.to_string() }),
        }
    }
    report
}

/// Where one promise is checked: a prefix and a clock of its own.
struct Site {
    remote: RemoteConfig,
    prefix: String,
    clock: Clock,
    tasks: TaskTracker,
}

impl Site {
    /// A node, once it works as configured.
    async fn node(&self) -> Result<CacheService, Box<dyn Error + Send + Sync>> {
        self.open(16 << 20, &self.prefix).await
    }

    /// A node that keeps nothing in memory: what it answers comes from the remote tier.
    async fn forgetful_node(&self) -> Result<CacheService, Box<dyn Error + Send + Sync>> {
        self.open(0, &self.prefix).await
    }

    async fn open(
        &self,
        memory_bytes: u64,
        prefix: &str,
    ) -> Result<CacheService, Box<dyn Error + Send + Sync>> {
        let node = CacheService::open(CacheConfig {
            kinds: &[THING],
            prefix: prefix.to_owned(),
            memory_bytes,
            remote: self.remote.clone(),
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
            max_value_bytes: MAX_VALUE_BYTES,
            budget: Budget::UNLIMITED,
        });
        let node = node.await?;
        let up = eventually("the remote tier can be reached", async || node.health().is_up()).await;
        up.map_err(|error| match node.health().last_error {
            Some(last) => format!("{error}: {last}").into(),
            None => error,
        })?;
        Ok(node)
    }

    /// Waits for what was begun, and removes what was written.
    async fn leave(self) {
        self.tasks.close();
        let _ = timeout(BOUND, self.tasks.wait()).await;
        if let Ok(node) = self.node().await {
            let _ = node.flush_all().await;
            node.close().await;
        }
    }
}

/// Waits until `holds`.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Kept {
    let until = Instant::now() + BOUND;
    while !holds().await {
        ensure!(Instant::now() < until, "waited {BOUND:?} in vain until {what}");
        sleep(EVERY).await;
    }
    Ok(())
}

fn policy() -> Policy {
    Policy {
        kind: THING,
        fresh: Duration::from_secs(60),
        stale: Duration::ZERO,
        retention: Duration::from_secs(60),
        refresh_ahead: Duration::ZERO,
        fetch_timeout: Duration::from_secs(10),
        after_wait: AfterWait::Fetch,
        failures: FailureTtl::default(),
        tags: Tags::NONE,
    }
}

async fn put(node: &CacheService, key: &str, value: impl Into<Bytes>) -> Result<Stored, crate::CacheError> {
    node.set(key, &policy(), value.into(), Cost::default()).await
}

/// The value of `key`, if there is one to serve.
async fn look(node: &CacheService, key: &str) -> Option<Bytes> {
    node.get(THING, key).await.entry().map(|entry| entry.value.clone())
}

fn is_missing(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Missing(_))
}

fn failing(class: FailureClass) -> FetchFailure {
    FetchFailure::new(class, std::io::Error::other("it failed")).with_detail("{\"why\":1}")
}

/// An upstream that counts its calls and lets them through once it is open.
#[derive(Clone)]
struct Upstream {
    calls: Arc<AtomicU64>,
    gate: Arc<Semaphore>,
}

impl Upstream {
    fn open() -> Self {
        let upstream = Self::closed();
        upstream.let_through();
        upstream
    }

    fn closed() -> Self {
        Self { calls: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    fn let_through(&self) {
        self.gate.add_permits(1 << 20);
    }

    fn calls(&self) -> u64 {
        self.calls.load(SeqCst)
    }

    async fn reached(&self) -> Kept {
        eventually("the fetch has begun", async || self.calls() > 0).await
    }

    /// A fetch that ends with `end`.
    fn fetch(
        &self,
        end: Result<Fetched, FetchFailure>,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<Fetched, FetchFailure>> + Send + 'static {
        let this = self.clone();
        move || {
            Box::pin(async move {
                this.calls.fetch_add(1, SeqCst);
                // The gate is never closed for good.
                let _passed = this.gate.acquire().await;
                end
            })
        }
    }

    fn value(
        &self,
        value: &'static str,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<Fetched, FetchFailure>> + Send + 'static {
        self.fetch(Ok(Fetched::new(value)))
    }
}
