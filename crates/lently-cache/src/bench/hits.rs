//! Hits: in memory beside a bare map and a peer, in Redis beside redis-rs alone and `redis-benchmark`.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use tokio::{runtime, task::spawn_blocking, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    BenchError, KEYS, Measured, PREFIX, ROUNDS, THING, keys, node, open, order, policy, server::Server, value,
};
use crate::{
    entry::{FailureClass, FetchFailure, Fetched},
    envelope,
    policy::Cost,
    redis::RedisConfig,
    service::{CacheService, RemoteConfig},
};

/// The most that the whole service may take, in bare maps.
const MEMORY_TARGET: f64 = 3.0;
/// The most that a hit in memory may take at all.
const MEMORY_TARGET_NS: f64 = 500.0;
/// The most that the service may take, in bare clients.
const REDIS_TARGET: f64 = 1.15;

/// So many reads in a row are one contestant's where there is one caller. How long those take depends most on whether the kernel keeps
/// caller and server on one processor or lets each sleep on its own, which changes from one moment to the next: so short a turn lets
/// all contestants have the same of either.
const TURN: usize = 50;

/// What the values are stored under that nobody packed.
const AS_IT_IS: &str = "as-it-is:";

/// What a hit adds to what was saved, in every unit there is.
const COST: Cost =
    Cost { quota_units: 3, tokens_in: 6_000, tokens_out: 900, micro_dollars: 1_100, milliseconds: 2_500 };

/// Of memory alone, and of memory in front of a Redis that tells of changes.
pub(super) async fn in_memory(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let (alone, behind) = (open(RemoteConfig::None, 64 << 20).await?, node(server, 64 << 20).await?);
    for key in &keys() {
        for cache in [&alone, &behind] {
            cache.set(key, &policy(), value(2048), COST).await?;
        }
    }
    // On a thread of its own: hits do not wait, and would keep the link's tasks from theirs.
    let (cache, redis) = (alone, behind.clone());
    let lines = spawn_blocking(move || contest(&cache, &redis)).await.map_err(std::io::Error::other)??;
    let elsewhere = behind.stats().by_tier["redis"];
    if elsewhere > 0 {
        return Err(BenchError::Wrong(format!("{elsewhere} reads were answered by Redis and not by memory")));
    }
    behind.flush_all().await?;
    Ok(lines)
}

fn contest(alone: &CacheService, behind: &CacheService) -> Result<Vec<Measured>, BenchError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (keys, order, policy) = (keys(), order(200_000), policy());
    let bare = quick_cache::sync::Cache::<Arc<str>, Bytes>::new(KEYS * 2);
    let peer = moka::sync::Cache::<Arc<str>, Bytes>::builder()
        .max_capacity(KEYS as u64 * 2)
        .time_to_live(Duration::from_secs(3600))
        .build();
    for key in &keys {
        bare.insert(Arc::from(key.as_str()), value(2048));
        peer.insert(Arc::from(key.as_str()), value(2048));
    }
    let per = |began: Instant| began.elapsed().as_nanos() as f64 / order.len() as f64;
    let get = |cache: &CacheService| {
        runtime.block_on(async {
            let began = Instant::now();
            for &n in &order {
                black_box(cache.get(THING, &keys[n]).await);
            }
            per(began)
        })
    };
    let get_or_set = |cache: &CacheService| {
        runtime.block_on(async {
            let began = Instant::now();
            for &n in &order {
                let never = || async { Ok(Fetched::new("never")) };
                black_box(cache.get_or_set(&keys[n], &policy, never).await.is_ok());
            }
            per(began)
        })
    };
    let [mut floor, mut moka] = [const { Vec::new() }; 2];
    let mut ours: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for &n in &order {
            black_box(bare.get(keys[n].as_str()));
        }
        floor.push(per(began));
        let began = Instant::now();
        for &n in &order {
            black_box(peer.get(keys[n].as_str()));
        }
        moka.push(per(began));
        for (ours, cache) in ours.iter_mut().zip([alone, behind]) {
            ours[0].push(get(cache));
            ours[1].push(get_or_set(cache));
        }
    }
    let mut lines = Vec::new();
    for ([get, get_or_set], behind) in ours.iter().zip(["", ", Redis behind"]) {
        let what = |verb: &str| format!("memory hit, {verb}, 2 KiB{behind}");
        lines.extend([
            Measured::beside(what("get"), "quick_cache alone", "ns", get, &floor).at_most(MEMORY_TARGET),
            Measured::beside(what("get_or_set"), "quick_cache alone", "ns", get_or_set, &floor)
                .at_most(MEMORY_TARGET),
            Measured::beside(what("get_or_set"), "moka with time to live", "ns", get_or_set, &moka),
            Measured::alone(
                format!("memory hit, get_or_set, in all{behind}"),
                "ns",
                super::median(get_or_set.clone()),
            )
            .at_most(MEMORY_TARGET_NS),
        ]);
    }
    Ok(lines)
}

