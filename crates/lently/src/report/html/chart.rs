//! Where the bars and lines of a page's drawings are. Drawings have no text: it stands beside them, where it is as large as all
//! other text, however narrow the page is.

use std::fmt;

use jiff::{ToSpan as _, civil::Date};
use lently_analysis::{Bucket, grouped};

use crate::report::{
    over_time::{Row, Rows, rows},
    text::{counted, mood},
};

/// The most columns: fewer than a phone has room for.
const COLUMNS: u8 = 40;
/// A column with the room beside it.
const STEP: f64 = 10.0;
/// How high the highest column is.
const HEIGHT: f64 = 100.0;
/// The mean of fewer comments is chance, and no point of the line.
const FEWEST: u64 = 5;
/// The smallest range of the line, so that next to nothing does not look like much.
const RANGE: f64 = 0.25;

/// A length or a place in a drawing; written no finer than anyone sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Units(pub f64);

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

/// Part of a bar, or of a column.
pub(super) struct Part {
    /// `positive`, `neutral` or `negative`.
    pub name: &'static str,
    pub at: Units,
    pub length: Units,
}

/// The three sentiments as parts of a hundred.
pub(super) fn stacked(felt: [u64; 3]) -> Vec<Part> {
    let all = felt.iter().sum::<u64>().max(1) as f64;
    parts(felt, 100.0 / all)
}

fn parts(felt: [u64; 3], scale: f64) -> Vec<Part> {
    let mut at = 0.0;
    let mut parts = Vec::new();
    for (name, count) in ["positive", "neutral", "negative"].into_iter().zip(felt) {
        let length = count as f64 * scale;
        if count > 0 {
            parts.push(Part { name, at: Units(at), length: Units(length) });
        }
        at += length;
    }
    parts
}

/// Sentiment over time.
pub(super) struct OverTime {
    /// How much time each column is.
    pub width: String,
    /// As wide as all columns.
    pub across: Units,
    /// The comments of the highest one.
    pub most: String,
    pub columns: Vec<Column>,
    /// The mean as a line, and how far it may go up and down.
    pub line: String,
    pub range: String,
    /// Of how many comments a point of it is at least.
    pub fewest: u64,
    /// Words under the drawing: the beginning, the middle, the end.
    pub ends: Vec<String>,
}

/// The comments of one span of time.
pub(super) struct Column {
    pub name: String,
    /// From a day until before another, as the script filters by it.
    pub days: String,
    /// In words.
    pub told: String,
    pub felt: [u64; 3],
    pub count: u64,
    pub mean: String,
    pub at: Units,
    /// From above, because a drawing's numbers grow downward.
    pub parts: Vec<Part>,
}

/// `None` where there are not two columns. `published` is when the video was.
pub(super) fn over_time(buckets: &[Bucket], published: Option<Date>) -> Option<OverTime> {
    let Rows { width, rows } = rows(buckets, COLUMNS)?;
    let most = rows.iter().map(Row::count).max().unwrap_or_default().max(1);
    let range = rows.iter().filter_map(point).map(f64::abs).fold(RANGE, f64::max);
    let name = |row: &Row| match published.map(|published| days_since(published, row.from)) {
        Some(days) => format!("{} (day {days})", row.start),
        None => row.start.clone(),
    };
    let line = line(&rows, range);
    let ends = [0, rows.len() / 2, rows.len() - 1].map(|place| name(&rows[place])).to_vec();
    let columns: Vec<Column> =
        rows.iter().enumerate().map(|(place, row)| column(place, row, name(row), most)).collect();
    Some(OverTime {
        width,
        across: Units(columns.len() as f64 * STEP),
        most: counted(most, "comment"),
        columns,
        line,
        range: format!("{range:.2}"),
        fewest: FEWEST,
        ends,
    })
}

/// 0 on the day itself; comments can be older than their video was public.
fn days_since(published: Date, day: Date) -> i32 {
    published.until(day).map_or(0, |span| span.get_days())
}

fn column(place: usize, row: &Row, name: String, most: u64) -> Column {
    let felt = [row.positive, row.neutral, row.negative];
    let mean = row.mean.map(mood).unwrap_or_default();
    let last = row.until.checked_sub(1.day()).unwrap_or(row.until);
    let [positive, neutral, negative] = felt.map(grouped);
    let told = match row.count() {
        0 => format!("{name}: no comment"),
        count => format!(
            "{name} to {last}: {}, {positive} positive, {neutral} neutral, {negative} negative, mean {mean}",
            counted(count, "comment")
        ),
    };
    let mut parts = parts(felt, HEIGHT / most as f64);
    for part in &mut parts {
        part.at = Units(HEIGHT - part.at.0 - part.length.0);
    }
    Column {
        name,
        days: format!("{}/{}", row.from, row.until),
        told,
        felt,
        count: row.count(),
        mean,
        at: Units(place as f64 * STEP),
        parts,
    }
}

fn point(row: &Row) -> Option<f64> {
    row.mean.filter(|_| row.count() >= FEWEST)
}

/// From mean to mean, with a gap where too few wrote.
fn line(rows: &[Row], range: f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (place, row) in rows.iter().enumerate() {
        let Some(mean) = point(row) else {
            drawing = false;
            continue;
        };
        let (x, y) = ((place as f64 + 0.5) * STEP, 20.0 - mean / range * 18.0);
        // A line of no length has round ends: a dot for what has no neighbor.
        path.push_str(&format!("{}{x:.1} {y:.1}h0", if drawing { "L" } else { "M" }));
        drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_bar_fill_it() {
        let bar = stacked([5, 0, 15]);
        let told: Vec<_> = bar.iter().map(|part| (part.name, part.at.0, part.length.0)).collect();
        assert_eq!(told, [("positive", 0.0, 25.0), ("negative", 25.0, 75.0)]);
        assert!(stacked([0; 3]).is_empty());
    }

    #[test]
    fn columns_stand_on_the_ground_and_count_days_from_the_publication() {
        let bucket = |start: &str, positive, negative, mean| Bucket {
            start: start.to_owned(),
            unit: "day".to_owned(),
            positive,
            neutral: 0,
            negative,
            mean,
        };
        let buckets = [bucket("2026-02-27", 5, 0, 0.5), bucket("2026-03-01", 5, 5, 0.0)];
        let chart = over_time(&buckets, "2026-02-26".parse().ok()).expect("a chart");
        let parts: Vec<_> = chart.columns[2].parts.iter().map(|part| (part.at.0, part.length.0)).collect();
        assert_eq!(parts, [(50.0, 50.0), (0.0, 50.0)]);
        assert_eq!(chart.ends, ["2026-02-27 (day 1)", "2026-02-28 (day 2)", "2026-03-01 (day 3)"]);
        assert_eq!((chart.columns[1].count, chart.columns[2].days.as_str()), (0, "2026-03-01/2026-03-02"));
        assert_eq!(chart.line, "M5.0 2.0h0M25.0 20.0h0");
        assert!(over_time(&buckets[..1], None).is_none());
    }
}
