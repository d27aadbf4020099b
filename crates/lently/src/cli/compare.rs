//! `lently compare`: analyses side by side, of several videos or of one at two times. What is not analyzed yet is analyzed first.

use lently_analysis::{ShareChange, ThemeChange, grouped};
use lently_service::{AnalysisVersion, Compared, ComparedAnalysis, Difference, When};

use super::{CliError, Terminal, configured, print, wanted::Wanted};
use crate::{
    app::App,
    report::{Paint, clean},
};

const EXAMPLES: &str = "\
Examples:
  lently compare dQw4w9WgXcQ https://youtu.be/jNQXAC9IVRw
  lently compare march.csv april.csv --json
  lently compare dQw4w9WgXcQ --with-earlier

Differences are of each from the first. A star marks those that are more than chance would bring about (a
two-proportion z-test at 5 %, which takes the comments that were read for a sample of all).";

/// The widest column.
const COLUMN: usize = 22;
/// The most themes shown of a pair.
const THEMES: usize = 8;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Addresses or ids of videos, files of comments, or ids of analyses, also of an earlier version:
    /// ID@2026-11-24T12:00:00Z.
    #[arg(required = true, value_name = "URL|ID|FILE|ANALYSIS")]
    inputs: Vec<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// Compare one input with what it said when it was analyzed before, on another day.
    #[arg(long)]
    with_earlier: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    if args.with_earlier != (args.inputs.len() == 1) {
        let told = if args.with_earlier {
            "--with-earlier is of one input"
        } else {
            "name at least two inputs, or one and --with-earlier"
        };
        return Err(CliError::Usage(told.to_owned()));
    }
    args.wanted.check(&args.inputs)?;
    let app = App::open_for_command(configured(true)?).await.map_err(|error| CliError::of(&error))?;
    let compared = compared(&app, &args, terminal).await;
    app.close().await;
    let compared = compared?;
    if args.json {
        let line = serde_json::to_string(&compared).map_err(|error| CliError::of(&error))?;
        return print(&format!("{line}\n"));
    }
    print(&in_words(&compared, terminal.paint))
}

async fn compared(app: &App, args: &Args, terminal: Terminal) -> Result<Compared, CliError> {
    let mut versions = Vec::with_capacity(args.inputs.len());
    for input in &args.inputs {
        versions.push(match input.parse::<AnalysisVersion>() {
            Ok(version) => version,
            Err(_) => {
                let answer = args.wanted.analysis_of(app, input, false, terminal).await;
                let answer = answer.map_err(|told| CliError::Failed(clean(&format!("{input}: {told}"))))?;
                AnalysisVersion { id: answer.id, when: When::Now }
            }
        });
    }
    if args.with_earlier {
        let id = versions[0].id.clone();
        versions.insert(0, AnalysisVersion { id: id.clone(), when: When::Earlier });
        let known = app.lently.versions(&app.user(), &id).await.map_err(|error| CliError::of(&error))?;
        if known.len() < 2 {
            let told = "it was not analyzed on an earlier day, or that is more than 28 days ago";
            return Err(CliError::Failed(told.to_owned()));
        }
    }
    app.lently.compare(&app.user(), &versions).await.map_err(|error| CliError::of(&error))
}

fn in_words(compared: &Compared, paint: Paint) -> String {
    let mut lines = vec![row("", compared.analyses.iter().map(|of| paint.bold(&padded(&clean(&of.title)))))];
    let mut tell = |name: &str, value: &dyn Fn(&ComparedAnalysis) -> String| {
        lines.push(row(name, compared.analyses.iter().map(|of| padded(&value(of)))));
    };
    tell("analyzed", &|of| of.created_at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    tell("engine", &|of| clean(&of.engine));
    tell("comments", &|of| grouped(of.coverage.read));
    tell("positive", &|of| percent(of.sentiment.positive.share));
    tell("neutral", &|of| percent(of.sentiment.neutral.share));
    tell("negative", &|of| percent(of.sentiment.negative.share));
    tell("mean", &|of| format!("{:+.2}", of.sentiment.mean));
    for difference in &compared.differences {
        let of = compared
            .analyses
            .iter()
            .find(|of| of.analysis_id == difference.analysis_id && of.created_at == difference.created_at);
        let title = of.map_or_else(String::new, |of| clean(&of.title));
        lines.push(String::new());
        lines.push(paint.bold(&format!("{title}, against the first")));
        lines.extend(differences(difference, paint));
    }
    lines.join("\n") + "\n"
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("{name:<12}{}", cells.join("  ")).trim_end().to_owned()
}

fn padded(text: &str) -> String {
    let short: String = match text.char_indices().nth(COLUMN) {
        Some((end, _)) => {
            format!("{}…", text[..end].chars().take(COLUMN - 1).collect::<String>().trim_end())
        }
        None => text.to_owned(),
    };
    format!("{short:<COLUMN$}")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn differences(difference: &Difference, paint: Paint) -> Vec<String> {
    let comparison = &difference.comparison;
    let shares = comparison.sentiment.iter().chain(&comparison.categories).chain([&comparison.toxic]);
    let mut lines: Vec<String> = shares
        .filter(|share| share.before.count + share.after.count > 0)
        .map(|share| share_line(share, paint))
        .collect();
    lines.push(format!("  {:<16}{:>34}", "mean", format!("{:+.2}", comparison.mean_change)));
    if !comparison.themes.is_empty() {
        lines.push("  themes".to_owned());
        lines.extend(comparison.themes.iter().take(THEMES).map(|theme| theme_line(theme, paint)));
    }
    lines.extend(comparison.caution.iter().map(|told| paint.yellow(&format!("  ! {told}"))));
    lines
}

fn share_line(share: &ShareChange, paint: Paint) -> String {
    let line = format!(
        "  {:<16}{:>10} → {:>8}  {:>+9.1} points",
        share.name,
        percent(share.before.share),
        percent(share.after.share),
        share.change * 100.0
    );
    if share.significant { paint.cyan(&format!("{line} *")) } else { line }
}

fn theme_line(theme: &ThemeChange, paint: Paint) -> String {
    let part = |share: Option<lently_analysis::Share>| {
        share.map_or_else(|| "none".to_owned(), |share| percent(share.share))
    };
    let line = format!(
        "    {:<22}{:>8} → {:>8}  {:>+7.1} points",
        padded(&clean(&theme.label)).trim_end(),
        part(theme.before),
        part(theme.after),
        theme.change * 100.0
    );
    if theme.significant { paint.cyan(&format!("{line} *")) } else { line }
}
