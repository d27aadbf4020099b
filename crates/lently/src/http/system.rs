//! How the server is: index, health, probes and numbers. Nothing here costs a unit or a token.

use std::{collections::BTreeMap, time::Duration};

use crate::app::{App, Metrics};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use lently_service::ledger::BucketReport;
use serde_json::{Value, json};

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
        // As far as this node knows, as is the next: nothing is asked for them.
        "freshness": app.lently.ledger().freshness(),
        "quota": app.lently.ledger().buckets().iter().map(|bucket| (bucket.bucket, quota(bucket))).collect::<BTreeMap<_, _>>(),
    });
    Json(body).into_response()
}

/// What is left of a quota. One that is used up is no fault: what is kept is served meanwhile.
fn quota(bucket: &BucketReport) -> Value {
    json!({ "left_units": bucket.left_units, "empty": bucket.left_units == 0, "used_up": bucket.used_up })
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
    publish_ledger(&state.app);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    metrics::gauge!("lently_cache_repairs_owed").set(state.app.cache.repairs().owed as f64);
    metrics::gauge!("lently_cache_remote_up").set(f64::from(u8::from(state.app.cache.health().is_up())));
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, state.app.metrics.as_ref().map(Metrics::render).unwrap_or_default()).into_response()
}

/// The fleet's day as far as this node knows; begins anew at midnight Pacific Time, so these are gauges. Users are no labels.
#[expect(clippy::cast_precision_loss, reason = "exact up to nine thousand million dollars")]
fn publish_ledger(app: &App) {
    let ledger = app.lently.ledger();
    let freshness = ledger.freshness();
    metrics::gauge!("lently_freshness_step").set(freshness.step as f64);
    metrics::gauge!("lently_freshness_background_paused")
        .set(f64::from(u8::from(freshness.background_paused)));
    for bucket in ledger.buckets() {
        for (name, units) in [
            ("lently_ledger_spent_units", bucket.spent_units),
            ("lently_ledger_reserved_units", bucket.reserved_units),
            ("lently_ledger_limit_units", bucket.limit_units),
            ("lently_ledger_left_units", bucket.left_units),
        ] {
            metrics::gauge!(name, "bucket" => bucket.bucket).set(units as f64);
        }
    }
    for model in ledger.models() {
        let gauge = |name| metrics::gauge!(name, "model" => model.model.clone());
        gauge("lently_ledger_gemini_calls").set(model.calls as f64);
        gauge("lently_ledger_gemini_micro_dollars").set(model.micro_dollars.unwrap_or_default() as f64);
        gauge("lently_ledger_gemini_unpriced_answers").set(model.unpriced_answers as f64);
        for (direction, tokens) in [("in", model.tokens_in), ("out", model.tokens_out)] {
            let labels = [("model", model.model.clone()), ("direction", direction.to_owned())];
            metrics::gauge!("lently_ledger_gemini_tokens", &labels).set(tokens as f64);
        }
    }
}

/// There is nothing at this path.
pub(super) async fn not_found() -> Problem {
    Problem::of_status(StatusCode::NOT_FOUND)
}

/// There is something at this path, and not for this method. The router adds `Allow`.
pub(super) async fn wrong_method() -> Problem {
    Problem::of_status(StatusCode::METHOD_NOT_ALLOWED)
}
