//! `lently comments`: the comments behind an analysis, searched and filtered. The analysis is taken from the cache, or made first.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use lently_analysis::{Category, Sentiment, grouped};
use lently_service::{
    AnalysisAnswer, AnalysisId, AnalysisState, CommentFilter, CommentPage, CommentSort, JudgedComment,
    PageRequest, ServiceError,
};
use serde::Serialize;

use super::{CliError, Terminal, configured, print, wanted::Wanted};
use crate::{
    app::App,
    report::{Paint, clean},
};

const EXAMPLES: &str = "\
Examples:
  lently comments dQw4w9WgXcQ --sentiment negative --sort likes
  lently comments comments.csv --text 'battery life' --json
  lently comments https://youtu.be/dQw4w9WgXcQ --category question --has-replies false --limit 200
  lently comments dQw4w9WgXcQ --since 2026-11-01 --author @somebody";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The address or id of a video, a file of comments, or the id of an analysis.
    #[arg(value_name = "URL|ID|FILE|ANALYSIS")]
    input: String,
    #[command(flatten)]
    wanted: Wanted,
    /// Each of these words is in the text, whatever its case and accents.
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// How it feels: positive, neutral or negative.
    #[arg(long, value_parser = named::<Sentiment>)]
    sentiment: Option<Sentiment>,
    /// What it is for: question, praise, criticism, suggestion, spam or other.
    #[arg(long, value_parser = named::<Category>)]
    category: Option<Category>,
    /// Its language: an ISO 639 code, or und where that cannot be told.
    #[arg(id = "comment_language", long = "in", value_name = "CODE")]
    language: Option<String>,
    /// Whether it insults or threatens somebody.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    toxic: Option<bool>,
    /// At least so many likes.
    #[arg(long, value_name = "N")]
    min_likes: Option<u64>,
    /// At most so many likes.
    #[arg(long, value_name = "N")]
    max_likes: Option<u64>,
    /// Written then or later: a day (UTC), or a time as in 2026-11-01T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Written before then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Whether it has replies.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    has_replies: Option<bool>,
    /// Who wrote it: the name as it is shown, or the channel's id.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// What comes first: likes, newest, oldest or replies.
    #[arg(long, default_value_t = CommentSort::Likes)]
    sort: CommentSort,
    /// How many to pass over.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// How many to show at most, up to 200.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A name as it is in JSON.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// A time, or the beginning of a day.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|error| error.to_string());
    }
    text.parse()
        .map_err(|_| "expected a day as in 2026-11-01 or a time as in 2026-11-01T12:00:00Z".to_owned())
}

#[derive(Serialize)]
struct Found<'a> {
    analysis_id: &'a AnalysisId,
    #[serde(flatten)]
    page: &'a CommentPage,
}

impl Args {
    fn filter(&self) -> CommentFilter {
        CommentFilter {
            text: self.text.clone(),
            sentiment: self.sentiment,
            category: self.category,
            language: self.language.clone(),
            toxic: self.toxic,
            min_likes: self.min_likes,
            max_likes: self.max_likes,
            since: self.since,
            until: self.until,
            has_replies: self.has_replies,
            author: self.author.clone(),
        }
    }
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    args.wanted.check(std::slice::from_ref(&args.input))?;
    let app = App::open_for_command(configured(true)?).await.map_err(|error| CliError::of(&error))?;
    let found = find(&app, &args, terminal).await;
    app.close().await;
    let (id, page) = found?;
    if args.json {
        let line = serde_json::to_string(&Found { analysis_id: &id, page: &page });
        return print(&format!("{}\n", line.map_err(|error| CliError::of(&error))?));
    }
    print(&in_words(&page, args.offset, terminal.paint))
}

async fn find(app: &App, args: &Args, terminal: Terminal) -> Result<(AnalysisId, CommentPage), CliError> {
    // An id is longer than any video's, and no file's name by chance.
    let id = args.input.parse::<AnalysisId>().ok();
    let answer = match &id {
        Some(id) => finished(app, id).await?,
        None => args.wanted.analysis_of(app, &args.input, false, terminal).await.map_err(CliError::Failed)?,
    };
    let page = PageRequest { sort: args.sort, offset: args.offset, limit: args.limit };
    let mut found = app.lently.find_comments(&answer, args.filter(), page).await;
    if matches!(found, Err(ServiceError::CommentsNotKept)) && id.is_none() {
        // From a cache that other nodes fill, too: its comments are not here.
        let anew =
            args.wanted.analysis_of(app, &args.input, true, terminal).await.map_err(CliError::Failed)?;
        found = app.lently.find_comments(&anew, args.filter(), page).await;
    }
    Ok((answer.id, found.map_err(|error| CliError::of(&error))?))
}

async fn finished(app: &App, id: &AnalysisId) -> Result<AnalysisAnswer, CliError> {
    match app.lently.analysis(&app.user(), id).await.map_err(|error| CliError::of(&error))? {
        AnalysisState::Ready(answer) => Ok(answer),
        AnalysisState::Running(_) => Err(CliError::Failed("this analysis is still being made".to_owned())),
        AnalysisState::Failed { message, .. } => Err(CliError::Failed(message)),
    }
}

fn in_words(page: &CommentPage, offset: u64, paint: Paint) -> String {
    let mut lines: Vec<String> = page.comments.iter().map(|judged| line(judged, paint)).collect();
    let shown = page.comments.len() as u64;
    let told = match (page.total, shown) {
        (0, _) => "no comment is like that".to_owned(),
        (total, 0) => format!("no more: there are {} in all", grouped(total)),
        (total, _) => {
            let range =
                format!("{} to {} of {}", grouped(offset + 1), grouped(offset + shown), grouped(total));
            match page.next_offset {
                Some(next) => format!("{range}; more with --offset {next}"),
                None => range,
            }
        }
    };
    lines.push(paint.dim(&told));
    lines.join("\n") + "\n"
}

fn line(judged: &JudgedComment, paint: Paint) -> String {
    let JudgedComment { comment, verdict } = judged;
    let felt = match verdict.sentiment {
        Sentiment::Positive => paint.green("+"),
        Sentiment::Neutral => paint.dim("·"),
        Sentiment::Negative => paint.red("-"),
    };
    let mut told = vec![clean(&comment.author)];
    told.extend(comment.published_at.map(|time| time.strftime("%Y-%m-%d").to_string()));
    told.push(format!("{} likes", grouped(comment.like_count)));
    if comment.reply_count > 0 {
        told.push(format!("{} replies", grouped(comment.reply_count)));
    }
    told.push(verdict.category.name().to_owned());
    told.extend(verdict.language.as_deref().map(clean));
    if verdict.toxic {
        told.push("toxic".to_owned());
    }
    told.retain(|part| !part.is_empty());
    let indent = if comment.parent_id.is_some() { "  ↳ " } else { "" };
    format!("{felt} {indent}{}\n    {}", clean(&comment.text), paint.dim(&told.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_time_and_anything_else_says_what_is_expected() {
        assert_eq!(time("2026-11-01"), Ok("2026-11-01T00:00:00Z".parse().expect("a time")));
        assert_eq!(time("2026-11-01T12:30:00Z"), Ok("2026-11-01T12:30:00Z".parse().expect("a time")));
        assert!(time("yesterday").is_err_and(|told| told.contains("2026-11-01")));
        assert_eq!(named::<Category>("praise"), Ok(Category::Praise));
        assert!(named::<Sentiment>("glad").is_err_and(|told| told.contains("positive")));
    }
}
