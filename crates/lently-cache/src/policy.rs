//! What the caller says about a kind of value: its name, how long it lives, what fetching it may take and did cost.
//! Plain data; nothing here looks at a clock.

use std::{ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{failure::FailureTtl, tags::Tags};

/// A sort of value, with statistics of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The name in statistics, metrics and the envelope; lower case.
    pub name: &'static str,
    /// The version of the value's shape. An entry written with another version is a miss.
    pub schema: u16,
}

/// How values of a kind are treated.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The kind these values belong to.
    pub kind: Kind,
    /// How long a value is served without asking anyone.
    pub fresh: Duration,
    /// How long after that a value is still served at once, while it is fetched anew behind. Zero: whoever finds it no
    /// longer fresh waits for the fetch.
    pub stale: Duration,
    /// The age beyond which a value is neither served nor kept, whatever the other times say. Until then a value that
    /// is no longer fresh is served where fetching it anew fails for want of quota, for a rate limit, for a transient
    /// error or for time.
    pub retention: Duration,
    /// How long before its end a value that is asked for is fetched anew behind, so that callers of a key in use never
    /// find it stale. Each value begins at a moment of its own in the first half of this time, so that what was stored
    /// together is not fetched together. Zero: not ahead.
    pub refresh_ahead: Duration,
    /// How long a fetch may take before its callers get [`FetchError::TimedOut`](crate::FetchError::TimedOut).
    /// Another process' fetch is waited for as long; where that process is followed by another one meanwhile, for that one's
    /// too, and no longer than twice this in all.
    pub fetch_timeout: Duration,
    /// What is done when another process' fetch was waited for in vain.
    pub after_wait: AfterWait,
    /// How long failures are remembered.
    pub failures: FailureTtl,
    /// By which these values can be invalidated together. Their versions are read before a fetch begins.
    pub tags: Tags,
}

/// What is done when another process fetches and does not come to an end within `fetch_timeout`, though it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterWait {
    /// Fetch here: paying twice is better than no answer.
    #[default]
    Fetch,
    /// Fail with [`FetchError::TimedOut`](crate::FetchError::TimedOut): paying twice is worse.
    Fail,
}

/// What a caller wants otherwise than the policy says: the request directives of RFC 9111 (5.2.1). The default changes
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// An older value will not do; nor will a stale one, unless `stale` says so.
    pub max_age: Option<Duration>,
    /// One that was fetched then or before will not do, nor will a stale one: for whoever has seen that one.
    pub newer_than: Option<jiff::Timestamp>,
    /// What a value is worth that is no longer fresh.
    pub stale: AcceptStale,
    /// No stored value will do: fetch anew, also where a failure is remembered. What the tiers have is replaced; on a failure
    /// it stays, and the failure is the answer. What another process has fetched and is just storing counts as anew.
    pub no_cache: bool,
    /// What is fetched for this caller is not stored; if another caller waits for the same fetch, it is, for that one. A
    /// stored value will do.
    pub no_store: bool,
    /// Nothing is fetched, neither now nor behind: [`FetchError::NotCached`](crate::FetchError::NotCached) where no stored
    /// value will do.
    pub only_if_cached: bool,
}

impl Controls {
    /// Nothing else than the policy says.
    pub const DEFAULT: Self = Self {
        max_age: None,
        newer_than: None,
        stale: AcceptStale::ByPolicy,
        no_cache: false,
        no_store: false,
        only_if_cached: false,
    };
    /// Fetch anew.
    pub const NO_CACHE: Self = Self { no_cache: true, ..Self::DEFAULT };
}

/// Whether a caller takes a value that is no longer fresh. Never beyond its retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptStale {
    /// As long as the policy's `stale` lasts, while it is fetched anew behind; within its retention if the fetch fails.
    #[default]
    ByPolicy,
    /// Only if the fetch fails, or the [`Budget`](crate::Budget) spares it.
    AfterFailure,
    /// If it has not been fresh for no longer than this (`max-stale`); zero takes a fresh one only, whatever fails.
    Within(Duration),
}

/// What producing a value took. It is kept on the entry, so that a hit can tell what it saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Units of a metered upstream quota.
    pub quota_units: u64,
    /// Tokens sent to a model.
    pub tokens_in: u64,
    /// Tokens a model produced.
    pub tokens_out: u64,
    /// Millionths of a US dollar.
    pub micro_dollars: u64,
    /// Time spent fetching.
    pub milliseconds: u64,
}

impl Add for Cost {
    type Output = Self;

    /// The sum, field by field, saturating.
    fn add(self, other: Self) -> Self {
        Self {
            quota_units: self.quota_units.saturating_add(other.quota_units),
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            micro_dollars: self.micro_dollars.saturating_add(other.micro_dollars),
            milliseconds: self.milliseconds.saturating_add(other.milliseconds),
        }
    }
}
