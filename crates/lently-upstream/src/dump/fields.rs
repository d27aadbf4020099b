//! The small values that tools write in their own ways: counts, times, truth, text with HTML in it.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// `12`, `"12"`, `"1,234"`, `"1.2K"`, `"3 Mio."` is not understood: 0.
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
    let plain = if factor > 1.0 { digits.to_owned() } else { digits.replace(',', "") };
    match plain.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => (number * factor).round() as u64,
        _ => 0,
    }
}

/// An instant: RFC 3339, `2026-05-17 20:31:41+00:00`, or without a zone, which is taken as UTC. Nothing relative.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let time: DateTime = text.trim_end_matches(" UTC").parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Seconds since the epoch, whole or not.
pub(super) fn epoch(seconds: f64) -> Option<Timestamp> {
    let plausible = (1_100_000_000.0..10_000_000_000.0).contains(&seconds);
    if plausible { Timestamp::from_millisecond((seconds * 1000.0) as i64).ok() } else { None }
}

/// `textDisplay` in HTML as plain text: line breaks, links' text, and the five entities that YouTube writes.
/// Text without a sign of HTML is left as it is.
pub(super) fn plain_text(text: &str) -> String {
    if !text.contains("<br") && !text.contains("</a>") && !text.contains("&#39;") && !has_entity(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        out.push_str(&rest[..open]);
        let tag = &rest[open..];
        let known = ["<br>", "<br/>", "<br />", "<a ", "</a>", "<b>", "</b>", "<i>", "</i>"];
        match (known.iter().find(|known| tag.starts_with(**known)), tag.find('>')) {
            (Some(known), Some(close)) => {
                if known.starts_with("<br") {
                    out.push('\n');
                }
                rest = &tag[close + 1..];
            }
            _ => {
                out.push('<');
                rest = &tag[1..];
            }
        }
    }
    out.push_str(rest);
    // The ampersand last, so that `&amp;lt;` becomes `&lt;` and no more.
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(out, |text, (entity, plain)| text.replace(entity, plain))
}

fn has_entity(text: &str) -> bool {
    ["&quot;", "&amp;", "&lt;", "&gt;"].iter().any(|entity| text.contains(entity))
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
        assert_eq!(time("2 weeks ago"), None);
    }

    #[test]
    fn html_becomes_plain_text_and_plain_text_stays() {
        assert_eq!(
            plain_text("a<br>b &quot;c&quot; <a href=\"x\">0:42</a> &amp;lt;"),
            "a\nb \"c\" 0:42 &lt;"
        );
        assert_eq!(plain_text("I <3 this & that"), "I <3 this & that");
        assert_eq!(plain_text("1 < 2<br>yes"), "1 < 2\nyes");
    }
}
