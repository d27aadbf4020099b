//! Failures that are remembered: shared with everyone who waits on any node, and kept for as long as their class says, so that an
//! upstream that has said no is asked once after that time and not once by each caller.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::{
    chance,
    clock::{between, later},
    entry::{FailureClass, FetchError, FetchFailure},
    pattern::Pattern,
};

/// How long failures are remembered, by class. Zero is not at all.
///
/// A used-up quota is remembered until it is there again, and a rate limit for as long as the upstream asks, an hour at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureTtl {
    /// There is no such thing. Default 10 minutes.
    pub not_found: Duration,
    /// It may not be read. Default 10 minutes.
    pub forbidden: Duration,
    /// Too many requests, and no word for how long. Default 5 s.
    pub rate_limited: Duration,
    /// Likely gone when tried again. Default 1 s, more or less by half, so that nodes do not return together.
    pub transient: Duration,
    /// Will not go away by trying again; but somebody may mend it. Default 10 s.
    pub permanent: Duration,
}

impl Default for FailureTtl {
    fn default() -> Self {
        Self {
            not_found: Duration::from_secs(600),
            forbidden: Duration::from_secs(600),
            rate_limited: Duration::from_secs(5),
            transient: Duration::from_secs(1),
            permanent: Duration::from_secs(10),
        }
    }
}

/// A quota comes back once a day; an hour more for a day that is longer.
const LONGEST_QUOTA: Duration = Duration::from_secs(25 * 3600);
/// A hint beyond this is not believed.
const LONGEST_HINT: Duration = Duration::from_secs(3600);
/// So many are remembered in memory, where no Redis remembers them.
const REMEMBERED: usize = 4096;
/// A longer message is cut where it travels.
const MESSAGE_CHARS: usize = 400;

impl FailureTtl {
    /// No failure is remembered: for fetches whose failure says nothing about the next.
    pub const NONE: Self = Self {
        not_found: Duration::ZERO,
        forbidden: Duration::ZERO,
        rate_limited: Duration::ZERO,
        transient: Duration::ZERO,
        permanent: Duration::ZERO,
    };

    /// How long a failure that happened `now` is remembered.
    pub(crate) fn of(&self, error: &FetchError, now: Timestamp) -> Duration {
        let FetchError::Failed(failure) = error else {
            return if matches!(error, FetchError::TimedOut { .. }) {
                self.jittered()
            } else {
                Duration::ZERO
            };
        };
        match failure.class {
            FailureClass::NotFound => self.not_found,
            FailureClass::Forbidden => self.forbidden,
            FailureClass::QuotaExhausted { until } => between(now, until).min(LONGEST_QUOTA),
            FailureClass::RateLimited { retry_after } => {
                retry_after.map_or(self.rate_limited, |hint| hint.min(LONGEST_HINT))
            }
            FailureClass::Transient => self.jittered(),
            FailureClass::Permanent => self.permanent,
        }
    }

    fn jittered(&self) -> Duration {
        self.transient.mul_f64(chance::between(0.5, 1.5))
    }
}

/// A failure as it lies in Redis, for other processes.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    class: Class,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// [`FailureClass`] as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Class {
    NotFound,
    Forbidden,
    QuotaExhausted { until: Timestamp },
    RateLimited { retry_after_ms: Option<u64> },
    Transient,
    Permanent,
    TimedOut { after_ms: u64 },
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What another process needs to fail in the same way; `None` for what is this process' alone.
pub(crate) fn encode(error: &FetchError) -> Option<String> {
    let (class, message, detail) = match error {
        FetchError::Failed(failure) => {
            let class = match failure.class {
                FailureClass::NotFound => Class::NotFound,
                FailureClass::Forbidden => Class::Forbidden,
                FailureClass::QuotaExhausted { until } => Class::QuotaExhausted { until },
                FailureClass::RateLimited { retry_after } => {
                    Class::RateLimited { retry_after_ms: retry_after.map(millis) }
                }
                FailureClass::Transient => Class::Transient,
                FailureClass::Permanent => Class::Permanent,
            };
            (class, failure.to_string(), failure.detail.as_deref().map(str::to_owned))
        }
        FetchError::TimedOut { after } => {
            (Class::TimedOut { after_ms: millis(*after) }, error.to_string(), None)
        }
        FetchError::Abandoned | FetchError::BadKey(_) | FetchError::NotCached => return None,
    };
    let message = message.chars().take(MESSAGE_CHARS).collect();
    serde_json::to_string(&Record { class, message, detail }).ok()
}

