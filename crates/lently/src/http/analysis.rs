//! Analyses over HTTP: start, read, list, erase.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use lently_service::{
    AnalysisId, AnalysisListItem, AnalysisRequest, AnalysisSource, AnalysisState, EngineChoice, Progress,
    Started,
};
use lently_upstream::{CommentOrder, VideoRef};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    auth::CurrentUser,
    cached::{CacheStatus, CachedJson},
    controls::controls,
    error::Problem,
    extract::{Id, JsonBody, Params},
    idempotency::Attempt,
    prefer,
    routes::HttpState,
};

/// The body of a start.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    video_url_or_id: String,
    #[serde(default = "default_max_comments")]
    max_comments: u32,
    #[serde(default = "default_order")]
    order: CommentOrder,
    #[serde(default)]
    include_replies: bool,
    #[serde(default)]
    engine: EngineChoice,
    #[serde(default)]
    language: Option<String>,
}

/// After which time a client may look again.
const NOT_READY_RETRY: Duration = Duration::from_secs(1);

pub(super) const fn default_max_comments() -> u32 {
    100
}

pub(super) const fn default_order() -> CommentOrder {
    CommentOrder::Relevance
}

/// The body of an analysis that is not ready.
#[derive(Serialize)]
struct StatusBody<'a> {
    cached: bool,
    analysis_id: &'a AnalysisId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureBody>,
    links: Links,
}

#[derive(Serialize)]
struct FailureBody {
    code: String,
    message: String,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    own: String,
}

fn path_of(id: &AnalysisId) -> String {
    format!("/api/analysis/{id}")
}

impl StartBody {
    pub(super) fn into_request(self) -> Result<AnalysisRequest, Problem> {
        let video: VideoRef = self.video_url_or_id.parse().map_err(|error: lently_upstream::RefError| {
            Problem::invalid("video_url_or_id", error.to_string())
        })?;
        Ok(AnalysisRequest {
            source: AnalysisSource::Video(video),
            max_comments: self.max_comments,
            order: self.order,
            include_replies: self.include_replies,
            engine: self.engine,
            language: self.language,
        })
    }
}

/// Answers with the analysis where it is there (200), or begins it (202); with `Prefer: wait`, waits for it.
pub(super) async fn start(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody<StartBody>,
) -> Result<Response, Problem> {
    let (lently, now) = (&state.app.lently, state.app.clock.now());
    let request = body.into_request()?;
    let id = lently.analysis_id(&request);
    // The id is derived from everything that the request asks for.
    let attempt = state.idempotency.check(&headers, user.as_str(), id.as_str().as_bytes(), now)?;
    // The second try of a request that asked for a new analysis wants that one, not another.
    let no_cache = controls(&headers).no_cache && attempt == Attempt::First;
    let Some(wait) = prefer::wait(&headers, state.app.config.http.wait) else {
        return Ok(match lently.start(&user, request, no_cache).await? {
            Started::Ready(answer) => CachedJson::of_analysis(answer, no_cache).respond(),
            Started::Running(id) => begun(&state, &id),
        });
    };
    let (progress, _) = watch::channel(Progress::default());
    let analysis = lently.analyze(&user, request, no_cache, progress);
    let mut response = match tokio::time::timeout(wait, analysis).await {
        Ok(answer) => CachedJson::of_analysis(answer?, no_cache).respond(),
        Err(_) => begun(&state, &id),
    };
    if let Ok(applied) = HeaderValue::try_from(format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

fn begun(state: &HttpState, id: &AnalysisId) -> Response {
    let progress = state.app.lently.progress(id).map(|progress| *progress.borrow()).unwrap_or_default();
    let mut response = (StatusCode::ACCEPTED, running(id, progress)).into_response();
    if let Ok(location) = HeaderValue::try_from(path_of(id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn running(id: &AnalysisId, progress: Progress) -> Response {
    let links = Links { own: path_of(id) };
    let body = StatusBody {
        cached: false,
        analysis_id: id,
        status: "running",
        progress: Some(progress),
        error: None,
        links,
    };
    let mut response = Json(body).into_response();
    CacheStatus::Begun.insert(response.headers_mut(), Duration::ZERO);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Answers with a result, or tells how far it is; with `Prefer: wait`, waits for it.
pub(super) async fn read(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(id): Id<AnalysisId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let lently = &state.app.lently;
    let found = match prefer::wait(&headers, state.app.config.http.wait) {
        Some(wait) => lently.wait(&user, &id, wait).await?,
        None => lently.analysis(&user, &id).await?,
    };
    Ok(match found {
        AnalysisState::Ready(answer) => CachedJson::of_analysis(answer, false).respond_to(&headers),
        AnalysisState::Running(progress) => running(&id, progress),
        AnalysisState::Failed { code, message } => {
            let (links, error) = (Links { own: path_of(&id) }, Some(FailureBody { code, message }));
            let status = "failed";
            Json(StatusBody { cached: false, analysis_id: &id, status, progress: None, error, links })
                .into_response()
        }
    })
}

/// What is told to whoever wants more of an analysis than there is yet: 409.
pub(super) fn not_ready(state: AnalysisState) -> Problem {
    let conflict = |detail: String| Problem::new(StatusCode::CONFLICT, "not-ready", detail);
    match state {
        AnalysisState::Failed { code, message } => {
            conflict(format!("the analysis failed: {message}")).with("failure", code)
        }
        AnalysisState::Running(_) | AnalysisState::Ready(_) => {
            conflict("the analysis is still being made".to_owned()).retry_after(NOT_READY_RETRY)
        }
    }
}

/// The body of a cancellation.
#[derive(Serialize)]
pub(super) struct CanceledBody {
    analysis_id: AnalysisId,
    /// Whether it ended; it goes on where others have asked for it too.
    canceled: bool,
}

/// Takes the user out of an analysis that is being made.
pub(super) async fn cancel(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(id): Id<AnalysisId>,
) -> Result<Json<CanceledBody>, Problem> {
    let canceled = state.app.lently.cancel(&user, &id).await?;
    Ok(Json(CanceledBody { analysis_id: id, canceled }))
}

/// Erases an analysis from the user's history.
pub(super) async fn erase(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(id): Id<AnalysisId>,
) -> Result<StatusCode, Problem> {
    state.app.lently.erase(&user, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default = "default_limit")]
    limit: u32,
    before: Option<Timestamp>,
}

const LIST_MAX: u32 = 200;

const fn default_limit() -> u32 {
    50
}

/// The body of a list.
#[derive(Serialize)]
pub(super) struct ListBody {
    analyses: Vec<AnalysisListItem>,
    /// What `before` must be to go on; nothing at the end.
    next_before: Option<Timestamp>,
}

/// Lists the user's analyses.
pub(super) async fn list(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Params(query): Params<ListQuery>,
) -> Result<Json<ListBody>, Problem> {
    if !(1..=LIST_MAX).contains(&query.limit) {
        return Err(Problem::invalid("limit", format!("`limit` must be 1 to {LIST_MAX}")));
    }
    let analyses = state.app.lently.list(&user, query.limit, query.before).await?;
    let full = analyses.len() == query.limit as usize;
    let next_before = analyses.last().filter(|_| full).map(|last| last.requested_at);
    Ok(Json(ListBody { analyses, next_before }))
}
