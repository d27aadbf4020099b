//! What YouTube and Gemini may answer instead of a result, sorted by what can be done about it.
//! Holds neither a key nor a body: both could reach a log from here.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use crate::gemini::TokenUsage;

/// Why an upstream gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Nothing is configured to ask with.
    #[error("no {what} is configured; set {variable}")]
    MissingKey {
        /// `YouTube API key`, for instance.
        what: &'static str,
        /// The variable that sets it.
        variable: &'static str,
    },
    /// The key is not valid, or not for this API.
    #[error("the API key was refused; check that it is whole, and that the API is enabled for its project")]
    KeyInvalid,
    /// The quota of the day is used up.
    #[error("the upstream's quota is used up until {until}")]
    QuotaExhausted {
        /// The next midnight in America/Los_Angeles, when Google counts anew.
        until: Timestamp,
    },
    /// What is left of a quota is set aside: for work under way, or for those who wait. Nothing was sent; it may be free again soon.
    #[error("what is left of the quota until {until} is set aside for others")]
    QuotaSetAside {
        /// When all of it is there anew.
        until: Timestamp,
    },
    /// The video's owner has switched comments off.
    #[error("comments are disabled for this video")]
    CommentsDisabled,
    /// There is no such video, or it is private or removed.
    #[error("there is no such video, or it is private or removed")]
    VideoNotFound,
    /// There is no such comment; deleted since its thread was read, for instance.
    #[error("there is no such comment")]
    CommentNotFound,
    /// There is no such playlist, or it is private.
    #[error("there is no such playlist, or it is private")]
    PlaylistNotFound,
    /// It may not be read with what is configured.
    #[error("the upstream forbids it: {reason}")]
    Forbidden {
        /// The upstream's own word, such as `forbidden`.
        reason: String,
    },
    /// Too many requests in a short time.
    #[error("the upstream asks to slow down{}", hint(.retry_after))]
    RateLimited {
        /// The upstream's own hint.
        retry_after: Option<Duration>,
    },
    /// It failed in a way that is likely gone when tried again.
    #[error("the upstream failed: {reason}")]
    Transient {
        /// What was seen.
        reason: String,
        /// The upstream's own hint, such as a 503's `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    #[error("the upstream did not answer in time")]
    TimedOut,
    /// The request itself is at fault.
    #[error("the upstream refused the request: {reason}")]
    BadRequest {
        /// The upstream's own word, such as `processingFailure`.
        reason: String,
    },
    /// An answer came, was paid for, and is of no use.
    #[error("the answer cannot be used: {reason}")]
    Unusable {
        /// In which way.
        reason: Unusable,
        /// What it cost nevertheless.
        usage: TokenUsage,
    },
}

/// In which way an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unusable {
    /// The prompt or the answer was blocked.
    Blocked,
    /// The answer ends where its token limit was reached.
    Truncated,
    /// A candidate without text.
    NoParts,
    /// Not what the API promises.
    Malformed,
    /// It ended for a reason this version does not know.
    UnknownFinish(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("it was blocked"),
            Self::Truncated => f.write_str("it is cut off at its token limit"),
            Self::NoParts => f.write_str("it has no text"),
            Self::Malformed => f.write_str("it is not what the API promises"),
            Self::UnknownFinish(reason) => write!(f, "it ended with {reason}"),
        }
    }
}

impl UpstreamError {
    /// Whether the same request may succeed shortly.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Transient { .. } | Self::TimedOut)
    }

    /// Whether it is the page token that is no longer good: reading begins again at the first page. YouTube documents
    /// `invalidPageToken` for that; `processingFailure` is what it calls most of what it cannot make sense of.
    #[must_use]
    pub fn refuses_page_token(&self) -> bool {
        matches!(self, Self::BadRequest { reason } if reason == "invalidPageToken" || reason == "processingFailure")
    }

    /// How long the upstream asks to be left alone, where it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Transient { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn hint(retry_after: &Option<Duration>) -> String {
    retry_after.map(|after| format!(" for {} s", after.as_secs().max(1))).unwrap_or_default()
}

/// A short word out of an answer, fit for an error: letters, digits and `_.- ` only, at most 80 of them.
pub(crate) fn word(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ' '))
        .take(80)
        .collect()
}
