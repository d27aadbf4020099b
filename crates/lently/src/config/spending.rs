//! What may be spent a day, and what tokens cost.

use lently_service::{Budgets, FreshnessSteps, Prices};
use lently_upstream::Bucket;

use super::{
    error::ConfigError,
    read::{Reader, wrong},
};

/// More units than any project is granted, and more dollars than anyone means.
const UNITS_MAX: u64 = 1_000_000_000;
const DOLLARS_MAX: f64 = 1_000_000.0;
/// A table of prices is a few kilobytes.
const PRICES_BYTES_MAX: u64 = 1 << 20;

pub(super) fn budgets(reader: &Reader<'_>) -> Result<Budgets, ConfigError> {
    let default = Budgets::default();
    let units = |name, bucket| reader.number(name, default.units(bucket), 0..=UNITS_MAX);
    let dollars = fraction(reader, "LENTLY_GEMINI_DOLLARS_PER_DAY", DOLLARS_MAX)?;
    Ok(Budgets {
        shared_units: units("LENTLY_YOUTUBE_UNITS_PER_DAY", Bucket::Shared)?,
        stats_units: units("LENTLY_YOUTUBE_STATS_UNITS_PER_DAY", Bucket::Stats)?,
        search_units: units("LENTLY_YOUTUBE_SEARCH_UNITS_PER_DAY", Bucket::Search)?,
        kept_share: fraction(reader, "LENTLY_YOUTUBE_KEPT_RATIO", 1.0)?.unwrap_or(default.kept_share),
        freshness: steps(reader)?,
        // At most a million dollars, to a millionth: exact.
        gemini_micro_dollars: dollars.map(|dollars| (dollars * 1_000_000.0).round() as u64),
    })
}

fn steps(reader: &Reader<'_>) -> Result<FreshnessSteps, ConfigError> {
    const NAME: &str = "LENTLY_FRESHNESS_STEPS";
    let Some(text) = reader.text(NAME)? else { return Ok(FreshnessSteps::default()) };
    text.parse().map_err(|why| {
        wrong(NAME, &text, format!("set steps such as `25:2,10:4:pause,2:all:pause`, or `off`; {why}"))
    })
}

fn fraction(reader: &Reader<'_>, name: &str, most: f64) -> Result<Option<f64>, ConfigError> {
    let Some(text) = reader.text(name)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (0.0..=most).contains(number));
    number.map(Some).ok_or_else(|| wrong(name, &text, format!("set a number from 0 to {most}")))
}

/// The table that comes along, or the one in the file that is named.
pub(super) fn prices(reader: &Reader<'_>) -> Result<Prices, ConfigError> {
    const NAME: &str = "LENTLY_PRICES_FILE";
    let Some(path) = reader.path(NAME)? else { return Ok(Prices::built_in()) };
    let shown = path.display();
    let unreadable = |why: String| {
        ConfigError::new(NAME, format!("names `{shown}`, which cannot be read: {why}"), "name a JSON file")
    };
    let size = std::fs::metadata(&path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > PRICES_BYTES_MAX {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    Prices::parse(&text).map_err(|error| {
        ConfigError::new(NAME, format!("names `{shown}`, in which {error}"), "see docs/configuration.md")
    })
}
