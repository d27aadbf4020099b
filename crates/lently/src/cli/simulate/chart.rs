//! The comparison as a page with charts that needs nothing but itself.

use askama::Template;
use lently_analysis::grouped;

use super::outcome::{Compared, Comparison};
use crate::cli::CliError;

/// How many units of the drawing the longest bar has.
const LONGEST: f64 = 520.0;
const ROW: usize = 34;

#[derive(Template)]
#[template(path = "simulate.html")]
struct Page {
    requests: String,
    counted: String,
    clients: String,
    videos: String,
    charts: Vec<Chart>,
}

/// A bar for each way of caching.
struct Chart {
    title: &'static str,
    height: usize,
    bars: Vec<Bar>,
}

struct Bar {
    name: &'static str,
    y: usize,
    length: String,
    label: String,
    is_bound: bool,
}

pub(super) fn page(comparison: &Comparison) -> Result<String, CliError> {
    let chart = |title, of: &dyn Fn(&Compared) -> f64, label: &dyn Fn(f64) -> String| {
        let most = comparison.outcomes.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let bar = |(row, compared): (usize, &Compared)| Bar {
            name: compared.outcome.policy,
            y: row * ROW,
            length: format!("{:.1}", of(compared) / most * LONGEST),
            label: label(of(compared)),
            is_bound: compared.outcome.is_bound,
        };
        Chart {
            title,
            height: comparison.outcomes.len() * ROW,
            bars: comparison.outcomes.iter().enumerate().map(bar).collect(),
        }
    };
    let whole = |number: f64| grouped(number.round() as u64);
    let page = Page {
        requests: grouped(comparison.requests as u64),
        counted: grouped(comparison.counted as u64),
        clients: grouped(comparison.clients as u64),
        videos: grouped(comparison.videos as u64),
        charts: vec![
            chart(
                "YouTube quota units for 1,000 requests",
                &|of| of.outcome.per_thousand(of.outcome.units),
                &whole,
            ),
            chart(
                "Gemini tokens for 1,000 requests",
                &|of| of.outcome.per_thousand(of.outcome.tokens()),
                &whole,
            ),
            chart("Answers that were there, percent", &|of| of.outcome.hit_ratio() * 1e2, &|share| {
                format!("{share:.1} %")
            }),
        ],
    };
    page.render().map_err(|error| CliError::of(&error))
}
