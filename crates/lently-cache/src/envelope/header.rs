//! The header line: its fields, and two readers of it. One takes any JSON; the other only a line as we write it, byte for byte, and
//! in a fraction of the time: it lies on the path of every hit in the remote tier. Whatever the quick one does not take is the other's.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MAGIC, MAX_HEADER_BYTES};
use crate::{
    policy::Cost,
    tags::{Tagged, parse_version},
};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header<'a> {
    pub envelope: u16,
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    pub schema: u16,
    pub fetched_at: Timestamp,
    pub fresh_until: Timestamp,
    pub stale_until: Timestamp,
    pub retain_until: Timestamp,
    #[serde(default)]
    pub cost: Cost,
    #[serde(borrow)]
    pub etag: Cow<'a, str>,
    #[serde(borrow, default)]
    pub tags: BTreeMap<Cow<'a, str>, Version>,
    pub encoding: Encoding,
    /// The value's size before encoding.
    pub length: u64,
}

/// The version of a tag: sixteen hexadecimal digits, for it is too large for other languages' numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version(pub u64);

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        parse_version(&text).map(Self).ok_or_else(|| serde::de::Error::custom("it is no version"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    Identity,
    Zstd,
}

impl<'a> Header<'a> {
    pub(super) fn tagged(&self) -> Tagged {
        Tagged::read(self.tags.iter().map(|(tag, version)| (Arc::from(&**tag), version.0)))
    }

    /// The header of a stored value, and where its line ends.
    pub(super) fn read(stored: &'a [u8]) -> Option<(Self, usize)> {
        let window = &stored[..stored.len().min(MAX_HEADER_BYTES)];
        Self::read_ours(window).or_else(|| Self::read_any(window))
    }

    /// Any JSON with these fields.
    fn read_any(window: &'a [u8]) -> Option<(Self, usize)> {
        let split = window.iter().position(|&b| b == b'\n')?;
        // As a whole, for what is skipped is not looked at.
        let header = str::from_utf8(&window[..split]).ok()?;
        Some((serde_json::from_str(header).ok()?, split))
    }

    /// A line as [`encode`](super::encode) writes it, without an escape in any of its texts.
    fn read_ours(window: &'a [u8]) -> Option<(Self, usize)> {
        let mut line = Line { left: window };
        line.skip(MAGIC)?;
        let envelope = u16::try_from(line.number()?).ok()?;
        let kind = Cow::Borrowed(line.text(b",\"kind\":\"")?);
        line.skip(b",\"schema\":")?;
        let schema = u16::try_from(line.number()?).ok()?;
        let fetched_at = line.time(b",\"fetched_at\":\"")?;
        let fresh_until = line.time(b",\"fresh_until\":\"")?;
        let stale_until = line.time(b",\"stale_until\":\"")?;
        let retain_until = line.time(b",\"retain_until\":\"")?;
        line.skip(b",\"cost\":{\"quota_units\":")?;
        let quota_units = line.number()?;
        line.skip(b",\"tokens_in\":")?;
        let tokens_in = line.number()?;
        line.skip(b",\"tokens_out\":")?;
        let tokens_out = line.number()?;
        line.skip(b",\"micro_dollars\":")?;
        let micro_dollars = line.number()?;
        line.skip(b",\"milliseconds\":")?;
        let cost = Cost { quota_units, tokens_in, tokens_out, micro_dollars, milliseconds: line.number()? };
        let etag = Cow::Borrowed(line.text(b"},\"etag\":\"")?);
        let tags = line.tags()?;
        line.skip(b",\"encoding\":\"")?;
        let encoding = match line.skip(b"identity") {
            Some(()) => Encoding::Identity,
            None => line.skip(b"zstd").map(|()| Encoding::Zstd)?,
        };
        line.skip(b"\",\"length\":")?;
        let length = line.number()?;
        line.skip(b"}\n")?;
        let split = window.len() - line.left.len() - 1;
        let header = Self {
            envelope,
            kind,
            schema,
            fetched_at,
            fresh_until,
            stale_until,
            retain_until,
            cost,
            etag,
            tags,
            encoding,
            length,
        };
        Some((header, split))
    }
}

/// What is yet to be read of a line. Every step is `None` where something else stands there.
struct Line<'a> {
    left: &'a [u8],
}

