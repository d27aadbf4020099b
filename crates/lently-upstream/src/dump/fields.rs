//! The small values that tools write in their own ways: counts, times, ids. Guesses none of them.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// `12`, `"1,234"`, `"1.2K"`, `"1,2 K"`; anything else, such as `"3 Mio."`, is 0.
pub(super) fn count(text: &str) -> u64 {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return number;
    }
    let (digits, factor) = match text.chars().last() {
        Some('K' | 'k') => (&text[..text.len() - 1], 1e3),
        Some('M' | 'm') => (&text[..text.len() - 1], 1e6),
        Some('B' | 'b') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    // A comma before a unit is a decimal one; elsewhere it parts thousands.
    let plain = digits.replace(',', if factor > 1.0 { "." } else { "" });
    match plain.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => (number * factor).round() as u64,
        _ => 0,
    }
}

/// An instant: RFC 3339, `2026-05-17 20:31:41+00:00`, the same without a zone, which is taken as UTC, or seconds or
/// milliseconds since the epoch. Nothing relative: "3 days ago" was true at a moment that the file does not tell.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Ok(number) = text.parse::<f64>() {
        return epoch(if number.abs() > 1e11 { number / 1000.0 } else { number });
    }
    let time: DateTime = text.trim_end_matches(" UTC").parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Seconds since the epoch, whole or not.
pub(super) fn epoch(seconds: f64) -> Option<Timestamp> {
    let plausible = (1_100_000_000.0..10_000_000_000.0).contains(&seconds);
    if plausible { Timestamp::from_millisecond((seconds * 1000.0) as i64).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_people_and_tools_write_them() {
        for (text, expected) in [
            ("12", 12),
            ("1,234", 1234),
            ("1.2K", 1200),
            ("1,2 K", 1200),
            ("3M", 3_000_000),
            ("", 0),
            ("-5", 0),
            ("many", 0),
            ("4.0", 4),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn only_instants_are_times() {
        assert_eq!(
            time("2026-05-17 20:31:41+00:00").map(|t| t.to_string()).as_deref(),
            Some("2026-05-17T20:31:41Z")
        );
        assert_eq!(
            time("2026-05-17 20:31:41").map(|t| t.to_string()).as_deref(),
            Some("2026-05-17T20:31:41Z")
        );
        assert_eq!(time("1747630347").map(|t| t.to_string()).as_deref(), Some("2025-05-19T04:52:27Z"));
        assert_eq!(time("1747630347000"), time("1747630347"));
        for text in ["2 weeks ago", "vor 2 Wochen", "", "42", "NaN", "1e400"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
