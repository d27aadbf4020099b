//! What is spent, over HTTP: the fleet's day for the operator, and what an analysis would cost before it is begun.

use axum::{Json, extract::State};
use lently_service::{Estimate, LedgerReport};
use lently_upstream::PacificDay;
use serde::{Deserialize, Serialize};

use super::{
    analysis::StartBody,
    auth::CurrentUser,
    error::Problem,
    extract::{JsonBody, Params},
    routes::HttpState,
};

/// The query of the ledger.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerQuery {
    day: Option<String>,
}

/// The answer to it.
#[derive(Serialize)]
pub(super) struct LedgerBody {
    success: bool,
    #[serde(flatten)]
    ledger: LedgerReport,
}

/// A day of the ledger; today without one.
pub(super) async fn read(
    State(state): State<HttpState>,
    Params(LedgerQuery { day }): Params<LedgerQuery>,
) -> Result<Json<LedgerBody>, Problem> {
    let wrong = |_| Problem::invalid("day", "must be a day such as `2026-11-29`, as it is in Los Angeles");
    let day: Option<PacificDay> = day.map(|day| day.parse()).transpose().map_err(wrong)?;
    let ledger = state.app.lently.ledger().report(day).await?;
    Ok(Json(LedgerBody { success: true, ledger }))
}

/// What an analysis would cost. Nothing is spent, and nothing begun.
pub(super) async fn estimate(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    JsonBody(body): JsonBody<StartBody>,
) -> Result<Json<Estimate>, Problem> {
    let request = body.into_request()?;
    Ok(Json(state.app.lently.estimate(&user, &request).await?))
}
