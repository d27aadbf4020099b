//! What of a video or a file is to be analyzed, and how: the options that every command has which makes or finds an analysis.

use std::{path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use lently_analysis::grouped;
use lently_service::{
    AnalysisAnswer, AnalysisRequest, AnalysisSource, EngineChoice, MAX_COMMENTS, Progress, ServiceError,
    Stage,
};
use lently_upstream::{CommentOrder, UpstreamError};
use tokio::sync::watch;

use super::{
    CliError, Terminal, chain,
    input::{Input, looks_like_a_file},
};
use crate::app::App;

/// Unless more are wanted, so many comments of a video are read.
const MAX_COMMENTS_DEFAULT: u32 = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// How many comments to read at most, of a video up to 100,000, or `all` [default: 100 of a video, all
    /// of a file].
    #[arg(long, value_name = "N", value_parser = parse_max_comments)]
    max_comments: Option<u32>,
    /// Which comments come first: relevance or time.
    #[arg(long, default_value_t = CommentOrder::Relevance)]
    order: CommentOrder,
    /// Who judges: auto (Gemini where a key is set, else local), gemini or local.
    #[arg(long, default_value_t = EngineChoice::Auto)]
    engine: EngineChoice,
    /// Read the replies to a video's comments, too. Those in a file are always read.
    #[arg(long)]
    replies: bool,
    /// In which language Gemini writes the summary: an ISO 639 code [default: en].
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
}

/// All of whatever it is.
const ALL: u32 = u32::MAX;

fn parse_max_comments(text: &str) -> Result<u32, String> {
    if text == "all" { Ok(ALL) } else { parse_count(text).map_err(|told| format!("{told}, or `all`")) }
}

/// A number of comments.
pub(super) fn parse_count(text: &str) -> Result<u32, String> {
    let expected =
        || format!("expected a whole number from 1, of a video up to {}", grouped(MAX_COMMENTS.into()));
    text.parse().ok().filter(|count| (1..ALL).contains(count)).ok_or_else(expected)
}

impl Wanted {
    /// What depends on what it is wanted of.
    pub(super) fn check(&self, inputs: &[String]) -> Result<(), CliError> {
        let of_video = |input: &&String| !Path::new(input).exists() && !looks_like_a_file(input);
        match (self.max_comments, inputs.iter().find(of_video)) {
            (Some(asked), Some(_)) if asked > MAX_COMMENTS && asked != ALL => Err(CliError::Usage(format!(
                "--max-comments {asked} is more than the {} that are read of a video",
                grouped(MAX_COMMENTS.into())
            ))),
            _ => Ok(()),
        }
    }

    /// The request for a source.
    pub(super) fn request(&self, source: AnalysisSource) -> AnalysisRequest {
        let of_file = matches!(source, AnalysisSource::Dump { .. });
        let max_comments = match self.max_comments {
            Some(ALL) if !of_file => MAX_COMMENTS,
            Some(asked) => asked,
            None if of_file => ALL,
            None => MAX_COMMENTS_DEFAULT,
        };
        AnalysisRequest {
            max_comments,
            order: self.order,
            include_replies: self.replies || of_file,
            engine: self.engine,
            language: self.language.clone(),
            source,
        }
    }

    /// The analysis of an input: from the cache, or made now, with its progress on the terminal.
    pub(super) async fn analysis_of(
        &self,
        app: &App,
        text: &str,
        no_cache: bool,
        terminal: Terminal,
    ) -> Result<AnalysisAnswer, String> {
        let input = Input::read(text)?;
        if !no_cache {
            // A hit needs the file's digest alone: nothing is parsed.
            let id = app.lently.analysis_id(&self.request(input.identity()));
            if let Some(answer) = app.lently.analyses().get_cached_analysis(&id).await {
                return Ok(answer);
            }
        }
        let request = self.request(input.source()?);
        let (progress, watched) = watch::channel(Progress::default());
        let bar = terminal.lively.then(|| follow(app, watched));
        let (user, id) = (app.user(), app.lently.analysis_id(&request));
        let analysis = app.lently.analyze(&user, request, no_cache, progress);
        tokio::pin!(analysis);
        let result = tokio::select! {
            result = &mut analysis => result,
            Ok(()) = tokio::signal::ctrl_c() => {
                // What is on its way comes to its end, and is kept.
                let _ = app.lently.cancel(&user, &id).await;
                analysis.await
            }
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        result.map_err(|error| explain(&error))
    }
}

/// Moves a line on standard error along with the work.
fn follow(app: &App, mut watched: watch::Receiver<Progress>) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let line = bar.clone();
    app.tasks.spawn("progress", async move {
        while watched.changed().await.is_ok() {
            let Progress { stage, done, total } = *watched.borrow_and_update();
            let doing = match stage {
                Stage::Queued => "waiting",
                Stage::Metadata => "asking about the video",
                Stage::Comments => "reading comments",
                Stage::Judging => "judging comments",
                Stage::Summarizing => "summarizing",
                Stage::Done => "done",
            };
            let of = total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
            let count = if done > 0 { format!(": {}{of}", grouped(done)) } else { String::new() };
            line.set_message(format!("{doing}{count}"));
        }
    });
    bar
}

/// The error, and what helps where that is not plain from it.
fn explain(error: &ServiceError) -> String {
    let remedy = match error.itself() {
        ServiceError::Upstream(UpstreamError::MissingKey { .. }) => {
            "; a key is free (https://developers.google.com/youtube/registering_an_application), \
             and files of comments need none"
        }
        ServiceError::EngineUnavailable { engine: "gemini" } => ": GEMINI_API_KEY",
        ServiceError::Upstream(UpstreamError::Transient { .. } | UpstreamError::TimedOut) => {
            "; check the connection and try again"
        }
        _ => "",
    };
    format!("{}{remedy}", chain(error))
}
