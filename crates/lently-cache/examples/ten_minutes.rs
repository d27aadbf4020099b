//! The verbs of the cache in ten minutes, without a server: memory in front of a file.
//!
//!     cargo run -p lently-cache --example ten_minutes

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lently_cache::{
    AfterWait, Budget, CacheConfig, CacheService, Clock, Cost, FailureTtl, Fetched, Kind, Lookup, Outcome,
    Pattern, Policy, RemoteConfig, Tags,
};
use tokio_util::task::TaskTracker;

const WEATHER: Kind = Kind { name: "weather", schema: 1 };

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("lently-ten-minutes-{}", std::process::id()));
    let clock = Clock::manual(Clock::system().now());
    let config = || CacheConfig {
        kinds: &[WEATHER],
        prefix: "example:".to_owned(),
        memory_bytes: 8 << 20,
        remote: RemoteConfig::Disk { path: folder.join("cache.sqlite"), max_bytes: 64 << 20 },
        clock: clock.clone(),
        tasks: TaskTracker::new(),
        max_value_bytes: 1 << 20,
        budget: Budget::UNLIMITED,
    };
    let policy = Policy {
        kind: WEATHER,
        fresh: Duration::from_secs(600),
        stale: Duration::ZERO,
        retention: Duration::from_secs(86_400),
        refresh_ahead: Duration::ZERO,
        fetch_timeout: Duration::from_secs(5),
        after_wait: AfterWait::Fetch,
        failures: FailureTtl::default(),
        tags: Tags::NONE,
    };
    let cache = CacheService::open(config()).await?;

    // 1. Fetched once, however many ask.
    let calls = Arc::new(AtomicU64::new(0));
    let fetch = {
        let calls = calls.clone();
        move || async move {
            calls.fetch_add(1, Ordering::SeqCst);
            let cost = Cost { quota_units: 1, ..Cost::default() };
            Ok(Fetched::new("{\"celsius\":21}").with_cost(cost))
        }
    };
    let askers = (0..100).map(|_| cache.get_or_set("weather:lisbon", &policy, fetch.clone()));
    let answers = futures::future::try_join_all(askers).await?;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    println!("100 asked, 1 fetched: {}", String::from_utf8_lossy(&answers[0].entry.value));

    // 2. A hit, also for a new process that opens the same file.
    let second = CacheService::open(config()).await?;
    let answer = second.get_or_set("weather:lisbon", &policy, fetch.clone()).await?;
    assert_eq!(answer.outcome, Outcome::Hit);
    println!("a second cache on the same file: hit from {}", answer.entry.tier);

    // 3. Ten minutes later it is no longer fresh.
    clock.advance(Duration::from_secs(600));
    let Lookup::Missing(reason) = cache.get(WEATHER, "weather:lisbon").await else {
        return Err("it should have expired".into());
    };
    println!("ten minutes later: {reason:?}");

    // 4. Look before deleting by pattern.
    cache.set("weather:porto", &policy, "{\"celsius\":18}".into(), Cost::default()).await?;
    let pattern = Pattern::parse("weather:*")?;
    println!("{pattern} would delete {} key(s)", cache.measure_pattern(&pattern).await?.keys);
    assert_eq!(cache.delete_pattern(&pattern).await?, 1);

    let stats = cache.stats();
    println!("{} hits, {} misses, {}", stats.hits, stats.misses, stats.hit_rate_str);
    cache.close().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
