//! The cache service: memory in front of the remote tier, one fetch per key, and verbs that never throw a broken
//! Redis at their callers. It knows kinds and keys, and nothing of what the values mean.

mod asking;
mod config;
mod explaining;
mod flying;
mod looking;
mod many;
mod near;
mod repairing;
mod retaining;
mod spans;
mod tagging;
mod telling;
mod wish;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    config::{CacheConfig, RemoteConfig},
    retaining::{Swept, TierHolding},
};
use self::{looking::Sought, repairing::repair_in_time, telling::telling};
use crate::{
    budget::Budget,
    clock::{Clock, Tick, between},
    coherence::Notice,
    disk::Disk,
    entry::{Entry, Lookup, MissReason, PatternReport, Stored, Tier},
    envelope,
    error::CacheError,
    events::{Teller, What},
    failure::Failures,
    flight::Flights,
    lease::{Lease, Tokens, Watchers},
    memory::{Found, Memory, Written},
    pattern::Pattern,
    policy::{Cost, Kind, Policy},
    redis::RedisClient,
    remote::{Health, Remote},
    repair::{RepairStats, Repairs, debt::Debt},
    stats::{Counters, Ended, Stats},
    tags::{Book, Verdict, tag_of},
};

/// The longest key taken.
pub const MAX_KEY_BYTES: usize = 1024;
/// The cache. Cheap to clone; all clones are one cache.
///
/// Its verbs can be cancelled by dropping them: a fetch that is under way goes on and its value is kept, and a change
/// that was begun is carried to its end.
#[derive(Clone)]
pub struct CacheService(Arc<Inner>);

struct Inner {
    memory: Arc<Memory>,
    tags: Arc<Book>,
    remote: Remote,
    flights: Arc<Flights>,
    watchers: Arc<Watchers>,
    tokens: Tokens,
    failures: Failures,
    /// Refreshes that failed a moment ago.
    resting: Failures,
    /// What the remote tier was not told.
    repairs: Arc<Repairs>,
    budget: Budget,
    counters: Counters,
    teller: Arc<Teller>,
    kinds: &'static [Kind],
    clock: Clock,
    tasks: TaskTracker,
    /// What goes on without a request: the supervision of Redis, the sweeping of the disk.
    upkeep: TaskTracker,
    stop: CancellationToken,
    max_value_bytes: u64,
}

impl CacheService {
    /// Opens the tiers. A Redis that cannot be reached is no error: the cache runs on memory and connects later.
    /// Install the metrics recorder before.
    ///
    /// # Errors
    /// A configuration that can never work, a disk file that can neither be opened nor made.
    pub async fn open(config: CacheConfig) -> Result<Self, CacheError> {
        config.check()?;
        let CacheConfig { kinds, prefix, memory_bytes, remote, clock, tasks, max_value_bytes, budget } =
            config;
        let (upkeep, stop) = (TaskTracker::new(), CancellationToken::new());
        let memory = Arc::new(Memory::new(memory_bytes, max_value_bytes));
        let watchers = Arc::new(Watchers::default());
        let tags = Arc::new(Book::new(matches!(remote, RemoteConfig::None)));
        let teller = Arc::new(Teller::new(kinds, clock.clone()));
        let repairs = Arc::new(Repairs::new(teller.clone()));
        let remote = match remote {
            RemoteConfig::None => Remote::None,
            RemoteConfig::Disk { path, max_bytes } => {
                Remote::Disk(Disk::open(path, max_bytes, clock.clone(), &upkeep, &stop).await?)
            }
            RemoteConfig::Redis(redis) => {
                let words = kinds.iter().map(|kind| kind.name.to_owned());
                let (memory, watchers, clock) = (memory.clone(), watchers.clone(), clock.clone());
                let (tags, repairs) = (tags.clone(), repairs.clone());
                let listener = telling(teller.clone(), move |notice| {
                    if let Notice::Reachable = notice {
                        repairs.try_now();
                    }
                    if let Notice::Changed(key) = notice
                        && let Some(tag) = tag_of(key)
                    {
                        tags.changed(tag);
                        return;
                    }
                    memory.hear(notice);
                    watchers.hear(notice);
                });
                let client = RedisClient::connect_and_listen(
                    redis,
                    prefix,
                    words,
                    clock,
                    &upkeep,
                    &stop,
                    Some(listener),
                );
                Remote::Redis(client.await?)
            }
        };
        let inner = Arc::new(Inner {
            memory,
            tags,
            remote,
            flights: Arc::default(),
            watchers,
            tokens: Tokens::new(),
            failures: Failures::new(),
            resting: Failures::new(),
            repairs: repairs.clone(),
            budget,
            counters: Counters::new(kinds, clock.now()),
            teller,
            kinds,
            clock,
            tasks,
            upkeep,
            stop: stop.clone(),
            max_value_bytes,
        });
        if matches!(inner.remote, Remote::Redis(_)) {
            inner.upkeep.spawn(repair_in_time(Arc::downgrade(&inner), repairs, stop));
        }
        Ok(Self(inner))
    }

