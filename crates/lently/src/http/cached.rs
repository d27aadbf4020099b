//! Answers out of the cache: the stored bytes with how they came spliced in front, and the headers that tell how they came.
//! A body is never parsed here.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use lently_cache::{Outcome, StaleReason};
use lently_service::{AnalysisAnswer, AnswerSource, Cached, Served};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How an answer came about, in the words of RFC 9211.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheStatus {
    /// It was in a tier, or in the store.
    Hit { tier: &'static str },
    /// The same, and it is no longer fresh: served all the same, and why.
    Stale { tier: &'static str, ttl_seconds: i64, reason: StaleReason },
    /// It was fetched for this request.
    Fetched { stored: bool },
    /// The client asked not to be given a kept one.
    Forced { stored: bool },
    /// It was fetched for another request at the same time.
    Collapsed,
    /// It is being made; there is no answer yet.
    Begun,
    /// That there is none, or none to be had, was answered before and is remembered.
    Remembered,
}

impl CacheStatus {
    pub fn header(self, ttl: Duration) -> HeaderValue {
        let stored = |stored: bool| if stored { "; stored" } else { "" };
        let text = match self {
            Self::Hit { tier } => format!("Lently; hit; ttl={}; detail={tier}", ttl.as_secs()),
            Self::Stale { tier, ttl_seconds, reason } => {
                format!("Lently; hit; ttl={ttl_seconds}; detail={tier}-{}", reason.name())
            }
            Self::Fetched { stored: kept } => format!("Lently; fwd=uri-miss{}", stored(kept)),
            Self::Forced { stored: kept } => format!("Lently; fwd=request{}", stored(kept)),
            Self::Collapsed => "Lently; fwd=uri-miss; collapsed".to_owned(),
            Self::Begun => "Lently; fwd=uri-miss".to_owned(),
            Self::Remembered => "Lently; hit; detail=remembered".to_owned(),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Lently"))
    }

    pub fn insert(self, headers: &mut HeaderMap, ttl: Duration) {
        headers.insert(CACHE_STATUS, self.header(ttl));
    }
}

/// Bytes of JSON with how they came.
pub(super) struct CachedJson {
    pub body: Bytes,
    pub status: CacheStatus,
    pub served: Served,
    pub age: Duration,
    pub ttl: Duration,
    pub etag: String,
}

impl CachedJson {
    /// An analysis; `forced` where the client asked for a new one.
    pub fn of_analysis(answer: AnalysisAnswer, forced: bool) -> Self {
        let (stored, served) = (answer.stored, answer.served());
        let kept_in = match answer.source {
            AnswerSource::Memory => "memory",
            AnswerSource::Redis => "redis",
            AnswerSource::Disk => "disk",
            _ => "store",
        };
        let status = match answer.source {
            source if source.is_cached() => match answer.stale {
                Some(reason) => CacheStatus::Stale { tier: kept_in, ttl_seconds: answer.ttl_seconds, reason },
                None => CacheStatus::Hit { tier: kept_in },
            },
            AnswerSource::Fetched if forced => CacheStatus::Forced { stored },
            AnswerSource::Fetched => CacheStatus::Fetched { stored },
            _ => CacheStatus::Collapsed,
        };
        Self { body: answer.body, status, served, age: answer.age, ttl: answer.ttl, etag: answer.etag }
    }

    /// Something of YouTube's; `forced` where the client asked for nothing kept.
    pub fn of_cached<T>(cached: Cached<T>, forced: bool) -> Self {
        let status = match cached.outcome {
            Outcome::Hit => CacheStatus::Hit { tier: cached.tier.name() },
            Outcome::Stale(reason) => {
                CacheStatus::Stale { tier: cached.tier.name(), ttl_seconds: cached.ttl_seconds, reason }
            }
            Outcome::Fetched { stored } if forced => CacheStatus::Forced { stored },
            Outcome::Fetched { stored } => CacheStatus::Fetched { stored },
            _ => CacheStatus::Collapsed,
        };
        let served = cached.served();
        Self { body: cached.body, status, served, age: cached.age, ttl: cached.ttl, etag: cached.etag }
    }

    /// The answer to a POST, which has no precondition.
    pub fn respond(self) -> Response {
        let body = self.served.in_front_of(&self.body);
        let mut response = Body::from(body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.insert_headers(headers);
        response
    }

    /// The answer to a GET: 304 where the client has it already.
    pub fn respond_to(self, request: &HeaderMap) -> Response {
        self.not_modified(request).unwrap_or_else(|| self.respond())
    }

    /// 304, where the client has it already.
    pub fn not_modified(&self, request: &HeaderMap) -> Option<Response> {
        matches_any(request, &self.etag).then(|| {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            self.insert_headers(response.headers_mut());
            response
        })
    }

    pub fn insert_headers(&self, headers: &mut HeaderMap) {
        self.status.insert(headers, self.ttl);
        headers.insert(header::AGE, HeaderValue::from(self.age.as_secs()));
        // A browser may keep it and must ask each time: that costs it a 304, and us nothing.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        // Weak, because the member in front and the compression change the bytes and not the meaning.
        if let Ok(etag) = HeaderValue::try_from(format!("W/\"{}\"", self.etag)) {
            headers.insert(header::ETAG, etag);
        }
    }
}

/// `If-None-Match` by the weak comparison of RFC 9110 (13.1.2).
fn matches_any(request: &HeaderMap, etag: &str) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.trim_start_matches("W/").trim_matches('"') == etag
    })
}

#[cfg(test)]
mod tests {
    use lently_cache::FailureClass;

    use super::*;

    #[test]
    fn the_words_of_rfc_9211_are_used() {
        let told =
            |status: CacheStatus| status.header(Duration::from_secs(376)).to_str().expect("text").to_owned();
        assert_eq!(told(CacheStatus::Hit { tier: "redis" }), "Lently; hit; ttl=376; detail=redis");
        let stale = |reason| told(CacheStatus::Stale { tier: "memory", ttl_seconds: -12, reason });
        assert_eq!(stale(StaleReason::Refreshing), "Lently; hit; ttl=-12; detail=memory-refreshing");
        let limited = StaleReason::Failed(FailureClass::RateLimited { retry_after: None });
        assert_eq!(stale(limited), "Lently; hit; ttl=-12; detail=memory-rate-limited");
        assert_eq!(told(CacheStatus::Fetched { stored: true }), "Lently; fwd=uri-miss; stored");
        assert_eq!(told(CacheStatus::Fetched { stored: false }), "Lently; fwd=uri-miss");
        assert_eq!(told(CacheStatus::Forced { stored: true }), "Lently; fwd=request; stored");
        assert_eq!(told(CacheStatus::Remembered), "Lently; hit; detail=remembered");
        assert_eq!(told(CacheStatus::Collapsed), "Lently; fwd=uri-miss; collapsed");
    }
}
