//! A client of the YouTube Data API v3: videos, comment threads, replies, channels, captions. Counts every unit,
//! those of failed calls included. Caches nothing.
//!
//! What a call takes, and out of which quota, is the table in `bucket.rs`.

mod captions;
mod harvest;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{StatusCode, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

pub use self::harvest::{
    Harvest, HarvestEnd, HarvestProgress, HarvestRequest, Next, OpenThread, Place, ReadSoFar, Reading,
    replies_missing,
};
use crate::{
    bucket::Method,
    clock::WallClock,
    error::{UpstreamError, word},
    list_ref::{ChannelRef, PlaylistId},
    meter::{self, Expense, Meter},
    model::{Call, Channel, Comment, CommentOrder, Page, PlaylistItem, Statistics, Video},
    pacific::next_midnight,
    transport::{self, Reply},
    video_ref::VideoId,
};

/// The most ids in one `videos.list`, `videos.batchGetStats` or `channels.list`.
pub const MAX_IDS: usize = 50;
/// The most items of a playlist on one page (discovery document, revision 20261104).
pub const MAX_ITEMS: u32 = 50;
/// The most threads or replies on one page.
pub const MAX_PAGE: u32 = 100;
/// Someone may be waiting for the page; a longer hint is theirs to follow.
const LONGEST_HINT: Duration = Duration::from_secs(20);

/// How YouTube is reached.
#[derive(Clone, Debug)]
pub struct YouTubeConfig {
    /// Where the API is. Default `https://youtube.googleapis.com/`.
    pub base_url: Url,
    /// The project's API key. Without one nothing can be read.
    pub api_key: Option<SecretString>,
    /// An owner's OAuth access token, needed for captions alone.
    pub oauth_token: Option<SecretString>,
    /// How long one exchange may take. Default 15 s.
    pub timeout: Duration,
    /// How often a call is tried in all. Default 4.
    pub max_attempts: u32,
    /// By which a used-up quota ends at midnight. Default the system's.
    pub clock: WallClock,
}

impl Default for YouTubeConfig {
    fn default() -> Self {
        Self {
            base_url: Url::parse("https://youtube.googleapis.com/").unwrap_or_else(|_| unreachable!()),
            api_key: None,
            oauth_token: None,
            timeout: Duration::from_secs(15),
            max_attempts: 4,
            clock: WallClock::default(),
        }
    }
}

/// A comment thread as a page holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The comment that began it; its `reply_count` is the platform's count.
    pub top: Comment,
    /// The replies that came with it: at most five, and not always all even of fewer.
    pub inline_replies: Vec<Comment>,
}

/// The client. Cheap to clone; clones share connections and counters.
#[derive(Clone)]
pub struct YouTubeClient(Arc<Inner>, Option<Meter>);

struct Inner {
    http: transport::Http,
    config: YouTubeConfig,
    units: AtomicU64,
    statistics_units: AtomicU64,
}

/// What a call is made with.
enum Auth {
    Key,
    OAuth,
}

