//! `lently-cache`: memory in front of Redis, with its defaults.

use std::time::Duration;

use lently_cache::{
    AfterWait, Budget, CacheConfig, CacheService, Clock, FailureClass, FailureTtl, FetchFailure, Fetched,
    Kind, Policy, RedisConfig, RemoteConfig, Tags,
};
use tokio_util::task::TaskTracker;

use crate::upstream::Upstream;

const THING: Kind = Kind { name: "thing", schema: 1 };

pub struct Lently {
    cache: CacheService,
    policy: Policy,
    upstream: Upstream,
}

impl Lently {
    pub async fn open(redis: u16, upstream: Upstream) -> Self {
        let cache = CacheService::open(CacheConfig {
            kinds: &[THING],
            prefix: "peers:".to_owned(),
            memory_bytes: 64 << 20,
            remote: RemoteConfig::Redis(RedisConfig { port: redis, ..RedisConfig::default() }),
            clock: Clock::system(),
            tasks: TaskTracker::new(),
            max_value_bytes: 1 << 20,
            budget: Budget::UNLIMITED,
        })
        .await
        .expect("a cache");
        let policy = Policy {
            kind: THING,
            fresh: Duration::from_secs(60),
            stale: Duration::ZERO,
            retention: Duration::from_secs(3600),
            refresh_ahead: Duration::ZERO,
            fetch_timeout: Duration::from_secs(5),
            after_wait: AfterWait::Fetch,
            // Its default is one second; two, as for every peer that can remember a failure.
            failures: FailureTtl { transient: Duration::from_secs(2), ..FailureTtl::default() },
            tags: Tags::NONE,
        };
        Self { cache, policy, upstream }
    }

    pub async fn get(&self, key: &str) -> Result<String, String> {
        let (upstream, asked) = (self.upstream, key.to_owned());
        let fetch = move || async move {
            let fetched = upstream.fetch(&asked).await.map(Fetched::new);
            fetched.map_err(|refused| FetchFailure::new(FailureClass::Transient, refused))
        };
        let answer = self.cache.get_or_set(&format!("thing:{key}"), &self.policy, fetch).await;
        let answer = answer.map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&answer.entry.value).into_owned())
    }

    pub async fn delete(&self, key: &str) -> Result<(), String> {
        self.cache.delete(&format!("thing:{key}")).await.map(drop).map_err(|error| error.to_string())
    }
}
