//! The bodies of errors, as both APIs were recorded to send them, and two ways of sending none.

use axum::{
    Json,
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::stream;
use serde_json::{Value, json};

use crate::state::FaultKind;

/// What Gemini says that a prompt took which it did not answer: that is paid for, too.
pub(crate) const TOKENS_IN_VAIN: u64 = 100;

/// An answer that ends a handler early; boxed, as it is seldom needed and large.
pub(crate) struct Refusal(Box<Response>);

impl From<Response> for Refusal {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        *refusal.0
    }
}

/// YouTube's error body.
pub(crate) fn error(status: StatusCode, domain: &str, reason: &str, message: &str) -> Response {
    let body = json!({ "error": {
        "code": status.as_u16(),
        "message": message,
        "errors": [{ "message": message, "domain": domain, "reason": reason }],
    }});
    (status, Json(body)).into_response()
}

pub(crate) fn video_not_found() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "youtube.commentThread",
        "videoNotFound",
        "The video identified by the <code><a href=\"/youtube/v3/docs/commentThreads/list#videoId\">videoId</a></code> parameter could not be found.",
    )
}

pub(crate) async fn youtube(fault: &FaultKind) -> Response {
    match fault {
        FaultKind::QuotaExceeded => error(
            StatusCode::FORBIDDEN,
            "youtube.quota",
            "quotaExceeded",
            "The request cannot be completed because you have exceeded your <a href=\"/youtube/v3/getting-started#quota\">quota</a>.",
        ),
        FaultKind::RateLimited { retry_after } => {
            let mut response =
                error(StatusCode::FORBIDDEN, "usageLimits", "rateLimitExceeded", "Rate Limit Exceeded");
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", (*seconds).into());
            }
            response
        }
        FaultKind::CommentsDisabled => error(
            StatusCode::FORBIDDEN,
            "youtube.commentThread",
            "commentsDisabled",
            "The video identified by the <code><a href=\"/youtube/v3/docs/commentThreads/list#videoId\">videoId</a></code> parameter has disabled comments.",
        ),
        FaultKind::VideoNotFound => video_not_found(),
        FaultKind::Private => error(
            StatusCode::FORBIDDEN,
            "youtube.commentThread",
            "forbidden",
            "One or more of the requested comment threads cannot be retrieved due to insufficient permissions. The request might not be properly authorized.",
        ),
        FaultKind::PageTokenRefused => error(
            StatusCode::BAD_REQUEST,
            "youtube.parameter",
            "invalidPageToken",
            "The request specifies an invalid page token.",
        ),
        FaultKind::KeyInvalid => key_invalid("youtube.googleapis.com"),
        FaultKind::Malformed => "<html>this is no JSON</html>".into_response(),
        FaultKind::Hang => hang().await,
        FaultKind::Cut => cut(),
        _ => error(StatusCode::SERVICE_UNAVAILABLE, "global", "backendError", "Backend Error"),
    }
}

/// The answer to a fault of Gemini that replaces its answer altogether; `None` for one that only spoils it.
pub(crate) async fn gemini(fault: &FaultKind) -> Option<Response> {
    let status = |code: u16, status: &str, message: &str, details: Value| {
        let body =
            json!({ "error": { "code": code, "message": message, "status": status, "details": details }});
        (StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
    };
    let exhausted = |details| status(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", details);
    Some(match fault {
        FaultKind::QuotaExceeded => exhausted(json!([{
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{ "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier" }],
        }])),
        FaultKind::RateLimited { retry_after: Some(seconds) } => exhausted(json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s"),
        }])),
        FaultKind::RateLimited { retry_after: None } => exhausted(json!([])),
        FaultKind::KeyInvalid => key_invalid("generativelanguage.googleapis.com"),
        FaultKind::Blocked => blocked(),
        FaultKind::NoParts => Json(json!({
            "candidates": [{ "content": { "role": "model" }, "finishReason": "STOP", "index": 0 }],
            "usageMetadata": { "promptTokenCount": TOKENS_IN_VAIN, "totalTokenCount": TOKENS_IN_VAIN },
        }))
        .into_response(),
        FaultKind::BlockedFor { .. } | FaultKind::Truncated | FaultKind::Malformed | FaultKind::Invented => {
            return None;
        }
        FaultKind::Hang => hang().await,
        FaultKind::Cut => cut(),
        FaultKind::Unavailable
        | FaultKind::CommentsDisabled
        | FaultKind::VideoNotFound
        | FaultKind::Private
        | FaultKind::PageTokenRefused
        | FaultKind::PageTokenLost => {
            status(503, "UNAVAILABLE", "The model is overloaded. Please try again later.", json!([]))
        }
    })
}

/// Gemini's refusal to answer.
pub(crate) fn blocked() -> Response {
    Json(json!({
        "promptFeedback": { "blockReason": "SAFETY" },
        "usageMetadata": { "promptTokenCount": TOKENS_IN_VAIN, "totalTokenCount": TOKENS_IN_VAIN },
    }))
    .into_response()
}

pub(crate) fn key_invalid(service: &str) -> Response {
    let message = "API key not valid. Please pass a valid API key.";
    let body = json!({ "error": {
        "code": 400,
        "message": message,
        "errors": [{ "message": message, "domain": "global", "reason": "badRequest" }],
        "status": "INVALID_ARGUMENT",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": { "service": service },
        }],
    }});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

async fn hang() -> Response {
    std::future::pending().await
}

/// A body that ends in an error: the connection is closed before what was promised is sent.
fn cut() -> Response {
    let pieces = [Ok("{\"items\":["), Err(std::io::Error::other("cut"))];
    Response::new(Body::from_stream(stream::iter(pieces)))
}
