//! Google's day: quotas are counted anew at midnight Pacific Time (YouTube Data API and Gemini API documentation,
//! as of 2026-11-23).

use std::time::SystemTime;

use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// The next midnight in America/Los_Angeles after `now`; daylight saving time included.
#[must_use]
pub fn next_midnight(now: Timestamp) -> Timestamp {
    // The zone is compiled in; were it not, Pacific Standard Time is at most an hour off.
    let zone = TimeZone::get("America/Los_Angeles").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(-8)));
    let next = now.to_zoned(zone).tomorrow().and_then(|tomorrow| tomorrow.start_of_day());
    match next {
        Ok(midnight) => midnight.timestamp(),
        Err(_) => now.checked_add(24.hours()).unwrap_or(Timestamp::MAX),
    }
}

/// The next midnight from now, by the system's clock: the upstream's own clock runs on no test's time.
pub(crate) fn upcoming_midnight() -> Timestamp {
    next_midnight(Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH))
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
}
