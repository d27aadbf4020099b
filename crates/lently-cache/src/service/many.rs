//! Many keys at once: read in one round trip, written one behind the other without waiting for each answer.

use std::{sync::Arc, time::Instant};

use futures::{StreamExt as _, stream};

use super::{CacheService, check_key, looking::Sought};
use crate::{
    entry::{Lookup, MissReason, Stored, WarmEntry, WarmReport},
    error::CacheError,
    policy::Kind,
};

/// Values that are being written at once for one caller.
const WRITTEN_AT_ONCE: usize = 50;

impl CacheService {
    /// The values of many keys of a kind, in their order: what [`get`](Self::get) would say of each. What memory does not have is
    /// read from the remote tier in one round trip for each 50 keys, all within the timeout of one command.
    pub async fn get_many<K: AsRef<str>>(&self, kind: Kind, keys: &[K]) -> Vec<Lookup> {
        let began = Instant::now();
        let mut lookups = vec![Lookup::Missing(MissReason::Absent); keys.len()];
        let (mut places, mut sought) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().map(AsRef::as_ref).enumerate() {
            if let Some(entry) = self.0.recall(kind, key) {
                lookups[place] = Lookup::Fresh(entry);
            } else if check_key(key).is_ok() {
                places.push(place);
                sought.push(Sought { key, kind, fresh: None });
            } else {
                self.0.count(kind, &lookups[place], began);
            }
        }
        for (place, lookup) in places.into_iter().zip(self.0.look_up_many(&sought).await) {
            self.0.count(kind, &lookup, began);
            lookups[place] = lookup;
        }
        lookups
    }

    /// Stores many values, each as [`set`](Self::set) does; what became of each, in their order. Of two values of the same key
    /// either may be the one that stays. 50 are written at once, one behind the other on one wire. A caller that leaves does not
    /// keep the rest from being written.
    pub async fn set_many(&self, entries: Vec<WarmEntry>) -> Vec<Result<Stored, CacheError>> {
        let (inner, count) = (self.0.clone(), entries.len());
        let writing = self.to_its_end(async move {
            let writes = entries.into_iter().map(|WarmEntry { key, policy, value, cost }| {
                let inner = inner.clone();
                async move { inner.put(&Arc::from(key), &policy, value, cost).await }
            });
            Ok(stream::iter(writes).buffered(WRITTEN_AT_ONCE).collect().await)
        });
        writing.await.unwrap_or_else(|error| vec![Err(error); count])
    }

    /// [`set_many`](Self::set_many) for whom numbers will do: those that no tier took are counted, not thrown.
    pub async fn warm(&self, entries: Vec<WarmEntry>) -> WarmReport {
        let mut report = WarmReport::default();
        for stored in self.set_many(entries).await {
            match stored {
                Ok(stored) if stored.anywhere() => report.stored += 1,
                _ => report.failed += 1,
            }
        }
        report
    }
}