impl YouTubeClient {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new(config: YouTubeConfig) -> Result<Self, UpstreamError> {
        let http = transport::Http::new(config.timeout);
        let (units, statistics_units) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { http, config, units, statistics_units }), None))
    }

    /// The same client for whoever is told of its expenses by that meter.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        Self(Arc::clone(&self.0), Some(meter))
    }

    /// Quota units spent by this client and its clones, failed calls included, those of [`statistics`](Self::statistics)
    /// not.
    #[must_use]
    pub fn units_spent(&self) -> u64 {
        self.0.units.load(Ordering::Relaxed)
    }

    /// One video's metadata; 1 unit.
    ///
    /// # Errors
    /// [`UpstreamError::VideoNotFound`] also for a private or removed one: YouTube does not tell them apart.
    pub async fn video(&self, id: &VideoId) -> Result<Call<Video>, UpstreamError> {
        let call = self.videos(std::slice::from_ref(id)).await?;
        let units = call.units;
        let value = call.value.into_iter().next().ok_or(UpstreamError::VideoNotFound)?;
        Ok(Call { value, units })
    }

    /// Metadata of up to 50 videos; 1 unit. Those that do not exist are missing from the answer.
    ///
    /// # Errors
    /// As every call: by class, see [`UpstreamError`].
    pub async fn videos(&self, ids: &[VideoId]) -> Result<Call<Vec<Video>>, UpstreamError> {
        let ids = joined(ids.iter().map(VideoId::as_str))?;
        let query = [("part", "snippet,contentDetails,statistics".to_owned()), ("id", ids)];
        let call: Call<wire::List<wire::Video>> = self.list(Method::Videos, &query, &Auth::Key).await?;
        Ok(call.map(|list| list.items.into_iter().filter_map(wire::Video::into_video).collect()))
    }

    /// Units of the bucket of [`statistics`](Self::statistics) spent, failed calls included.
    #[must_use]
    pub fn statistics_units_spent(&self) -> u64 {
        self.0.statistics_units.load(Ordering::Relaxed)
    }

    /// The statistics of up to 50 videos; 1 unit of their own bucket. Those that do not exist are missing from the answer.
    ///
    /// # Errors
    /// As every call.
    pub async fn statistics(&self, ids: &[VideoId]) -> Result<Call<Vec<Statistics>>, UpstreamError> {
        check_count(ids.len())?;
        // The discovery document (revision 20261104) has the ids as a repeated parameter.
        let mut query = vec![("part", "statistics".to_owned())];
        query.extend(ids.iter().map(|id| ("id", id.to_string())));
        let call: Call<wire::List<wire::VideoStat>> =
            self.list(Method::VideoStats, &query, &Auth::Key).await?;
        Ok(call.map(|list| list.items.into_iter().filter_map(wire::VideoStat::into_statistics).collect()))
    }

    /// One page of up to 100 threads; 1 unit.
    ///
    /// # Errors
    /// [`UpstreamError::CommentsDisabled`], [`UpstreamError::VideoNotFound`], and as every call.
    pub async fn comment_threads(
        &self,
        video_id: &VideoId,
        order: CommentOrder,
        max_results: u32,
        page_token: Option<&str>,
    ) -> Result<Call<Page<Thread>>, UpstreamError> {
        let spent = AtomicU64::new(0);
        let value = self.threads_page(video_id, order, max_results, page_token, &spent).await?;
        Ok(Call { value, units: spent.into_inner() })
    }

    /// The same, the units of failed attempts counted even where the last one failed.
    async fn threads_page(
        &self,
        video_id: &VideoId,
        order: CommentOrder,
        max_results: u32,
        page_token: Option<&str>,
        spent: &AtomicU64,
    ) -> Result<Page<Thread>, UpstreamError> {
        let mut query = vec![
            ("part", "snippet,replies".to_owned()),
            ("videoId", video_id.to_string()),
            ("order", order.to_string()),
            ("maxResults", max_results.clamp(1, MAX_PAGE).to_string()),
            ("textFormat", "plainText".to_owned()),
        ];
        query.extend(page_token.map(|token| ("pageToken", token.to_owned())));
        let list: wire::List<wire::Thread> =
            self.list_counting(Method::CommentThreads, &query, &Auth::Key, spent).await?;
        Ok(list.into_page(wire::Thread::into_thread))
    }

    /// One page of up to 100 replies to a comment; 1 unit.
    ///
    /// # Errors
    /// [`UpstreamError::CommentNotFound`], and as every call.
    pub async fn replies(
        &self,
        parent_id: &str,
        page_token: Option<&str>,
    ) -> Result<Call<Page<Comment>>, UpstreamError> {
        let spent = AtomicU64::new(0);
        let value = self.replies_page(parent_id, page_token, &spent).await?;
        Ok(Call { value, units: spent.into_inner() })
    }

    /// The same, the units of failed attempts counted even where the last one failed.
    async fn replies_page(
        &self,
        parent_id: &str,
        page_token: Option<&str>,
        spent: &AtomicU64,
    ) -> Result<Page<Comment>, UpstreamError> {
        let mut query = vec![
            ("part", "snippet".to_owned()),
            ("parentId", parent_id.to_owned()),
            ("maxResults", MAX_PAGE.to_string()),
            ("textFormat", "plainText".to_owned()),
        ];
        query.extend(page_token.map(|token| ("pageToken", token.to_owned())));
        let list: Result<wire::List<wire::Comment>, _> =
            self.list_counting(Method::Comments, &query, &Auth::Key, spent).await;
        let list = list.map_err(|error| match error {
            // Only a comment was asked for, whatever the reason of the 404 says.
            UpstreamError::VideoNotFound => UpstreamError::CommentNotFound,
            other => other,
        })?;
        Ok(list.into_page(|comment| comment.into_comment(Some(parent_id))))
    }

    /// Up to 50 channels; 1 unit. Those that do not exist are missing from the answer.
    ///
    /// # Errors
    /// As every call.
    pub async fn channels(&self, ids: &[&str]) -> Result<Call<Vec<Channel>>, UpstreamError> {
        let ids = joined(ids.iter().copied())?;
        let query = [("part", "snippet,statistics,contentDetails".to_owned()), ("id", ids)];
        let call: Call<wire::List<wire::Channel>> = self.list(Method::Channels, &query, &Auth::Key).await?;
        Ok(call.map(|list| list.items.into_iter().filter_map(wire::Channel::into_channel).collect()))
    }

    /// The channel that is meant, with the playlist of its uploads; 1 unit. `None` where there is none.
    ///
    /// # Errors
    /// As every call.
    pub async fn channel(&self, channel: &ChannelRef) -> Result<Call<Option<Channel>>, UpstreamError> {
        let wanted = match channel {
            ChannelRef::Id(id) => ("id", id.clone()),
            ChannelRef::Handle(handle) => ("forHandle", handle.clone()),
        };
        let query = [("part", "snippet,contentDetails".to_owned()), wanted];
        let call: Call<wire::List<wire::Channel>> = self.list(Method::Channels, &query, &Auth::Key).await?;
        Ok(call.map(|list| list.items.into_iter().find_map(wire::Channel::into_channel)))
    }

    /// One page of up to 50 items of a playlist, in its own order, which for uploads is newest first; 1 unit.
    ///
    /// # Errors
    /// [`UpstreamError::PlaylistNotFound`], and as every call.
    pub async fn playlist_items(
        &self,
        playlist: &PlaylistId,
        page_token: Option<&str>,
    ) -> Result<Call<Page<PlaylistItem>>, UpstreamError> {
        let mut query = vec![
            ("part", "contentDetails".to_owned()),
            ("playlistId", playlist.to_string()),
            ("maxResults", MAX_ITEMS.to_string()),
        ];
        query.extend(page_token.map(|token| ("pageToken", token.to_owned())));
        let call: Result<Call<wire::List<wire::PlaylistItem>>, _> =
            self.list(Method::PlaylistItems, &query, &Auth::Key).await;
        let call = call.map_err(|error| match error {
            // Only a playlist was asked for, whatever the reason of the 404 says.
            UpstreamError::VideoNotFound => UpstreamError::PlaylistNotFound,
            other => other,
        })?;
        Ok(call.map(|list| list.into_page(wire::PlaylistItem::into_item)))
    }

    /// Calls a `list` method with retries. The units of every attempt are in the result.
    async fn list<T: DeserializeOwned>(
        &self,
        method: Method,
        query: &[(&str, String)],
        auth: &Auth,
    ) -> Result<Call<T>, UpstreamError> {
        let spent = AtomicU64::new(0);
        let value = self.list_counting(method, query, auth, &spent).await?;
        Ok(Call { value, units: spent.into_inner() })
    }

    async fn list_counting<T: DeserializeOwned>(
        &self,
        method: Method,
        query: &[(&str, String)],
        auth: &Auth,
        spent: &AtomicU64,
    ) -> Result<T, UpstreamError> {
        let call = || async {
            let reply = self.ask(method, method.path(), query, auth, spent).await?;
            serde_json::from_slice(&reply.body).map_err(|_| UpstreamError::Transient {
                reason: "its answer is not what the API promises".to_owned(),
                retry_after: None,
            })
        };
        let attempts = self.0.config.max_attempts;
        transport::with_retries(attempts, LONGEST_HINT, UpstreamError::is_retryable, call).await
    }

    /// One attempt. It costs its units whatever comes of it, once it is sent.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        auth: &Auth,
        spent: &AtomicU64,
    ) -> Result<Reply, UpstreamError> {
        let config = &self.0.config;
        let url = config
            .base_url
            .join(&format!("youtube/v3/{path}"))
            .map_err(|_| UpstreamError::BadRequest { reason: word("the base URL cannot be used") })?;
        let request = self.0.http.client()?.get(url).query(query);
        let request = match auth {
            Auth::Key => {
                let key = config.api_key.as_ref().ok_or(UpstreamError::MissingKey {
                    what: "YouTube API key",
                    variable: "YOUTUBE_API_KEY",
                })?;
                request.header("x-goog-api-key", secret(key.expose_secret().to_owned())?)
            }
            Auth::OAuth => {
                let token = config.oauth_token.as_ref().ok_or(UpstreamError::MissingKey {
                    what: "OAuth token of the video's owner",
                    variable: "YOUTUBE_OAUTH_TOKEN",
                })?;
                request.header("authorization", secret(format!("Bearer {}", token.expose_secret()))?)
            }
        };
        let meter = self.1.as_ref();
        let _kept = meter::tell(meter, || Expense::Call(method)).await?;
        let bucket = if method == Method::VideoStats { &self.0.statistics_units } else { &self.0.units };
        bucket.fetch_add(method.units(), Ordering::Relaxed);
        spent.fetch_add(method.units(), Ordering::Relaxed);
        let reply = transport::exchange(request).await?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        let error = classify(&reply, next_midnight(config.clock.now()));
        if let UpstreamError::QuotaExhausted { until } = error {
            meter::tell(meter, || Expense::UsedUp { bucket: method.bucket(), until }).await?;
        }
        Err(error)
    }
}

