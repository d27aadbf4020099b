//! What is owed: a change of a key, a pattern or a tag, and what remains of two of them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::{entry::Entry, pattern::Pattern, policy::Kind};

/// A sort of change that the remote tier did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// A value that it is to get.
    Value,
    /// A key that is to go.
    Delete,
    /// A value that is to be stale.
    Expire,
    /// All keys that match a pattern are to go.
    DeletePattern,
    /// What has a tag is not to be served any more.
    InvalidateTag,
    /// What has a tag is to be stale.
    ExpireTag,
}

/// Why a change that was owed to the remote tier is not told to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GivenUp {
    /// It was told a later change, which makes up for this one.
    Overtaken,
    /// The value is of no use any more: the key or a tag of it was changed meanwhile, or its time was over.
    Outrun,
    /// Too many were owed.
    TooMany,
}

/// What is owed of a key.
#[derive(Clone, Debug)]
pub(crate) struct OwedOfKey {
    pub change: Change,
    /// The pattern or tag.
    pub by: Option<Arc<str>>,
    pub bytes: u64,
    pub age: Duration,
    pub attempts: u32,
}

/// A change of one key.
#[derive(Clone, Debug)]
pub(crate) enum Debt {
    Value {
        kind: Kind,
        entry: Entry,
        /// When it began to be fetched, or was set: what is deleted later is not to come back.
        since: Instant,
        /// Of the lease it was fetched with, which may still be there.
        token: Option<String>,
        /// Whether what lies there was to go in any case.
        over: bool,
    },
    /// What lies there was to go then.
    Delete(Instant),
    /// What lies there is stale since then.
    Expire(Instant, Timestamp),
}

impl Debt {
    pub(super) fn change(&self) -> Change {
        match self {
            Self::Value { .. } => Change::Value,
            Self::Delete(_) => Change::Delete,
            Self::Expire(..) => Change::Expire,
        }
    }

    pub(super) fn since(&self) -> Instant {
        match self {
            Self::Value { since, .. } | Self::Delete(since) | Self::Expire(since, _) => *since,
        }
    }

    pub(super) fn is_value(&self) -> bool {
        matches!(self, Self::Value { .. })
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Value { entry, .. } => entry.value.len() as u64,
            Self::Delete(_) | Self::Expire(..) => 0,
        }
    }

    /// What remains to be done of this and then of `next`.
    pub(super) fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Value { over: false, .. }, next @ Self::Value { .. }) | (_, next @ Self::Delete(_)) => {
                next
            }
            (_, Self::Value { kind, entry, since, token, .. }) => {
                Self::Value { kind, entry, since, token, over: true }
            }
            (Self::Value { kind, entry, since, .. }, Self::Expire(_, at)) => {
                Self::Value { kind, entry: entry.expired(at), since, token: None, over: true }
            }
            (before @ Self::Delete(_), Self::Expire(..)) => before,
            (Self::Expire(..), next @ Self::Expire(..)) => next,
        }
    }
}

/// A change of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagDebt {
    pub expire: bool,
    pub at: Timestamp,
}

impl TagDebt {
    pub(super) fn change(self) -> Change {
        if self.expire { Change::ExpireTag } else { Change::InvalidateTag }
    }
}

/// One change to be made good, with its number.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    Pattern(u64, Pattern, Instant),
    Tag(u64, Arc<str>, TagDebt),
    Key(u64, Arc<str>, Debt),
}

impl Next {
    pub(super) fn change(&self) -> Change {
        match self {
            Self::Pattern(..) => Change::DeletePattern,
            Self::Tag(_, _, debt) => debt.change(),
            Self::Key(_, _, debt) => debt.change(),
        }
    }

    pub(crate) fn is_value(&self) -> bool {
        matches!(self, Self::Key(_, _, debt) if debt.is_value())
    }
}
