//! What the cache gives back: entries, lookups, answers, and the failures a fetch may end in.
//! Plain data; every outcome has a name, none is an `Option` with flags.

use std::{error::Error, fmt, ops::Deref, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    clock::{between, later},
    policy::{Cost, Policy},
    tags::Tagged,
};

/// Where an entry lay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// This process's memory.
    Memory,
    /// Redis or Valkey.
    Redis,
    /// The SQLite file.
    Disk,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Disk];

    /// The name in statistics and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Disk => "disk",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cached value with what is known of it. Cloning copies neither: an entry is handed on with every hit, so it is small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lay; for a value just fetched, memory.
    pub tier: Tier,
    /// Read through the entry itself: `entry.value`, `entry.fetched_at`.
    facts: Arc<Facts>,
}

/// A cached value and what is known of it, wherever it lay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The value, as it was stored. Cloning it does not copy it.
    pub value: Bytes,
    /// When the fetch that produced it ended.
    pub fetched_at: Timestamp,
    /// Until when it is served without asking anyone.
    pub fresh_until: Timestamp,
    /// Until when it may be served while it is fetched anew; not before `fresh_until`.
    pub stale_until: Timestamp,
    /// From when on it is neither served nor kept; not before `stale_until`.
    pub retain_until: Timestamp,
    /// What producing it took.
    pub cost: Cost,
    /// A strong validator: 32 hexadecimal digits of the value's BLAKE3 hash, without quotes.
    pub etag: Arc<str>,
    /// Its tags, with the versions they had before it was fetched.
    pub tagged: Tagged,
}

impl Deref for Entry {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl Entry {
    pub(crate) fn new(tier: Tier, facts: Facts) -> Self {
        Self { tier, facts: Arc::new(facts) }
    }

    /// The same entry, out of this tier.
    pub(crate) fn lying_in(self, tier: Tier) -> Self {
        Self { tier, ..self }
    }

    /// The same entry with these tags.
    pub(crate) fn with_tagged(mut self, tagged: Tagged) -> Self {
        Arc::make_mut(&mut self.facts).tagged = tagged;
        self
    }

    /// How old the value is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        between(self.fetched_at, now)
    }

    /// When it began to be fetched, at the latest: what another fetched since then may be newer. What it took is counted in whole
    /// milliseconds, and took up to one more.
    pub(crate) fn began_at(&self) -> Timestamp {
        let took = i64::try_from(self.cost.milliseconds).unwrap_or(i64::MAX).saturating_add(1);
        self.fetched_at.checked_sub(SignedDuration::from_millis(took)).unwrap_or(Timestamp::MIN)
    }

    /// How long it stays fresh; zero when it is not.
    #[must_use]
    pub fn ttl(&self, now: Timestamp) -> Duration {
        between(now, self.fresh_until)
    }

    /// How long it has not been fresh any more; zero while it is.
    #[must_use]
    pub fn staleness(&self, now: Timestamp) -> Duration {
        between(self.fresh_until, now)
    }

    /// For how many seconds it is still fresh, rounded down; once it is stale, since when, below zero: the `ttl` of RFC 9211
    /// (2.4).
    #[must_use]
    pub fn ttl_seconds(&self, now: Timestamp) -> i64 {
        if self.is_fresh(now) {
            return i64::try_from(self.ttl(now).as_secs()).unwrap_or(i64::MAX);
        }
        // The second that has begun counts: zero would read as fresh.
        -i64::try_from(self.staleness(now).as_secs()).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// The same entry, no longer fresh from that time on, and served as stale for as long after it as it would have been.
    pub(crate) fn expired(mut self, at: Timestamp) -> Self {
        let at = at.max(self.fetched_at);
        if at >= self.fresh_until {
            return self;
        }
        let window = between(self.fresh_until, self.stale_until);
        let facts = Arc::make_mut(&mut self.facts);
        (facts.fresh_until, facts.stale_until) = (at, later(at, window));
        self
    }

    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }
}