/// A thread out of a recorded answer.
pub(crate) fn recorded_thread(value: &serde_json::Value) -> Option<Thread> {
    wire::Thread::deserialize(value).ok()?.into_thread()
}

/// A comment or reply out of a recorded answer.
pub(crate) fn recorded_comment(value: &serde_json::Value) -> Option<Comment> {
    wire::Comment::deserialize(value).ok()?.into_comment(None)
}

/// A header that reqwest and hyper keep out of their debug output.
pub(crate) fn secret(value: String) -> Result<HeaderValue, UpstreamError> {
    let mut value = HeaderValue::try_from(value).map_err(|_| UpstreamError::KeyInvalid)?;
    value.set_sensitive(true);
    Ok(value)
}

fn joined<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Result<String, UpstreamError> {
    check_count(ids.len())?;
    Ok(ids.collect::<Vec<_>>().join(","))
}

fn check_count(ids: usize) -> Result<(), UpstreamError> {
    if (1..=MAX_IDS).contains(&ids) {
        return Ok(());
    }
    Err(UpstreamError::BadRequest { reason: format!("{ids} ids where 1 to {MAX_IDS} are possible") })
}

/// Sorts an error answer by its reason first, its status second: YouTube says 403 for half a dozen things.
fn classify(reply: &Reply, midnight: Timestamp) -> UpstreamError {
    let retry_after = transport::retry_after(&reply.headers);
    let (reason, detail) = wire::reasons(&reply.body);
    match (reason.as_str(), detail.as_str()) {
        (_, "API_KEY_INVALID" | "API_KEY_EXPIRED" | "API_KEY_SERVICE_BLOCKED" | "SERVICE_DISABLED")
        | (_, "API_KEY_HTTP_REFERRER_BLOCKED" | "API_KEY_IP_ADDRESS_BLOCKED")
        | ("keyInvalid" | "keyExpired" | "accessNotConfigured" | "ipRefererBlocked" | "authError", _) => {
            UpstreamError::KeyInvalid
        }
        ("quotaExceeded" | "dailyLimitExceeded" | "dailyLimitExceededUnreg", _) => {
            UpstreamError::QuotaExhausted { until: midnight }
        }
        ("rateLimitExceeded" | "userRateLimitExceeded", _) | (_, "RATE_LIMIT_EXCEEDED") => {
            UpstreamError::RateLimited { retry_after }
        }
        ("commentsDisabled", _) => UpstreamError::CommentsDisabled,
        ("videoNotFound" | "notFound", _) => UpstreamError::VideoNotFound,
        ("commentNotFound", _) => UpstreamError::CommentNotFound,
        ("backendError" | "internalError" | "backendNotConnected" | "transientError", _) => {
            UpstreamError::Transient { reason: word(&reason), retry_after }
        }
        _ => by_status(reply.status, word(&reason), retry_after),
    }
}

