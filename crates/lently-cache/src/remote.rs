//! The remote tier, whichever it is: Redis, the disk file, or none. It stores bytes and understands no envelope.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    disk::Disk,
    entry::{PatternReport, Tier},
    error::CacheError,
    pattern::Pattern,
    redis::{LinkState, RedisClient},
    tags::Told,
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
            // Boxed, for it would make the future of a look in Redis larger.
            Self::Disk(disk) => Box::pin(disk.get(key)).await,
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

    /// Stores a value whose fetch began at that time, unless one was fetched since, somebody fetches one, or the key was changed
    /// `since` the fetch began; whether it did. The file of a disk tier takes it in any case.
    pub(crate) async fn set_unless_newer(
        &self,
        key: &str,
        stored: Bytes,
        ttl: Duration,
        began_at: Timestamp,
        since: Instant,
    ) -> Result<bool, CacheError> {
        match self {
            Self::Redis(redis) => redis.set_unless_newer(key, &stored, ttl, began_at, since).await,
            Self::None | Self::Disk(_) => self.set(key, stored, ttl).await.map(|()| true),
        }
    }

    /// Deletes a value; a fetch that is under way anywhere does not bring it back, nor does who has an older one and is late.
    /// `age` is how long ago that was decided.
    pub(crate) async fn delete(&self, key: &str, age: Duration) -> Result<u64, CacheError> {
        match self {
            Self::None => Ok(0),
            Self::Disk(disk) => disk.delete(key).await,
            Self::Redis(redis) => redis.delete_over(key, age).await,
        }
    }

    /// Makes a value stale from `now` on, or deletes one that has no header; whether there was one. A fetch that is under way
    /// anywhere does not replace it. `age` as in [`delete`](Self::delete).
    pub(crate) async fn expire(&self, key: &str, now: Timestamp, age: Duration) -> Result<bool, CacheError> {
        match self {
            Self::None => Ok(false),
            Self::Disk(disk) => disk.expire(key, now).await,
            Self::Redis(redis) => redis.expire_over(key, now, age).await,
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

    /// Deletes what matches. `age` as in [`delete`](Self::delete).
    pub(crate) async fn delete_pattern(&self, pattern: &Pattern, age: Duration) -> Result<u64, CacheError> {
        match self {
            Self::None => Ok(0),
            Self::Disk(disk) => disk.delete_pattern(pattern).await,
            Self::Redis(redis) => redis.delete_matching(pattern, age).await,
        }
    }

    pub(crate) async fn measure_pattern(&self, pattern: &Pattern) -> Result<PatternReport, CacheError> {
        match self {
            Self::None => Ok(PatternReport::default()),
            Self::Disk(disk) => disk.measure_pattern(pattern).await,
            Self::Redis(redis) => redis.measure_pattern(pattern).await,
        }
    }

    /// The keys of values that match; one that moves meanwhile may be told twice.
    pub(crate) async fn keys(&self, pattern: &Pattern) -> Result<Vec<String>, CacheError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Disk(disk) => disk.keys(pattern).await,
            Self::Redis(redis) => redis.keys(pattern).await,
        }
    }

    /// What is known of tags, in their order.
    pub(crate) async fn tags(&self, tags: &[Arc<str>], now: Timestamp) -> Result<Vec<Told>, CacheError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Disk(disk) => disk.tags(tags).await,
            Self::Redis(redis) => redis.tags(tags, now).await,
        }
    }

    /// The same; where there is nothing of one, it is begun, and each lasts at least as long as an entry that is `retained`.
    pub(crate) async fn begin_tags(
        &self,
        tags: &[Arc<str>],
        retained: Duration,
        now: Timestamp,
    ) -> Result<Vec<Told>, CacheError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Disk(disk) => disk.begin_tags(tags, retained).await,
            Self::Redis(redis) => redis.begin_tags(tags, retained, now).await,
        }
    }

    /// Gives a tag another version, or makes what has it stale from `now` on. `key` is the tag's own.
    pub(crate) async fn change_tag(&self, key: &str, expire: bool, now: Timestamp) -> Result<(), CacheError> {
        match self {
            Self::None => Ok(()),
            Self::Disk(disk) => disk.change_tag(key, expire, now).await,
            Self::Redis(redis) => redis.change_tag(key, expire, now).await,
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
