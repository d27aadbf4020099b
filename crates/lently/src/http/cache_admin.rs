//! The operator's hand on the cache: statistics, what is stored, and what is to be forgotten. Ids are checked before they
//! are used, and only `pattern` takes a pattern.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use lently_cache::{Explanation, Lookup, MAX_KEY_BYTES, Pattern, Stats};
use lently_service::{AnalysisId, EntryKind, PatternInvalidation, PatternMeasure, UserId};
use lently_upstream::VideoId;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{
    error::Problem,
    extract::{Id, Params},
    routes::HttpState,
};

/// The word that a flush needs.
const CONFIRMATION: &str = "CONFIRM_FLUSH";

/// The statistics.
#[derive(Serialize)]
pub(super) struct StatsBody {
    success: bool,
    stats: Stats,
}

/// Hits and misses since the start or the last reset.
pub(super) async fn stats(State(state): State<HttpState>) -> Json<StatsBody> {
    Json(StatsBody { success: true, stats: state.app.cache.stats() })
}

/// Begins counting anew.
pub(super) async fn reset_stats(State(state): State<HttpState>) -> Response {
    state.app.cache.reset();
    Json(json!({ "success": true, "stats": state.app.cache.stats() })).into_response()
}

/// The query of a value, or of what is known of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyQuery {
    key: String,
}

/// A value, and how it lies there.
#[derive(Serialize)]
pub(super) struct ValueBody {
    success: bool,
    key: String,
    tier: &'static str,
    /// How long it is fresh; below zero, how long it has not been any more.
    ttl_seconds: i64,
    value: Box<RawValue>,
}

/// Looks in the tiers only; what is not there is 404 and costs nothing.
pub(super) async fn value(
    State(state): State<HttpState>,
    Params(KeyQuery { key }): Params<KeyQuery>,
) -> Result<Json<ValueBody>, Problem> {
    let kind = key_kind(&key)?;
    let (Lookup::Fresh(entry) | Lookup::Stale(entry)) = state.app.cache.get(kind.kind(), &key).await else {
        let detail = format!("there is no value for {key}");
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", detail));
    };
    let value = serde_json::from_slice(&entry.value)
        .map_err(|_| Problem::internal("the value that is stored there is no JSON"))?;
    let ttl_seconds = entry.ttl_seconds(state.app.clock.now());
    Ok(Json(ValueBody { success: true, key, tier: entry.tier.name(), ttl_seconds, value }))
}

/// What is held of a key.
#[derive(Serialize)]
pub(super) struct ExplainBody {
    success: bool,
    #[serde(flatten)]
    explanation: Explanation,
}

/// Tells what each tier holds of a key and what the next request would do; fetches and counts nothing.
pub(super) async fn explain(
    State(state): State<HttpState>,
    Params(KeyQuery { key }): Params<KeyQuery>,
) -> Result<Json<ExplainBody>, Problem> {
    let policy = state.app.config.ttl.policy(key_kind(&key)?);
    Ok(Json(ExplainBody { success: true, explanation: state.app.cache.explain(&key, &policy).await? }))
}

/// The kind of a key that is given by its name. Another application's key has none.
pub(super) fn key_kind(key: &str) -> Result<EntryKind, Problem> {
    let usable = key.len() <= MAX_KEY_BYTES && !key.chars().any(char::is_control);
    EntryKind::of_key(key).filter(|_| usable).ok_or_else(|| {
        let names: Vec<_> = EntryKind::ALL.iter().map(|kind| format!("`{}:`", kind.name())).collect();
        let names = names.join(", ");
        Problem::invalid(
            "key",
            format!("a key begins with one of {names} and has at most {MAX_KEY_BYTES} bytes"),
        )
    })
}

/// Forgets one analysis.
pub(super) async fn delete_analysis(
    State(state): State<HttpState>,
    Id(id): Id<AnalysisId>,
) -> Result<Response, Problem> {
    let deleted = state.app.lently.analyses().invalidate_analysis(&id).await?;
    Ok(Json(json!({ "success": true, "deleted": deleted, "analysis_id": id })).into_response())
}

/// Forgets a video's comments, metadata and transcripts.
pub(super) async fn delete_video(
    State(state): State<HttpState>,
    Id(id): Id<VideoId>,
) -> Result<Response, Problem> {
    let deleted = state.app.lently.youtube().invalidate_video(&id).await?;
    Ok(Json(json!({ "success": true, "deleted": deleted, "video_id": id })).into_response())
}

/// Forgets a user's analyses and quota entry.
pub(super) async fn delete_user(
    State(state): State<HttpState>,
    Id(id): Id<UserId>,
) -> Result<Response, Problem> {
    let counts = state.app.lently.invalidate_user(&id).await?;
    let deleted = counts.analyses + counts.quota;
    let body = json!({
        "success": true,
        "deleted": deleted,
        "user_id": id,
        "analyses": counts.analyses,
        "quota": counts.quota,
    });
    Ok(Json(body).into_response())
}

/// The query of a deletion by pattern.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatternQuery {
    pattern: String,
    #[serde(default)]
    dry_run: bool,
    confirm: Option<String>,
}

/// Forgets all keys that match, or tells what that would cost.
pub(super) async fn delete_pattern(
    State(state): State<HttpState>,
    Params(query): Params<PatternQuery>,
) -> Result<Response, Problem> {
    let pattern =
        Pattern::parse(&query.pattern).map_err(|error| Problem::invalid("pattern", error.to_string()))?;
    let analyses = state.app.lently.analyses();
    if query.dry_run {
        let PatternMeasure { report, expired } = analyses.measure_pattern(&pattern).await?;
        let body = json!({
            "success": true,
            "dry_run": true,
            "pattern": pattern.as_str(),
            "keys": report.keys,
            "bytes": report.bytes,
            "expired": expired,
            "refill": {
                "quota_units": report.cost.quota_units,
                "tokens_in": report.cost.tokens_in,
                "tokens_out": report.cost.tokens_out,
                "dollars": report.cost.micro_dollars as f64 / 1e6,
                "seconds": report.cost.milliseconds as f64 / 1e3,
            },
        });
        return Ok(Json(body).into_response());
    }
    if pattern.matches_everything() {
        confirmed(query.confirm.as_deref())?;
    }
    let PatternInvalidation { deleted, expired } = analyses.invalidate_pattern(&pattern).await?;
    let body =
        json!({ "success": true, "deleted": deleted, "expired": expired, "pattern": pattern.as_str() });
    Ok(Json(body).into_response())
}

/// The query of a flush.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlushQuery {
    confirm: Option<String>,
}

/// Forgets everything of ours.
pub(super) async fn flush(
    State(state): State<HttpState>,
    Params(query): Params<FlushQuery>,
) -> Result<Response, Problem> {
    confirmed(query.confirm.as_deref())?;
    let deleted = state.app.cache.flush_all().await?;
    Ok(Json(json!({ "success": true, "deleted": deleted })).into_response())
}

fn confirmed(word: Option<&str>) -> Result<(), Problem> {
    if word == Some(CONFIRMATION) {
        return Ok(());
    }
    let detail =
        format!("this empties the whole cache; add `confirm={CONFIRMATION}` to the query if it is meant");
    Err(Problem::new(StatusCode::BAD_REQUEST, "confirmation-required", detail).with("field", "confirm"))
}
