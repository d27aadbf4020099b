//! The memory tier: bounded in bytes, frequency-aware, checked against the clock on every read.
//! It never asks another tier.

use std::{cell::Cell, sync::Arc, time::Duration};

use jiff::Timestamp;
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::{
    clock::later,
    entry::{Entry, Tier},
    pattern::Pattern,
    service::MAX_KEY_BYTES,
};

/// What an entry takes beside key and value: the entry itself, the etag and the cache's own slot.
const OVERHEAD_BYTES: u64 = 256;
/// More would not part the threads of a usual machine any better.
const MOST_SHARDS: u64 = 64;
/// A guess at a usual entry, for the cache's initial tables.
const USUAL_ENTRY_BYTES: u64 = 16 * 1024;

#[derive(Clone)]
struct Held {
    entry: Entry,
    /// Until when it is served without asking the remote tier whether it is still there.
    trusted_until: Timestamp,
}

#[derive(Clone)]
struct Bytewise;

impl Weighter<Arc<str>, Held> for Bytewise {
    fn weight(&self, key: &Arc<str>, held: &Held) -> u64 {
        OVERHEAD_BYTES + key.len() as u64 + held.entry.value.len() as u64
    }
}

pub(crate) struct Memory {
    /// `None` where the tier is switched off by a size of zero.
    cache: Option<Cache<Arc<str>, Held, Bytewise>>,
}

/// What memory knows of a key.
pub(crate) enum Found {
    /// Serve it.
    Trusted(Entry),
    /// Fresh by its own times, and the remote tier should be asked whether it still has it.
    Doubtful(Entry),
    /// There was something, no longer fresh.
    Expired,
    Absent,
}

impl Memory {
    /// A tier of so many bytes in which the largest value finds room: each shard takes only what fits into it alone.
    pub(crate) fn new(bytes: u64, max_value_bytes: u64) -> Self {
        let items = usize::try_from(bytes / USUAL_ENTRY_BYTES).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        let largest = max_value_bytes.saturating_add(OVERHEAD_BYTES + MAX_KEY_BYTES as u64);
        // A shard keeps a thirty-second of itself for new entries, and one entry may take the rest.
        let shards = (bytes / (largest + largest / 16)).clamp(1, MOST_SHARDS);
        // A power of two, for another number would be rounded up.
        let shards = 1_usize << shards.ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(items)
            .weight_capacity(bytes)
            .build()
            .expect("the capacities were given");
        let cache = || {
            Cache::with_options(options, Bytewise, DefaultHashBuilder::default(), DefaultLifecycle::default())
        };
        Self { cache: (bytes > 0).then(cache) }
    }

    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Found {
        let Some(held) = self.cache.as_ref().and_then(|cache| cache.get(key)) else { return Found::Absent };
        if now >= held.entry.fresh_until {
            self.remove(key);
            Found::Expired
        } else if now < held.trusted_until {
            Found::Trusted(held.entry)
        } else {
            Found::Doubtful(held.entry)
        }
    }

    /// Keeps `entry`; `trust` bounds how long it is believed without asking the remote tier.
    pub(crate) fn insert(
        &self,
        key: &Arc<str>,
        entry: &Entry,
        now: Timestamp,
        trust: Option<Duration>,
    ) -> bool {
        let Some(cache) = &self.cache else { return false };
        let trusted_until = trust.map_or(Timestamp::MAX, |trust| later(now, trust));
        let held = Held { entry: Entry { tier: Tier::Memory, ..entry.clone() }, trusted_until };
        cache.insert(key.clone(), held);
        cache.contains_key(key)
    }

    pub(crate) fn remove(&self, key: &str) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.remove(key).is_some())
    }

    /// Removes what matches; how many there were.
    pub(crate) fn remove_matching(&self, pattern: &Pattern) -> u64 {
        let removed = Cell::new(0);
        if let Some(cache) = &self.cache {
            cache.retain(|key, _| {
                let hit = pattern.matches(key);
                removed.set(removed.get() + u64::from(hit));
                !hit
            });
        }
        removed.get()
    }

    pub(crate) fn matching(&self, pattern: &Pattern) -> Vec<(Arc<str>, Entry)> {
        let Some(cache) = &self.cache else { return Vec::new() };
        cache.iter().filter(|(key, _)| pattern.matches(key)).map(|(key, held)| (key, held.entry)).collect()
    }
}
