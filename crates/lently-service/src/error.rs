//! What can go wrong for a caller of the service, by cause, each with a stable code. Nothing is logged here.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lently_cache::{FailureClass, FetchError, FetchFailure};
use lently_upstream::UpstreamError;
use serde::{Deserialize, Serialize};

use crate::plan::UserPlan;

/// Why the service could not do what was asked. Cloned to everyone who waited for the same thing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// YouTube or Gemini refused or failed. Whether a retry helps is the upstream error's to say.
    #[error(transparent)]
    Upstream(UpstreamError),
    /// The same was answered a while ago and is remembered: nobody was asked again, and nothing was paid. Whether a retry helps is the
    /// error's own to say.
    #[error(transparent)]
    Remembered(Box<Self>),
    /// There is no such thing, or it is not this user's: the two are not told apart. A retry does not help.
    #[error("not found")]
    NotFound,
    /// The caller's fault; a retry does not help.
    #[error("`{field}` {message}")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// What it must be.
        message: String,
    },
    /// The user's plan does not allow it, or not again this month.
    #[error("the plan `{plan}` allows {allowed} ({limit})")]
    PlanLimit {
        /// The user's plan.
        plan: UserPlan,
        /// `analyses_per_month` or `max_comments`.
        limit: &'static str,
        /// How much is allowed.
        allowed: u32,
        /// When it is allowed again; `None` where waiting does not help.
        resets_at: Option<Timestamp>,
    },
    /// The engine asked for is not there: no key is configured. Another engine, or a key, helps.
    #[error("the engine `{engine}` needs a key, and none is configured; use `auto` or `local`, or set one")]
    EngineUnavailable {
        /// The engine asked for.
        engine: &'static str,
    },
    /// As many analyses, or fetches from YouTube, wait as may wait. A retry after a while helps.
    #[error("{waiting} are running or waiting, which is the limit; try again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// It took longer than its limit. A retry may help: what was fetched by then is kept.
    #[error("it took longer than its limit")]
    TimedOut,
    /// The caller wanted nothing fetched, and no tier has what would do. Asking without `only-if-cached` helps.
    #[error("no tier has it, and `only-if-cached` asks for nothing to be fetched")]
    NotCached,
    /// Whoever asked for it has canceled it. What was paid for is kept, and asking again goes on from there.
    #[error("it was canceled; what was read and judged by then is kept")]
    Canceled,
    /// This node's store does not have the comments of the analysis: another node made it, or an earlier version. Making it anew helps.
    #[error("the comments of this analysis are not kept here; make it anew")]
    CommentsNotKept,
    /// The process is stopping, or the work was lost to a defect. A retry helps, here or on another node.
    #[error("the work was interrupted before it ended")]
    Interrupted,
    /// The store could not be read or written. A retry may help.
    #[error("the store cannot be used")]
    Store(#[source] Arc<sqlx::Error>),
    /// The cache refused an administrative command (a plain read or write never fails for the cache's sake).
    #[error("the cache could not do it")]
    Cache(#[source] Arc<dyn Error + Send + Sync>),
    /// A defect of ours. A retry does not help.
    #[error("{what}")]
    Internal {
        /// What should not have been.
        what: &'static str,
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl ServiceError {
    /// The code that clients may rely on; it never changes once released.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Upstream(error) => upstream_code(error),
            Self::Remembered(error) => error.code(),
            Self::NotFound => "not-found",
            Self::Invalid { .. } => "invalid-request",
            Self::PlanLimit { .. } => "plan-limit",
            Self::EngineUnavailable { .. } => "engine-unavailable",
            Self::Busy { .. } => "busy",
            Self::TimedOut => "timed-out",
            Self::Interrupted => "interrupted",
            Self::Canceled => "canceled",
            Self::NotCached => "not-cached",
            Self::CommentsNotKept => "comments-not-kept",
            Self::Store(_) => "store-unavailable",
            Self::Cache(_) => "cache-unavailable",
            Self::Internal { .. } => "internal",
        }
    }

    /// Whether asking again may succeed without anything being changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Upstream(UpstreamError::QuotaSetAside { .. }) => true,
            Self::Upstream(error) => error.is_retryable(),
            Self::Remembered(error) => error.is_retryable(),
            Self::Busy { .. }
            | Self::TimedOut
            | Self::Interrupted
            | Self::Canceled
            | Self::Store(_)
            | Self::Cache(_) => true,
            Self::NotFound
            | Self::NotCached
            | Self::CommentsNotKept
            | Self::Invalid { .. }
            | Self::PlanLimit { .. }
            | Self::EngineUnavailable { .. }
            | Self::Internal { .. } => false,
        }
    }

    /// The error itself, also where it is a remembered one.
    pub fn itself(&self) -> &Self {
        match self {
            Self::Remembered(error) => error.itself(),
            error => error,
        }
    }

    pub(crate) fn internal(what: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Internal { what, source: Arc::new(source) }
    }

    pub(crate) fn cache(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Cache(Arc::new(source))
    }

    /// The error as the cache shares it among those who wait; [`ServiceError::from`] a [`FetchError`] is the way back.
    pub(crate) fn into_failure(self) -> FetchFailure {
        let class = match &self {
            Self::Remembered(error) => return error.itself().clone().into_failure(),
            Self::Upstream(error) => upstream_class(error),
            Self::NotFound => FailureClass::NotFound,
            Self::Busy { .. } | Self::TimedOut | Self::Interrupted | Self::Store(_) | Self::Cache(_) => {
                FailureClass::Transient
            }
            // Not remembered at all: the next one may want it.
            Self::Canceled => FailureClass::RateLimited { retry_after: Some(Duration::ZERO) },
            _ => FailureClass::Permanent,
        };
        let detail = match &self {
            Self::Upstream(error) => Told::of(error).and_then(|told| serde_json::to_string(&told).ok()),
            _ => None,
        };
        let failure = FetchFailure::new(class, self);
        match detail {
            Some(detail) => failure.with_detail(detail),
            None => failure,
        }
    }
}