    /// The value of `key` from the nearest tier that has it. A stale one is counted as a miss.
    pub async fn get(&self, kind: Kind, key: &str) -> Lookup {
        if let Some(entry) = self.0.recall(kind, key, self.0.clock.tick()) {
            return Lookup::Fresh(entry);
        }
        // Boxed, for a future is moved about, and one with this in it would be a kilobyte on the path of every hit.
        Box::pin(self.get_beyond_memory(kind, key)).await
    }

    /// What [`get`](Self::get) would find, for a fetch that builds on it. Not counted as a request.
    pub async fn peek(&self, kind: Kind, key: &str) -> Lookup {
        match check_key(key) {
            Ok(()) => Box::pin(self.0.look_up(Sought { key, kind, fresh: None })).await,
            Err(_) => Lookup::Missing(MissReason::Absent),
        }
    }

    async fn get_beyond_memory(&self, kind: Kind, key: &str) -> Lookup {
        let began = Instant::now();
        let lookup = match check_key(key) {
            Ok(()) => self.0.look_up(Sought { key, kind, fresh: None }).await,
            Err(_) => Lookup::Missing(MissReason::Absent),
        };
        self.0.count(kind, key, &lookup, began);
        lookup
    }

    /// Stores a value in both tiers for as long as `policy` says. It wins over a fetch that is under way.
    /// A remote tier that cannot be reached is not an error: [`Stored`] says who took the value.
    ///
    /// # Errors
    /// A key that cannot be used, a value over `max_value_bytes`.
    pub async fn set(
        &self,
        key: &str,
        policy: &Policy,
        value: Bytes,
        cost: Cost,
    ) -> Result<Stored, CacheError> {
        let (inner, key, policy) = (self.0.clone(), Arc::<str>::from(key), policy.clone());
        self.to_its_end(async move { inner.put(&key, &policy, value, cost).await }).await
    }

    /// Deletes `key` in both tiers; 1 if any had it. What is being fetched for it goes to those who wait and is not
    /// stored.
    ///
    /// # Errors
    /// The remote tier could not be asked, or is too full to tell other processes later: the memory copy is gone, and the remote one is not served by this process and goes as
    /// soon as it can be reached ([`repairs`](Self::repairs)). Until then other processes may serve it.
    pub async fn delete(&self, key: &str) -> Result<u64, CacheError> {
        check_key(key).map_err(CacheError::BadKey)?;
        let (inner, key) = (self.0.clone(), Arc::<str>::from(key));
        self.to_its_end(async move {
            inner.flights.fence(&key).await;
            inner.failures.forget(&key);
            inner.resting.forget(&key);
            let since = tokio::time::Instant::now();
            let _turn = inner.repairs.turn(&key).await;
            let writing = inner.memory.write(&key);
            let in_memory = inner.memory.remove(&key);
            let remote = inner.swallow_count(inner.remote.delete(&key, Duration::ZERO).await);
            inner.account(&key, &remote, Debt::Delete(since));
            drop(writing);
            inner.memory.remove(&key);
            inner.flights.part(&key);
            let deleted = remote?.max(u64::from(in_memory));
            inner.counters.deleted(deleted);
            inner.teller.tell(None, &key, || What::Deleted);
            Ok(deleted)
        })
        .await
    }

