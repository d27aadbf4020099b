//! Google's day: quotas are counted anew at midnight Pacific Time (YouTube Data API and Gemini API documentation,
//! as of 2026-11-23).

use std::{fmt, str::FromStr};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};

/// A day in America/Los_Angeles; 23 or 25 hours long where the clocks are changed. Written `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacificDay(Date);

impl PacificDay {
    /// The day in which `now` lies.
    #[must_use]
    pub fn of(now: Timestamp) -> Self {
        Self(now.to_zoned(zone()).date())
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> Timestamp {
        self.0.to_zoned(zone()).map_or(Timestamp::MIN, |midnight| midnight.timestamp())
    }

    /// The first moment of the day after it, when Google counts anew.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.0.checked_add(1.day()).map_or(Timestamp::MAX, |next| Self(next).start())
    }

    /// The day so many days before it.
    #[must_use]
    pub fn days_before(self, days: u32) -> Self {
        Self(self.0.checked_sub(i64::from(days).days()).unwrap_or(Date::MIN))
    }
}

impl fmt::Display for PacificDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m-%d").fmt(f)
    }
}

impl FromStr for PacificDay {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Date::strptime("%Y-%m-%d", text).map(Self)
    }
}

/// The next midnight in America/Los_Angeles after `now`; daylight saving time included.
#[must_use]
pub fn next_midnight(now: Timestamp) -> Timestamp {
    PacificDay::of(now).end()
}

/// The zone is compiled in; were it not, Pacific Standard Time is at most an hour off.
fn zone() -> TimeZone {
    TimeZone::get("America/Los_Angeles").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(-8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_follows_daylight_saving_time() {
        for (now, next) in [
            ("2026-11-24T12:00:00Z", "2026-11-25T08:00:00Z"),
            ("2026-07-01T06:59:59Z", "2026-07-01T07:00:00Z"),
            ("2026-07-01T07:00:00Z", "2026-07-02T07:00:00Z"),
            // The clocks went back at 09:00 UTC that day: it had 25 hours.
            ("2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"),
        ] {
            let now: Timestamp = now.parse().expect("a time");
            assert_eq!(next_midnight(now).to_string(), next);
        }
    }

    #[test]
    fn a_day_has_a_name_and_as_many_hours_as_the_clocks_give_it() {
        for (name, hours) in [("2026-03-08", 23), ("2026-11-01", 25), ("2026-11-24", 24)] {
            let day: PacificDay = name.parse().expect("a day");
            assert_eq!(day.to_string(), name);
            assert_eq!(day.end().duration_since(day.start()).as_hours(), hours, "{name}");
            let last = day.end().checked_sub(1.millisecond()).expect("a time");
            assert_eq!((PacificDay::of(day.start()), PacificDay::of(last)), (day, day));
            assert_eq!(PacificDay::of(day.end()).days_before(1), day);
        }
        for wrong in ["", "2026-13-01", "2026-11-24T00:00:00Z", "yesterday"] {
            assert!(wrong.parse::<PacificDay>().is_err(), "{wrong}");
        }
    }
}
