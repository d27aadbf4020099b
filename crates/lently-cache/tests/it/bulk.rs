//! Many keys at once: what is said of each is what would be said of it alone.

use std::time::Duration;

use bytes::Bytes;
use lently_cache::{CacheError, Cost, Lookup, MissReason, Policy, Tags, Tier, WarmEntry};
use lently_testing::{ClusterDeployment, RedisServer, wait_until};

use crate::{
    redis_cluster,
    support::{
        BOUND, Bench, PREFIX, THING, everywhere, look, on_a_strict_redis, on_redis, policy, put, tracks,
    },
};

fn keys(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("thing:{n}")).collect()
}

fn entry(key: &str, value: impl Into<Bytes>) -> WarmEntry {
    WarmEntry { key: key.to_owned(), policy: policy(), value: value.into(), cost: Cost::default() }
}

#[tokio::test]
async fn of_many_keys_each_is_found_as_it_would_be_alone() {
    everywhere(async |Bench { cache, clock, .. }| {
        let tagged = Policy { tags: Tags::new(["a"]), ..policy() };
        let brief = Policy { retention: Duration::from_secs(70), ..policy() };
        put(cache, "thing:stale", "1").await;
        cache.set("thing:gone", &brief, "2".into(), Cost::default()).await.expect("a set");
        clock.advance(Duration::from_secs(90));
        put(cache, "thing:fresh", "3").await;
        cache.set("thing:invalid", &tagged, "4".into(), Cost::default()).await.expect("a set");
        cache.invalidate_tag("a").await.expect("invalidated");
        cache.set("thing:tagged", &tagged, "5".into(), Cost::default()).await.expect("a set");
        let keys = [
            "thing:fresh",
            "thing:stale",
            "",
            "thing:gone",
            "thing:invalid",
            "thing:never",
            "thing:tagged",
            "thing:fresh",
            "a\nb",
        ];
        let many = cache.get_many(THING, &keys).await;
        assert_eq!(many.len(), keys.len());
        let told = |lookup: &Lookup| match lookup {
            Lookup::Fresh(entry) => format!("fresh {:?}", entry.value),
            Lookup::Stale(entry) => format!("stale {:?}", entry.value),
            Lookup::Missing(MissReason::Invalidated) => "invalidated".to_owned(),
            _ => "missing".to_owned(),
        };
        let many: Vec<String> = many.iter().map(told).collect();
        let expected = [
            "fresh b\"3\"",
            "stale b\"1\"",
            "missing",
            "missing",
            "invalidated",
            "missing",
            "fresh b\"5\"",
            "fresh b\"3\"",
            "missing",
        ];
        assert_eq!(many, expected);
        assert!(cache.get_many(THING, &[""; 0]).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_was_read_together_is_in_memory_and_leaves_it_when_another_node_changes_it() {
    let server = RedisServer::start().await;
    let (one, other) = (on_redis(&server).await, on_redis(&server).await);
    tracks(&one).await;
    tracks(&other).await;
    let keys = keys(0..500);
    let stored = one.cache.set_many(keys.iter().map(|key| entry(key, key.clone())).collect()).await;
    assert!(stored.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    let lookups = other.cache.get_many(THING, &keys).await;
    for (key, lookup) in keys.iter().zip(&lookups) {
        let Lookup::Fresh(entry) = lookup else { panic!("{key}: {lookup:?}") };
        assert_eq!((&entry.value[..], entry.tier), (key.as_bytes(), Tier::Redis));
    }
    // The other's notices of what it wrote may still arrive.
    wait_until("all are in memory", BOUND, async || {
        let lookups = other.cache.get_many(THING, &keys).await;
        lookups.into_iter().all(|lookup| lookup.entry().is_some_and(|entry| entry.tier == Tier::Memory))
    })
    .await;
    assert_eq!(other.cache.stats().misses, 0);
    // A change is heard of by its key, whichever way the copy came.
    put(&one.cache, "thing:7", "new").await;
    wait_until("the change is heard of", BOUND, async || {
        look(&other.cache, "thing:7").await.is_some_and(|(value, _)| value == "new")
    })
    .await;
}

#[tokio::test]
async fn a_key_that_cannot_be_read_costs_the_others_nothing() {
    let server = RedisServer::start().await;
    let Bench { cache, .. } = on_redis(&server).await;
    server.cli(&["RPUSH", &format!("{PREFIX}thing:list"), "1"]);
    server.put(&format!("{PREFIX}thing:garbage"), b"{\"lently\":", 600);
    server.put(&format!("{PREFIX}thing:2"), b"{}", 600);
    let lookups = cache.get_many(THING, &["thing:list", "thing:garbage", "thing:2"]).await;
    let unreadable = Lookup::Missing(MissReason::Unreadable);
    assert_eq!(lookups[..2], [unreadable.clone(), unreadable]);
    assert_eq!(lookups[2].clone().entry().expect("a bare value").value, "{}");
    assert_eq!(cache.stats().errors, 0, "none of it is Redis' fault");
}

#[tokio::test]
async fn many_are_read_and_written_by_a_user_who_may_do_nothing_else() {
    let (_server, Bench { cache, .. }) = on_a_strict_redis().await;
    let keys = keys(0..60);
    let stored = cache.set_many(keys.iter().map(|key| entry(key, "1")).collect()).await;
    assert!(stored.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    assert_eq!(cache.get_many(THING, &keys).await.iter().filter(|lookup| is_fresh(lookup)).count(), 60);
    assert_eq!(cache.stats().errors, 0);
}

/// Each key where it is, also while its slot is on the way and some of its keys have arrived.
#[tokio::test]
async fn many_are_read_and_written_at_every_primary_of_a_cluster_while_a_slot_is_moved() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (redis_cluster::on(&cluster).await, redis_cluster::on(&cluster).await);
    let mut keys = keys(0..100);
    keys.extend((0..20).map(|n| format!("thing:{{moved}}:{n}")));
    let put = async || here.cache.set_many(keys.iter().map(|key| entry(key, key.clone())).collect()).await;
    let read = async || {
        there
            .cache
            .get_many(THING, &keys)
            .await
            .into_iter()
            .zip(&keys)
            .all(|(lookup, key)| lookup.entry().is_some_and(|entry| entry.value == key))
    };
    assert!(put().await.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    let place = format!("{PREFIX}thing:{{moved}}:0");
    let (slot, from) = (cluster.slot_of(&place), cluster.owner_of(&place));
    let to = cluster.servers[..3].iter().find(|server| server.port() != from.port()).expect("another");
    cluster.begin_to_move(&slot, from, to);
    assert_eq!(cluster.move_keys(&slot, 10, from, to), 10);
    assert!(read().await);
    assert!(put().await.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)));
    cluster.move_keys(&slot, 100, from, to);
    cluster.end_to_move(&slot, from, to);
    assert!(read().await);
    assert_eq!(here.cache.health().swallowed_errors + there.cache.health().swallowed_errors, 0);
}

fn is_fresh(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Fresh(_))
}

#[tokio::test]
async fn without_redis_many_are_served_from_memory_and_the_others_are_said_to_be_out_of_reach() {
    let mut server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    tracks(&bench).await;
    let cache = bench.cache;
    put(&cache, "thing:0", "1").await;
    server.kill();
    let stored = cache.set_many(vec![entry("thing:1", "1"), entry("thing:2", "2")]).await;
    assert!(stored.into_iter().all(|stored| stored.is_ok_and(|stored| stored.memory && !stored.remote)));
    let lookups = cache.get_many(THING, &keys(0..4)).await;
    let resting = Lookup::Missing(MissReason::TierResting);
    assert!(lookups[..3].iter().all(is_fresh), "{lookups:?}");
    assert_eq!(lookups[3], resting);
    assert!(cache.stats().errors > 0);
}

#[tokio::test]
async fn of_many_values_each_is_stored_or_refused_by_itself() {
    everywhere(async |Bench { cache, .. }| {
        let tagged = Policy { tags: Tags::new(["a"]), ..policy() };
        let cost = Cost { quota_units: 3, ..Cost::default() };
        let entries = vec![
            entry("thing:1", "1"),
            entry("", "2"),
            entry("thing:3", vec![b'3'; (1 << 20) + 1]),
            WarmEntry { policy: tagged, cost, ..entry("thing:4", "4") },
        ];
        let stored = cache.set_many(entries).await;
        assert!(stored[0].as_ref().is_ok_and(|stored| stored.anywhere()));
        assert!(matches!(stored[1], Err(CacheError::BadKey(_))));
        assert!(matches!(stored[2], Err(CacheError::TooLarge { .. })));
        assert!(stored[3].is_ok());
        let found = cache.get(THING, "thing:4").await.entry().expect("a hit");
        assert_eq!((found.cost.quota_units, found.tagged.tags().collect::<Vec<_>>()), (3, vec!["a"]));
        assert!(cache.set_many(Vec::new()).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_keep_the_rest_from_being_written() {
    let server = RedisServer::start().await;
    let Bench { cache, tasks, .. } = on_redis(&server).await;
    let writing = cache.set_many(keys(0..500).iter().map(|key| entry(key, "1")).collect());
    assert!(futures::FutureExt::now_or_never(writing).is_none(), "the caller left");
    tasks.close();
    tasks.wait().await;
    assert_eq!(server.cli(&["DBSIZE"]), "500");
}
