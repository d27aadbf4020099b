//! Errors as RFC 9457 problems: the one place where a cause becomes a status. It writes no body; `observe` does, because
//! only there the request's id is known.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lently_cache::{CacheError, Clock};
use lently_service::ServiceError;
use lently_upstream::UpstreamError;
use serde_json::{Map, Value};

use super::cached::CacheStatus;
use crate::report::ExportError;

/// After which time a client that met a full server may come again.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// What went wrong, for a client.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    /// Whether it is the answer to an earlier request, and nobody was asked again.
    remembered: bool,
    members: Map<String, Value>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A status, a code that never changes once released, and a sentence for the client.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (detail, members) = (detail.into(), Map::new());
        Self { status, code, detail, retry_after: None, remembered: false, members, cause: None }
    }

    /// A value of the request that cannot be: 422.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", detail).with("field", field)
    }

    /// A defect of ours: 500.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// As many requests as there may be: 503.
    pub(super) fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the server works on as many requests as it may")
            .retry_after(BUSY_RETRY)
    }

    /// For an error that a library answered with no more than a status.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not-found", "there is nothing here; `GET /` lists what is"),
            StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "this path has other methods"),
            StatusCode::PAYLOAD_TOO_LARGE => ("payload-too-large", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported-media-type", "send `application/json`"),
            status if status.is_server_error() => ("internal", "the server failed"),
            _ => ("invalid-request", "the request cannot be understood"),
        };
        Self::new(status, code, detail)
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    fn caused_by(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// What the log may want to know and the client not.
    pub(super) fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The body of a bulk answer's one failure.
    pub(super) fn brief(&self) -> Value {
        serde_json::json!({ "code": self.code, "message": self.detail })
    }

    /// The whole body.
    pub(super) fn body(&self, request_id: &str) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("urn:lently:problem:{}", self.code).into());
        body.insert("title".to_owned(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("code".to_owned(), self.code.into());
        body.insert("detail".to_owned(), self.detail.as_str().into());
        body.extend(self.members.clone());
        body.insert("request_id".to_owned(), request_id.into());
        Value::Object(body).to_string().into_bytes()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs().max(1);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.remembered {
            CacheStatus::Remembered.insert(response.headers_mut(), Duration::ZERO);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        match &error {
            CacheError::BadKey(_) | CacheError::TooLarge { .. } => Self::invalid("key", error.to_string()),
            CacheError::Resting { .. } => {
                let detail = "the remote cache cannot be reached: this node has forgotten it and tells the cache as soon \
                              as it can; until then other nodes may serve it";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "cache-unavailable", detail)
                    .retry_after(BUSY_RETRY)
                    .caused_by(error)
            }
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "cache-unavailable", "the cache could not do it")
                .caused_by(error),
        }
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        let told = error.to_string();
        match error {
            ExportError::CommentsNotKept => Self::new(StatusCode::CONFLICT, "comments-not-kept", told),
            ExportError::Unreadable(_) | ExportError::Defect(_) => Self::internal(told).caused_by(error),
        }
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let (code, told) = (error.code(), error.to_string());
        let with = |status| Self::new(status, code, told.clone());
        match &error {
            ServiceError::Upstream(upstream) => of_upstream(upstream, code, told),
            ServiceError::Remembered(error) => Self { remembered: true, ..error.itself().clone().into() },
            ServiceError::NotFound => with(StatusCode::NOT_FOUND),
            ServiceError::Invalid { field, .. } => {
                with(StatusCode::UNPROCESSABLE_ENTITY).with("field", *field)
            }
            ServiceError::EngineUnavailable { .. } => {
                with(StatusCode::UNPROCESSABLE_ENTITY).with("field", "engine")
            }
            ServiceError::PlanLimit { plan, limit, allowed, resets_at } => {
                let status =
                    if resets_at.is_some() { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::FORBIDDEN };
                let problem =
                    with(status).with("plan", plan.name()).with("limit", *limit).with("allowed", *allowed);
                resets_at.map_or(problem.clone(), |at| problem.until(at))
            }
            ServiceError::Busy { .. } => with(StatusCode::SERVICE_UNAVAILABLE).retry_after(BUSY_RETRY),
            ServiceError::CommentsNotKept | ServiceError::Canceled => with(StatusCode::CONFLICT),
            ServiceError::TimedOut | ServiceError::NotCached => with(StatusCode::GATEWAY_TIMEOUT),
            ServiceError::Interrupted => with(StatusCode::SERVICE_UNAVAILABLE).retry_after(BUSY_RETRY),
            ServiceError::Store(_) => with(StatusCode::SERVICE_UNAVAILABLE).caused_by(error),
            ServiceError::Cache(source) => match source.downcast_ref::<CacheError>() {
                Some(error) => error.clone().into(),
                None => with(StatusCode::SERVICE_UNAVAILABLE).caused_by(error),
            },
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, "the server failed").caused_by(error),
        }
    }
}

impl Problem {
    fn until(self, at: jiff::Timestamp) -> Self {
        let wait = at.duration_since(Clock::system().now());
        let wait = Duration::try_from(wait).unwrap_or_default();
        self.retry_after(wait).with("resets_at", at.to_string())
    }
}

fn of_upstream(error: &UpstreamError, code: &'static str, told: String) -> Problem {
    let with = |status| Problem::new(status, code, told);
    match error {
        UpstreamError::VideoNotFound => with(StatusCode::NOT_FOUND),
        UpstreamError::CommentsDisabled | UpstreamError::Forbidden { .. } => with(StatusCode::CONFLICT),
        UpstreamError::QuotaSetAside { .. } => with(StatusCode::SERVICE_UNAVAILABLE).retry_after(BUSY_RETRY),
        UpstreamError::QuotaExhausted { until } => with(StatusCode::SERVICE_UNAVAILABLE).until(*until),
        UpstreamError::RateLimited { retry_after } => {
            with(StatusCode::SERVICE_UNAVAILABLE).retry_after(retry_after.unwrap_or(BUSY_RETRY))
        }
        UpstreamError::MissingKey { .. } | UpstreamError::KeyInvalid => with(StatusCode::SERVICE_UNAVAILABLE),
        UpstreamError::Transient { .. } => with(StatusCode::BAD_GATEWAY).retry_after(BUSY_RETRY),
        UpstreamError::TimedOut => with(StatusCode::GATEWAY_TIMEOUT),
        _ => with(StatusCode::BAD_GATEWAY),
    }
}
