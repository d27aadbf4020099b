//! What is kept of YouTube's and for how long yet, and erasing it before its time: by video, and by author.

use axum::{Json, extract::State};
use lently_service::{Author, Erasure, RetentionReport, SweepReport};
use lently_upstream::VideoId;
use serde::{Deserialize, Serialize};

use super::{
    error::Problem,
    extract::{Id, Params},
    routes::HttpState,
};

/// The report.
#[derive(Serialize)]
pub(super) struct ReportBody {
    success: bool,
    #[serde(flatten)]
    report: RetentionReport,
}

/// Tells what is kept, since when, and what is due next.
pub(super) async fn report(State(state): State<HttpState>) -> Result<Json<ReportBody>, Problem> {
    let report = state.app.lently.retention().report().await?;
    Ok(Json(ReportBody { success: true, report }))
}

/// What a sweep did.
#[derive(Serialize)]
pub(super) struct SweepBody {
    success: bool,
    #[serde(flatten)]
    sweep: SweepReport,
}

/// Deletes what is beyond its time now, and not within the hour.
pub(super) async fn sweep(State(state): State<HttpState>) -> Result<Json<SweepBody>, Problem> {
    let sweep = state.app.lently.retention().sweep().await?;
    Ok(Json(SweepBody { success: true, sweep }))
}

/// The query of an erasure by video.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VideoQuery {
    #[serde(default)]
    dry_run: bool,
}

/// The query of an erasure by author.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorQuery {
    author: String,
    #[serde(default)]
    dry_run: bool,
}

/// What was erased, or would be. Whose it was is not repeated.
#[derive(Serialize)]
pub(super) struct ErasedBody {
    success: bool,
    #[serde(flatten)]
    erasure: Erasure,
}

/// Erases all that is held of a video.
pub(super) async fn erase_video(
    State(state): State<HttpState>,
    Id(id): Id<VideoId>,
    Params(VideoQuery { dry_run }): Params<VideoQuery>,
) -> Result<Json<ErasedBody>, Problem> {
    let erasure = state.app.lently.erase_video(&id, dry_run).await?;
    Ok(Json(ErasedBody { success: true, erasure }))
}

/// Erases an author's comments, and every analysis in which they are.
pub(super) async fn erase_author(
    State(state): State<HttpState>,
    Params(AuthorQuery { author, dry_run }): Params<AuthorQuery>,
) -> Result<Json<ErasedBody>, Problem> {
    let author: Author = author.parse()?;
    let erasure = state.app.lently.erase_author(&author, dry_run).await?;
    Ok(Json(ErasedBody { success: true, erasure }))
}
