//! What the emulator counts and how it misbehaves when told to. Shared by all its handlers.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::data::Data;

/// What was asked of the emulator since its start or the last reset. Calls answered with an error count, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// `videos.list`.
    pub videos: u64,
    /// `commentThreads.list`.
    pub comment_threads: u64,
    /// `comments.list`.
    pub comments: u64,
    /// `channels.list`.
    pub channels: u64,
    /// `captions.list`.
    pub captions: u64,
    /// `captions.download`.
    pub caption_downloads: u64,
    /// Quota units.
    pub units: u64,
    /// `generateContent`.
    pub gemini_calls: u64,
    /// Tokens sent, at four bytes each.
    pub tokens_in: u64,
    /// Tokens answered, at four bytes each.
    pub tokens_out: u64,
}

/// How long each method takes beside its own work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// `videos.list`.
    pub videos: Duration,
    /// `commentThreads.list`.
    pub comment_threads: Duration,
    /// `comments.list`.
    pub comments: Duration,
    /// `generateContent`.
    pub gemini: Duration,
}

/// A method of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `videos.list`.
    Videos,
    /// `commentThreads.list`.
    CommentThreads,
    /// `comments.list`.
    Comments,
    /// `channels.list`.
    Channels,
    /// `captions.list` and `captions.download`.
    Captions,
    /// `generateContent`.
    Gemini,
}

/// How the emulator misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// In which way.
    pub kind: FaultKind,
    /// In which method; all without one.
    #[serde(default)]
    pub method: Option<Method>,
    /// For how many calls; for all that follow without a number.
    #[serde(default)]
    pub times: Option<u64>,
}

/// In which way the emulator misbehaves. A way that a method does not know is answered as 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// 403 `quotaExceeded`; from Gemini a 429 for the day.
    QuotaExceeded,
    /// 403 `rateLimitExceeded` with `Retry-After`; from Gemini 429 with `RetryInfo`.
    RateLimited {
        /// The hint, in seconds; none without.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// 503.
    Unavailable,
    /// 400 for the key.
    KeyInvalid,
    /// 403 `commentsDisabled`.
    CommentsDisabled,
    /// 404 `videoNotFound`.
    VideoNotFound,
    /// Gemini blocks the prompt.
    Blocked,
    /// Gemini's answer ends in the middle.
    Truncated,
    /// Gemini's candidate has no parts.
    NoParts,
    /// Gemini's answer is no JSON.
    Malformed,
    /// Gemini's summary states a number that nobody counted; verdicts are as ever.
    Invented,
    /// No answer at all.
    Hang,
    /// The connection breaks in the middle of the answer.
    Cut,
}

pub(crate) struct State {
    pub data: Data,
    pub quota_units: u64,
    pub api_key: Option<String>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    counts: Counts,
    latency: Latency,
    fault: Option<Fault>,
}

impl State {
    pub(crate) fn new(data: Data, latency: Latency, quota_units: u64, api_key: Option<String>) -> Self {
        Self { data, quota_units, api_key, live: Mutex::new(Live { latency, ..Live::default() }) }
    }

    fn live<T>(&self, change: impl FnOnce(&mut Live) -> T) -> T {
        change(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn counts(&self) -> Counts {
        self.live(|live| live.counts)
    }

    pub(crate) fn reset(&self) {
        self.live(|live| live.counts = Counts::default());
    }

    pub(crate) fn set_latency(&self, latency: Latency) {
        self.live(|live| live.latency = latency);
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.live(|live| live.fault = fault);
    }

    pub(crate) fn latency_of(&self, method: Method) -> Duration {
        self.live(|live| match method {
            Method::Videos | Method::Channels | Method::Captions => live.latency.videos,
            Method::CommentThreads => live.latency.comment_threads,
            Method::Comments => live.latency.comments,
            Method::Gemini => live.latency.gemini,
        })
    }

    /// Counts a call; false if that exceeds the day's quota, which is counted nevertheless.
    pub(crate) fn charge(&self, units: u64, count: impl FnOnce(&mut Counts)) -> bool {
        self.live(|live| {
            count(&mut live.counts);
            live.counts.units += units;
            live.counts.units <= self.quota_units
        })
    }

    /// The fault that this call meets.
    pub(crate) fn fault_for(&self, method: Method) -> Option<FaultKind> {
        self.live(|live| {
            let fault = live.fault.as_mut().filter(|fault| fault.method.is_none_or(|only| only == method))?;
            let kind = fault.kind.clone();
            if let Some(times) = &mut fault.times {
                *times = times.saturating_sub(1);
                if *times == 0 {
                    live.fault = None;
                }
            }
            Some(kind)
        })
    }
}
