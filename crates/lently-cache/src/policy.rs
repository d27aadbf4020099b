//! What the caller says about a kind of value: its name, how long it lives, what fetching it may take and did cost.
//! Plain data; nothing here looks at a clock.

use std::{ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

use crate::failure::FailureTtl;

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
    /// How long after that a value could still be shown as stale. Written to the envelope; not served yet.
    pub stale: Duration,
    /// The age beyond which a value is neither served nor kept.
    pub retention: Duration,
    /// How long a fetch may take before its callers get [`FetchError::TimedOut`](crate::FetchError::TimedOut).
    /// Another process' fetch is waited for as long.
    pub fetch_timeout: Duration,
    /// What is done when another process' fetch was waited for in vain.
    pub after_wait: AfterWait,
    /// How long failures are remembered.
    pub failures: FailureTtl,
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