/// The failure that another process had; `None` if it cannot be read, and then it is as if there were none.
pub(crate) fn decode(record: &[u8]) -> Option<FetchError> {
    let Record { class, message, detail } = serde_json::from_slice(record).ok()?;
    let class = match class {
        Class::NotFound => FailureClass::NotFound,
        Class::Forbidden => FailureClass::Forbidden,
        Class::QuotaExhausted { until } => FailureClass::QuotaExhausted { until },
        Class::RateLimited { retry_after_ms } => {
            FailureClass::RateLimited { retry_after: retry_after_ms.map(Duration::from_millis) }
        }
        Class::Transient => FailureClass::Transient,
        Class::Permanent => FailureClass::Permanent,
        Class::TimedOut { after_ms } => {
            return Some(FetchError::TimedOut { after: Duration::from_millis(after_ms) });
        }
    };
    Some(FetchError::Failed(FetchFailure {
        class,
        source: Arc::new(Told(message)),
        detail: detail.map(Arc::from),
        remembered: false,
    }))
}

/// What another process said of its failure.
#[derive(Debug)]
struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Told {}

/// Failures that this process alone remembers: without Redis, or while it is away.
pub(crate) struct Failures(Cache<Arc<str>, (FetchError, Timestamp)>);

impl Failures {
    pub(crate) fn new() -> Self {
        Self(Cache::new(REMEMBERED))
    }

    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Option<FetchError> {
        let (error, until) = self.0.get(key)?;
        if now < until {
            return Some(error);
        }
        self.0.remove(key);
        None
    }

    /// What is remembered, and for how long yet.
    pub(crate) fn peek(&self, key: &str, now: Timestamp) -> Option<(FetchError, Duration)> {
        self.0.peek(key).filter(|(_, until)| now < *until).map(|(error, until)| (error, between(now, until)))
    }

    pub(crate) fn remember(&self, key: &Arc<str>, error: &FetchError, now: Timestamp, lasts: Duration) {
        self.0.insert(key.clone(), (error.clone(), later(now, lasts)));
    }

    pub(crate) fn forget(&self, key: &str) {
        self.0.remove(key);
    }

    pub(crate) fn forget_matching(&self, pattern: &Pattern) {
        self.0.retain(|key, _| !pattern.matches(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(class: FailureClass) -> FetchError {
        FetchError::Failed(FetchFailure::new(class, std::io::Error::other("why")).with_detail("{}"))
    }

    #[test]
    fn a_failure_travels_with_its_class_its_words_and_its_detail() {
        let until = Timestamp::UNIX_EPOCH;
        for class in [
            FailureClass::NotFound,
            FailureClass::Forbidden,
            FailureClass::QuotaExhausted { until },
            FailureClass::RateLimited { retry_after: Some(Duration::from_millis(1500)) },
            FailureClass::RateLimited { retry_after: None },
            FailureClass::Transient,
            FailureClass::Permanent,
        ] {
            let record = encode(&failed(class)).expect("a record");
            let Some(FetchError::Failed(told)) = decode(record.as_bytes()) else { panic!("a failure") };
            assert_eq!(
                (told.class, told.to_string().as_str(), told.detail.as_deref()),
                (class, "why", Some("{}"))
            );
        }
        let late = FetchError::TimedOut { after: Duration::from_secs(3) };
        let told = decode(encode(&late).expect("a record").as_bytes());
        assert!(matches!(told, Some(FetchError::TimedOut { after }) if after == Duration::from_secs(3)));
        assert!(encode(&FetchError::Abandoned).is_none());
        assert!(decode(b"garbage").is_none() && decode(b"{\"class\":\"new\"}").is_none());
    }

    #[test]
    fn each_class_lasts_as_long_as_it_deserves() {
        let (ttl, now) = (FailureTtl::default(), Timestamp::UNIX_EPOCH);
        let lasts = |class| ttl.of(&failed(class), now);
        assert_eq!(lasts(FailureClass::NotFound), Duration::from_secs(600));
        let until = later(now, Duration::from_secs(7200));
        assert_eq!(lasts(FailureClass::QuotaExhausted { until }), Duration::from_secs(7200));
        let hint = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(lasts(FailureClass::RateLimited { retry_after: hint(26) }), Duration::from_secs(26));
        assert_eq!(lasts(FailureClass::RateLimited { retry_after: hint(1 << 40) }), LONGEST_HINT);
        let transient = lasts(FailureClass::Transient);
        assert!((0.5..1.5).contains(&transient.as_secs_f64()), "{transient:?}");
        assert_eq!(ttl.of(&FetchError::Abandoned, now), Duration::ZERO);
    }
}
