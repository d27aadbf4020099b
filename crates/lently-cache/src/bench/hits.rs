//! Hits: in memory beside a bare map and a peer, in Redis beside redis-rs alone and `redis-benchmark`.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    BenchError, KEYS, Measured, PREFIX, ROUNDS, THING, keys, node, open, order, policy, server::Server, value,
};
use crate::{
    entry::Fetched,
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

/// What a hit adds to what was saved, in every unit there is.
const COST: Cost =
    Cost { quota_units: 3, tokens_in: 6_000, tokens_out: 900, micro_dollars: 1_100, milliseconds: 2_500 };

pub(super) async fn in_memory() -> Result<Vec<Measured>, BenchError> {
    let (cache, keys, order) = (open(RemoteConfig::None, 64 << 20).await?, keys(), order(200_000));
    let bare = quick_cache::sync::Cache::<Arc<str>, Bytes>::new(KEYS * 2);
    let peer = moka::sync::Cache::<Arc<str>, Bytes>::builder()
        .max_capacity(KEYS as u64 * 2)
        .time_to_live(Duration::from_secs(3600))
        .build();
    let (policy, content) = (policy(), value(2048));
    for key in &keys {
        cache.set(key, &policy, content.clone(), COST).await?;
        bare.insert(Arc::from(key.as_str()), content.clone());
        peer.insert(Arc::from(key.as_str()), content.clone());
    }
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
    Ok(vec![
        Measured::beside("memory hit, get, 2 KiB", "quick_cache alone", "ns", &get, &floor)
            .at_most(MEMORY_TARGET),
        Measured::beside("memory hit, get_or_set, 2 KiB", "quick_cache alone", "ns", &get_or_set, &floor)
            .at_most(MEMORY_TARGET),
        Measured::beside("memory hit, get_or_set, 2 KiB", "moka with time to live", "ns", &get_or_set, &moka),
        Measured::alone("memory hit, get_or_set, in all", "ns", super::median(get_or_set))
            .at_most(MEMORY_TARGET_NS),
    ])
}

pub(super) async fn in_redis(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let (cache, keys) = (node(server, 0).await?, keys());
    let mut connections = Vec::new();
    for _ in 0..RedisConfig::default().max_connections {
        connections.push(server.connection().await?);
    }
    let mut lines = Vec::new();
    for bytes in [900, 20_000] {
        for (n, key) in keys.iter().enumerate() {
            cache.set(key, &policy(), value(bytes), Cost::default()).await?;
            // The same bytes under the names that redis-benchmark makes up.
            let mut copy = redis::cmd("COPY");
            copy.arg(format!("{PREFIX}{key}")).arg(format!("raw:{n:012}")).arg("REPLACE");
            copy.exec_async(&mut connections[0]).await?;
        }
        for concurrency in [1, 64, 512] {
            let what = format!("Redis hit, {bytes} bytes, {concurrency} at once");
            let order = order(if concurrency == 1 { 3_000 } else { 30_000 });
            let [mut ours, mut bare, mut tool] = [const { Vec::new() }; 3];
            for _ in 0..ROUNDS {
                let began = Instant::now();
                bare_gets(&connections, &keys, &order, concurrency).await?;
                bare.push(began.elapsed().as_micros() as f64 / order.len() as f64);
                let began = Instant::now();
                our_gets(&cache, &keys, &order, concurrency).await?;
                ours.push(began.elapsed().as_micros() as f64 / order.len() as f64);
                tool.extend(server.benchmark("raw:", KEYS, concurrency, order.len()).await?);
            }
            lines.push(
                Measured::beside(what.as_str(), "redis-rs alone", "µs", &ours, &bare).at_most(REDIS_TARGET),
            );
            if !tool.is_empty() {
                lines.push(Measured::beside(what, "redis-benchmark", "µs", &ours, &tool));
            }
        }
    }
    Ok(lines)
}

async fn our_gets(
    cache: &CacheService,
    keys: &[String],
    order: &[usize],
    concurrency: usize,
) -> Result<(), BenchError> {
    let missed = stream::iter(order)
        .map(|&n| async move { black_box(cache.get(THING, &keys[n]).await).entry().is_none() })
        .buffer_unordered(concurrency)
        .filter(|&missed| std::future::ready(missed))
        .count()
        .await;
    all_hit(missed, order)
}

async fn bare_gets(
    connections: &[redis::aio::MultiplexedConnection],
    keys: &[String],
    order: &[usize],
    concurrency: usize,
) -> Result<(), BenchError> {
    let missed = stream::iter(order)
        .map(|&n| {
            let mut connection = connections[n % connections.len()].clone();
            let key = format!("{PREFIX}{}", keys[n]);
            async move {
                let got: redis::RedisResult<Option<Vec<u8>>> =
                    redis::cmd("GET").arg(key).query_async(&mut connection).await;
                black_box(got).ok().flatten().is_none()
            }
        })
        .buffer_unordered(concurrency)
        .filter(|&missed| std::future::ready(missed))
        .count()
        .await;
    all_hit(missed, order)
}

fn all_hit(missed: usize, order: &[usize]) -> Result<(), BenchError> {
    if missed == 0 {
        return Ok(());
    }
    Err(BenchError::Wrong(format!("{missed} of {} reads missed", order.len())))
}