impl<'a> Line<'a> {
    fn skip(&mut self, literal: &[u8]) -> Option<()> {
        self.left = self.left.strip_prefix(literal)?;
        Some(())
    }

    /// A text without escapes, behind `before`, with the quotation mark at its end.
    fn text(&mut self, before: &[u8]) -> Option<&'a str> {
        self.skip(before)?;
        let end = self.left.iter().position(|&b| b == b'"' || b == b'\\' || b < b' ')?;
        let (text, rest) = self.left.split_at(end);
        self.left = rest.strip_prefix(b"\"")?;
        str::from_utf8(text).ok()
    }

    /// A number without sign, fraction or exponent.
    fn number(&mut self) -> Option<u64> {
        let end = self.left.iter().position(|b| !b.is_ascii_digit())?;
        let (digits, rest) = self.left.split_at(end);
        if digits.is_empty() || (end > 1 && digits[0] == b'0') || matches!(rest[0], b'.' | b'e' | b'E') {
            return None;
        }
        self.left = rest;
        digits.iter().try_fold(0_u64, |number, b| number.checked_mul(10)?.checked_add(u64::from(b - b'0')))
    }

    /// A time like `2026-11-29T10:55:51.5Z`, behind `before`.
    fn time(&mut self, before: &[u8]) -> Option<Timestamp> {
        self.skip(before)?;
        let (text, rest) = self.left.split_first_chunk::<19>()?;
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2] = *text
        else {
            return None;
        };
        let year = two(y1, y2)? * 100 + two(y3, y4)?;
        let (month, day) = (two(m1, m2)?, two(d1, d2)?);
        let (hour, minute, second) = (two(h1, h2)?, two(i1, i2)?, two(s1, s2)?);
        let is_a_time = (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !is_a_time {
            return None;
        }
        let (nanoseconds, rest) = match rest.split_first()? {
            (b'.', rest) => fraction(rest)?,
            _ => (0, rest),
        };
        self.left = rest.strip_prefix(b"Z\"")?;
        let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        // Before 1970 jiff counts both parts from the other side.
        if seconds < 0 {
            return None;
        }
        Timestamp::new(seconds, nanoseconds).ok()
    }

    fn tags(&mut self) -> Option<BTreeMap<Cow<'a, str>, Version>> {
        self.skip(b",\"tags\":{")?;
        let mut tags = BTreeMap::new();
        if self.left.first() != Some(&b'}') {
            loop {
                let tag = self.text(b"\"")?;
                let version = parse_version(self.text(b":\"")?)?;
                tags.insert(Cow::Borrowed(tag), Version(version));
                if self.left.first() == Some(&b'}') {
                    break;
                }
                self.skip(b",")?;
            }
        }
        self.skip(b"}")?;
        Some(tags)
    }
}