/// What a plain `get` found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// A value that may be served.
    Fresh(Entry),
    /// A value that is no longer fresh, within its retention: whoever can do with it may, and should say so.
    Stale(Entry),
    /// Nothing that may be served, and why.
    Missing(MissReason),
}

impl Lookup {
    /// The entry, if there is a fresh one.
    #[must_use]
    pub fn entry(self) -> Option<Entry> {
        match self {
            Self::Fresh(entry) => Some(entry),
            Self::Stale(_) | Self::Missing(_) => None,
        }
    }

    /// By the entry's own times.
    pub(crate) fn of(entry: Entry, now: Timestamp) -> Self {
        if entry.is_fresh(now) { Self::Fresh(entry) } else { Self::Stale(entry) }
    }
}

/// Why a lookup found nothing to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissReason {
    /// No tier has the key.
    Absent,
    /// There was a value, and its retention is over.
    Expired,
    /// A tag of it was invalidated.
    Invalidated,
    /// There is something that cannot be read: garbage, a truncated value, another schema version.
    Unreadable,
    /// The remote tier cannot be asked at the moment, and memory has nothing.
    TierResting,
}

/// What a fetch produced.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The value: JSON, by convention.
    pub value: Bytes,
    /// What it took.
    pub cost: Cost,
    /// A shorter life than the policy's, if the value deserves one.
    pub fresh: Option<Duration>,
    /// A shorter retention than the policy's, if parts of the value are older than this fetch.
    pub retain: Option<Duration>,
}

impl Fetched {
    /// A value that cost nothing and lives as long as its policy says.
    #[must_use]
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: value.into(), cost: Cost::default(), fresh: None, retain: None }
    }

    /// The same with a cost.
    #[must_use]
    pub fn with_cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }
}

/// The sort of failure a fetch ended in, as far as a cache cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureClass {
    /// There is no such thing.
    NotFound,
    /// It may not be read.
    Forbidden,
    /// No quota is left before `until`.
    QuotaExhausted {
        /// When the quota is there again.
        until: Timestamp,
    },
    /// Too many requests.
    RateLimited {
        /// The upstream's own hint.
        retry_after: Option<Duration>,
    },
    /// Likely gone when tried again.
    Transient,
    /// Will not go away by trying again.
    Permanent,
}

impl FailureClass {
    /// The name in headers, events and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Forbidden => "forbidden",
            Self::QuotaExhausted { .. } => "quota-exhausted",
            Self::RateLimited { .. } => "rate-limited",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// A failed fetch, shared by everyone who waited for it.
#[derive(Clone, Debug)]
pub struct FetchFailure {
    /// The sort of failure.
    pub class: FailureClass,
    /// The error itself. It does not leave the process; others get its words.
    pub source: Arc<dyn Error + Send + Sync>,
    /// What the caller needs on another node to make the same error of it again; the cache carries it and does not look.
    pub detail: Option<Arc<str>>,
    /// Whether it is from an earlier fetch, and remembered: upstream was not asked again.
    pub remembered: bool,
}

impl FetchFailure {
    /// A failure of `class`, caused by `source`.
    pub fn new(class: FailureClass, source: impl Error + Send + Sync + 'static) -> Self {
        Self { class, source: Arc::new(source), detail: None, remembered: false }
    }

    /// The same with a detail for other nodes. It lies in Redis for as long as the failure is remembered: no secret.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Arc<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for FetchFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

/// Why `get_or_set` has no value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The fetch failed.
    #[error(transparent)]
    Failed(FetchFailure),
    /// The fetch took longer than its policy allows.
    #[error("the fetch did not end within {after:?}")]
    TimedOut {
        /// The policy's `fetch_timeout`.
        after: Duration,
    },
    /// The fetch panicked, or the process is shutting down.
    #[error("the fetch was abandoned before it ended")]
    Abandoned,
    /// The key cannot be used.
    #[error("unusable cache key: {0}")]
    BadKey(&'static str),
    /// Only a cached value was wanted, and no tier has one that will do.
    #[error("no tier has a value that will do, and it was not to be fetched")]
    NotCached,
}

impl FetchError {
    /// The sort of failure; a fetch that took too long or was abandoned is transient.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Failed(failure) => failure.class,
            Self::TimedOut { .. } | Self::Abandoned | Self::NotCached => FailureClass::Transient,
            Self::BadKey(_) => FailureClass::Permanent,
        }
    }

