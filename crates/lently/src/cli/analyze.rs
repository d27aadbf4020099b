//! `lently analyze`: one report after the other; a second run, also in a new process, is a hit.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use lently_cache::StaleReason;
use lently_service::{AnalysisAnswer, AnalysisBody};

use super::{
    CliError, Terminal, configured,
    input::looks_like_a_file,
    output::{Output, Outputs},
    print, print_bytes, tell,
    wanted::Wanted,
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
  lently analyze dQw4w9WgXcQ --output report.html --output comments.csv
  lently analyze -- -AbCdEfGhIj          an id that begins with a hyphen";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Addresses or ids of videos, or files: yt-dlp .info.json, youtube-comment-downloader, Apify, CSV,
    /// recorded commentThreads.list answers.
    #[arg(required = true, value_name = "URL|ID|FILE")]
    inputs: Vec<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// Print the whole analysis as JSON: one object a line for each input.
    #[arg(long)]
    json: bool,
    /// Also write it to a file: .html (a page with charts), .md, .json, or .csv (the comments). {} in the name stands
    /// for the video's id or the input file's name. May be given several times.
    #[arg(long, value_name = "FILE")]
    output: Vec<Output>,
    /// Make it anew, and keep the new one.
    #[arg(long)]
    no_cache: bool,
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    args.wanted.check(&args.inputs)?;
    let mut outputs = Outputs::new(&args.output, args.inputs.len())?;
    let app = App::open_for_command(configured(true)?).await.map_err(|error| CliError::of(&error))?;
    let mut failed = false;
    let mut result = Ok(());
    for (place, text) in args.inputs.iter().enumerate() {
        let began = Instant::now();
        match args.wanted.analysis_of(&app, text, args.no_cache, terminal).await {
            Ok(answer) => {
                if place > 0 && !args.json {
                    result = print("\n");
                }
                result = result.and_then(|()| show(&args, &answer, began.elapsed(), terminal));
                if result.is_err() {
                    break;
                }
                if let Err(error) = outputs.write(&app, &answer).await {
                    failed = true;
                    tell(&format!("lently: {error}"));
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

fn show(args: &Args, answer: &AnalysisAnswer, took: Duration, terminal: Terminal) -> Result<(), CliError> {
    if args.json {
        let line = answer.served().in_front_of(&answer.body);
        return print_bytes(&[&line[..], b"\n"].concat());
    }
    let body: AnalysisBody = serde_json::from_slice(&answer.body)
        .map_err(|_| CliError::Failed("the stored analysis cannot be read; use --no-cache".to_owned()))?;
    let source = format!("{:?}", answer.source).to_lowercase();
    let stale = answer.stale.map(StaleReason::name);
    let served = Served { cached: answer.cached, source, age_seconds: answer.age.as_secs(), stale, took };
    print(&report::render(&body, &served, terminal.paint))
}