impl From<UpstreamError> for ServiceError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<sqlx::Error> for ServiceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<FetchError> for ServiceError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Failed(failure) => {
                let error = match failure.source.downcast_ref::<Self>() {
                    Some(error) => error.clone(),
                    // It happened on another node.
                    None => Self::Upstream(told_elsewhere(&failure)),
                };
                if failure.remembered { Self::Remembered(Box::new(error)) } else { error }
            }
            FetchError::TimedOut { .. } => Self::TimedOut,
            FetchError::Abandoned => Self::Interrupted,
            FetchError::NotCached => Self::NotCached,
            other => Self::internal("a cache key cannot be used", other),
        }
    }
}

fn upstream_class(error: &UpstreamError) -> FailureClass {
    match error {
        UpstreamError::VideoNotFound => FailureClass::NotFound,
        UpstreamError::CommentsDisabled | UpstreamError::Forbidden { .. } => FailureClass::Forbidden,
        UpstreamError::QuotaExhausted { until, .. } => FailureClass::QuotaExhausted { until: *until },
        UpstreamError::RateLimited { retry_after, .. } => {
            FailureClass::RateLimited { retry_after: *retry_after }
        }
        // Not remembered at all: another may have what this one may not, and it may be given back at any time.
        UpstreamError::QuotaSetAside { .. } => {
            FailureClass::RateLimited { retry_after: Some(Duration::ZERO) }
        }
        other if other.is_retryable() => FailureClass::Transient,
        _ => FailureClass::Permanent,
    }
}

/// An upstream's failure as it is told to other nodes: the stored form of [`UpstreamError`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    KeyInvalid,
    QuotaExhausted { until: Timestamp },
    QuotaSetAside { until: Timestamp },
    CommentsDisabled,
    VideoNotFound,
    CommentNotFound,
    Forbidden { reason: String },
    RateLimited { retry_after_ms: Option<u64> },
    Transient { reason: String, retry_after_ms: Option<u64> },
    TimedOut,
    BadRequest { reason: String },
}

impl Told {
    /// `None` for what is this node's alone: its configuration, an answer it paid for.
    fn of(error: &UpstreamError) -> Option<Self> {
        let millis =
            |hint: &Option<Duration>| hint.map(|hint| u64::try_from(hint.as_millis()).unwrap_or(u64::MAX));
        Some(match error {
            UpstreamError::KeyInvalid => Self::KeyInvalid,
            UpstreamError::QuotaExhausted { until } => Self::QuotaExhausted { until: *until },
            UpstreamError::QuotaSetAside { until } => Self::QuotaSetAside { until: *until },
            UpstreamError::CommentsDisabled => Self::CommentsDisabled,
            UpstreamError::VideoNotFound => Self::VideoNotFound,
            UpstreamError::CommentNotFound => Self::CommentNotFound,
            UpstreamError::Forbidden { reason } => Self::Forbidden { reason: reason.clone() },
            UpstreamError::RateLimited { retry_after } => {
                Self::RateLimited { retry_after_ms: millis(retry_after) }
            }
            UpstreamError::Transient { reason, retry_after } => {
                Self::Transient { reason: reason.clone(), retry_after_ms: millis(retry_after) }
            }
            UpstreamError::TimedOut => Self::TimedOut,
            UpstreamError::BadRequest { reason } => Self::BadRequest { reason: reason.clone() },
            _ => return None,
        })
    }
}

