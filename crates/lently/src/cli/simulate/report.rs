//! The comparison as a table for people and as JSON for machines.

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use lently_analysis::grouped;
use lently_service::price::Prices;

use super::outcome::{Compared, Comparison, STATISTICS_A_DAY, UNITS_A_DAY};
use super::workload::START;
use crate::{cli::CliError, report::Paint};

/// The model whose prices the dollars are in: what Lently asks where nothing is configured.
pub(super) const MODEL: &str = "gemini-3.5-flash-lite";

pub(super) fn json(comparison: &Comparison) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(comparison).map_err(|error| CliError::of(&error))?;
    Ok(text + "\n")
}

pub(super) fn text(comparison: &Comparison, paint: Paint) -> String {
    let Comparison { requests, counted, clients, videos, outcomes } = comparison;
    let mut costs = table([
        "for 1,000 requests",
        "units",
        "of plain",
        "of bound",
        "tokens",
        "of plain",
        "of bound",
        "dollars",
    ]);
    let mut answers = table(["", "hits", "p50", "p99", "unseen mean", "p99", "units/day", "statistics/day"]);
    for compared in outcomes {
        costs.add_row(cost(compared));
        if !compared.outcome.is_bound {
            answers.add_row(answer(compared));
        }
    }
    format!(
        "{}\n{} requests of {} clients for {} videos, {} of them counted.\n\n{}\n\n{}\n\n\
         Units are of YouTube's quota ({} a day), statistics calls have a bucket of their own ({} a day); both on the busiest day. \
         Dollars are {MODEL}'s. p50 and p99: how long an answer takes with the real services. Unseen: how long ago the oldest \
         comment was written that an answer should know of and does not. The bound pays for nothing but what nobody has fetched yet, and knows before it reads \
         a comment whether it is wanted; without foresight it has to read it.\n",
        paint.bold("What these requests cost"),
        grouped(*requests as u64),
        grouped(*clients as u64),
        grouped(*videos as u64),
        grouped(*counted as u64),
        costs.trim_fmt(),
        answers.trim_fmt(),
        grouped(UNITS_A_DAY),
        grouped(STATISTICS_A_DAY),
    )
}

fn table<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(heading);
    for column in 1..N {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn cost(compared: &Compared) -> [String; 8] {
    let outcome = &compared.outcome;
    [
        outcome.policy.to_owned(),
        format!("{:.1}", outcome.per_thousand(outcome.units)),
        ratio(compared.units_ratio_to_plain),
        ratio(compared.units_ratio_to_bound),
        grouped(outcome.per_thousand(outcome.tokens()).round() as u64),
        ratio(compared.tokens_ratio_to_plain),
        ratio(compared.tokens_ratio_to_bound),
        format!(
            "{:.3}",
            dollars(outcome.per_thousand(outcome.tokens_in), outcome.per_thousand(outcome.tokens_out))
        ),
    ]
}

fn answer(compared: &Compared) -> [String; 8] {
    let outcome = &compared.outcome;
    [
        outcome.policy.to_owned(),
        format!("{:.1} %", outcome.hit_ratio() * 1e2),
        seconds(outcome.latency_ms.p50 as f64 / 1e3),
        seconds(outcome.latency_ms.p99 as f64 / 1e3),
        seconds(outcome.unseen_seconds.mean),
        seconds(outcome.unseen_seconds.p99 as f64),
        grouped(outcome.units_on_the_busiest_day),
        grouped(outcome.statistics_calls_on_the_busiest_day),
    ]
}

pub(super) fn dollars(tokens_in: f64, tokens_out: f64) -> f64 {
    // Of a million of each, so that little is not rounded away.
    let prices = Prices::built_in();
    let price = |tokens_in, tokens_out| {
        let micro_dollars = prices.micro_dollars(MODEL, START, tokens_in, tokens_out);
        micro_dollars.expect("the table has the model that is asked by default") as f64 / 1e6
    };
    (tokens_in * price(1_000_000, 0) + tokens_out * price(0, 1_000_000)) / 1e6
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}x"))
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}
