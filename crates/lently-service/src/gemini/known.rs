//! What was paid for before: read from the tiers, else from the store and put back. It asks nobody.

use std::collections::HashMap;

use bytes::Bytes;
use lently_cache::WarmEntry;

use super::CachedGemini;
use crate::error::ServiceError;
use crate::ids::TextHash;
use crate::keys::EntryKind;
use crate::shape;
use crate::store::{between, earlier};

/// Looks for answers of a kind.
pub(super) struct Known<'a> {
    gemini: &'a CachedGemini,
    kind: EntryKind,
    /// Whether the store has not failed yet: each further try would wait as long.
    store_works: bool,
}

impl<'a> Known<'a> {
    pub(super) fn of(gemini: &'a CachedGemini, kind: EntryKind) -> Self {
        Self { gemini, kind, store_works: true }
    }

    /// The stored answers on these, in their order: the store is asked once for all that the tiers do not have. A store that fails
    /// is no reason to fail: then Gemini is asked again.
    pub(super) async fn find(&mut self, hashes: &[TextHash]) -> Vec<Option<Bytes>> {
        let cache = &self.gemini.0.ground.cache;
        let keys: Vec<String> = hashes.iter().map(|hash| self.gemini.key(self.kind, hash)).collect();
        let lookups = cache.peek_many(self.kind.kind(), &keys).await;
        let mut found = Vec::with_capacity(hashes.len());
        for (key, lookup) in keys.iter().zip(lookups) {
            found.push(match lookup.entry() {
                Some(entry) if shape::is_sound(cache, self.kind, key, &entry).await => {
                    Some(entry.value.clone())
                }
                _ => None,
            });
        }
        let missing: Vec<usize> = (0..found.len()).filter(|place| found[*place].is_none()).collect();
        if missing.is_empty() || !self.store_works {
            return found;
        }
        match self.in_store(missing.iter().map(|place| &hashes[*place]).collect()).await {
            Ok(mut kept) => {
                for place in missing {
                    found[place] = kept.remove(&hashes[place]);
                }
            }
            Err(error) => {
                self.store_works = false;
                tracing::warn!(error = &error as &dyn std::error::Error, "answers not read from the store");
            }
        }
        found
    }

    /// What the store has of these that is still fresh and of its kind. The tiers take it for the rest of its life.
    async fn in_store(&self, hashes: Vec<&TextHash>) -> Result<HashMap<TextHash, Bytes>, ServiceError> {
        let ground = &self.gemini.0.ground;
        let (now, policy) = (ground.clock.now(), ground.ttl.policy(self.kind));
        let origin = self.gemini.origin(self.kind);
        let mut kept = ground.store.answers(&origin, &hashes, earlier(now, policy.fresh)).await?;
        kept.retain(|_, kept| shape::check(self.kind, &kept.json).is_ok());
        let entries = kept.iter().map(|(hash, kept)| {
            let age = between(kept.made_at, now);
            let mut policy = policy.clone();
            policy.fresh = policy.fresh.saturating_sub(age);
            policy.retention = between(now, kept.retain_until);
            let key = self.gemini.key(self.kind, hash);
            WarmEntry { key, policy, value: kept.json.clone(), cost: kept.cost }
        });
        // Tiers that do not take it will be asked in vain the next time, and the store again.
        let _ = ground.cache.set_many(entries.collect()).await;
        Ok(kept.into_iter().map(|(hash, kept)| (hash, kept.json)).collect())
    }
}
