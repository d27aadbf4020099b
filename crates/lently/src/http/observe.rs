//! Around everything: the request's id, its line in the log, its count, and the bodies of refusals. It decides nothing.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use super::error::Problem;
use crate::app::{answered, join_trace_of_caller};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own id is taken up to this length.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Headers on every answer: a browser is to run, frame and guess nothing. The one page there is says itself what it runs.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Wraps one request.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let method = method_label(request.method());
    // The route, not the path: ids belong neither into labels nor into the log.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request_id = %id, method, route);
    join_trace_of_caller(&span, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;
    let problem = finish(&mut response, &id);

    let (status, took) = (response.status(), began.elapsed());
    answered(&span, status);
    let _entered = span.enter();
    match problem.filter(|_| status.is_server_error()) {
        Some(problem) => {
            let cause = problem.cause().map(chain).unwrap_or_default();
            tracing::warn!(status = status.as_u16(), code = problem.code(), cause, "request failed");
        }
        None => {
            tracing::debug!(status = status.as_u16(), took_ms = took.as_secs_f64() * 1e3, "request answered");
        }
    }
    let code = status.as_u16().to_string();
    metrics::counter!("lently_http_requests_total", "method" => method, "route" => route.clone(), "status" => code)
        .increment(1);
    metrics::histogram!("lently_http_request_duration_seconds", "method" => method, "route" => route)
        .record(took);
    response
}

/// Writes the body of a refusal, and the headers that every answer has.
fn finish(response: &mut Response, id: &str) -> Option<Problem> {
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    let problem =
        response.extensions_mut().remove::<Problem>().or_else(|| refused.then(|| Problem::of_status(status)));
    if let Some(problem) = &problem {
        *response.body_mut() = Body::from(problem.body(id));
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        let value = HeaderValue::from_static(value);
        if name == header::CONTENT_SECURITY_POLICY && problem.is_none() {
            headers.entry(name).or_insert(value);
        } else {
            headers.insert(name, value);
        }
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    problem
}

/// The client's own id where it is a harmless one, else a new one: unique in the process, hard to guess across them.
fn request_id(headers: &HeaderMap) -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("request ids"));
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let harmless = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(harmless) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// A label from a fixed set, whatever a client sends.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

fn chain(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !told.ends_with(&more) {
            told = format!("{told}: {more}");
        }
        next = source.source();
    }
    told
}
