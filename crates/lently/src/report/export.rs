//! An analysis to take along: which formats there are, and the bytes of each. It reads no store and writes no file.

use lently_service::{AnalysisBody, JudgedComment};
use serde::Deserialize;

use super::{csv, html, markdown};

/// What an analysis can be taken along as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum Format {
    /// One page with charts that needs nothing but itself.
    #[serde(rename = "html")]
    Html,
    /// The stored analysis, and its comments.
    #[serde(rename = "json")]
    Json,
    /// The comments with their verdicts as a table.
    #[serde(rename = "csv")]
    Csv,
    /// The report for a document.
    #[serde(rename = "md")]
    Markdown,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Html, Self::Json, Self::Csv, Self::Markdown];

    /// The name, which is also the ending of its files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Markdown => "md",
        }
    }

    /// The format of files with this ending, in any case; `htm` and `markdown` are written too.
    #[must_use]
    pub fn of_ending(ending: &str) -> Option<Self> {
        match ending.to_ascii_lowercase().as_str() {
            "htm" => Some(Self::Html),
            "markdown" => Some(Self::Markdown),
            ending => Self::ALL.into_iter().find(|format| format.name() == ending),
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An earlier version stored it, or it is damaged. Making it anew helps.
    #[error("the stored analysis cannot be read; make it anew")]
    Unreadable(#[source] serde_json::Error),
    /// It was made on another node, or by an earlier version. Making it anew helps.
    #[error("the comments of this analysis are not kept here; make it anew to have them")]
    CommentsNotKept,
    /// A defect of ours; trying again does not help.
    #[error("the file cannot be made")]
    Defect(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ExportError {
    pub(crate) fn defect(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Defect(error.into())
    }
}

/// Makes the file. `analysis` is the stored body, `comments` what belongs to it, where that is kept: without, a table cannot be made,
/// a page has no list of comments, and in JSON they are `null`.
///
/// It takes time in proportion to the comments, some milliseconds for a thousand.
pub fn export(
    format: Format,
    analysis: &[u8],
    comments: Option<&[JudgedComment]>,
) -> Result<Vec<u8>, ExportError> {
    let body = || serde_json::from_slice::<AnalysisBody>(analysis).map_err(ExportError::Unreadable);
    match format {
        Format::Html => html::page(&body()?, comments).map(String::into_bytes),
        Format::Json => json(analysis, comments),
        Format::Csv => csv::table(comments.ok_or(ExportError::CommentsNotKept)?),
        Format::Markdown => Ok(markdown::document(&body()?).into_bytes()),
    }
}

/// The stored object with one more member, so that it is as it is everywhere else.
fn json(analysis: &[u8], comments: Option<&[JudgedComment]>) -> Result<Vec<u8>, ExportError> {
    let mut out = analysis.strip_suffix(b"}").unwrap_or(analysis).to_vec();
    out.extend_from_slice(b",\"comments\":");
    serde_json::to_writer(&mut out, &comments).map_err(ExportError::defect)?;
    out.extend_from_slice(b"}\n");
    Ok(out)
}
