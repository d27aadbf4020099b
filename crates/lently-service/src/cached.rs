//! A cached value as its stored bytes, with how it was found, and what is said of that in front of it. It is parsed only when somebody
//! looks inside.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{Answer, Cost, Outcome, Tier};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::analysis::AnswerSource;
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

impl<T> Cached<T> {
    /// How it was come by.
    pub fn served(&self) -> Served {
        let (from, stale) = match self.outcome {
            Outcome::Hit => (self.tier.into(), None),
            Outcome::Stale(reason) => (self.tier.into(), Some(reason.name())),
            Outcome::Fetched { .. } => (AnswerSource::Fetched, None),
            _ => (AnswerSource::Collapsed, None),
        };
        Served { from, age_seconds: self.age.as_secs(), ttl_seconds: self.ttl_seconds, stale }
    }
}

/// How an answer was come by: what stands in front of its JSON, for those who see no headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Where it came from.
    pub from: AnswerSource,
    /// Seconds since it was read or made.
    pub age_seconds: u64,
    /// Seconds for which it is fresh, below zero since it is not.
    pub ttl_seconds: i64,
    /// Why it is given though it is no longer fresh; `None` where it is.
    pub stale: Option<&'static str>,
}

impl Served {
    /// A stored JSON object with `"cached"` and `"served"` in front of its members.
    pub fn in_front_of(&self, stored: &[u8]) -> Bytes {
        let Some(rest) = stored.strip_prefix(b"{") else { return Bytes::copy_from_slice(stored) };
        let told = serde_json::to_string(self).expect("numbers and words are JSON");
        let mut body = format!("{{\"cached\":{},\"served\":{told}", self.from.is_cached()).into_bytes();
        body.reserve_exact(rest.len() + 1);
        if !rest.starts_with(b"}") {
            body.push(b',');
        }
        body.extend_from_slice(rest);
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stands_in_front_and_all_stays_json() {
        let served = |from, stale| Served { from, age_seconds: 12, ttl_seconds: -3, stale };
        let told = |served: Served, stored: &[u8]| String::from_utf8(served.in_front_of(stored).to_vec());
        let stale = served(AnswerSource::Redis, Some("quota-exhausted"));
        let expected = r#"{"cached":true,"served":{"from":"redis","age_seconds":12,"ttl_seconds":-3,"stale":"quota-exhausted"}"#;
        assert_eq!(told(stale, br#"{"a":1}"#), Ok(format!("{expected},\"a\":1}}")));
        assert_eq!(told(stale, b"{}"), Ok(format!("{expected}}}")));
        assert_eq!(told(stale, b"[1]"), Ok("[1]".to_owned()));
        let fetched = told(served(AnswerSource::Fetched, None), b"{}").expect("text");
        assert!(
            fetched.starts_with(r#"{"cached":false,"#) && fetched.ends_with(r#""stale":null}}"#),
            "{fetched}"
        );
    }
}