    /// Deletes every key that matches, in both tiers; how many there were.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn delete_pattern(&self, pattern: &Pattern) -> Result<u64, CacheError> {
        let (inner, pattern) = (self.0.clone(), pattern.clone());
        self.to_its_end(async move {
            inner.flights.fence_matching(Some(&pattern)).await;
            inner.failures.forget_matching(&pattern);
            inner.resting.forget_matching(&pattern);
            inner.repairs.settle_matching(&pattern);
            let since = tokio::time::Instant::now();
            inner.memory.distrust_reads();
            let in_memory = inner.memory.remove_matching(&pattern);
            let remote = inner.swallow_count(inner.remote.delete_pattern(&pattern, Duration::ZERO).await);
            if remote.is_err() && matches!(inner.remote, Remote::Redis(_)) {
                inner.repairs.owe_pattern(&pattern, since);
            }
            inner.memory.distrust_reads();
            inner.memory.remove_matching(&pattern);
            inner.flights.part_matching(&pattern);
            // Memory holds copies of what the remote tier has, except what only memory took.
            let deleted = remote?.max(in_memory);
            inner.counters.deleted(deleted);
            inner.teller.tell_plainly(Some(pattern.as_str()), What::PatternDeleted { keys: deleted });
            Ok(deleted)
        })
        .await
    }

    /// Runs a change on a task of its own: a caller that leaves in the middle would leave memory with what the remote tier
    /// no longer has.
    async fn to_its_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, CacheError>> + Send + 'static,
    ) -> Result<T, CacheError> {
        self.0.tasks.spawn(change).await.map_err(|error| CacheError::Remote(error.to_string()))?
    }

    /// What [`delete_pattern`](Self::delete_pattern) would delete: keys, bytes as stored, and what they cost.
    ///
    /// # Errors
    /// The remote tier could not be asked.
    pub async fn measure_pattern(&self, pattern: &Pattern) -> Result<PatternReport, CacheError> {
        if self.0.remote.tier().is_some() {
            return self.0.swallow_count(self.0.remote.measure_pattern(pattern).await);
        }
        let now = self.0.clock.now();
        Ok(self.0.memory.measure(pattern, now))
    }

    /// Deletes all keys of this cache, and none that lies beside them in the same Redis; how many there were.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn flush_all(&self) -> Result<u64, CacheError> {
        self.delete_pattern(&Pattern::any()).await
    }

    /// Whether a tier has `key` fresh. Not counted as a request.
    pub async fn exists(&self, key: &str) -> bool {
        self.ttl(key).await.is_some()
    }

    /// How long the value of `key` stays fresh; `None` without a fresh value. Not counted as a request.
    pub async fn ttl(&self, key: &str) -> Option<Duration> {
        let inner = &*self.0;
        check_key(key).ok()?;
        let now = inner.clock.now();
        let fresh_for = |entry: &Entry| Some(entry.ttl(now)).filter(|ttl| !ttl.is_zero());
        let doubtful = match inner.memory.get(key, now) {
            Found::Trusted(entry) => return fresh_for(&entry),
            Found::Outdated(entry) if inner.remote.tier().is_none() => {
                return inner.admit(entry).await.as_ref().and_then(fresh_for);
            }
            Found::Doubtful(entry) | Found::Unwritten(entry) => fresh_for(&entry),
            Found::Outdated(_) | Found::Expired | Found::Absent => None,
        };
        let head = match inner.make_good(key).await {
            Ok(()) => inner.swallow_count(inner.remote.head(key).await),
            Err(error) => Err(error),
        };
        match head {
            Ok(Some(head)) => match envelope::times(&head.bytes) {
                Some(times) => {
                    let fresh_until = match inner.judge_tags(&times.tagged).await.ok()? {
                        Verdict::Valid(_) => times.fresh_until,
                        Verdict::Expired(_, at) => times.fresh_until.min(at),
                        Verdict::Invalid => return None,
                    };
                    Some(between(now, fresh_until)).filter(|ttl| !ttl.is_zero())
                }
                None => head.ttl,
            },
            Ok(None) => None,
            Err(_) => doubtful,
        }
    }

    /// What happened since the start or the last [`reset`](Self::reset).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.counters.snapshot()
    }

    /// Brings the metrics up to date that are not counted where a hit passes: hits (`cache_hits_total`), how requests ended
    /// (`lently_cache_answers_total`) and what was saved. Call it before they are scraped.
    pub fn publish_metrics(&self) {
        self.0.counters.publish();
    }

    /// What the remote tier did not take and is to be told as soon as it can be reached.
    #[must_use]
    pub fn repairs(&self) -> RepairStats {
        self.0.repairs.stats()
    }

    /// Begins counting anew.
    pub fn reset(&self) {
        self.0.counters.reset(self.0.clock.now());
    }

    /// How the remote tier is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.remote.health()
    }

    /// The Redis client, where the remote tier is Redis.
    #[must_use]
    pub fn redis(&self) -> Option<&RedisClient> {
        match &self.0.remote {
            Remote::Redis(redis) => Some(redis),
            Remote::None | Remote::Disk(_) => None,
        }
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.0.remote
    }

    /// Ends the link to Redis and all upkeep, and waits for its end, a second at most. Fetches still under way end as
    /// they would without Redis; to have them stored, wait for their tracker (given at open) first.
    pub async fn close(&self) {
        self.0.stop.cancel();
        if let Remote::Redis(redis) = &self.0.remote {
            redis.disconnect();
        }
        self.0.upkeep.close();
        let _ = timeout(Duration::from_secs(1), self.0.upkeep.wait()).await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inner {
    /// The fresh copy in memory, counted: the path that is taken most. It allocates nothing, takes no lock but that of the key's part of
    /// the map, and reads a coarse clock; for one hit in 64 a fine one twice, to time it. What ends within [`TICK`](crate::clock::TICK)
    /// is left to a longer look, so nothing is served for longer than it would be by a fine clock.
    #[inline]
    fn recall(&self, kind: Kind, key: &str, tick: Tick) -> Option<Entry> {
        let began = self.counters.begin_recall(kind);
        let entry = self.memory.recall(key, tick)?;
        self.counters.recalled(kind, &entry, began);
        self.tell_ended(kind, key, Ended::Hit(Tier::Memory));
        Some(entry)
    }

    /// Counts what a plain look found.
    fn count(&self, kind: Kind, key: &str, lookup: &Lookup, began: Instant) {
        let (ended, entry) = match lookup {
            Lookup::Fresh(entry) => (Ended::Hit(entry.tier), Some(entry)),
            Lookup::Stale(_) | Lookup::Missing(_) => (Ended::Missing, None),
        };
        self.ended(kind, key, ended, entry, Some(began.elapsed()));
    }

    /// Stores a value that a caller set.
    async fn put(
        &self,
        key: &Arc<str>,
        policy: &Policy,
        value: Bytes,
        cost: Cost,
    ) -> Result<Stored, CacheError> {
        check_key(key).and_then(|()| policy.tags.check()).map_err(CacheError::BadKey)?;
        if value.len() as u64 > self.max_value_bytes {
            return Err(CacheError::TooLarge { bytes: value.len() as u64, limit: self.max_value_bytes });
        }
        let since = tokio::time::Instant::now();
        let entry = envelope::entry(policy, value, cost, policy.fresh, self.clock.now());
        self.flights.fence(key).await;
        self.failures.forget(key);
        self.resting.forget(key);
        let entry = entry.with_tagged(self.snapshot(policy).await);
        let _turn = self.repairs.turn(key).await;
        let stored = self.store(key, policy, &entry, Right::Set, since).await;
        self.flights.part(key);
        self.was_stored(policy.kind, key, stored);
        Ok(stored)
    }

    /// Writes both tiers, by the right that `claim` gives.
    /// `since` is when it began to be fetched.
    async fn store(
        &self,
        key: &Arc<str>,
        policy: &Policy,
        entry: &Entry,
        claim: Right,
        since: tokio::time::Instant,
    ) -> Stored {
        let now = self.clock.now();
        let ttl = between(now, entry.retain_until);
        if ttl.is_zero() {
            return Stored { memory: false, remote: false };
        }
        let writing = self.memory.write(key);
        let token = match &claim {
            Right::Lease(lease) => Some(lease.token().to_owned()),
            Right::Set | Right::Fetched => None,
        };
        let is_set = matches!(claim, Right::Set);
        let written = match self.remote.tier() {
            None => Ok(false),
            // Of no use to anybody there, and something better may be there already.
            Some(_) if entry.tagged.is_unknown() && !is_set => {
                Err(CacheError::Resting { reason: "the versions of its tags were not known".to_owned() })
            }
            Some(_) => {
                let stored = envelope::encode(policy.kind, entry);
                self.swallow_count(match claim {
                    Right::Lease(lease) => lease.commit(&stored, ttl, since).await,
                    Right::Fetched => {
                        self.remote.set_unless_newer(key, stored, ttl, entry.began_at(), since).await
                    }
                    Right::Set => self.remote.set(key, stored, ttl).await.map(|()| true),
                })
            }
        };
        match &written {
            Ok(true) => self.repairs.settle(key),
            Ok(false) => {}
            Err(_) => self.owe_value(key, policy.kind, entry, since, token),
        }
        let remote = matches!(written, Ok(true));
        if self.remote.tier().is_some() && matches!(written, Ok(false)) {
            // Changed meanwhile, or somebody else's to fetch: this value is not the one to keep.
            drop(writing);
            self.memory.remove(key);
            return Stored { memory: false, remote: false };
        }
        let written = match self.remote.tier() {
            None => Written::HereAlone,
            Some(_) if remote => Written::Remotely,
            Some(_) => Written::Perhaps,
        };
        let memory = self.memory.keep(key, entry, &writing, written, now);
        if memory || remote {
            self.counters.set(policy.kind);
        }
        Stored { memory, remote }
    }

    fn swallow_count<T>(&self, result: Result<T, CacheError>) -> Result<T, CacheError> {
        if result.is_err() {
            self.counters.error();
        }
        result
    }
}

/// By what right a value is written.
enum Right {
    /// A caller set it: over whatever is there.
    Set,
    /// It was fetched for the cluster: if the lease still holds.
    Lease(Lease),
    /// It was fetched without a lease, because Redis could not be asked: if nobody has put anything newer there.
    Fetched,
}

fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() {
        Err("it is empty")
    } else if key.len() > MAX_KEY_BYTES {
        Err("it is longer than 1,024 bytes")
    } else if key.chars().any(char::is_control) {
        Err("it has a control character in it")
    } else {
        Ok(())
    }
}
