//! 50 ids at once: beside one `MGET` of redis-rs alone, and beside the same ids one by one.

use std::hint::black_box;

use futures::future::join_all;
use tokio::time::Instant;

use super::{BenchError, KEYS, Measured, PREFIX, ROUNDS, THING, keys, node, policy, server::Server, value};
use crate::{
    bulk::{Batch, Batching, Bulk},
    entry::{Answer, FetchError, Fetched, Wanted},
    policy::Cost,
    service::CacheService,
};

const IDS: usize = 50;
/// Of a size in which metadata of a video is.
const BYTES: usize = 900;
/// Lists of ids a round: reading one takes a fraction of a millisecond, fetching one a few.
const READ: usize = 200;
const FETCHED: usize = 20;

pub(super) async fn of_50(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let mut lines = read(server).await?;
    lines.extend(fetched(server).await?);
    Ok(lines)
}

/// Where Redis has all of them and memory none.
async fn read(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let (cache, keys) = (node(server, 0).await?, keys());
    let mut connection = server.connection().await?;
    for key in &keys {
        cache.set(key, &policy(), value(BYTES), Cost::default()).await?;
    }
    let bulk = loader(&cache);
    let wanted: Vec<_> = keys.iter().enumerate().map(|(n, key)| wanted(n, key.clone())).collect();
    let lists = || (0..READ).map(|n| n * IDS % KEYS).map(|first| first..first + IDS);
    let per = |began: Instant| began.elapsed().as_secs_f64() * 1e6 / READ as f64;
    let [mut bare, mut many, mut fetching, mut at_once, mut in_turn] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for list in lists() {
            let full: Vec<_> = keys[list].iter().map(|key| format!("{PREFIX}{key}")).collect();
            let mut command = redis::cmd("MGET");
            command.arg(full);
            let stored: Vec<Option<Vec<u8>>> = command.query_async(&mut connection).await?;
            all(stored.iter().map(Option::is_some))?;
            black_box(stored);
        }
        bare.push(per(began));
        let began = Instant::now();
        for list in lists() {
            let lookups = cache.get_many(THING, &keys[list]).await;
            all(lookups.into_iter().map(|lookup| black_box(lookup).entry().is_some()))?;
        }
        many.push(per(began));
        let began = Instant::now();
        for list in lists() {
            all_are_there(cache.get_or_set_many(&wanted[list], &bulk).await)?;
        }
        fetching.push(per(began));
        let began = Instant::now();
        for list in lists() {
            let lookups = join_all(keys[list].iter().map(|key| cache.get(THING, key))).await;
            all(lookups.into_iter().map(|lookup| black_box(lookup).entry().is_some()))?;
        }
        at_once.push(per(began));
        let began = Instant::now();
        for key in lists().flat_map(|list| &keys[list]) {
            all([black_box(cache.get(THING, key).await).entry().is_some()])?;
        }
        in_turn.push(per(began));
    }
    cache.flush_all().await?;
    let what = format!("get_many of {IDS}, {BYTES} bytes, from Redis");
    let or_set = format!("get_or_set_many of {IDS}, from Redis");
    Ok(vec![
        Measured::beside(what.as_str(), "redis-rs alone, MGET", "µs", &many, &bare),
        Measured::beside(what.as_str(), "50 get at once", "µs", &many, &at_once),
        Measured::beside(what, "50 get in turn", "µs", &many, &in_turn),
        Measured::beside(or_set, "redis-rs alone, MGET", "µs", &fetching, &bare),
    ])
}

/// Where nobody has any: what leases, windows and writing cost, upstream answering at once.
async fn fetched(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let cache = node(server, 0).await?;
    let (bulk, policy) = (loader(&cache), policy());
    let per = |began: Instant| began.elapsed().as_secs_f64() * 1e6 / FETCHED as f64;
    let [mut many, mut at_once] = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        let new = |way: &str, list: usize| {
            let key = |n| wanted(n, format!("thing:{way}:{round}:{list}:{n}"));
            (0..IDS).map(key).collect::<Vec<_>>()
        };
        let began = Instant::now();
        for list in 0..FETCHED {
            all_are_there(cache.get_or_set_many(&new("many", list), &bulk).await)?;
        }
        many.push(per(began));
        let began = Instant::now();
        for list in 0..FETCHED {
            let wanted = new("single", list);
            let single = wanted.iter().map(|Wanted { key, .. }| {
                cache.get_or_set(key, &policy, || async { Ok(Fetched::new(value(BYTES))) })
            });
            all_are_there(join_all(single).await)?;
        }
        at_once.push(per(began));
    }
    cache.flush_all().await?;
    let what = format!("get_or_set_many of {IDS}, all fetched");
    Ok(vec![Measured::beside(what, "50 get_or_set at once", "µs", &many, &at_once)])
}

fn loader(cache: &CacheService) -> Bulk<usize> {
    cache.bulk(Batching::default(), |ids: Vec<usize>| async move {
        Ok(ids.into_iter().map(|id| (id, Ok(Fetched::new(value(BYTES))))).collect::<Batch<_>>())
    })
}

fn wanted(id: usize, key: String) -> Wanted<usize> {
    Wanted { id, key, policy: policy() }
}

fn all_are_there(answers: Vec<Result<Answer, FetchError>>) -> Result<(), BenchError> {
    all(answers.into_iter().map(|answer| black_box(answer).is_ok()))
}

fn all(there: impl IntoIterator<Item = bool>) -> Result<(), BenchError> {
    match there.into_iter().filter(|there| !there).count() {
        0 => Ok(()),
        missing => Err(BenchError::Wrong(format!("{missing} of many were not there"))),
    }
}
