//! Sentiment over time for people: few rows, all of the same width by the calendar, the empty ones too.

use std::collections::BTreeMap;

use jiff::{ToSpan as _, civil::Date};
use lently_analysis::Bucket;

/// All rows, from the first comment's to the last one's.
#[derive(Debug, PartialEq)]
pub(super) struct Rows {
    /// How much time each row is: `day`, `2 weeks`, `year`.
    pub width: String,
    pub rows: Vec<Row>,
}

/// The comments of one span of time.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// The first day, month or year.
    pub start: String,
    /// The first day.
    pub from: Date,
    /// The day behind the last one.
    pub until: Date,
    pub positive: u64,
    pub neutral: u64,
    pub negative: u64,
    /// The mean score, where there are comments.
    pub mean: Option<f64>,
}

impl Row {
    pub(super) fn count(&self) -> u64 {
        self.positive + self.neutral + self.negative
    }
}

/// What the analysis counted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Day,
    Week,
    Month,
}

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "day" => Some(Self::Day),
            "week" => Some(Self::Week),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    /// The number of a bucket among all there could be; days and weeks are counted from `first`, months from year 0, so
    /// that quarters and years begin where a calendar's do.
    fn number(self, first: Date, day: Date) -> Option<i64> {
        let days = i64::from(first.until(day).ok()?.get_days());
        match self {
            Self::Day => Some(days),
            Self::Week => Some(days / 7),
            Self::Month => Some(i64::from(day.year()) * 12 + i64::from(day.month()) - 1),
        }
    }

    fn day(self, first: Date, number: i64) -> Option<Date> {
        match self {
            Self::Day => first.checked_add(number.days()).ok(),
            Self::Week => first.checked_add((number * 7).days()).ok(),
            Self::Month => {
                let (year, month) = (i16::try_from(number / 12).ok()?, i8::try_from(number % 12 + 1).ok()?);
                Date::new(year, month, 1).ok()
            }
        }
    }

    fn name(self, day: Date, width: i64) -> String {
        match self {
            Self::Day | Self::Week => day.to_string(),
            Self::Month if width % 12 == 0 => format!("{:04}", day.year()),
            Self::Month => format!("{:04}-{:02}", day.year(), day.month()),
        }
    }

    /// The smallest number of units that makes at most `most` rows; of months one that divides a year, or whole years.
    fn width(self, first: i64, last: i64, most: i64) -> i64 {
        let fits = |width: &i64| last / width - first / width < most;
        match self {
            Self::Day | Self::Week => (last - first + 1 + most - 1) / most,
            Self::Month => [1, 2, 3, 6].into_iter().find(fits).unwrap_or_else(|| {
                let years = (1..).map(|years| years * 12).find(fits);
                years.unwrap_or(12)
            }),
        }
    }

    fn in_words(self, width: i64) -> String {
        let (width, name) = match self {
            Self::Day => (width, "day"),
            Self::Week => (width, "week"),
            Self::Month if width % 12 == 0 => (width / 12, "year"),
            Self::Month => (width, "month"),
        };
        if width == 1 { name.to_owned() } else { format!("{width} {name}s") }
    }
}

/// The buckets as at most `most` rows; `None` where there are not two, for they would show no change.
pub(super) fn rows(buckets: &[Bucket], most: u8) -> Option<Rows> {
    let (first, last) = (buckets.first()?, buckets.last()?);
    let unit = Unit::parse(&first.unit)?;
    let (first, last): (Date, Date) = (first.start.parse().ok()?, last.start.parse().ok()?);
    let (from, to) = (unit.number(first, first)?, unit.number(first, last)?);
    if from >= to {
        return None;
    }
    let width = unit.width(from, to, most.into());
    let mut rows: BTreeMap<i64, (Row, f64)> = BTreeMap::new();
    for number in from / width..=to / width {
        let (day, until) = (unit.day(first, number * width)?, unit.day(first, (number + 1) * width)?);
        let start = unit.name(day, width);
        let row = Row { start, from: day, until, positive: 0, neutral: 0, negative: 0, mean: None };
        rows.insert(number, (row, 0.0));
    }
    for bucket in buckets {
        let number = unit.number(first, bucket.start.parse().ok()?)?;
        let (row, sum) = rows.get_mut(&(number / width))?;
        row.positive += bucket.positive;
        row.neutral += bucket.neutral;
        row.negative += bucket.negative;
        *sum += bucket.mean * (bucket.positive + bucket.neutral + bucket.negative) as f64;
    }
    let felt = |(row, sum): (Row, f64)| {
        let count = row.count();
        Row { mean: (count > 0).then(|| sum / count as f64), ..row }
    };
    Some(Rows { width: unit.in_words(width), rows: rows.into_values().map(felt).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: u8 = 14;

    fn of(unit: &str, starts: &[&str]) -> Option<(String, Vec<(String, u64)>)> {
        let bucket = |start: &&str| Bucket {
            start: (*start).to_owned(),
            unit: unit.to_owned(),
            positive: 1,
            neutral: 1,
            negative: 0,
            mean: 0.5,
        };
        let buckets: Vec<Bucket> = starts.iter().map(bucket).collect();
        let Rows { width, rows } = rows(&buckets, ROWS)?;
        assert!(rows.len() <= ROWS.into() && rows.iter().all(|row| row.mean.is_some() == (row.count() > 0)));
        assert!(rows.windows(2).all(|two| two[0].until == two[1].from), "no day is in two rows, or in none");
        Some((width, rows.into_iter().map(|row| (row.start.clone(), row.count())).collect()))
    }

    fn named(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(start, count)| ((*start).to_owned(), *count)).collect()
    }

    #[test]
    fn a_gap_is_shown_as_one() {
        let (width, rows) = of("day", &["2026-02-27", "2026-03-02"]).expect("rows");
        assert_eq!(width, "day");
        assert_eq!(
            rows,
            named(&[("2026-02-27", 2), ("2026-02-28", 0), ("2026-03-01", 0), ("2026-03-02", 2)])
        );
    }

    #[test]
    fn the_heading_names_the_width_of_every_row() {
        for (unit, first, last, width, row, second) in [
            ("day", "2026-01-01", "2026-02-14", "4 days", 12, "2026-01-05"),
            ("week", "2026-01-05", "2026-04-06", "week", 14, "2026-01-12"),
            ("week", "2026-01-05", "2026-04-13", "2 weeks", 8, "2026-01-19"),
            ("month", "2024-11-01", "2026-05-01", "2 months", 10, "2025-01"),
            ("month", "2024-11-01", "2027-04-01", "3 months", 11, "2025-01"),
            ("month", "2018-04-01", "2026-11-01", "year", 9, "2019"),
            ("month", "2006-04-01", "2026-11-01", "2 years", 11, "2008"),
            ("month", "1970-01-01", "2026-11-01", "5 years", 12, "1975"),
        ] {
            let (told, rows) = of(unit, &[first, last]).expect("rows");
            assert_eq!(
                (told.as_str(), rows.len(), rows[1].0.as_str()),
                (width, row, second),
                "{first} {last}"
            );
            assert_eq!((rows[0].1, rows[rows.len() - 1].1), (2, 2));
        }
    }

    #[test]
    fn one_bucket_and_what_cannot_be_read_have_no_rows() {
        assert_eq!(of("day", &["2026-01-01"]), None);
        assert_eq!(of("eon", &["2026-01-01", "2026-01-02"]), None);
        assert_eq!(of("day", &["soon", "later"]), None);
    }
}
