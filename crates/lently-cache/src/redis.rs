//! A client for Redis (or Valkey) under a key prefix: one server, a primary behind Sentinels, or a cluster. Every call is bounded
//! in time; none waits for a reconnect; none touches a key that is not ours.

mod chorus;
mod cluster;
mod config;
mod dial;
mod gone;
mod lease;
mod link;
mod many;
mod node;
mod reads;
mod sentinel;
mod slots;
mod tags;
mod tally;
mod topology;
mod tracking;
mod walk;

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
use futures::future::{join, try_join_all};
use redis::{Cmd, FromRedisValue, RedisResult};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    chorus::Chorus,
    cluster::{Cluster, Making},
    dial::{Address, Dialer},
    link::{Lane, Link, Source},
    node::{Node, Request},
    reads::Told,
    sentinel::Sentinels,
    tracking::Tracking,
    walk::Walk,
};
pub use self::{
    config::{Deployment, MAX_CONNECTIONS, RedisConfig, SentinelConfig, TlsConfig},
    dial::{ByteStream, OpenStream, Transport},
    link::LinkState,
};
pub(crate) use self::{
    lease::{Claim, Over, Renewal},
    tracking::Listener,
};
use crate::{
    chance, clock::Clock, entry::PatternReport, envelope, error::CacheError, pattern::Pattern, remote::Head,
};

/// An envelope's header fits into this many bytes; measuring a pattern reads no more of a value.
const HEADER_WINDOW: isize = 4095;
/// Keys whose size and header are asked for in one round trip: some 200 KiB of answers.
const MEASURED_AT_ONCE: usize = 100;

/// A client of Redis. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct RedisClient(Arc<Inner>);

struct Inner {
    servers: Servers,
    prefix: String,
    /// First words of our keys: with an empty prefix, whatever begins with another word is someone else's.
    words: Vec<String>,
    swallowed: Arc<AtomicU64>,
    /// Of this process, among those that share the prefix.
    name: u64,
    stop: CancellationToken,
}

