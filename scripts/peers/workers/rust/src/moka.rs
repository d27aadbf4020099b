//! `moka` alone: a cache of one process, which knows of no other.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use crate::upstream::{Refused, Upstream};

pub struct Moka {
    cache: Cache<String, String>,
    upstream: Upstream,
}

impl Moka {
    pub fn open(upstream: Upstream) -> Self {
        let cache = Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(60)).build();
        Self { cache, upstream }
    }

    pub async fn get(&self, key: &str) -> Result<String, String> {
        let fetched = self.cache.try_get_with_by_ref(key, self.upstream.fetch(key)).await;
        fetched.map_err(|refused: Arc<Refused>| refused.to_string())
    }

    pub async fn delete(&self, key: &str) -> Result<(), String> {
        self.cache.invalidate(key).await;
        Ok(())
    }
}
