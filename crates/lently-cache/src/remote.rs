//! The remote tier, whichever it is: Redis, the disk file, or none. It stores bytes and understands no envelope.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    disk::Disk,
    entry::{PatternReport, Tier},
    error::CacheError,
    pattern::Pattern,
    redis::{LinkState, RedisClient},
};

pub(crate) enum Remote {
    None,
    Disk(Disk),
    Redis(RedisClient),
}

/// What a stored value begins with.
pub(crate) struct Head {
    pub bytes: Bytes,
    /// How long the tier keeps it; `None` where it lives forever.
    pub ttl: Option<Duration>,
}

/// How the remote tier is doing.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// `none`, `disk` or `redis`.
    pub remote: &'static str,
    /// What the link is doing; always up for a disk or for none.
    pub state: LinkState,
    /// Whether changes by other processes are told, so that copies in memory are believed as long as they are fresh. Where
    /// they are not, a copy is believed for [`MEMORY_TRUST`](crate::MEMORY_TRUST).
    pub tracking: bool,
    /// Since when, for Redis.
    pub since: Option<Timestamp>,
    /// Errors of the remote tier that nobody was bothered with, since the start.
    pub swallowed_errors: u64,
    /// The last of them. Holds no secret.
    pub last_error: Option<String>,
}

impl Health {
    /// Whether the cache works as configured.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }
}

impl Remote {
    pub(crate) fn tier(&self) -> Option<Tier> {
        match self {
            Self::None => None,
            Self::Disk(_) => Some(Tier::Disk),
            Self::Redis(_) => Some(Tier::Redis),
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        match self {
            Self::None => Ok(None),
            Self::Disk(disk) => disk.get(key).await,
            Self::Redis(redis) => redis.get(key).await,
        }
    }

    /// What is stored under many keys, in their order, in one round trip.
    pub(crate) async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>, CacheError>> {
        match self {
            Self::None => vec![Ok(None); keys.len()],
            Self::Disk(disk) => match disk.get_many(keys).await {
                Ok(stored) => stored.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error); keys.len()],
            },
            Self::Redis(redis) => redis.get_many(keys).await,
        }
    }

    /// Stores a value; it wins over a fetch that is under way anywhere.
    pub(crate) async fn set(&self, key: &str, stored: Bytes, ttl: Duration) -> Result<(), CacheError> {
        match self {
            Self::None => Ok(()),
            Self::Disk(disk) => disk.set(key, stored, ttl).await,
            Self::Redis(redis) => redis.set_over(key, &stored, ttl).await,
        }
    }

    /// Stores a value fetched at that time, unless there is a newer one or somebody fetches one; whether it did. The file of a
    /// disk tier takes it in any case.
    pub(crate) async fn set_unless_newer(
        &self,
        key: &str,
        stored: Bytes,
        ttl: Duration,
        fetched_at: Timestamp,
    ) -> Result<bool, CacheError> {
        match self {
            Self::Redis(redis) => redis.set_unless_newer(key, &stored, ttl, fetched_at).await,
            Self::None | Self::Disk(_) => self.set(key, stored, ttl).await.map(|()| true),
        }
    }

    /// Deletes a value; a fetch that is under way anywhere does not bring it back.
    pub(crate) async fn delete(&self, key: &str) -> Result<u64, CacheError> {
        match self {
            Self::None => Ok(0),
            Self::Disk(disk) => disk.delete(key).await,
            Self::Redis(redis) => redis.delete_over(key).await,
        }
    }

    /// Makes a value stale from `now` on, or deletes one that has no header; whether there was one. A fetch that is under way
    /// anywhere does not replace it.
    pub(crate) async fn expire(&self, key: &str, now: Timestamp) -> Result<bool, CacheError> {
        match self {
            Self::None => Ok(false),
            Self::Disk(disk) => disk.expire(key, now).await,
            Self::Redis(redis) => redis.expire_over(key, now).await,
        }
    }

    pub(crate) async fn ttl(&self, key: &str) -> Result<Option<Duration>, CacheError> {
        match self {
            Self::None => Ok(None),
            Self::Disk(disk) => disk.ttl(key).await,
            Self::Redis(redis) => redis.ttl(key).await,
        }
    }

    /// The first bytes of a stored value, enough for its header, and its remaining life.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<Head>, CacheError> {
        match self {
            Self::None => Ok(None),
            Self::Disk(disk) => disk.head(key).await,
            Self::Redis(redis) => redis.head(key).await,
        }
    }

    pub(crate) async fn delete_pattern(&self, pattern: &Pattern) -> Result<u64, CacheError> {
        match self {
            Self::None => Ok(0),
            Self::Disk(disk) => disk.delete_pattern(pattern).await,
            Self::Redis(redis) => redis.delete_pattern(pattern).await,
        }
    }

    pub(crate) async fn measure_pattern(&self, pattern: &Pattern) -> Result<PatternReport, CacheError> {
        match self {
            Self::None => Ok(PatternReport::default()),
            Self::Disk(disk) => disk.measure_pattern(pattern).await,
            Self::Redis(redis) => redis.measure_pattern(pattern).await,
        }
    }

    pub(crate) fn health(&self) -> Health {
        match self {
            Self::None => Health {
                remote: "none",
                state: LinkState::Up,
                tracking: false,
                since: None,
                swallowed_errors: 0,
                last_error: None,
            },
            Self::Disk(disk) => {
                let (swallowed_errors, last_error) = disk.errors();
                Health {
                    remote: "disk",
                    state: LinkState::Up,
                    tracking: false,
                    since: None,
                    swallowed_errors,
                    last_error,
                }
            }
            Self::Redis(redis) => {
                let health = redis.health();
                Health {
                    remote: "redis",
                    state: health.state,
                    tracking: health.tracking,
                    since: Some(health.since),
                    swallowed_errors: health.errors,
                    last_error: health.last_error,
                }
            }
        }
    }
}
