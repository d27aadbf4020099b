//! What the cache costs beside its floors and a peer, in one run, as ratios:
//!
//! ```sh
//! cargo bench -p lently-cache                  # a table; starts a redis-server of its own
//! cargo bench -p lently-cache -- 1000000       # with so many keys for the pattern, instead of 100,000
//! ```
//!
//! Each line measures the contestants in turn, round after round, and gives the median of the rounds' ratios, so that a machine
//! that slows down slows all of them.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use lently_cache::{
    AfterWait, Budget, CacheConfig, CacheService, Clock, Cost, FailureTtl, Fetched, Kind, Pattern, Policy,
    RedisConfig, RemoteConfig,
};
use lently_testing::{RedisServer, wait_until};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio_util::task::TaskTracker;

const THING: Kind = Kind { name: "thing", schema: 1 };
const KEYS: usize = 1000;
const ROUNDS: usize = 9;
const BOUND: Duration = Duration::from_secs(60);

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
    }
}

async fn open(remote: RemoteConfig, memory_bytes: u64) -> CacheService {
    CacheService::open(CacheConfig {
        kinds: &[THING],
        prefix: "bench:".to_owned(),
        memory_bytes,
        remote,
        clock: Clock::system(),
        tasks: TaskTracker::new(),
        max_value_bytes: 1 << 20,
        budget: Budget::UNLIMITED,
    })
    .await
    .expect("a cache")
}

async fn node(server: &RedisServer, memory_bytes: u64) -> CacheService {
    let redis = RedisConfig { port: server.port(), ..RedisConfig::default() };
    let cache = open(RemoteConfig::Redis(redis), memory_bytes).await;
    wait_until("the link is up", BOUND, async || cache.health().tracking).await;
    cache
}

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
    values[values.len() / 2]
}

fn line(what: &str, floor: &str, ours: &[f64], theirs: &[f64], unit: &str) {
    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    println!(
        "{what:<44} {:>12.1} {unit:<3} {floor:<26} {:>12.1} {unit:<3} ratio {:>6.2}",
        median(ours.to_vec()),
        median(theirs.to_vec()),
        median(ratios)
    );
}

async fn memory_hits() {
    let (cache, keys, order) = (open(RemoteConfig::None, 64 << 20).await, keys(), order(200_000));
    let bare = quick_cache::sync::Cache::<Arc<str>, Bytes>::new(KEYS * 2);
    let peer = moka::sync::Cache::<Arc<str>, Bytes>::builder()
        .max_capacity(KEYS as u64 * 2)
        .time_to_live(Duration::from_secs(3600))
        .build();
    let content = value(2048);
    for key in &keys {
        cache.set(key, &policy(), content.clone(), Cost::default()).await.expect("a set");
        bare.insert(Arc::from(key.as_str()), content.clone());
        peer.insert(Arc::from(key.as_str()), content.clone());
    }
    let policy = policy();
    let [mut get, mut get_or_set, mut floor, mut moka] = [const { Vec::new() }; 4];
    let per = |began: Instant| began.elapsed().as_nanos() as f64 / order.len() as f64;
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
        let began = Instant::now();
        for &n in &order {
            black_box(cache.get(THING, &keys[n]).await);
        }
        get.push(per(began));
        let began = Instant::now();
        for &n in &order {
            let never = || async { Ok(Fetched::new("never")) };
            black_box(cache.get_or_set(&keys[n], &policy, never).await.is_ok());
        }
        get_or_set.push(per(began));
    }
    line("memory hit, get, 2 KiB", "quick_cache alone", &get, &floor, "ns");
    line("memory hit, get_or_set, 2 KiB", "quick_cache alone", &get_or_set, &floor, "ns");
    line("memory hit, get_or_set, 2 KiB", "moka with time to live", &get_or_set, &moka, "ns");
}

async fn redis_hits(server: &RedisServer) {
    let (cache, keys) = (node(server, 0).await, keys());
    let client = redis::Client::open(("127.0.0.1", server.port())).expect("a client");
    let mut connections = Vec::new();
    for _ in 0..RedisConfig::default().max_connections {
        connections.push(client.get_multiplexed_async_connection().await.expect("a connection"));
    }
    for bytes in [900, 20_000] {
        for key in &keys {
            cache.set(key, &policy(), value(bytes), Cost::default()).await.expect("a set");
        }
        for concurrency in [1, 64, 512] {
            let order = order(if concurrency == 1 { 3_000 } else { 30_000 });
            let (mut ours, mut floor) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let began = Instant::now();
                stream::iter(&order)
                    .for_each_concurrent(concurrency, |&n| {
                        let mut connection = connections[n % connections.len()].clone();
                        let key = format!("bench:{}", keys[n]);
                        async move {
                            let got: Vec<u8> = redis::cmd("GET")
                                .arg(key)
                                .query_async(&mut connection)
                                .await
                                .expect("a value");
                            black_box(got);
                        }
                    })
                    .await;
                floor.push(began.elapsed().as_micros() as f64 / order.len() as f64);
                let began = Instant::now();
                stream::iter(&order)
                    .for_each_concurrent(concurrency, |&n| {
                        let (cache, key) = (&cache, &keys[n]);
                        async move {
                            black_box(cache.get(THING, key).await.entry().expect("a hit"));
                        }
                    })
                    .await;
                ours.push(began.elapsed().as_micros() as f64 / order.len() as f64);
            }
            line(
                &format!("Redis hit, {bytes} bytes, {concurrency} at once"),
                "redis-rs alone",
                &ours,
                &floor,
                "µs",
            );
        }
    }
}

