//! How the server is: index, health, probes and numbers. Nothing here costs a unit or a token.

use std::time::Duration;

use crate::app::Metrics;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{
    error::Problem,
    routes::{HttpState, route_table},
};

/// A store that takes longer to say that it is there is not.
const STORE_WITHIN: Duration = Duration::from_secs(1);

/// What there is to call.
pub(super) async fn index() -> Response {
    let body = json!({
        "name": "Lently",
        "version": env!("CARGO_PKG_VERSION"),
        "routes": route_table(),
    });
    Json(body).into_response()
}

/// Status and features. A lost Redis is a slow day, not an outage: `degraded`, with 200.
pub(super) async fn health(State(state): State<HttpState>) -> Response {
    let app = &state.app;
    let cache = app.cache.health();
    let ping = tokio::time::timeout(STORE_WITHIN, app.lently.store().ping()).await;
    let store_up = ping.is_ok_and(|ping| ping.is_ok());
    let status = match () {
        () if app.tasks.is_draining() => "stopping",
        () if cache.is_up() && store_up => "ok",
        () => "degraded",
    };
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "features": {
            "redis_cache": cache.remote == "redis" && cache.is_up(),
            "disk_cache": cache.remote == "disk" && cache.is_up(),
            "youtube": app.config.youtube.api_key.is_some(),
            "gemini": app.lently.has_gemini(),
            "admin_api": app.config.admin_key.is_some(),
        },
        "cache": {
            "remote": cache.remote,
            "state": cache.state,
            "since": cache.since,
            "tracking": cache.tracking,
            "swallowed_errors": cache.swallowed_errors,
            "last_error": cache.last_error,
            "repairs": app.cache.repairs(),
        },
        "store": if store_up { "up" } else { "down" },
    });
    Json(body).into_response()
}

/// The process lives.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// It takes requests: not while it shuts down.
pub(super) async fn readyz(State(state): State<HttpState>) -> Result<&'static str, Problem> {
    if state.app.tasks.is_draining() {
        let detail = "the server is shutting down";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail));
    }
    Ok("ok\n")
}

/// Prometheus' text format.
pub(super) async fn metrics(State(state): State<HttpState>) -> Response {
    state.app.cache.publish_metrics();
    let spending = state.app.lently.spending();
    metrics::counter!("lently_youtube_quota_units_total").absolute(spending.quota_units);
    metrics::counter!("lently_gemini_tokens_total", "direction" => "in").absolute(spending.tokens_in);
    metrics::counter!("lently_gemini_tokens_total", "direction" => "out").absolute(spending.tokens_out);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    metrics::gauge!("lently_cache_repairs_owed").set(state.app.cache.repairs().owed as f64);
    metrics::gauge!("lently_cache_remote_up").set(f64::from(u8::from(state.app.cache.health().is_up())));
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, state.app.metrics.as_ref().map(Metrics::render).unwrap_or_default()).into_response()
}

/// There is nothing at this path.
pub(super) async fn not_found() -> Problem {
    Problem::of_status(StatusCode::NOT_FOUND)
}

/// There is something at this path, and not for this method. The router adds `Allow`.
pub(super) async fn wrong_method() -> Problem {
    Problem::of_status(StatusCode::METHOD_NOT_ALLOWED)
}
