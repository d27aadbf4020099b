//! The stored analysis: the JSON that is kept in the tiers and the store and served as it is, but for `"cached"`, which
//! callers splice in front. It holds nothing of who asked.

use jiff::Timestamp;
use lently_analysis::{Category, Comparison, JudgedBy, Report, Sentiment, Verdict};
use lently_cache::Cost;
use lently_upstream::{CommentOrder, Video, VideoId};
use serde::{Deserialize, Serialize};

use crate::ids::AnalysisId;
use crate::request::EngineChoice;

/// One finished analysis. A change of shape raises [`EntryKind::Analysis`](crate::EntryKind)'s schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnalysisBody {
    /// The id, derived from everything that determines the result.
    pub analysis_id: AnalysisId,
    /// Always `completed`.
    pub status: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What was analyzed.
    pub source: BodySource,
    /// With which parameters.
    pub request: BodyRequest,
    /// Who judged.
    pub engine: BodyEngine,
    /// The counted facts and the summary.
    pub report: Report,
    /// What has changed since it was made last; `None` the first time.
    #[serde(default)]
    pub since: Option<BodySince>,
    /// The judgment on each comment.
    pub verdicts: Vec<BodyVerdict>,
    /// What making it took.
    pub cost: Cost,
}

/// What was analyzed. Numbers are YouTube's own, as of the fetch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BodySource {
    /// A video on YouTube.
    Video {
        /// Its id.
        video_id: VideoId,
        /// Its title.
        title: String,
        /// Its channel's id.
        channel_id: String,
        /// Its channel's name.
        channel_title: String,
        /// When it was published.
        published_at: Option<Timestamp>,
        /// Views.
        view_count: Option<u64>,
        /// Likes.
        like_count: Option<u64>,
        /// Comments, by YouTube's count.
        comment_count: Option<u64>,
        /// A picture.
        thumbnail_url: Option<String>,
    },
    /// A file of comments.
    File {
        /// The file's name.
        file_name: String,
        /// The format it was found to have.
        format: String,
        /// The video's id, where the file tells it.
        video_id: Option<VideoId>,
        /// The video's title, where the file tells it.
        title: Option<String>,
        /// Rows that held no comment.
        skipped_rows: u64,
    },
}

impl BodySource {
    pub(crate) fn of_video(video: &Video) -> Self {
        Self::Video {
            video_id: video.id.clone(),
            title: video.title.clone(),
            channel_id: video.channel_id.clone(),
            channel_title: video.channel_title.clone(),
            published_at: video.published_at,
            view_count: video.view_count,
            like_count: video.like_count,
            comment_count: video.comment_count,
            thumbnail_url: video.thumbnail_url.clone(),
        }
    }

    /// What a list shows: the title, else the file's name.
    pub fn title(&self) -> &str {
        match self {
            Self::Video { title, .. } => title,
            Self::File { title: Some(title), .. } => title,
            Self::File { file_name, .. } => file_name,
        }
    }

    /// The video, where it is known.
    pub const fn video_id(&self) -> Option<&VideoId> {
        match self {
            Self::Video { video_id, .. } => Some(video_id),
            Self::File { video_id, .. } => video_id.as_ref(),
        }
    }
}

/// The parameters of the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BodyRequest {
    /// At most so many comments.
    pub max_comments: u32,
    /// Which came first.
    pub order: CommentOrder,
    /// Whether replies were read.
    pub include_replies: bool,
    /// The engine as it was asked for.
    pub engine: EngineChoice,
    /// The language of the summary, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Who judged, in which version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BodyEngine {
    /// `local` or `gemini`.
    pub name: String,
    /// The local engine's version, which also judges what Gemini leaves.
    pub version: String,
    /// Gemini's model, as asked for.
    pub model: Option<String>,
    /// Gemini's model, as it named itself in the answer.
    pub model_version: Option<String>,
    /// The prompts' version.
    pub prompt_version: Option<String>,
    /// How many comments each engine judged.
    pub judged: JudgedCounts,
    /// How many of Gemini's verdicts had been paid for before: for another analysis, or by one at the same time.
    #[serde(default)]
    pub reused: u64,
    /// Of Gemini's summary, when it was written; `None` for a local one.
    #[serde(default)]
    pub words: Option<BodyWords>,
    /// Ids that Gemini gave as evidence and that are of no comment here; they are left out.
    #[serde(default)]
    pub dropped_ids: u64,
    /// Why some comments were judged locally, or the summary written locally, though Gemini was asked for.
    pub degraded: Option<String>,
}

/// When a summary was written. Its numbers are those of the analysis that it stands in, whenever that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyWords {
    /// When.
    pub made_at: Timestamp,
    /// How many comments have come or gone since, one in ten at most.
    pub changed: u64,
}

/// How many comments each engine judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedCounts {
    /// By Gemini.
    pub gemini: u64,
    /// By the local engine.
    pub local: u64,
}

/// What has changed since the same analysis was made last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BodySince {
    /// When that was.
    pub created_at: Timestamp,
    /// Comments that are read now and were not then: they have come since, or are ranked higher.
    pub new_comments: u64,
    /// Comments that were read then and are not now: they are deleted, or ranked lower.
    pub gone_comments: u64,
    /// How the counted facts have changed.
    pub changes: Comparison,
}

/// The judgment on one comment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BodyVerdict {
    /// The comment.
    pub id: String,
    /// Positive, neutral or negative.
    pub sentiment: Sentiment,
    /// From -1 to 1, to four places.
    pub score: f64,
    /// What sort of comment.
    pub category: Category,
    /// ISO 639-1, where known.
    pub language: Option<String>,
    /// Whether it insults or threatens somebody; left out where it does not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub toxic: bool,
    /// How sure the engine is, from 0 to 1, to two places; left out where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Who judged.
    pub judged_by: JudgedBy,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl BodyVerdict {
    pub(crate) fn new(id: String, verdict: &Verdict) -> Self {
        Self {
            id,
            sentiment: verdict.sentiment,
            score: (verdict.score * 1e4).round() / 1e4,
            category: verdict.category,
            language: verdict.language.clone(),
            toxic: verdict.toxic,
            confidence: verdict.confidence.map(|confidence| (confidence * 1e2).round() / 1e2),
            judged_by: verdict.judged_by,
        }
    }
}
