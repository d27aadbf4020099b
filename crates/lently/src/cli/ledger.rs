//! `lently ledger`: what was spent in a day, by whom, and what is left; of this machine's configuration or of a server.

use lently_analysis::grouped;
use lently_upstream::PacificDay;
use reqwest::Method;
use serde_json::Value;

use super::{
    CliError,
    client::ServerClient,
    configured, print,
    shown::{table, told},
};
use crate::app::App;

const EXAMPLES: &str = "\
Examples:
  lently ledger
  lently ledger --day 2026-11-28 --json
  lently ledger --server http://127.0.0.1:8000      needs ADMIN_API_KEY

A day is Google's: from midnight to midnight in Los Angeles.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The day, as YYYY-MM-DD [default: today].
    #[arg(long, value_parser = parse_day)]
    day: Option<PacificDay>,
    /// A running server, instead of the store and the Redis that this machine's configuration names.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_day(text: &str) -> Result<PacificDay, String> {
    text.parse().map_err(|_| "expected a day such as 2026-11-29".to_owned())
}

pub(super) async fn run(args: Args) -> Result<(), CliError> {
    let config = configured(true)?;
    let report = match &args.server {
        Some(server) => {
            let day = args.day.map(|day| format!("?day={day}")).unwrap_or_default();
            let client = ServerClient::new(server, config.admin_key.clone())?;
            client.admin(Method::GET, &format!("/api/ledger{day}"), None).await?.expect_ok()?
        }
        None => {
            let app = App::open_for_command(config).await.map_err(|error| CliError::of(&error))?;
            let report = app.lently.ledger().report(args.day).await;
            app.close().await;
            let report = report.map_err(|error| CliError::of(&error))?;
            serde_json::to_value(&report).map_err(|error| CliError::of(&error))?
        }
    };
    if args.json { print(&format!("{report}\n")) } else { print(&tables(&report)) }
}

/// Both ways give the same JSON, and what is shown is read from it.
fn tables(report: &Value) -> String {
    let whole = report["whole_fleet"] == true;
    let mut text = format!(
        "{}, until {}{}\n",
        told(&report["day"]),
        told(&report["resets_at"]),
        if whole { "" } else { " (this store alone)" }
    );
    let units = [
        ("bucket", "bucket"),
        ("spent", "spent_units"),
        ("set aside", "reserved_units"),
        ("limit", "limit_units"),
        ("left", "left_units"),
        ("left to background", "left_to_background_units"),
        ("used up", "used_up"),
    ];
    text += &table(&units, &report["buckets"], shown);
    let models = [
        ("model", "model"),
        ("calls", "calls"),
        ("tokens in", "tokens_in"),
        ("tokens out", "tokens_out"),
        ("cost", "micro_dollars"),
        ("without price", "unpriced_answers"),
    ];
    text += &table(&models, &report["models"], shown);
    let spenders = |who| {
        [
            (who, "name"),
            ("units", "shared_units"),
            ("stats", "stats_units"),
            ("searches", "search_units"),
            ("tokens in", "tokens_in"),
            ("tokens out", "tokens_out"),
            ("cost", "micro_dollars"),
        ]
    };
    text += &table(&spenders("spent for"), &report["purposes"], shown);
    text += &table(&spenders("spent by"), &report["users"], shown);
    text
}

fn shown(field: &str, value: &Value) -> String {
    match (field, value) {
        ("micro_dollars", Value::Null) => "no price".to_owned(),
        ("micro_dollars", cost) => dollars(cost.as_u64().unwrap_or_default()),
        (_, value) => told(value),
    }
}

/// Millionths of a dollar, to a hundredth of a cent.
pub(super) fn dollars(micro_dollars: u64) -> String {
    let hundredths_of_a_cent = micro_dollars.div_ceil(100);
    format!("${}.{:04}", grouped(hundredths_of_a_cent / 10_000), hundredths_of_a_cent % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_rounded_up_to_a_hundredth_of_a_cent() {
        for (micro, shown) in
            [(0, "$0.0000"), (1, "$0.0001"), (15_000, "$0.0150"), (1_234_567_800, "$1,234.5678")]
        {
            assert_eq!(dollars(micro), shown);
        }
    }
}
