//! Plans and usage over HTTP.

use axum::{Json, extract::State};
use lently_service::{ServiceError, Usage, UserId, UserPlan, UserReport};
use serde::{Deserialize, Serialize};

use super::{
    auth::CurrentUser,
    error::Problem,
    extract::{Id, JsonBody},
    routes::HttpState,
};

/// The body of a usage.
#[derive(Serialize)]
pub(super) struct UsageBody {
    #[serde(flatten)]
    usage: Usage,
    /// What the user spent of the quotas and on Gemini.
    today: UserReport,
}

/// The user's plan and usage, and what was spent for them today.
pub(super) async fn read(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<UsageBody>, Problem> {
    let usage = state.app.lently.usage(&user).await?;
    let today = state.app.lently.ledger().spent_by(&user).await?;
    Ok(Json(UsageBody { usage, today }))
}

/// The body of a change of plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanBody {
    plan: UserPlan,
}

/// The answer to it.
#[derive(Serialize)]
pub(super) struct PlanChanged {
    success: bool,
    user_id: UserId,
    plan: UserPlan,
}

/// Changes a user's plan.
pub(super) async fn set_plan(
    State(state): State<HttpState>,
    Id(user_id): Id<UserId>,
    JsonBody(PlanBody { plan }): JsonBody<PlanBody>,
) -> Result<Json<PlanChanged>, Problem> {
    state.app.lently.set_plan(&user_id, plan).await?;
    Ok(Json(PlanChanged { success: true, user_id, plan }))
}

impl HttpState {
    /// The plan of a user. Where the store cannot be read, the default plan: no outage may stop a cached answer.
    pub(super) async fn plan_of(&self, user: &UserId) -> Result<UserPlan, Problem> {
        match self.app.lently.usage(user).await {
            Ok(usage) => Ok(usage.plan),
            Err(ServiceError::Store(_)) => Ok(self.app.config.default_plan),
            Err(error) => Err(error.into()),
        }
    }
}
