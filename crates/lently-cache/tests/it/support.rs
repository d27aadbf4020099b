//! What every test needs: a cache on a clock of its own, a policy, a fetch that counts.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{
    AfterWait, Budget, CacheConfig, CacheService, Clock, Cost, FailureClass, FailureTtl, FetchFailure,
    Fetched, Kind, Lookup, Policy, RedisConfig, RemoteConfig, Tags, Tier,
};
use lently_testing::{RedisOptions, RedisServer, wait_until};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Reached only by a broken program.
pub const BOUND: Duration = Duration::from_secs(30);
pub const THING: Kind = Kind { name: "thing", schema: 1 };
pub const OTHER: Kind = Kind { name: "other", schema: 1 };
pub const PREFIX: &str = "lently-test:";

/// A cache with what it was opened with.
pub struct Bench {
    pub cache: CacheService,
    pub clock: Clock,
    pub tasks: TaskTracker,
}

pub fn policy() -> Policy {
    Policy {
        kind: THING,
        fresh: Duration::from_secs(60),
        stale: Duration::from_secs(60),
        retention: Duration::from_secs(3600),
        refresh_ahead: Duration::ZERO,
        fetch_timeout: Duration::from_secs(10),
        after_wait: AfterWait::Fetch,
        failures: FailureTtl::default(),
        tags: Tags::NONE,
    }
}

pub fn config(remote: RemoteConfig, clock: Clock) -> CacheConfig {
    CacheConfig {
        kinds: &[THING, OTHER],
        prefix: PREFIX.to_owned(),
        memory_bytes: 16 << 20,
        remote,
        clock,
        tasks: TaskTracker::new(),
        max_value_bytes: 1 << 20,
        budget: Budget::UNLIMITED,
    }
}

pub async fn open_with(config: CacheConfig) -> Bench {
    let (clock, tasks) = (config.clock.clone(), config.tasks.clone());
    Bench { cache: CacheService::open(config).await.expect("a cache"), clock, tasks }
}

pub async fn open(remote: RemoteConfig) -> Bench {
    open_with(config(remote, manual_clock())).await
}

pub async fn in_memory() -> Bench {
    open(RemoteConfig::None).await
}

pub async fn on_disk(path: &Path) -> Bench {
    open(disk(path)).await
}

pub async fn on_redis(server: &RedisServer) -> Bench {
    open(redis(server)).await
}

pub fn disk(path: &Path) -> RemoteConfig {
    RemoteConfig::Disk { path: path.to_owned(), max_bytes: 64 << 20 }
}

pub fn redis(server: &RedisServer) -> RemoteConfig {
    RemoteConfig::Redis(redis_config(server))
}

/// The same on memory alone, on a disk file and on Redis.
pub async fn everywhere(story: impl AsyncFn(&Bench)) {
    let folder = TempDir::new().expect("a folder");
    let server = RedisServer::start().await;
    story(&in_memory().await).await;
    story(&on_disk(&folder.path().join("cache.sqlite")).await).await;
    let bench = on_redis(&server).await;
    tracks(&bench).await;
    story(&bench).await;
}

pub async fn tracks(bench: &Bench) {
    wait_until("changes are told", BOUND, async || bench.cache.health().tracking).await;
}

/// A cache whose user may do nothing but read and write: no notices, no scripts.
pub async fn on_a_strict_redis() -> (RedisServer, Bench) {
    let rules = ">secret ~lently-test:* -@all +get +set +unlink +exists +pttl +scan +ping +strlen +getrange";
    let options = RedisOptions { user: Some(("lently".into(), rules.into())), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let config = RedisConfig {
        username: Some("lently".into()),
        password: Some("secret".to_owned().into()),
        ..redis_config(&server)
    };
    let bench = open(RemoteConfig::Redis(config)).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().is_up()).await;
    (server, bench)
}

pub fn redis_config(server: &RedisServer) -> RedisConfig {
    RedisConfig { port: server.port(), ..RedisConfig::default() }
}

/// Redis counts on its own clock; ours begins where that stands.
pub fn manual_clock() -> Clock {
    Clock::manual(Clock::system().now())
}

/// A clock at a fixed time, for what is compared byte by byte.
pub fn fixed_clock() -> Clock {
    Clock::manual("2026-11-24T12:00:00Z".parse::<Timestamp>().expect("a time"))
}

pub async fn put(cache: &CacheService, key: &str, value: &'static str) {
    cache.set(key, &policy(), Bytes::from_static(value.as_bytes()), Cost::default()).await.expect("a set");
}

/// The value and where it lay.
pub async fn look(cache: &CacheService, key: &str) -> Option<(Bytes, Tier)> {
    cache.get(THING, key).await.entry().map(|entry| (entry.value.clone(), entry.tier))
}

pub async fn until_gone(bench: &Bench, key: &str) {
    wait_until("the copy is gone", BOUND, async || is_missing(&bench.cache.get(THING, key).await)).await;
}

pub fn is_missing(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Missing(_))
}

/// Counts how often it is called.
#[derive(Clone, Default)]
pub struct Upstream(Arc<AtomicU64>);

impl Upstream {
    pub fn calls(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// A fetch of `value`.
    pub fn fetch(
        &self,
        value: &'static str,
    ) -> impl FnOnce() -> std::future::Ready<Result<Fetched, FetchFailure>> + Send + 'static {
        let calls = self.0.clone();
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(Fetched::new(value)))
        }
    }

    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A fetch that waits at a gate until the test opens it.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>, Upstream);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)), Upstream::default())
    }

    pub fn opened() -> Self {
        let gate = Self::new();
        gate.open();
        gate
    }

    pub fn calls(&self) -> u64 {
        self.1.calls()
    }

    /// Counts a call and waits until the gate is open.
    pub async fn pass(&self) {
        self.1.count();
        let _open = self.0.acquire().await.expect("the gate");
    }

    pub fn fetch(
        &self,
        value: &'static str,
    ) -> impl FnOnce() -> futures::future::BoxFuture<'static, Result<Fetched, FetchFailure>> + Send + 'static
    {
        let this = self.clone();
        move || {
            Box::pin(async move {
                this.pass().await;
                Ok(Fetched::new(value))
            })
        }
    }

    /// A fetch that fails once the gate is open.
    pub fn failing(
        &self,
        class: FailureClass,
    ) -> impl FnOnce() -> futures::future::BoxFuture<'static, Result<Fetched, FetchFailure>> + Send + 'static
    {
        let this = self.clone();
        move || {
            Box::pin(async move {
                this.pass().await;
                Err(FetchFailure::new(class, std::io::Error::other("no")))
            })
        }
    }

    pub async fn reached(&self) {
        wait_until("the fetch has begun", BOUND, async || self.calls() > 0).await;
    }

    pub fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}
