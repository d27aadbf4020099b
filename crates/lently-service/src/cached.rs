//! A cached value as its stored bytes, with how it was found. It is parsed only when somebody looks inside.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{Answer, Cost, Outcome, Tier};
use serde::de::DeserializeOwned;

use crate::error::ServiceError;
use crate::store::between;

/// A value from the cache or fresh from upstream; `body` is its JSON, ready to be served.
#[derive(Debug, Clone)]
pub struct Cached<T> {
    /// The JSON as it is stored.
    pub body: Bytes,
    /// Whether it was there, was fetched for this caller, or was fetched for another and shared.
    pub outcome: Outcome,
    /// Where it was found; means something with [`Outcome::Hit`] and [`Outcome::Stale`] alone.
    pub tier: Tier,
    /// Time since it was fetched.
    pub age: Duration,
    /// Time for which it is still fresh.
    pub ttl: Duration,
    /// The same in seconds, below zero since it is stale.
    pub ttl_seconds: i64,
    /// Until when it may be kept, and what is made of it.
    pub retain_until: Timestamp,
    /// A hash of the body.
    pub etag: String,
    /// What fetching it took, back then.
    pub cost: Cost,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Cached<T> {
    pub(crate) fn new(answer: Answer, now: Timestamp) -> Self {
        let Answer { entry, outcome } = answer;
        Self {
            outcome,
            tier: entry.tier,
            age: entry.age(now),
            ttl: entry.ttl(now),
            ttl_seconds: entry.ttl_seconds(now),
            retain_until: entry.retain_until,
            etag: entry.etag.to_string(),
            cost: entry.cost,
            body: entry.value.clone(),
            value: PhantomData,
        }
    }

    /// A part of an entry, or made of it: `body`, as of `checked_at`, fresh for so long after that.
    pub(crate) fn made_of(
        answer: Answer,
        now: Timestamp,
        (body, etag): (Bytes, String),
        (checked_at, fresh): (Timestamp, Duration),
    ) -> Self {
        let age = between(checked_at, now);
        let whole = Self::new(answer, now);
        let ttl = whole.ttl.min(fresh.saturating_sub(age));
        let ttl_seconds = if ttl.is_zero() && whole.ttl_seconds >= 0 {
            -1 - i64::try_from(age.saturating_sub(fresh).as_secs()).unwrap_or(i64::MAX - 1)
        } else {
            whole.ttl_seconds.min(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))
        };
        Self { body, etag, age, ttl, ttl_seconds, ..whole }
    }

    /// Whether it cost this caller nothing because it was in a tier, fresh or stale.
    pub const fn is_hit(&self) -> bool {
        matches!(self.outcome, Outcome::Hit | Outcome::Stale(_))
    }

    /// What this caller's request spent: the cost where it was fetched for it, nothing for a hit or a shared fetch.
    pub fn spent(&self) -> Cost {
        match self.outcome {
            Outcome::Fetched { .. } => self.cost,
            _ => Cost::default(),
        }
    }

    /// Parses the body.
    pub fn value(&self) -> Result<T, ServiceError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ServiceError::internal("a cached value is not of its kind", error))
    }
}