/// Who has the keys.
enum Servers {
    One(Arc<Node>),
    Cluster(Arc<Cluster>),
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
        let dialer = Arc::new(Dialer::new(&config, tasks)?);
        let words: Vec<String> = words.into_iter().map(|word| format!("{word}:")).collect();
        let (stop, swallowed) = (stop.child_token(), Arc::new(AtomicU64::new(0)));
        let source = match &config.deployment {
            Deployment::Standalone => Source::Fixed(Address { host: config.host.clone(), port: config.port }),
            Deployment::Sentinel(sentinel) => {
                let speaking = dialer.for_sentinels(sentinel);
                Source::Sentinels(Sentinels::new(sentinel, config.seeds(), speaking, config.connect_timeout))
            }
            Deployment::Cluster => {
                if prefix.contains('{') && slots::tag(prefix.as_bytes()).is_none() {
                    let told = format!("the key prefix `{prefix}` begins a hash tag and does not end it");
                    return Err(CacheError::Config(told));
                }
                let cluster = Cluster::new(Making {
                    config,
                    dialer,
                    clock,
                    chorus: listener.map(Chorus::new),
                    prefix: prefix.clone(),
                    words: words.clone(),
                    tasks: tasks.clone(),
                    stop: stop.clone(),
                    swallowed: swallowed.clone(),
                });
                tasks.spawn(cluster.clone().supervise());
                cluster.first_attempt().await;
                let servers = Servers::Cluster(cluster);
                return Ok(Self(Arc::new(Inner {
                    servers,
                    prefix,
                    words,
                    swallowed,
                    name: chance::draw(),
                    stop,
                })));
            }
        };
        let command_timeout = config.command_timeout;
        let tracking = listener.map(|listener| Tracking::new(listener, &prefix, &words));
        let link = Arc::new(Link::new(config, dialer, source, clock, tracking));
        tasks.spawn(link.clone().supervise(stop.clone()));
        link.first_attempt().await;
        let servers =
            Servers::One(Arc::new(Node::new(link, tasks.clone(), command_timeout, swallowed.clone())));
        Ok(Self(Arc::new(Inner { servers, prefix, words, swallowed, name: chance::draw(), stop })))
    }

    /// Ends the link for good. Later calls answer [`CacheError::Resting`].
    pub fn disconnect(&self) {
        self.0.stop.cancel();
        match &self.0.servers {
            Servers::One(node) => node.link.close(),
            Servers::Cluster(cluster) => cluster.close(),
        }
    }

    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// As every call: [`CacheError::Resting`] while Redis cannot be asked, [`CacheError::Remote`] if it answered an
    /// error or not in time.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        let full = self.full(key);
        let owner;
        let node = match &self.0.servers {
            Servers::One(node) => Some(node),
            Servers::Cluster(cluster) => {
                owner = cluster.node_of(full.as_bytes());
                owner.as_ref()
            }
        };
        let (alone, full) = match node {
            None => (None, full),
            Some(node) => match node.reads.alone() {
                None => match node.read_together(full).await {
                    Told::Value(value) => return Ok(value),
                    Told::Refused(error) => return Err(error),
                    Told::Unclear => (None, self.full(key)),
                },
                alone => (alone, full),
            },
        };
        // Boxed, for it would make the future of a read that goes with others larger.
        let reading = Box::pin(async move { self.run(&reads::get(&full)).await });
        let value: Option<Vec<u8>> = reading.await?;
        drop(alone);
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
        let (bytes, ttl): (Vec<u8>, i64) = self.send(Lane::Any, (&both).into()).await?;
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
        self.delete_matching(pattern, Duration::ZERO).await
    }

    /// The same of a deletion that was decided so long ago.
    pub(crate) async fn delete_matching(&self, pattern: &Pattern, age: Duration) -> Result<u64, CacheError> {
        // First whoever fetches one of them: what they bring would come after. A primary that cannot be asked does not keep
        // this from the others.
        let forbidden = self.forbid_matching(pattern, age).await;
        let mut deleted = 0;
        let mut walk = Walk::new(self, pattern);
        let mut found = walk.next().await?;
        while let Some((node, keys)) = found {
            // The next are looked for meanwhile: small steps would else be a wait each.
            let (gone, next) = join(self.unlink(&node, keys), walk.next()).await;
            deleted += gone?;
            found = next?;
        }
        if forbidden.is_err() {
            // What was deleted may have made room for the mark.
            self.forbid_matching(pattern, age).await?;
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
        let mut walk = Walk::new(self, pattern);
        while let Some((node, mut keys)) = walk.next().await? {
            keys.retain(|key| seen.insert(hasher.hash_one(key)));
            for batch in keys.chunks(MEASURED_AT_ONCE) {
                let mut pipe = redis::pipe();
                pipe.ignore_errors();
                for key in batch {
                    pipe.cmd("STRLEN").arg(key);
                    pipe.cmd("GETRANGE").arg(key).arg(0).arg(HEADER_WINDOW);
                }
                let told: Vec<RedisResult<redis::Value>> = node.send(Lane::Any, (&pipe).into()).await?;
                for pair in told.chunks(2) {
                    // A key of another type is someone else's; one that is gone meanwhile has no bytes.
                    let [Ok(bytes), Ok(head)] = pair else { continue };
                    let (Ok(bytes), Ok(head)) =
                        (u64::from_redis_value_ref(bytes), Vec::<u8>::from_redis_value_ref(head))
                    else {
                        continue;
                    };
                    if bytes > 0 {
                        report.add(bytes, envelope::cost_of(&head), envelope::kept_between(&head));
                    }
                }
            }
        }
        Ok(report)
    }

    /// The keys of values that match, without the prefix; one that moves meanwhile may be told twice.
    pub(crate) async fn keys(&self, pattern: &Pattern) -> Result<Vec<String>, CacheError> {
        let mut found = Vec::new();
        let mut walk = Walk::new(self, pattern);
        while let Some((_, keys)) = walk.next().await? {
            found.extend(keys.iter().filter_map(|key| key.strip_prefix(self.prefix())).map(str::to_owned));
        }
        Ok(found)
    }

    /// The time a `PING` takes; of a cluster, the slowest primary's.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn ping(&self) -> Result<Duration, CacheError> {
        let began = Instant::now();
        let command = redis::cmd("PING");
        let nodes = self.nodes();
        if nodes.is_empty() {
            self.ask_one::<redis::Value>(&command).await?;
        }
        try_join_all(nodes.iter().map(|node| node.send::<redis::Value>(Lane::Any, (&command).into())))
            .await?;
        Ok(began.elapsed())
    }

    /// A section of Redis' `INFO`, as it is; of a cluster, one primary's.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn info(&self, section: &str) -> Result<String, CacheError> {
        self.ask_one(redis::cmd("INFO").arg(section)).await
    }

    /// One setting of the server; `None` if it does not know it. Managed servers often forbid asking.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn config_get(&self, name: &str) -> Result<Option<String>, CacheError> {
        let pair: std::collections::HashMap<String, String> =
            self.ask_one(redis::cmd("CONFIG").arg("GET").arg(name)).await?;
        Ok(pair.into_values().next())
    }

    /// The servers it is or was connected to: one, or all primaries of a cluster.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        self.nodes().iter().filter_map(|node| Some(node.link.address()?.to_string())).collect()
    }

    pub(crate) fn health(&self) -> RedisHealth {
        let status = match &self.0.servers {
            Servers::One(node) => node.status(),
            Servers::Cluster(cluster) => cluster.status(),
        };
        let nodes = self.nodes();
        RedisHealth {
            state: status.state,
            since: status.since,
            last_error: status.last_error,
            errors: self.0.swallowed.load(Ordering::Relaxed),
            tracking: !nodes.is_empty() && nodes.iter().all(|node| node.link.is_tracking()),
        }
    }

    fn full(&self, key: &str) -> String {
        [self.prefix(), key].concat()
    }

    fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Asks, on any connection.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        self.send(Lane::Any, command.into()).await
    }

    /// Changes something, on the connection that hears of changes by others and not of its own.
    async fn change<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        self.send(Lane::Tracked, command.into()).await
    }

    /// Makes a call at the server that has its keys.
    async fn send<T: FromRedisValue>(&self, lane: Lane, request: Request<'_>) -> Result<T, CacheError> {
        match &self.0.servers {
            Servers::One(node) => node.send(lane, request).await.map_err(CacheError::from),
            // Boxed, for it would make the future of a call to one server larger.
            Servers::Cluster(cluster) => Box::pin(cluster.send(lane, request)).await,
        }
    }

    /// Asks any of the servers what has no key.
    async fn ask_one<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        let nodes = self.nodes();
        let up = nodes.iter().find(|node| node.status().state == LinkState::Up).or(nodes.first());
        let none = || CacheError::Resting { reason: "no primary of the cluster is known".to_owned() };
        Ok(up.ok_or_else(none)?.send(Lane::Any, command.into()).await?)
    }

    /// All primaries.
    fn nodes(&self) -> Vec<Arc<Node>> {
        match &self.0.servers {
            Servers::One(node) => vec![node.clone()],
            Servers::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// The primary that has `key`, if one is known.
    fn node_of(&self, key: &str) -> Option<Arc<Node>> {
        match &self.0.servers {
            Servers::One(node) => Some(node.clone()),
            Servers::Cluster(cluster) => cluster.node_of(self.full(key).as_bytes()),
        }
    }

    fn is_cluster(&self) -> bool {
        matches!(self.0.servers, Servers::Cluster(_))
    }

    /// Deletes full keys that lie on a server; how many there were.
    async fn unlink(&self, node: &Node, keys: Vec<String>) -> Result<u64, CacheError> {
        if keys.is_empty() {
            return Ok(0);
        }
        if !self.is_cluster() {
            return self.change(redis::cmd("UNLINK").arg(keys)).await;
        }
        // A command may name keys of one slot only, and while that moves of one server only.
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for key in &keys {
            pipe.cmd("UNLINK").arg(key);
        }
        let answers: Vec<RedisResult<u64>> = node.send(Lane::Tracked, (&pipe).into()).await?;
        let mut deleted = 0;
        for (key, answer) in keys.iter().zip(answers) {
            deleted += match answer {
                Ok(deleted) => deleted,
                // On its way to another server.
                Err(_) => self.change(redis::cmd("UNLINK").arg(key)).await?,
            };
        }
        Ok(deleted)
    }
}

/// What Redis takes for a life: at least a millisecond.
fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}
