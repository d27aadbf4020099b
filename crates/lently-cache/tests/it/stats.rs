//! The counters, as JSON and as numbers that add up.

use crate::support::{THING, Upstream, fixed_clock, in_memory, open_with, policy, put};
use lently_cache::RemoteConfig;

#[tokio::test]
async fn hits_misses_sets_and_deletes_add_up_and_can_be_reset() {
    let bench = in_memory().await;
    let cache = &bench.cache;
    cache.get(THING, "thing:1").await;
    cache.get_or_set("thing:1", &policy(), Upstream::default().fetch("1")).await.expect("an answer");
    for _ in 0..3 {
        cache.get(THING, "thing:1").await;
    }
    cache.get_or_set("thing:1", &policy(), Upstream::default().fetch("1")).await.expect("an answer");
    put(cache, "thing:2", "2").await;
    cache.delete("thing:2").await.expect("a delete");
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.sets, stats.deletes, stats.errors), (4, 2, 2, 1, 0));
    assert_eq!((stats.total_requests, stats.fetches, stats.collapsed), (6, 1, 0));
    assert_eq!(stats.hit_rate_str, "66.7%");
    assert_eq!(stats.by_kind["thing"].hits, 4);
    assert_eq!(stats.by_tier["memory"], 4);
    cache.reset();
    assert_eq!(cache.stats().total_requests + cache.stats().sets + cache.stats().deletes, 0);
}

#[tokio::test]
async fn stats_and_health_have_the_shape_they_are_served_in() {
    let bench = open_with(crate::support::config(RemoteConfig::None, fixed_clock())).await;
    put(&bench.cache, "thing:1", "1").await;
    bench.cache.get(THING, "thing:1").await;
    insta::assert_json_snapshot!("stats", bench.cache.stats());
    insta::assert_json_snapshot!("health", bench.cache.health());
}
