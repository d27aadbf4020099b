//! Plans and usage over HTTP.

use axum::{Json, extract::State};
use lently_service::{ServiceError, Usage, UserId, UserPlan};
use serde::{Deserialize, Serialize};

use super::{
    auth::CurrentUser,
    error::Problem,
    extract::{Id, JsonBody},
    routes::HttpState,
};

/// The user's plan and usage.
pub(super) async fn read(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Usage>, Problem> {
    Ok(Json(state.app.lently.usage(&user).await?))
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