/// A number of two digits.
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// The nanoseconds that one to nine digits stand for, and what is behind them.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let (mut nanoseconds, mut worth, mut rest) = (0, 100_000_000, text);
    while let [digit @ b'0'..=b'9', left @ ..] = rest {
        // A tenth digit is worth nothing we could tell.
        if worth == 0 {
            return None;
        }
        nanoseconds += i32::from(digit - b'0') * worth;
        (worth, rest) = (worth / 10, left);
    }
    (rest.len() < text.len()).then_some((nanoseconds, rest))
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of the Gregorian calendar, for a year from 0 on. A year is taken to begin in March, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_before_the_month = (153 * month + 2) / 5;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + days_before_the_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(header: Option<(Header<'_>, usize)>) -> Option<(String, usize)> {
        header.map(|(header, split)| (serde_json::to_string(&header).expect("JSON"), split))
    }

    fn line(header: &Header<'_>) -> Vec<u8> {
        let mut line = serde_json::to_vec(header).expect("JSON");
        line.extend_from_slice(b"\n{}");
        line
    }

    prop_compose! {
        fn time()(second in 0_i64..253_402_207_200, nanosecond in prop_oneof![Just(0), 0..1_000_000_000]) -> Timestamp {
            Timestamp::new(second, nanosecond).expect("a time")
        }
    }

    prop_compose! {
        fn header()(
            numbers in any::<(u16, u16, u64, u64, u64, u64, u64, u64)>(),
            times in [time(), time(), time(), time()],
            texts in ["[a-z]{1,9}", "[0-9a-f]{32}"],
            tags in prop::collection::btree_map("[a-zé:❤]{1,9}", any::<u64>(), 0..3),
            packed in any::<bool>(),
        ) -> Header<'static> {
            let [fetched_at, fresh_until, stale_until, retain_until] = times;
            let [kind, etag] = texts.map(Cow::Owned);
            let (envelope, schema, quota_units, tokens_in, tokens_out, micro_dollars, milliseconds, length) = numbers;
            Header {
                envelope,
                kind,
                schema,
                fetched_at,
                fresh_until,
                stale_until,
                retain_until,
                cost: Cost { quota_units, tokens_in, tokens_out, micro_dollars, milliseconds },
                etag,
                tags: tags.into_iter().map(|(tag, version)| (Cow::Owned(tag), Version(version))).collect(),
                encoding: if packed { Encoding::Zstd } else { Encoding::Identity },
                length,
            }
        }
    }

    proptest! {
        #[test]
        fn what_we_write_is_read_the_quick_way_and_as_any_json_is(header in header()) {
            let line = line(&header);
            let quick = told(Header::read_ours(&line));
            prop_assert!(quick.is_some(), "{}", String::from_utf8_lossy(&line));
            prop_assert_eq!(quick, told(Header::read_any(&line)));
        }

        /// A line with a few bytes replaced, most of them by what has a meaning in JSON or in a time.
        #[test]
        fn what_the_quick_way_takes_is_what_any_json_reader_takes(
            header in header(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"0123456789\"\\{},:.-+TZez \n\xff"[..])), 1..4),
        ) {
            let mut line = line(&header);
            for (at, byte) in changes {
                let length = line.len();
                line[at.index(length)] = byte;
            }
            if let Some(quick) = told(Header::read_ours(&line)) {
                prop_assert_eq!(Some(quick), told(Header::read_any(&line)));
            }
        }

        #[test]
        fn days_are_counted_as_the_calendar_does(time in time()) {
            let line = format!("{time}\"");
            let mut line = Line { left: line.as_bytes() };
            prop_assert_eq!(line.time(b""), Some(time));
        }
    }

    #[test]
    fn a_day_that_is_in_no_calendar_is_left_to_the_other_reader() {
        for (text, is_one) in [
            ("2024-02-29T23:59:59Z", true),
            ("2000-02-29T00:00:00Z", true),
            ("2100-02-29T00:00:00Z", false),
            ("2026-02-29T00:00:00Z", false),
            ("2026-04-31T00:00:00Z", false),
            ("2026-13-01T00:00:00Z", false),
            ("2026-00-01T00:00:00Z", false),
            ("2026-01-00T00:00:00Z", false),
            ("2026-01-01T24:00:00Z", false),
            ("2026-01-01T00:60:00Z", false),
            ("2026-01-01T00:00:60Z", false),
            ("2026-01-01T00:00:00.Z", false),
            ("2026-01-01T00:00:00.1234567890Z", false),
            ("1969-12-31T23:59:59Z", false),
        ] {
            let quoted = format!("{text}\"");
            let read = Line { left: quoted.as_bytes() }.time(b"");
            assert_eq!(read, is_one.then(|| text.parse().expect("a time")), "{text}");
        }
    }
}
