//! An application cache in two tiers: memory in front of Redis (or Valkey), of a disk file, or of nothing.
//!
//! - One fetch per key in the whole cluster (without Redis: in the process), however many callers; a caller that leaves
//!   does not waste it, an owner that dies is followed by one other, and one that comes too late overwrites nothing.
//! - A value that is deleted while it is being fetched is not stored.
//! - What another process changes in Redis leaves no copy behind in memory; a process that may have missed a change
//!   knows it and asks again.
//! - Redis may be absent, die, hang, fill up or be replaced: callers get their values, and the cache heals by itself.
//! - Values are bytes. A hit is never parsed and never copied.
//! - Every wait, size and queue is bounded; time comes from a [`Clock`] that tests move.
//!
//! The crate knows nothing of what it stores. It opens with a [`CacheConfig`]; [`CacheService::get_or_set`] is the verb
//! to begin with:
//!
//! ```
//! use std::time::Duration;
//! use lently_cache::{AfterWait, Budget, CacheConfig, CacheService, Clock, FailureTtl, Fetched, Kind, Outcome, Policy, RemoteConfig, Tags};
//! use tokio_util::task::TaskTracker;
//!
//! const GREETING: Kind = Kind { name: "greeting", schema: 1 };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = CacheService::open(CacheConfig {
//!     kinds: &[GREETING],
//!     prefix: "example:".to_owned(),
//!     memory_bytes: 1 << 20,
//!     remote: RemoteConfig::None,
//!     clock: Clock::system(),
//!     tasks: TaskTracker::new(),
//!     max_value_bytes: 1 << 16,
//!     budget: Budget::UNLIMITED,
//! })
//! .await?;
//! let policy = Policy {
//!     kind: GREETING,
//!     fresh: Duration::from_secs(60),
//!     stale: Duration::from_secs(60),
//!     retention: Duration::from_secs(3600),
//!     refresh_ahead: Duration::ZERO,
//!     fetch_timeout: Duration::from_secs(5),
//!     after_wait: AfterWait::Fetch,
//!     failures: FailureTtl::default(),
//!     tags: Tags::NONE,
//! };
//! for expected in [Outcome::Fetched { stored: true }, Outcome::Hit] {
//!     let answer = cache.get_or_set("greeting:en", &policy, || async { Ok(Fetched::new("\"hello\"")) }).await?;
//!     assert_eq!(answer.outcome, expected);
//!     assert_eq!(answer.entry.value, "\"hello\"");
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "bench")]
pub mod bench;
mod breaker;
mod budget;
mod bulk;
mod chance;
mod clock;
mod coherence;
#[cfg(feature = "conformance")]
pub mod conformance;
mod disk;
mod entry;
mod envelope;
mod error;
mod events;
mod explain;
mod failure;
mod flight;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod lease;
mod memory;
#[cfg(test)]
mod model;
mod pattern;
mod policy;
mod redis;
mod remote;
mod repair;
mod savings;
mod service;
mod stats;
mod sync;
mod tags;
mod tally;

#[cfg(feature = "simulation")]
#[doc(hidden)]
pub use self::chance::seed;
#[doc(hidden)]
pub use self::redis::{ByteStream, OpenStream, Transport};
pub use self::{
    budget::{Allowance, Budget},
    bulk::{Batch, Batching, Bulk},
    clock::Clock,
    coherence::MEMORY_TRUST,
    entry::{
        Answer, Entry, Facts, FailureClass, FetchError, FetchFailure, Fetched, Lookup, MissReason, Outcome,
        PatternReport, StaleReason, Stored, Tier, Wanted, WarmEntry, WarmReport,
    },
    error::CacheError,
    events::{Event, Events, Heard, What},
    explain::{
        Difference, Explanation, FailureReport, FlightState, LeaseReport, NearReport, NextReport, NextStep,
        OwedReport, TagReport, TagState, TierReport, TierState, ValueReport,
    },
    failure::FailureTtl,
    pattern::{Pattern, PatternError},
    policy::{AcceptStale, AfterWait, Controls, Cost, Kind, Policy},
    redis::{Deployment, LinkState, MAX_CONNECTIONS, RedisClient, RedisConfig, SentinelConfig, TlsConfig},
    remote::Health,
    repair::{
        RepairStats,
        debt::{Change, GivenUp},
    },
    service::{CacheConfig, CacheService, MAX_KEY_BYTES, RemoteConfig, Swept, TierHolding},
    stats::{KindStats, Stats},
    tags::{MAX_TAG_BYTES, MAX_TAGS, Tagged, Tags},
    tally::{Amounts, Holding, MAX_TALLY_NAME_BYTES, Part, Sums, Tally, TallyWanted},
};