pub(crate) fn by_status(status: StatusCode, reason: String, retry_after: Option<Duration>) -> UpstreamError {
    let reason = if reason.is_empty() { format!("status {}", status.as_u16()) } else { reason };
    match status.as_u16() {
        401 => UpstreamError::KeyInvalid,
        403 => UpstreamError::Forbidden { reason },
        404 => UpstreamError::VideoNotFound,
        429 => UpstreamError::RateLimited { retry_after },
        408 | 500..=599 => UpstreamError::Transient { reason, retry_after },
        _ => UpstreamError::BadRequest { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, body: &str) -> UpstreamError {
        let status = StatusCode::from_u16(status).expect("a status");
        let midnight = "2026-11-25T08:00:00Z".parse().expect("a time");
        classify(&Reply { status, headers: Default::default(), body: body.to_owned().into() }, midnight)
    }

    fn error(reason: &str) -> String {
        format!(
            r#"{{"error":{{"code":403,"message":"<b>x</b>","errors":[{{"domain":"d","reason":"{reason}"}}]}}}}"#
        )
    }

    #[test]
    fn errors_are_sorted_by_their_reason() {
        let until = "2026-11-25T08:00:00Z".parse().expect("a time");
        assert_eq!(sorted(403, &error("quotaExceeded")), UpstreamError::QuotaExhausted { until });
        assert_eq!(sorted(403, &error("commentsDisabled")), UpstreamError::CommentsDisabled);
        assert_eq!(sorted(404, &error("videoNotFound")), UpstreamError::VideoNotFound);
        assert_eq!(sorted(404, &error("commentNotFound")), UpstreamError::CommentNotFound);
        assert_eq!(sorted(400, &error("keyInvalid")), UpstreamError::KeyInvalid);
        assert_eq!(
            sorted(403, &error("rateLimitExceeded")),
            UpstreamError::RateLimited { retry_after: None }
        );
        assert_eq!(sorted(403, &error("forbidden")), UpstreamError::Forbidden { reason: "forbidden".into() });
        assert_eq!(
            sorted(400, &error("processingFailure")),
            UpstreamError::BadRequest { reason: "processingFailure".into() }
        );
    }

    #[test]
    fn an_error_without_a_readable_body_is_sorted_by_its_status() {
        for body in ["", "<html>Bad gateway</html>", r#"{"error":"error message"}"#, "[]"] {
            assert!(sorted(502, body).is_retryable(), "{body}");
            assert!(matches!(sorted(403, body), UpstreamError::Forbidden { .. }), "{body}");
        }
    }
}
