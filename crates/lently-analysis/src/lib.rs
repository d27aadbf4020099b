//! From the text of comments to verdicts, themes and a report; and what a model is asked, with how its answers are
//! read. Pure: no file, no network, no clock.

mod category;
mod evaluate;
mod language;
mod local;
mod model;
mod numbers;
pub mod prompt;
mod report;
mod summary;
mod themes;
mod tokens;
mod vader;

pub use self::{
    evaluate::{Evaluation, evaluate},
    local::LocalEngine,
    model::{
        Bucket, Category, CategoryCount, Comment, Coverage, JudgedBy, LanguageCount, Question, Quote, Report,
        Sentiment, SentimentSummary, Share, Theme, Verdict,
    },
    report::report,
    summary::{grouped, mood},
    vader::{Polarity, Vader},
};
