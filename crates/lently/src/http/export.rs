//! An analysis as a file over HTTP. The page among them is the one answer that a browser runs something of: it has a policy of its own.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use lently_service::{AnalysisAnswer, AnalysisId, AnalysisState};
use lently_upstream::VideoId;
use serde::Deserialize;

use super::{
    analysis::not_ready,
    auth::CurrentUser,
    cached::CachedJson,
    error::Problem,
    extract::{Id, Params},
    routes::HttpState,
};
use crate::report::{ExportError, Format, POLICY, export};

/// The query of an export.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    format: Format,
}

/// Answers with the file, or 304 where the client has it.
pub(super) async fn read(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(id): Id<AnalysisId>,
    Params(ExportQuery { format }): Params<ExportQuery>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let lently = &state.app.lently;
    let answer = match lently.analysis(&user, &id).await? {
        AnalysisState::Ready(answer) => answer,
        unfinished => return Err(not_ready(unfinished)),
    };
    let comments = match format {
        Format::Markdown => None,
        _ => lently.judged_comments(&answer).await?,
    };
    let body = answer.body.clone();
    let rendering =
        state.app.tasks.tracker().spawn_blocking(move || export(format, &body, comments.as_deref()));
    let bytes = rendering.await.map_err(ExportError::defect)??;
    respond(format, answer, bytes, &request)
}

fn respond(
    format: Format,
    answer: AnalysisAnswer,
    bytes: Vec<u8>,
    request: &HeaderMap,
) -> Result<Response, Problem> {
    let name = file_name(&answer, format);
    // By the file and not by the analysis: a later version of Lently may write another one.
    let etag = blake3::hash(&bytes).to_hex().to_string();
    let cached = CachedJson { etag, ..CachedJson::of_analysis(answer, false) };
    let mut response = match cached.not_modified(request) {
        Some(response) => response,
        None => {
            let mut response = Body::from(bytes).into_response();
            cached.insert_headers(response.headers_mut());
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    // A page is looked at, all else is kept.
    let how = if format == Format::Html { "inline" } else { "attachment" };
    let disposition =
        HeaderValue::try_from(format!("{how}; filename=\"{name}\"")).map_err(ExportError::defect)?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    if format == Format::Html {
        // In a sandbox it is of no origin: even what ran in spite of all could read nothing of this server.
        let policy = format!("{}; frame-ancestors 'none'; sandbox allow-scripts allow-popups", *POLICY);
        let policy = HeaderValue::try_from(policy).map_err(ExportError::defect)?;
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// Of letters, digits, `-` and `_` alone, whatever the video or the file is called.
fn file_name(answer: &AnalysisAnswer, format: Format) -> String {
    #[derive(Deserialize)]
    struct About {
        source: Source,
    }
    #[derive(Deserialize)]
    struct Source {
        video_id: Option<VideoId>,
    }
    let about = serde_json::from_slice::<About>(&answer.body).ok().and_then(|about| about.source.video_id);
    let name = about.map_or_else(|| answer.id.to_string(), |id| id.to_string());
    format!("lently-{name}.{}", format.name())
}
