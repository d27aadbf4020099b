//! What a caller asks to have analyzed, and the limits of asking. It never fetches.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use lently_upstream::dump::Dump;
use lently_upstream::{CommentOrder, VideoId, VideoRef};
use serde::{Deserialize, Serialize};

use crate::error::ServiceError;

/// The most comments that one request may ask of a video, whatever the plan: a thousand pages, a tenth of a day's quota.
pub const MAX_COMMENTS: u32 = 100_000;

/// The longest language code taken: RFC 5646 says that none in use needs more.
const LANGUAGE_MAX_BYTES: usize = 35;

/// Where the comments come from.
#[derive(Debug, Clone)]
pub enum AnalysisSource {
    /// A video on YouTube. A linked comment only identifies its video for now.
    Video(VideoRef),
    /// A file of comments, read already; no upstream is asked for them.
    Dump {
        /// What the file held.
        dump: Arc<Dump>,
        /// BLAKE3 of the file's bytes, hexadecimal: the file's identity.
        digest: String,
        /// The file's name, without its directory, for the report.
        file_name: String,
    },
}

impl AnalysisSource {
    /// The video, where it is known.
    pub(crate) fn video_id(&self) -> Option<&VideoId> {
        match self {
            Self::Video(video) => Some(&video.video_id),
            Self::Dump { dump, .. } => dump.video_id.as_ref(),
        }
    }
}

/// Which engine judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// Gemini where a key is configured, else the local engine.
    #[default]
    Auto,
    /// The local engine; no text leaves the machine.
    Local,
    /// Gemini; refused where no key is configured.
    Gemini,
}

impl EngineChoice {
    /// The name in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Gemini => "gemini",
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for EngineChoice {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Auto, Self::Local, Self::Gemini].into_iter().find(|engine| engine.name() == text).ok_or_else(
            || ServiceError::Invalid {
                field: "engine",
                message: "must be one of `auto`, `local`, `gemini`".to_owned(),
            },
        )
    }
}

/// One analysis, asked for.
#[derive(Debug, Clone)]
pub struct AnalysisRequest {
    /// Where the comments come from.
    pub source: AnalysisSource,
    /// How many comments to read at most; of a video 1 to [`MAX_COMMENTS`], of a file any number but zero.
    pub max_comments: u32,
    /// Which comments come first, where not all are read.
    pub order: CommentOrder,
    /// Whether replies are read too. A file's replies are in it or not; they are dropped where this is false.
    pub include_replies: bool,
    /// Which engine judges.
    pub engine: EngineChoice,
    /// The language in which Gemini is to write the summary, as an ISO 639 code: `de`, or with a region, `pt-BR`. English without;
    /// what is written locally always is.
    pub language: Option<String>,
}

impl AnalysisRequest {
    /// The language of the summary.
    pub(crate) fn language(&self) -> &str {
        self.language.as_deref().unwrap_or("en")
    }

    /// Refuses what no plan could allow.
    pub fn validate(&self) -> Result<(), ServiceError> {
        if !self.language.as_deref().is_none_or(is_language) {
            return Err(ServiceError::Invalid {
                field: "language",
                message: "must be an ISO 639 code such as `de` or `pt-BR`".to_owned(),
            });
        }
        let most = match self.source {
            AnalysisSource::Video(_) => MAX_COMMENTS,
            AnalysisSource::Dump { .. } => u32::MAX,
        };
        check_max_comments(self.max_comments, most)
    }

    /// How many comments the analysis may come to read: what counts against a plan.
    pub(crate) fn comments_at_most(&self) -> u32 {
        match &self.source {
            AnalysisSource::Video(_) => self.max_comments,
            AnalysisSource::Dump { dump, .. } => {
                self.max_comments.min(u32::try_from(dump.comments.len()).unwrap_or(u32::MAX))
            }
        }
    }
}

/// Two or three letters, and subtags where there are more: it becomes a part of what a model is told.
fn is_language(code: &str) -> bool {
    let (language, rest) = code.split_once('-').unwrap_or((code, ""));
    let is_subtag =
        |tag: &str| (2..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric());
    (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_lowercase())
        && code.len() <= LANGUAGE_MAX_BYTES
        && (rest.is_empty() != code.contains('-'))
        && rest.split('-').filter(|_| !rest.is_empty()).all(is_subtag)
}

/// Refuses an amount outside of `1..=most`.
pub(crate) fn check_max_comments(asked: u32, most: u32) -> Result<(), ServiceError> {
    if (1..=most).contains(&asked) {
        return Ok(());
    }
    Err(ServiceError::Invalid { field: "max_comments", message: format!("must be 1 to {most}, not {asked}") })
}