    /// The same for whoever is spared a fetch by it.
    pub(crate) fn remembered(mut self) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.remembered = true;
        }
        self
    }

    /// Whether a value that is no longer fresh is served in the place of this failure: it says nothing about the value.
    pub(crate) fn excuses_a_stale_value(&self) -> bool {
        match self.class() {
            FailureClass::QuotaExhausted { .. }
            | FailureClass::RateLimited { .. }
            | FailureClass::Transient => true,
            FailureClass::NotFound | FailureClass::Forbidden | FailureClass::Permanent => false,
        }
    }
}

/// What `get_or_set` answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The value.
    pub entry: Entry,
    /// How it was come by.
    pub outcome: Outcome,
}

/// How an answer was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// From a tier (`entry.tier` says which).
    Hit,
    /// From a tier, no longer fresh, and why it is served all the same.
    Stale(StaleReason),
    /// By this call's own fetch.
    Fetched {
        /// Whether a tier kept it. It does not when the key was deleted meanwhile, or the value is too large.
        stored: bool,
    },
    /// By another caller's fetch that was already under way.
    Collapsed,
}

/// Why a value is served that is no longer fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaleReason {
    /// It is being fetched anew, and its policy or the caller does not want to wait for that.
    Refreshing,
    /// Fetching it anew failed; [`FailureClass::Transient`] also stands for a fetch that took too long or was abandoned.
    Failed(FailureClass),
    /// The budget does not allow a refresh for now.
    Budget,
    /// The caller did not want it fetched.
    OnlyIfCached,
}

impl StaleReason {
    /// The name in headers, events and metrics; of a failure, its class.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refreshing => "refreshing",
            Self::Failed(class) => class.name(),
            Self::Budget => "budget",
            Self::OnlyIfCached => "only-if-cached",
        }
    }
}

/// Which tiers took a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// The memory tier.
    pub memory: bool,
    /// The remote tier.
    pub remote: bool,
}

impl Stored {
    /// Whether any tier took it.
    #[must_use]
    pub fn anywhere(self) -> bool {
        self.memory || self.remote
    }
}

/// An id whose value is wanted, one of many.
#[derive(Clone, Debug)]
pub struct Wanted<I> {
    /// What the upstream calls it.
    pub id: I,
    /// Its key, without prefix.
    pub key: String,
    /// How its value is treated; tags may be its own.
    pub policy: Policy,
}

/// A value to put into the cache ahead of being asked for.
#[derive(Clone, Debug)]
pub struct WarmEntry {
    /// The key, without prefix.
    pub key: String,
    /// How it is treated.
    pub policy: Policy,
    /// The value.
    pub value: Bytes,
    /// What it took.
    pub cost: Cost,
}

/// What became of a batch of [`WarmEntry`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WarmReport {
    /// How many a tier took.
    pub stored: u64,
    /// How many none took.
    pub failed: u64,
}

/// What a pattern would delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PatternReport {
    /// How many keys match.
    pub keys: u64,
    /// The size of their values, as stored.
    pub bytes: u64,
    /// What producing them took, by what is written on them.
    pub cost: Cost,
    /// When the oldest of them was stored, by what is written on them.
    pub oldest_at: Option<Timestamp>,
    /// When the first of them will not be kept any longer.
    pub next_due_at: Option<Timestamp>,
}

impl PatternReport {
    /// Counts one more.
    pub(crate) fn add(&mut self, bytes: u64, cost: Cost, times: Option<(Timestamp, Timestamp)>) {
        self.keys += 1;
        self.bytes += bytes;
        self.cost = self.cost + cost;
        if let Some((at, due)) = times {
            self.oldest_at = Some(self.oldest_at.map_or(at, |oldest| oldest.min(at)));
            self.next_due_at = Some(self.next_due_at.map_or(due, |next| next.min(due)));
        }
    }
}
