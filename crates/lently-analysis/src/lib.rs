//! From the text of comments to verdicts, themes and a report; and what a model is asked, with how its answers are
//! read. Pure: no file, no network, no clock.

mod category;
mod compare;
mod confidence;
mod evaluate;
mod folded;
mod language;
mod local;
mod model;
mod numbers;
mod phrases;
pub mod prompt;
mod report;
mod spam;
mod summary;
mod themes;
mod tokens;
mod toxicity;
mod vader;

#[doc(hidden)]
pub use self::spam::spam_features;
pub use self::{
    compare::{Comparison, ShareChange, ThemeChange, compare},
    evaluate::{ClassScore, Evaluation, evaluate},
    folded::folded,
    language::{MIXED_LANGUAGES, NO_LANGUAGE, TOO_SHORT},
    local::LocalEngine,
    model::{
        Asked, Bucket, Category, CategoryCount, Claim, Comment, Commenter, Coverage, JudgedBy, LanguageCount,
        Quote, Report, Sentiment, SentimentSummary, Share, Theme, Verdict,
    },
    report::report,
    summary::{grouped, in_words, mood},
    vader::{Polarity, Vader},
};
