//! Invalidation by tag: whether the number of entries matters.

use bytes::Bytes;
use tokio::time::Instant;

use super::{BenchError, Measured, PREFIX, ROUNDS, THING, node, policy, server::Server};
use crate::{
    entry::Lookup,
    policy::{Cost, Policy},
    service::CacheService,
    tags::Tags,
};

/// What the number of entries may add, for the noise of a machine.
const TARGET: f64 = 1.5;
const FEW: u64 = 10;
/// Keys made by one script, so that making them takes Redis no longer at a time.
const MADE_AT_ONCE: u64 = 10_000;
/// Invalidations a round: one takes but microseconds.
const TIMES: u32 = 100;

pub(super) async fn invalidate(server: &Server, keys: u64) -> Result<Vec<Measured>, BenchError> {
    let cache = node(server, 0).await?;
    for (tag, entries) in [("many", keys), ("few", FEW)] {
        make(server, &cache, tag, entries).await?;
        if !is_fresh(&cache, tag, 0).await || !is_fresh(&cache, tag, entries - 1).await {
            return Err(BenchError::Wrong(format!("the entries tagged {tag} are not there")));
        }
    }
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        many.push(timed(&cache, "many").await?);
        few.push(timed(&cache, "few").await?);
    }
    for n in [0, keys / 2, keys - 1] {
        if is_fresh(&cache, "many", n).await {
            return Err(BenchError::Wrong(format!("entry {n} is served after its tag was invalidated")));
        }
    }
    cache.flush_all().await?;
    let what = format!("invalidate_tag of {keys} entries");
    Ok(vec![Measured::beside(what, "the same of 10 entries", "µs", &many, &few).at_most(TARGET)])
}

async fn timed(cache: &CacheService, tag: &str) -> Result<f64, BenchError> {
    let began = Instant::now();
    for _ in 0..TIMES {
        cache.invalidate_tag(tag).await?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES))
}

/// One entry as the cache writes it, and copies of it.
async fn make(server: &Server, cache: &CacheService, tag: &str, entries: u64) -> Result<(), BenchError> {
    let policy = Policy { tags: Tags::new([tag]), ..policy() };
    cache.set(&format!("thing:{tag}:0"), &policy, Bytes::from_static(b"{}"), Cost::default()).await?;
    let copying = "local stored = redis.call('GET', ARGV[3] .. '0')
        for n = ARGV[1], ARGV[2] do redis.call('SET', ARGV[3] .. n, stored, 'EX', 6000) end";
    let mut connection = server.connection().await?;
    for first in (1..entries).step_by(usize::try_from(MADE_AT_ONCE).unwrap_or(usize::MAX)) {
        let last = (first + MADE_AT_ONCE).min(entries) - 1;
        let mut script = redis::cmd("EVAL");
        script.arg(copying).arg(0).arg(first).arg(last).arg(format!("{PREFIX}thing:{tag}:"));
        script.exec_async(&mut connection).await?;
    }
    Ok(())
}

async fn is_fresh(cache: &CacheService, tag: &str, n: u64) -> bool {
    matches!(cache.get(THING, &format!("thing:{tag}:{n}")).await, Lookup::Fresh(_))
}
