//! Bounds: the memory tier's bytes, a value's size, what a configuration may ask for.

use bytes::Bytes;
use lently_cache::{CacheConfig, CacheError, CacheService, Cost, RedisConfig, RemoteConfig, TlsConfig};

use crate::support::{config, in_memory, look, manual_clock, open_with, policy, put};

#[tokio::test]
async fn the_memory_tier_keeps_within_its_bytes() {
    let small = CacheConfig {
        memory_bytes: 1 << 20,
        max_value_bytes: 64 << 10,
        ..config(RemoteConfig::None, manual_clock())
    };
    let bench = open_with(small).await;
    for n in 0..1000 {
        let value = Bytes::from(vec![b'x'; 10_000]);
        bench.cache.set(&format!("thing:{n}"), &policy(), value, Cost::default()).await.expect("a set");
    }
    let mut kept = 0;
    for n in 0..1000 {
        kept += usize::from(look(&bench.cache, &format!("thing:{n}")).await.is_some());
    }
    assert!(kept > 20 && kept * 10_000 <= 1 << 20, "{kept} values of 10,000 bytes");
}

#[tokio::test]
async fn without_any_tier_values_are_fetched_each_time_and_nothing_claims_to_be_stored() {
    let none = CacheConfig { memory_bytes: 0, ..config(RemoteConfig::None, manual_clock()) };
    let bench = open_with(none).await;
    let stored = bench.cache.set("thing:1", &policy(), Bytes::from_static(b"1"), Cost::default()).await;
    assert!(!stored.expect("a set").anywhere());
    assert_eq!(look(&bench.cache, "thing:1").await, None);
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused() {
    let bench = in_memory().await;
    let large = Bytes::from(vec![b' '; (1 << 20) + 1]);
    let refused = bench.cache.set("thing:1", &policy(), large, Cost::default()).await;
    assert!(matches!(refused, Err(CacheError::TooLarge { limit, .. }) if limit == 1 << 20));
    put(&bench.cache, "thing:2", "1").await;
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_at_the_start() {
    let missing = TlsConfig { ca_file: Some("/does/not/exist.pem".into()) };
    for remote in [
        RemoteConfig::Redis(RedisConfig { max_connections: 0, ..RedisConfig::default() }),
        RemoteConfig::Redis(RedisConfig { max_connections: 21, ..RedisConfig::default() }),
        RemoteConfig::Redis(RedisConfig { tls: Some(missing), ..RedisConfig::default() }),
    ] {
        let opened = CacheService::open(config(remote, manual_clock())).await;
        assert!(matches!(opened, Err(CacheError::Config(_))));
    }
}

#[tokio::test]
async fn the_largest_value_taken_finds_room_in_memory() {
    for memory_bytes in [2 << 20, 16 << 20, 200 << 20] {
        let bench =
            open_with(CacheConfig { memory_bytes, ..config(RemoteConfig::None, manual_clock()) }).await;
        for n in 0..20 {
            let value = Bytes::from(vec![b'x'; 1 << 20]);
            let stored = bench.cache.set(&format!("thing:{n}"), &policy(), value, Cost::default()).await;
            assert!(stored.expect("a set").memory, "{n} of {memory_bytes}");
        }
    }
}

#[tokio::test]
async fn a_memory_that_could_not_hold_the_largest_value_is_refused() {
    let small = CacheConfig { memory_bytes: 1 << 20, ..config(RemoteConfig::None, manual_clock()) };
    let Err(error) = CacheService::open(small).await else { panic!("a refusal") };
    assert!(error.to_string().contains("max_value_bytes"), "{error}");
}
