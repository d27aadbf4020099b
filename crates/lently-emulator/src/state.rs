//! What the emulator counts and how it misbehaves when told to. Shared by all its handlers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{change::Change, data::Data};

/// What was asked of the emulator since its start or the last reset. Calls answered with an error count, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// `videos.list`.
    pub videos: u64,
    /// `videos.batchGetStats`; each is a unit of its own bucket and none of `units`.
    pub statistics: u64,
    /// `commentThreads.list`.
    pub comment_threads: u64,
    /// `comments.list`.
    pub comments: u64,
    /// `channels.list`.
    pub channels: u64,
    /// `playlistItems.list`.
    pub playlist_items: u64,
    /// `captions.list`.
    pub captions: u64,
    /// `captions.download`.
    pub caption_downloads: u64,
    /// Quota units.
    pub units: u64,
    /// `generateContent`.
    pub gemini_calls: u64,
    /// Comments that `generateContent` judged; each as often as it was sent.
    pub texts: u64,
    /// Tokens sent, at four bytes each.
    pub tokens_in: u64,
    /// Tokens answered, at four bytes each.
    pub tokens_out: u64,
    /// Summaries that `generateContent` wrote.
    pub summaries: u64,
    /// The tokens of these, sent and answered.
    pub summary_tokens: u64,
}

/// How long each method takes beside its own work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// `videos.list` and `videos.batchGetStats`.
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
    /// `videos.batchGetStats`.
    Statistics,
    /// `commentThreads.list`.
    CommentThreads,
    /// `comments.list`.
    Comments,
    /// `channels.list`.
    Channels,
    /// `playlistItems.list`.
    PlaylistItems,
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
    /// 403 `forbidden`, as for what only its owner may read.
    Private,
    /// 400 `invalidPageToken`, as for a token that is no longer good.
    PageTokenRefused,
    /// The answer has no token for the next page, though there is one.
    PageTokenLost,
    /// Gemini blocks the prompt.
    Blocked,
    /// Gemini blocks a prompt in which this stands.
    BlockedFor {
        /// What must not be said.
        word: String,
    },
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
    pub quota_units: u64,
    statistics_units: u64,
    pub api_key: Option<String>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    data: Arc<Data>,
    counts: Counts,
    latency: Latency,
    fault: Option<Fault>,
}

impl State {
    pub(crate) fn new(
        data: Data,
        latency: Latency,
        [quota_units, statistics_units]: [u64; 2],
        api_key: Option<String>,
    ) -> Self {
        let live = Live { data: Arc::new(data), latency, ..Live::default() };
        Self { quota_units, statistics_units, api_key, live: Mutex::new(live) }
    }

    /// The videos as they are now.
    pub(crate) fn data(&self) -> Arc<Data> {
        self.live(|live| live.data.clone())
    }

    pub(crate) fn set_data(&self, data: Data) {
        self.live(|live| live.data = Arc::new(data));
    }

    /// Changes a video; how many changes found what they are about.
    pub(crate) fn change(&self, video_id: &str, changes: Vec<Change>) -> usize {
        self.live(|live| {
            let Some(video) = Arc::make_mut(&mut live.data).videos.get_mut(video_id) else { return 0 };
            let video = Arc::make_mut(video);
            changes.into_iter().map(|change| change.apply(video)).filter(|found| *found).count()
        })
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
            Method::Videos
            | Method::Statistics
            | Method::Channels
            | Method::PlaylistItems
            | Method::Captions => live.latency.videos,
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

    /// The same for the bucket of the statistics.
    pub(crate) fn charge_statistics(&self) -> bool {
        self.live(|live| {
            live.counts.statistics += 1;
            live.counts.statistics <= self.statistics_units
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
