//! The clock every time in the cache is read from: the system's, or one that a test moves by hand.
//! It never sleeps and knows no time zone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

/// Tells the time. Clones of a manual clock share its hands.
#[derive(Clone, Debug)]
pub struct Clock(Hands);

#[derive(Clone, Debug)]
enum Hands {
    System,
    /// Milliseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Hands::System)
    }

    /// A clock that stands at `start` until [`advance`](Self::advance) moves it; for tests and simulations.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Hands::Manual(Arc::new(AtomicI64::new(start.as_millisecond()))))
    }

    /// The time now, to the millisecond for a manual clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Hands::System => Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH),
            Hands::Manual(at) => {
                Timestamp::from_millisecond(at.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }
    }

    /// Moves a manual clock forward. The system's clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Hands::Manual(at) = &self.0 {
            at.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// `from + by`, or the last representable instant.
pub(crate) fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The time from `earlier` to `later`; zero if they are the other way round.
pub(crate) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_its_clones_with_it() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let other = clock.clone();
        assert_eq!(clock.now(), other.now());
        other.advance(Duration::from_secs(90));
        assert_eq!(clock.now().as_second(), 90);
    }
}
