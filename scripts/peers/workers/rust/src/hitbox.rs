//! `hitbox`: `moka` composed with Redis, one call at a time for a key, memory refilled from Redis.

use std::time::Duration;

use ::hitbox::{
    KeyPart, KeyParts,
    concurrency::BroadcastConcurrencyManager,
    offload::OffloadManager,
    policy::{ConcurrencyLimit, PolicyConfig},
};
use hitbox_backend::{
    Backend,
    composition::{Compose, CompositionBackend, CompositionPolicy, policy::RefillPolicy},
};
use hitbox_fn::{Cache, cached};
use hitbox_moka::MokaBackend;
use hitbox_redis::{ConnectionMode, RedisBackend};

use crate::upstream::{Refused, Upstream};

#[cached(prefix = "load", skip(upstream))]
pub async fn load(upstream: Upstream, key: String) -> Result<String, Refused> {
    upstream.fetch(&key).await
}

type Tiers = CompositionBackend<MokaBackend, RedisBackend, OffloadManager>;
type Manager = BroadcastConcurrencyManager<Result<String, Refused>>;

pub struct Hitbox {
    cache: Cache<Tiers, Manager, OffloadManager>,
    upstream: Upstream,
}

impl Hitbox {
    pub fn open(redis: u16, upstream: Upstream) -> Self {
        let memory = MokaBackend::builder().max_entries(10_000).build();
        let redis = RedisBackend::builder()
            .connection(ConnectionMode::single(format!("redis://127.0.0.1:{redis}/")))
            .connection_timeout(Duration::from_secs(1))
            .response_timeout(Duration::from_millis(250))
            // Its default retries a lost connection for longer than a caller waits.
            .retries(1)
            .build()
            .expect("a client");
        let tiers = memory.compose_with(
            redis,
            OffloadManager::with_defaults(),
            CompositionPolicy::new().refill(RefillPolicy::Always),
        );
        let policy = PolicyConfig::builder()
            .ttl(Duration::from_secs(60))
            .concurrency(ConcurrencyLimit::new(1).expect("in range"))
            .build();
        let cache = Cache::builder()
            .backend(tiers)
            .policy(policy)
            .concurrency_manager(Manager::new())
            .offload(OffloadManager::with_defaults())
            .build();
        Self { cache, upstream }
    }

    pub async fn get(&self, key: &str) -> Result<String, String> {
        load(self.upstream, key.to_owned()).cache(&self.cache).await.map_err(|refused| refused.to_string())
    }

    pub async fn delete(&self, key: &str) -> Result<(), String> {
        let mut parts = KeyParts::new(());
        parts.push(KeyPart::new("fn", Some("load")));
        parts.push(KeyPart::new("key", Some(key)));
        let (_, key) = parts.into_cache_key();
        self.cache.backend().remove(&key).await.map(drop).map_err(|error| error.to_string())
    }
}