async fn waiters(server: &RedisServer) {
    const WAITERS: usize = 10_000;
    let (cache, peer) = (node(server, 64 << 20).await, moka::future::Cache::<String, Bytes>::new(1000));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let calls = Arc::new(AtomicU64::new(0));
    let pause = Duration::from_millis(50);
    for round in 0..ROUNDS {
        let (key, policy) = (format!("thing:wait:{round}"), policy());
        let began = Instant::now();
        join_all((0..WAITERS).map(|_| {
            let calls = calls.clone();
            cache.get_or_set(&key, &policy, move || async move {
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
                Ok(Fetched::new("1"))
            })
        }))
        .await;
        ours.push(began.elapsed().as_micros() as f64 / 1000.0);
        let began = Instant::now();
        join_all((0..WAITERS).map(|_| {
            peer.get_with(key.clone(), async move {
                tokio::time::sleep(pause).await;
                Bytes::from_static(b"1")
            })
        }))
        .await;
        theirs.push(began.elapsed().as_micros() as f64 / 1000.0);
    }
    assert_eq!(calls.load(Ordering::Relaxed), ROUNDS as u64, "one fetch each");
    line("10,000 waiters on a fetch of 50 ms", "moka, one process", &ours, &theirs, "ms");
}

async fn evictions(server: &RedisServer) {
    let (writer, reader) = (node(server, 64 << 20).await, node(server, 64 << 20).await);
    let mut took = Vec::new();
    for n in 0..3000_u32 {
        let (old, new) = (format!("{n}"), format!("{n}.new"));
        writer.set("thing:1", &policy(), old.into(), Cost::default()).await.expect("a set");
        while reader.get(THING, "thing:1").await.entry().is_none_or(|entry| entry.value != format!("{n}")) {}
        writer.set("thing:1", &policy(), new.clone().into(), Cost::default()).await.expect("a set");
        let acknowledged = Instant::now();
        while reader.get(THING, "thing:1").await.entry().is_none_or(|entry| entry.value != new) {
            tokio::task::yield_now().await;
        }
        took.push(acknowledged.elapsed().as_micros() as f64);
    }
    took.sort_by(f64::total_cmp);
    println!(
        "a change elsewhere is seen after (write acknowledged, new value read)   p50 {:.0} µs   p99 {:.0} µs   max {:.0} µs",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1]
    );
}

async fn patterns(server: &RedisServer, keys: usize) {
    let cache = node(server, 0).await;
    server.cli(&[
        "EVAL",
        "for n = 1, tonumber(ARGV[1]) do redis.call('SET', 'bench:thing:' .. n, '{}', 'EX', 6000) end",
        "0",
        &keys.to_string(),
    ]);
    let client = redis::Client::open(("127.0.0.1", server.port())).expect("a client");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let tasks = TaskTracker::new();
    let slowest = Arc::new(AtomicU64::new(0));
    let told = slowest.clone();
    let pinging = tasks.spawn(async move {
        loop {
            let began = Instant::now();
            let _: redis::Value = redis::cmd("PING").query_async(&mut connection).await.expect("a pong");
            told.fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    });
    let began = Instant::now();
    let deleted =
        cache.delete_pattern(&Pattern::parse("thing:*").expect("a pattern")).await.expect("a delete");
    let took = began.elapsed();
    pinging.abort();
    assert!(deleted >= keys as u64);
    server.cli(&["SLOWLOG", "RESET"]);
    println!(
        "delete_pattern of {deleted} keys   {:.2} s   slowest PING beside it {:.1} ms",
        took.as_secs_f64(),
        slowest.load(Ordering::Relaxed) as f64 / 1000.0
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let keys = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(100_000);
    let server = RedisServer::start().await;
    memory_hits().await;
    redis_hits(&server).await;
    waiters(&server).await;
    evictions(&server).await;
    patterns(&server, keys).await;
}
