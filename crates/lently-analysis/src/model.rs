//! The words of the analysis: comments, verdicts, the report. Plain data; nothing is computed here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A comment, as far as the analysis looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Its id; evidence is named by it.
    pub id: String,
    /// The comment this one replies to.
    pub parent_id: Option<String>,
    /// The name shown.
    pub author: String,
    /// Plain text.
    pub text: String,
    /// Likes.
    pub like_count: u64,
    /// Replies.
    pub reply_count: u64,
    /// When it was written, if known.
    pub published_at: Option<Timestamp>,
}

/// How a comment feels about its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sentiment {
    /// Well.
    Positive,
    /// Neither, or it cannot be told.
    Neutral,
    /// Badly.
    Negative,
}

impl Sentiment {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Positive, Self::Neutral, Self::Negative];

    /// By score: VADER's own bounds, 0.05 and -0.05.
    #[must_use]
    pub fn of_score(score: f64) -> Self {
        if score >= 0.05 {
            Self::Positive
        } else if score <= -0.05 {
            Self::Negative
        } else {
            Self::Neutral
        }
    }

    /// The name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Neutral => "neutral",
            Self::Negative => "negative",
        }
    }
}

/// What a comment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// It asks something.
    Question,
    /// It praises.
    Praise,
    /// It criticizes.
    Criticism,
    /// It wishes for something or proposes it.
    Suggestion,
    /// It advertises or begs.
    Spam,
    /// Anything else.
    Other,
}

impl Category {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Question, Self::Praise, Self::Criticism, Self::Suggestion, Self::Spam, Self::Other];

    /// The name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Praise => "praise",
            Self::Criticism => "criticism",
            Self::Suggestion => "suggestion",
            Self::Spam => "spam",
            Self::Other => "other",
        }
    }
}

/// Who judged a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgedBy {
    /// The local engine.
    Local,
    /// Gemini.
    Gemini,
}

/// The judgment on a comment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it feels.
    pub sentiment: Sentiment,
    /// How strongly: -1 to 1.
    pub score: f64,
    /// What it is for.
    pub category: Category,
    /// ISO 639-1, or one of [`MIXED_LANGUAGES`](crate::MIXED_LANGUAGES), [`NO_LANGUAGE`](crate::NO_LANGUAGE) and
    /// [`TOO_SHORT`](crate::TOO_SHORT); absent where it cannot be told.
    pub language: Option<String>,
    /// Whether it insults or threatens somebody.
    #[serde(default)]
    pub toxic: bool,
    /// How sure the engine is of sentiment and category, 0 to 1; absent where it does not say, as Gemini does not.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// By whom.
    pub judged_by: JudgedBy,
}

/// How much of what there is was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Comments read.
    pub read: u64,
    /// Comments there are, by the platform's own count.
    pub of: Option<u64>,
    /// Whether that is all.
    pub complete: bool,
    /// Why we believe so.
    pub basis: String,
}

/// What the comments say, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always true: what is counted and said here was derived from the comments by Lently, and is none of YouTube's own numbers. Those
    /// stand in it as [`Coverage::of`], and as the likes and replies of a comment that is quoted.
    #[serde(default = "always")]
    pub derived: bool,
    /// How much was read.
    pub coverage: Coverage,
    /// How the comments feel.
    pub sentiment: SentimentSummary,
    /// The same by when they were written; empty where no times are known.
    pub sentiment_over_time: Vec<Bucket>,
    /// What they are for, all six, most first.
    pub categories: Vec<CategoryCount>,
    /// Their languages, most first; `und` where it cannot be told.
    pub languages: Vec<LanguageCount>,
    /// What they speak of, largest first.
    pub themes: Vec<Theme>,
    /// Questions worth answering, most liked first; equal ones once.
    pub questions: Vec<Asked>,
    /// What is wished for or proposed, in the same order.
    pub suggestions: Vec<Asked>,
    /// The most liked comments.
    pub most_liked: Vec<Quote>,
    /// The comments with the most replies.
    pub most_replied: Vec<Quote>,
    /// Comments that insult or threaten somebody.
    pub toxic: Share,
    /// Who wrote more than one comment, most first.
    pub commenters: Vec<Commenter>,
    /// In words. Every number in it is counted here.
    pub summary: String,
    /// The same sentence by sentence, each with the comments that it rests on.
    pub claims: Vec<Claim>,
    /// What to be careful about.
    pub caution: Option<String>,
}

const fn always() -> bool {
    true
}

/// A number of comments and its share of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// 0 to 1.
    pub share: f64,
}

/// How the comments feel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SentimentSummary {
    /// Well.
    pub positive: Share,
    /// Neither.
    pub neutral: Share,
    /// Badly.
    pub negative: Share,
    /// The mean score, -1 to 1.
    pub mean: f64,
}

/// The comments of a day, a week or a month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its first day, UTC: `2026-11-24`.
    pub start: String,
    /// `day`, `week` (from Monday) or `month`.
    pub unit: String,
    /// Positive comments.
    pub positive: u64,
    /// Neutral comments.
    pub neutral: u64,
    /// Negative comments.
    pub negative: u64,
    /// The mean score.
    pub mean: f64,
}

/// How many comments are for something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryCount {
    /// For what.
    pub category: Category,
    /// How many.
    pub count: u64,
    /// 0 to 1.
    pub share: f64,
}

/// How many comments are in a language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageCount {
    /// As in [`Verdict::language`], or `und`.
    pub language: String,
    /// How many.
    pub count: u64,
    /// 0 to 1.
    pub share: f64,
}

/// What a number of comments speak of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Theme {
    /// A word or two of the comments.
    pub label: String,
    /// A name that Gemini gave it, in the language of the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many comments.
    pub size: u64,
    /// 0 to 1.
    pub share: f64,
    /// The mean score of these comments.
    pub mean_score: f64,
    /// Some of them, most liked first, near-duplicates once.
    pub examples: Vec<Quote>,
}

/// A sentence of a summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The sentence.
    pub text: String,
    /// The comments that it rests on; none where it rests on what is counted alone.
    pub comment_ids: Vec<String>,
}

/// A question, or a suggestion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The comment.
    pub comment_id: String,
    /// Who asks.
    pub author: String,
    /// What.
    pub text: String,
    /// How many like it.
    pub like_count: u64,
    /// How many have replied.
    pub reply_count: u64,
    /// How many ask the same in nearly the same words.
    pub asked: u64,
}

/// Somebody who wrote more than one comment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commenter {
    /// The name shown.
    pub author: String,
    /// How many comments.
    pub comments: u64,
    /// How many likes these have together.
    pub like_count: u64,
    /// The mean score of these comments.
    pub mean_score: f64,
}

/// A comment quoted as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The comment.
    pub comment_id: String,
    /// Who wrote it.
    pub author: String,
    /// The text, whole.
    pub text: String,
    /// How many like it.
    pub like_count: u64,
    /// How many have replied.
    pub reply_count: u64,
    /// How it feels.
    pub sentiment: Sentiment,
}
