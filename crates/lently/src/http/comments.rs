//! The comments behind an analysis, searched, filtered, and page by page.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use lently_analysis::{Category, Sentiment};
use lently_service::{AnalysisId, AnalysisState, CommentFilter, CommentPage, CommentSort, PageRequest};
use serde::{Deserialize, Serialize};

use super::{
    analysis::not_ready,
    auth::CurrentUser,
    error::Problem,
    extract::{Id, Params},
    routes::HttpState,
};

/// The query of a search.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindQuery {
    text: Option<String>,
    sentiment: Option<Sentiment>,
    category: Option<Category>,
    language: Option<String>,
    toxic: Option<bool>,
    min_likes: Option<u64>,
    max_likes: Option<u64>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    has_replies: Option<bool>,
    author: Option<String>,
    #[serde(default)]
    sort: CommentSort,
    #[serde(default)]
    offset: u64,
    #[serde(default = "default_limit")]
    limit: u32,
}

const fn default_limit() -> u32 {
    50
}

/// The body of what is found.
#[derive(Serialize)]
struct Found<'a> {
    analysis_id: &'a AnalysisId,
    #[serde(flatten)]
    page: CommentPage,
}

/// Finds comments of a finished analysis.
pub(super) async fn find(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(id): Id<AnalysisId>,
    Params(query): Params<FindQuery>,
) -> Result<Response, Problem> {
    let lently = &state.app.lently;
    let answer = match lently.analysis(&user, &id).await? {
        AnalysisState::Ready(answer) => answer,
        unfinished => return Err(not_ready(unfinished)),
    };
    let page = PageRequest { sort: query.sort, offset: query.offset, limit: query.limit };
    let filter = CommentFilter {
        text: query.text,
        sentiment: query.sentiment,
        category: query.category,
        language: query.language,
        toxic: query.toxic,
        min_likes: query.min_likes,
        max_likes: query.max_likes,
        since: query.since,
        until: query.until,
        has_replies: query.has_replies,
        author: query.author,
    };
    let page = lently.find_comments(&answer, filter, page).await?;
    let mut response = Json(Found { analysis_id: &id, page }).into_response();
    // Other people's words: nobody between us and the reader keeps them.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}
