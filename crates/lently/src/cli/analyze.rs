//! `lently analyze`: one report after the other; a second run, also in a new process, is a hit.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use lently_analysis::grouped;
use lently_service::{
    AnalysisAnswer, AnalysisBody, AnalysisRequest, AnalysisSource, EngineChoice, MAX_COMMENTS, Progress,
    ServiceError, Stage,
};
use lently_upstream::{CommentOrder, UpstreamError};
use tokio::sync::watch;

use super::{
    CliError, Terminal, chain, configured,
    input::{Input, looks_like_a_file},
    print, print_bytes, tell,
};
use crate::{
    app::App,
    report::{self, Served, clean},
};

const EXAMPLES: &str = "\
Examples:
  lently analyze https://youtu.be/dQw4w9WgXcQ --max-comments 500
  lently analyze comments.csv other.info.json
  lently analyze comments.csv --json | jq .report.sentiment
  lently analyze -- -AbCdEfGhIj          an id that begins with a hyphen";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Addresses or ids of videos, or files: yt-dlp .info.json, youtube-comment-downloader, Apify, CSV,
    /// recorded commentThreads.list answers.
    #[arg(required = true, value_name = "URL|ID|FILE")]
    inputs: Vec<String>,
    /// How many comments to read at most, of a video up to 100,000 [default: 100 of a video, all of a file].
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
    /// Print the whole analysis as JSON: one object a line for each input.
    #[arg(long)]
    json: bool,
    /// Make it anew, and keep the new one.
    #[arg(long)]
    no_cache: bool,
}

pub(super) fn parse_max_comments(text: &str) -> Result<u32, String> {
    let expected =
        || format!("expected a whole number from 1, of a video up to {}", grouped(MAX_COMMENTS.into()));
    text.parse().ok().filter(|count| *count > 0).ok_or_else(expected)
}

impl Args {
    /// What depends on more than one argument.
    fn check(&self) -> Result<(), CliError> {
        let of_video = |input: &&String| !Path::new(input).exists() && !looks_like_a_file(input);
        match (self.max_comments, self.inputs.iter().find(of_video)) {
            (Some(asked), Some(_)) if asked > MAX_COMMENTS => Err(CliError::Usage(format!(
                "--max-comments {asked} is more than the {} that are read of a video",
                grouped(MAX_COMMENTS.into())
            ))),
            _ => Ok(()),
        }
    }
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    args.check()?;
    let app = App::open_for_command(configured(true)?).await.map_err(|error| CliError::of(&error))?;
    let mut failed = false;
    let mut result = Ok(());
    for (place, text) in args.inputs.iter().enumerate() {
        let began = Instant::now();
        match analyze(&app, &args, text, terminal).await {
            Ok(answer) => {
                if place > 0 && !args.json {
                    result = print("\n");
                }
                result = result.and_then(|()| show(&args, &answer, began.elapsed(), terminal));
                if result.is_err() {
                    break;
                }
            }
            Err(told) => {
                failed = true;
                tell(&clean(&format!("lently: {}{told}", named(text, args.inputs.len()))));
            }
        }
    }
    app.close().await;
    result?;
    if failed { Err(CliError::Told) } else { Ok(()) }
}

/// What an error is of, where that is not plain: a file always, a video among several inputs.
fn named(input: &str, inputs: usize) -> String {
    match input {
        "" if inputs > 1 => "'': ".to_owned(),
        _ if inputs > 1 || Path::new(input).exists() || looks_like_a_file(input) => format!("{input}: "),
        _ => String::new(),
    }
}

async fn analyze(app: &App, args: &Args, text: &str, terminal: Terminal) -> Result<AnalysisAnswer, String> {
    let input = Input::read(text)?;
    let request = |source: AnalysisSource| {
        let of_file = matches!(source, AnalysisSource::Dump { .. });
        AnalysisRequest {
            max_comments: args.max_comments.unwrap_or(if of_file { u32::MAX } else { 100 }),
            order: args.order,
            include_replies: args.replies || of_file,
            engine: args.engine,
            language: None,
            source,
        }
    };
    if !args.no_cache {
        // A hit needs the file's digest alone: nothing is parsed.
        let id = app.lently.analysis_id(&request(input.identity()));
        if let Some(answer) = app.lently.analyses().get_cached_analysis(&id).await {
            return Ok(answer);
        }
    }
    let request = request(input.source()?);
    let (progress, watched) = watch::channel(Progress::default());
    let bar = terminal.lively.then(|| follow(app, watched));
    let result = app.lently.analyze(&app.user(), request, args.no_cache, progress).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result.map_err(|error| explain(&error))
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
    let remedy = match error {
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

fn show(args: &Args, answer: &AnalysisAnswer, took: Duration, terminal: Terminal) -> Result<(), CliError> {
    if args.json {
        let mut line = format!("{{\"cached\":{},", answer.cached).into_bytes();
        line.extend_from_slice(answer.body.get(1..).unwrap_or_default());
        line.push(b'\n');
        return print_bytes(&line);
    }
    let body: AnalysisBody = serde_json::from_slice(&answer.body)
        .map_err(|_| CliError::Failed("the stored analysis cannot be read; use --no-cache".to_owned()))?;
    let source = format!("{:?}", answer.source).to_lowercase();
    let served = Served { cached: answer.cached, source, age_seconds: answer.age.as_secs(), took };
    print(&report::render(&body, &served, terminal.paint))
}
