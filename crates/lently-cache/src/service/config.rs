//! What a cache is opened with.

use std::path::PathBuf;

use tokio_util::task::TaskTracker;

use crate::{budget::Budget, clock::Clock, error::CacheError, policy::Kind, redis::RedisConfig};

/// What a [`CacheService`](crate::CacheService) is opened with.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// The kinds of values, for statistics. A value of another kind is kept, and not counted.
    pub kinds: &'static [Kind],
    /// Stands in front of every key in Redis; `lently:` for instance. Flush and patterns reach nothing else. It may be
    /// empty: then only keys that begin with a kind's name and a colon are reached.
    pub prefix: String,
    /// The size of the memory tier, values and keys together, with room for a value of
    /// `max_value_bytes` and an eighth; 0 switches it off.
    pub memory_bytes: u64,
    /// The remote tier.
    pub remote: RemoteConfig,
    /// Where the time comes from.
    pub clock: Clock,
    /// Owns the fetches; wait for it at shutdown, so that what is paid for is kept, then
    /// [`close`](crate::CacheService::close).
    pub tasks: TaskTracker,
    /// The largest value taken. A larger one still goes to those who fetched it.
    pub max_value_bytes: u64,
    /// Asked before a value that is still there is fetched anew.
    pub budget: Budget,
}

/// Which remote tier.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RemoteConfig {
    /// Memory alone.
    None,
    /// An SQLite file that several processes may share.
    Disk {
        /// The file; it and its folder are made if missing.
        path: PathBuf,
        /// The size of the values beyond which the oldest are dropped. It is looked at each time a process has written a
        /// sixteenth of it and every ten minutes, so the file may be larger by as much, and by one value.
        max_bytes: u64,
    },
    /// Redis or Valkey.
    Redis(RedisConfig),
}

impl CacheConfig {
    pub(super) fn check(&self) -> Result<(), CacheError> {
        if self.prefix.chars().any(char::is_control) || self.prefix.len() > 128 {
            return Err(CacheError::Config(
                "the key prefix is longer than 128 bytes or has a control character in it".to_owned(),
            ));
        }
        if self.max_value_bytes == 0 {
            return Err(CacheError::Config("max_value_bytes is 0: nothing could be stored".to_owned()));
        }
        let needed = self.max_value_bytes.saturating_add(self.max_value_bytes / 8).saturating_add(4096);
        if self.memory_bytes != 0 && self.memory_bytes < needed {
            return Err(CacheError::Config(format!(
                "memory_bytes is {}: a value of max_value_bytes ({}) finds no room; give it {needed} or more, or 0 for no \
                 memory tier, or lower max_value_bytes",
                self.memory_bytes, self.max_value_bytes
            )));
        }
        Ok(())
    }
}
