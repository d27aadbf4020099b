//! Many who wait for one fetch, and how soon another node's change is seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use tokio::{task::yield_now, time::Instant};

use super::{BenchError, Measured, ROUNDS, THING, node, policy, server::Server};
use crate::{entry::Fetched, policy::Cost, service::CacheService};

const WAITERS: usize = 10_000;
const FETCH: Duration = Duration::from_millis(50);
const CHANGES: u32 = 3000;

pub(super) async fn waiters(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let (cache, peer) = (node(server, 64 << 20).await?, moka::future::Cache::<String, Bytes>::new(1000));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let calls = Arc::new(AtomicU64::new(0));
    for round in 0..ROUNDS {
        let (key, policy) = (format!("thing:wait:{round}"), policy());
        let began = Instant::now();
        join_all((0..WAITERS).map(|_| {
            let calls = calls.clone();
            cache.get_or_set(&key, &policy, move || async move {
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(FETCH).await;
                Ok(Fetched::new("1"))
            })
        }))
        .await;
        ours.push(began.elapsed().as_micros() as f64 / 1000.0);
        let began = Instant::now();
        join_all((0..WAITERS).map(|_| {
            peer.get_with(key.clone(), async {
                tokio::time::sleep(FETCH).await;
                Bytes::from_static(b"1")
            })
        }))
        .await;
        theirs.push(began.elapsed().as_micros() as f64 / 1000.0);
    }
    let calls = calls.load(Ordering::Relaxed) as f64 / ROUNDS as f64;
    Ok(vec![
        Measured::beside("10,000 waiters on a fetch of 50 ms", "moka, one process", "ms", &ours, &theirs),
        Measured::alone("fetches for 10,000 waiters", "", calls).at_most(1.0),
    ])
}

/// From the moment a write is acknowledged on one node to the moment another reads the new value.
pub(super) async fn changes(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let (writer, reader) = (node(server, 64 << 20).await?, node(server, 64 << 20).await?);
    let mut took = Vec::new();
    for n in 0..CHANGES {
        let (old, new) = (Bytes::from(format!("{n}")), Bytes::from(format!("{n}.5")));
        writer.set("thing:1", &policy(), old.clone(), Cost::default()).await?;
        until_read(&reader, &old).await;
        writer.set("thing:1", &policy(), new.clone(), Cost::default()).await?;
        let acknowledged = Instant::now();
        until_read(&reader, &new).await;
        took.push(acknowledged.elapsed().as_micros() as f64);
    }
    took.sort_by(f64::total_cmp);
    Ok(vec![
        Measured::alone("a change elsewhere is seen, median", "µs", took[took.len() / 2]),
        Measured::alone("a change elsewhere is seen, p99", "µs", took[took.len() * 99 / 100])
            .at_most(20_000.0),
    ])
}

async fn until_read(reader: &CacheService, value: &Bytes) {
    while reader.get(THING, "thing:1").await.entry().is_none_or(|entry| entry.value != value) {
        yield_now().await;
    }
}