/// The failure that another node had, from its detail; from its class where that tells nothing.
fn told_elsewhere(failure: &FetchFailure) -> UpstreamError {
    let told = failure.detail.as_deref().and_then(|detail| serde_json::from_str(detail).ok());
    let hint = |ms: Option<u64>| ms.map(Duration::from_millis);
    match told {
        Some(Told::KeyInvalid) => UpstreamError::KeyInvalid,
        Some(Told::QuotaExhausted { until }) => UpstreamError::QuotaExhausted { until },
        Some(Told::QuotaSetAside { until }) => UpstreamError::QuotaSetAside { until },
        Some(Told::CommentsDisabled) => UpstreamError::CommentsDisabled,
        Some(Told::VideoNotFound) => UpstreamError::VideoNotFound,
        Some(Told::CommentNotFound) => UpstreamError::CommentNotFound,
        Some(Told::Forbidden { reason }) => UpstreamError::Forbidden { reason },
        Some(Told::RateLimited { retry_after_ms }) => {
            UpstreamError::RateLimited { retry_after: hint(retry_after_ms) }
        }
        Some(Told::Transient { reason, retry_after_ms }) => {
            UpstreamError::Transient { reason, retry_after: hint(retry_after_ms) }
        }
        Some(Told::TimedOut) => UpstreamError::TimedOut,
        Some(Told::BadRequest { reason }) => UpstreamError::BadRequest { reason },
        None => match failure.class {
            FailureClass::QuotaExhausted { until } => UpstreamError::QuotaExhausted { until },
            FailureClass::RateLimited { retry_after } => UpstreamError::RateLimited { retry_after },
            _ => UpstreamError::Transient { reason: failure.to_string(), retry_after: None },
        },
    }
}

fn upstream_code(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::MissingKey { .. } => "key-missing",
        UpstreamError::KeyInvalid => "key-invalid",
        UpstreamError::QuotaExhausted { .. } => "quota-exhausted",
        UpstreamError::QuotaSetAside { .. } => "quota-set-aside",
        UpstreamError::CommentsDisabled => "comments-disabled",
        UpstreamError::VideoNotFound => "video-not-found",
        UpstreamError::Forbidden { .. } => "forbidden",
        UpstreamError::RateLimited { .. } => "rate-limited",
        UpstreamError::Transient { .. } => "upstream-unavailable",
        UpstreamError::TimedOut => "upstream-timed-out",
        UpstreamError::BadRequest { .. } => "upstream-refused",
        UpstreamError::Unusable { .. } => "upstream-unusable",
        _ => "upstream-failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstreams_failure_is_the_same_on_every_node() {
        let retry_after = Some(Duration::from_millis(1500));
        for error in [
            UpstreamError::KeyInvalid,
            UpstreamError::QuotaExhausted { until: Timestamp::UNIX_EPOCH },
            UpstreamError::QuotaSetAside { until: Timestamp::UNIX_EPOCH },
            UpstreamError::CommentsDisabled,
            UpstreamError::VideoNotFound,
            UpstreamError::Forbidden { reason: "private".to_owned() },
            UpstreamError::RateLimited { retry_after },
            UpstreamError::Transient { reason: "503".to_owned(), retry_after: None },
            UpstreamError::TimedOut,
            UpstreamError::BadRequest { reason: "x".to_owned() },
        ] {
            let FetchFailure { class, detail, .. } = ServiceError::Upstream(error.clone()).into_failure();
            // What arrives elsewhere: the class, the words and the detail, and not the error itself.
            let elsewhere =
                FetchFailure { detail, ..FetchFailure::new(class, std::io::Error::other("words")) };
            let ServiceError::Upstream(told) = ServiceError::from(FetchError::Failed(elsewhere)) else {
                panic!("an upstream's failure")
            };
            assert_eq!(told, error);
        }
    }
}
