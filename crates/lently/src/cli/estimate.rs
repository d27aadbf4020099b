//! `lently estimate`: what an analysis would cost, before it is begun. It spends nothing.

use lently_analysis::grouped;
use lently_service::Estimate;

use super::{CliError, chain, configured, input::Input, ledger::dollars, print, tell, wanted::Wanted};
use crate::{app::App, report::clean};

const EXAMPLES: &str = "\
Examples:
  lently estimate https://youtu.be/dQw4w9WgXcQ --max-comments 5000
  lently estimate comments.csv --json | jq .micro_dollars

Nothing is asked of YouTube or Gemini. Of a video that was never looked at, the estimate is the most that
the request may take.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Addresses or ids of videos, or files of comments.
    #[arg(required = true, value_name = "URL|ID|FILE")]
    inputs: Vec<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// Print JSON: one object a line for each input.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<(), CliError> {
    args.wanted.check(&args.inputs)?;
    let app = App::open_for_command(configured(true)?).await.map_err(|error| CliError::of(&error))?;
    let (mut failed, mut result) = (false, Ok(()));
    for text in &args.inputs {
        match estimate(&app, &args, text).await {
            Ok(estimate) => result = show(&args, text, &estimate),
            Err(told) => {
                failed = true;
                tell(&clean(&format!("lently: {text}: {told}")));
            }
        }
        if result.is_err() {
            break;
        }
    }
    app.close().await;
    result?;
    if failed { Err(CliError::Told) } else { Ok(()) }
}

async fn estimate(app: &App, args: &Args, text: &str) -> Result<Estimate, String> {
    let source = Input::read(text)?.source()?;
    app.lently.estimate(&app.user(), &args.wanted.request(source)).await.map_err(|error| chain(&error))
}

fn show(args: &Args, input: &str, estimate: &Estimate) -> Result<(), CliError> {
    if args.json {
        let line = serde_json::to_string(estimate).map_err(|error| CliError::of(&error))?;
        return print(&format!("{line}\n"));
    }
    print(&lines(&clean(input), estimate))
}

fn lines(input: &str, estimate: &Estimate) -> String {
    let mut lines = vec![input.to_owned()];
    if estimate.cached.analysis {
        lines.push("  it is there already and costs nothing".to_owned());
        return lines.join("\n") + "\n";
    }
    let at_most = if estimate.comments_known { "" } else { "at most " };
    let there = match (estimate.cached.video, estimate.cached.comments) {
        (_, true) => " (the comments are there)",
        (true, false) => " (the video is known)",
        (false, false) => "",
    };
    lines.push(format!("  comments  {at_most}{}", grouped(estimate.comments)));
    lines.push(format!("  YouTube   {at_most}{} units{there}", grouped(estimate.shared_units)));
    match &estimate.model {
        Some(model) => lines.push(format!(
            "  Gemini    {at_most}{} tokens in, {} out: {} ({model})",
            grouped(estimate.tokens_in),
            grouped(estimate.tokens_out),
            estimate.micro_dollars.map_or("no price known".to_owned(), dollars),
        )),
        None => lines.push("  Gemini    none: the local engine judges".to_owned()),
    }
    lines.push(format!("  time      some {:.1} s", estimate.seconds));
    lines.push(format!("  allowed   {}", if estimate.allowed { "yes" } else { "no" }));
    lines.extend(estimate.notes.iter().map(|note| format!("  note: {}", clean(note))));
    lines.join("\n") + "\n"
}
