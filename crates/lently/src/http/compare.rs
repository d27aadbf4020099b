//! Analyses side by side.

use axum::{Json, extract::State};
use lently_service::{AnalysisVersion, Compared};
use serde::Deserialize;

use super::{auth::CurrentUser, error::Problem, extract::Params, routes::HttpState};

/// The query: ids, parted by commas, each with `@` and a time where an earlier version is meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareQuery {
    ids: String,
}

/// Compares finished analyses with the first.
pub(super) async fn compare(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Params(query): Params<CompareQuery>,
) -> Result<Json<Compared>, Problem> {
    let versions: Result<Vec<AnalysisVersion>, _> = query.ids.split(',').map(str::parse).collect();
    let versions = versions.map_err(|error| Problem::invalid("ids", error.to_string()))?;
    Ok(Json(state.app.lently.compare(&user, &versions).await?))
}