/// A contestant of the reads from Redis.
#[derive(Clone)]
enum Reader {
    Get(CacheService),
    GetOrSet(CacheService),
    /// redis-rs with as many connections, and what has this prefix.
    Bare(Arc<[MultiplexedConnection]>, &'static str),
    /// The same, and whoever reads unpacks what was packed.
    Unpacking(Arc<[MultiplexedConnection]>, usize),
}

impl Reader {
    /// Reads one of the keys; whether the value was there.
    async fn read(&self, n: usize, key: &str) -> bool {
        match self {
            Self::Get(cache) => black_box(cache.get(THING, key).await).entry().is_some(),
            Self::GetOrSet(cache) => {
                let never = || async {
                    Err(FetchFailure::new(FailureClass::NotFound, std::io::Error::other("it is not there")))
                };
                black_box(cache.get_or_set(key, &policy(), never).await).is_ok()
            }
            Self::Bare(connections, prefix) => {
                black_box(bare_get(connections, n, prefix, key).await).is_some()
            }
            Self::Unpacking(connections, bytes) => {
                let stored = bare_get(connections, n, PREFIX, key).await;
                black_box(stored.and_then(|stored| envelope::unpack(&stored.into(), *bytes))).is_some()
            }
        }
    }

    /// Microseconds a read takes with so many callers at once, each on a task of its own, as the requests of a server are.
    async fn timed(
        &self,
        keys: &Arc<[String]>,
        order: &Arc<[usize]>,
        callers: usize,
    ) -> Result<f64, BenchError> {
        let (tasks, began) = (TaskTracker::new(), Instant::now());
        let reading: Vec<_> = (0..callers)
            .map(|caller| {
                let (reader, keys, order) = (self.clone(), keys.clone(), order.clone());
                tasks.spawn(async move {
                    let mut missed = 0;
                    for &n in order.iter().skip(caller).step_by(callers) {
                        missed += usize::from(!reader.read(n, &keys[n]).await);
                    }
                    missed
                })
            })
            .collect();
        let mut missed = 0;
        for task in reading {
            missed += task.await.map_err(std::io::Error::other)?;
        }
        let took = began.elapsed();
        if missed > 0 {
            return Err(BenchError::Wrong(format!("{missed} of {} reads missed", order.len())));
        }
        Ok(took.as_secs_f64() * 1e6 / order.len() as f64)
    }
}

/// Microseconds a read takes each of the readers, for one caller that goes from one to the next.
async fn in_turns(
    readers: &[Reader],
    keys: &Arc<[String]>,
    order: &Arc<[usize]>,
) -> Result<Vec<f64>, BenchError> {
    let (readers, keys, order) = (readers.to_vec(), keys.clone(), order.clone());
    let reading = TaskTracker::new().spawn(async move {
        let (mut took, mut missed) = (vec![Duration::ZERO; readers.len()], 0);
        for turn in order.chunks(TURN) {
            for (reader, took) in readers.iter().zip(&mut took) {
                let began = Instant::now();
                for &n in turn {
                    missed += usize::from(!reader.read(n, &keys[n]).await);
                }
                *took += began.elapsed();
            }
        }
        (took, missed, order.len())
    });
    let (took, missed, reads) = reading.await.map_err(std::io::Error::other)?;
    if missed > 0 {
        return Err(BenchError::Wrong(format!("{missed} of {} reads missed", reads * took.len())));
    }
    Ok(took.iter().map(|took| took.as_secs_f64() * 1e6 / reads as f64).collect())
}

async fn bare_get(
    connections: &[MultiplexedConnection],
    n: usize,
    prefix: &str,
    key: &str,
) -> Option<Vec<u8>> {
    let mut connection = connections[n % connections.len()].clone();
    let mut get = redis::cmd("GET");
    get.arg(format!("{prefix}{key}"));
    get.query_async(&mut connection).await.ok().flatten()
}

pub(super) async fn in_redis(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let (cache, keys) = (node(server, 0).await?, Arc::<[String]>::from(keys()));
    let mut connections = Vec::new();
    for _ in 0..RedisConfig::default().max_connections {
        connections.push(server.connection().await?);
    }
    let connections = Arc::<[MultiplexedConnection]>::from(connections);
    let mut lines = Vec::new();
    // The larger is packed: what a bare client reads of ours is not yet the value.
    for (bytes, is_packed) in [(900, false), (20_000, true)] {
        let value = value(bytes);
        for (n, key) in keys.iter().enumerate() {
            cache.set(key, &policy(), value.clone(), Cost::default()).await?;
            // The same bytes under the names that redis-benchmark makes up.
            let mut copy = redis::cmd("COPY");
            copy.arg(format!("{PREFIX}{key}")).arg(format!("raw:{n:012}")).arg("REPLACE");
            copy.exec_async(&mut connections[0].clone()).await?;
        }
        let mut readers = vec![
            Reader::Bare(connections.clone(), PREFIX),
            Reader::Get(cache.clone()),
            Reader::GetOrSet(cache.clone()),
        ];
        if is_packed {
            for key in keys.iter() {
                let mut set = redis::cmd("SET");
                set.arg(format!("{AS_IT_IS}{key}")).arg(value.as_ref());
                set.exec_async(&mut connections[0].clone()).await?;
            }
            readers.push(Reader::Unpacking(connections.clone(), value.len()));
            readers.push(Reader::Bare(connections.clone(), AS_IT_IS));
        }
        for callers in [1, 64, 512] {
            let order = Arc::<[usize]>::from(order(if callers == 1 { 3_000 } else { 30_000 }));
            let (mut times, mut tool) = (vec![Vec::new(); readers.len()], Vec::new());
            for _ in 0..ROUNDS {
                if callers == 1 {
                    let took = in_turns(&readers, &keys, &order).await?;
                    times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
                } else {
                    for (times, reader) in times.iter_mut().zip(&readers) {
                        times.push(reader.timed(&keys, &order, callers).await?);
                    }
                }
                tool.extend(server.benchmark("raw:", KEYS, callers, order.len()).await?);
            }
            let what = format!("Redis hit, {bytes} bytes, {callers} at once");
            let [bare, get, get_or_set, packed @ ..] = times.as_slice() else { continue };
            let beside = |theirs, times: &[f64]| Measured::beside(&*what, theirs, "µs", get, times);
            match packed {
                [unpacking, as_it_is] => lines.extend([
                    beside("redis-rs and zstd", unpacking),
                    beside("redis-rs alone, never packed", as_it_is),
                    beside("redis-rs alone, still packed", bare).at_most(REDIS_TARGET),
                ]),
                _ => lines.push(beside("redis-rs alone", bare).at_most(REDIS_TARGET)),
            }
            if !tool.is_empty() {
                lines.push(Measured::beside(&*what, "redis-benchmark", "µs", get, &tool));
            }
            let peer = packed.first().map_or(("redis-rs alone", bare), |times| ("redis-rs and zstd", times));
            lines.push(Measured::beside("… by get_or_set", peer.0, "µs", get_or_set, peer.1));
        }
    }
    Ok(lines)
}
