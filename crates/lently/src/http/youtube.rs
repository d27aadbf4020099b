//! YouTube's data over HTTP, out of the cache where it has it. The bodies are the service's, unparsed.

use axum::{extract::State, http::HeaderMap, response::Response};
use lently_service::{CommentsRequest, Payer};
use lently_upstream::{CommentOrder, VideoId};
use serde::Deserialize;

use super::{
    analysis::{default_max_comments, default_order},
    auth::CurrentUser,
    cached::CachedJson,
    controls::controls,
    error::Problem,
    extract::{Id, Params},
    routes::HttpState,
};

/// A video's metadata.
pub(super) async fn video(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(video_id): Id<VideoId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let controls = controls(&headers);
    let youtube = state.app.lently.youtube().paid_by(Payer::interactive(user));
    let video = youtube.get_video_metadata_cached(&video_id, &controls).await?;
    Ok(CachedJson::of_cached(video, controls.no_cache).respond_to(&headers))
}

/// The query for comments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommentsQuery {
    #[serde(default = "default_max_comments")]
    max_comments: u32,
    #[serde(default = "default_order")]
    order: CommentOrder,
    #[serde(default)]
    include_replies: bool,
}

/// A video's comments.
pub(super) async fn comments(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(video_id): Id<VideoId>,
    Params(query): Params<CommentsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let lently = &state.app.lently;
    let CommentsQuery { max_comments, order, include_replies } = query;
    let request = CommentsRequest { video_id, max_comments, order, include_replies };
    let (plan, controls) = (state.plan_of(&user).await?, controls(&headers));
    let youtube = lently.youtube().paid_by(Payer::interactive(user));
    let comments = youtube.fetch_comments_cached(&request, plan, &controls).await?;
    Ok(CachedJson::of_cached(comments, controls.no_cache).respond_to(&headers))
}

/// The query for a transcript.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TranscriptQuery {
    lang: Option<String>,
}

/// A video's transcript.
pub(super) async fn transcript(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(video_id): Id<VideoId>,
    Params(query): Params<TranscriptQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let youtube = state.app.lently.youtube().paid_by(Payer::interactive(user));
    let (lang, controls) = (query.lang.as_deref(), controls(&headers));
    let transcript = youtube.get_transcript_cached(&video_id, lang, &controls).await?;
    Ok(CachedJson::of_cached(transcript, controls.no_cache).respond_to(&headers))
}
