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

/// No tick of a coarse clock lasts longer, so it is behind by no more. Linux moves it with its timer, 100 to 1,000 times a second
/// (<https://man7.org/linux/man-pages/man7/time.7.html>, read 2026-11-26): this leaves five ticks of the slowest.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Tells the time. Clones of a manual clock share its hands.
#[derive(Clone, Debug)]
pub struct Clock(Hands);

#[derive(Clone, Debug)]
enum Hands {
    System,
    /// Milliseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
    /// The runtime's clock, which stood at `start` at the time given, and milliseconds by which this one was moved since.
    #[cfg(feature = "simulation")]
    Runtime {
        start: Timestamp,
        since: tokio::time::Instant,
        moved: Arc<AtomicI64>,
    },
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

    /// A clock that shows `start` now and goes as the runtime's does, be that paused; for simulations. It can be moved either way.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    #[must_use]
    pub fn of_the_runtime(start: Timestamp) -> Self {
        Self(Hands::Runtime { start, since: tokio::time::Instant::now(), moved: Arc::default() })
    }

    /// Moves a clock of the runtime by so many milliseconds, back where they are negative.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn jump(&self, milliseconds: i64) {
        if let Hands::Runtime { moved, .. } = &self.0 {
            moved.fetch_add(milliseconds, Ordering::SeqCst);
        }
    }

    /// The time now, to the millisecond for a manual clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Hands::System => Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH),
            Hands::Manual(at) => {
                Timestamp::from_millisecond(at.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
            }
            #[cfg(feature = "simulation")]
            Hands::Runtime { start, since, moved } => {
                let moved = jiff::SignedDuration::from_millis(moved.load(Ordering::SeqCst));
                start.checked_add(moved).map_or(*start, |moved| later(moved, since.elapsed()))
            }
        }
    }

    /// What a coarse clock says, for a fraction of what [`now`](Self::now) costs: enough to know that something lasts for [`TICK`]
    /// yet. Elsewhere than on Linux, and for a clock that is moved by hand, it is `now`.
    #[inline]
    pub(crate) fn tick(&self) -> Tick {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Hands::System => {
                let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
                Tick::of(time.tv_sec, time.tv_nsec)
            }
            _ => Tick { soon: self.now(), number: None },
        }
    }

    /// Moves a manual clock forward. The system's clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Hands::Manual(at) = &self.0 {
            at.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// A moment as a coarse clock tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Not before the time it is, and at most [`TICK`] after it: what lasts until then lasts now.
    pub soon: Timestamp,
    /// The same for all moments between two movements of the clock's hands, and for no others; `None` where nothing is known of how
    /// long the hands stand still.
    pub number: Option<u64>,
}

impl Tick {
    /// Of what the coarse clock shows.
    #[cfg(any(target_os = "linux", test))]
    #[inline]
    fn of(second: i64, nanosecond: i64) -> Self {
        const SECOND: i64 = 1_000_000_000;
        let nanosecond = nanosecond + TICK.as_nanos() as i64;
        let (second, nanosecond) = (second + nanosecond / SECOND, nanosecond % SECOND);
        // Where the clock shows no time of ours, nothing lasts until then.
        let soon = Timestamp::new(second, nanosecond as i32).unwrap_or(Timestamp::MAX);
        Self { soon, number: Some(second.wrapping_mul(SECOND).wrapping_add(nanosecond).cast_unsigned()) }
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
        assert_eq!((clock.tick().soon, clock.tick().number), (clock.now(), None));
    }

    #[test]
    fn a_tick_ends_where_the_next_may_be_late() {
        let soon = |second, nanosecond| Tick::of(second, nanosecond).soon.as_nanosecond();
        assert_eq!(soon(7, 0), 7_050_000_000);
        assert_eq!(soon(7, 950_000_001), 8_000_000_001);
        assert_eq!(soon(-1, 999_999_999), 49_999_999);
        assert_eq!(Tick::of(i64::MAX / 2, 0).soon, Timestamp::MAX);
        assert_eq!(Tick::of(7, 4), Tick::of(7, 4));
        assert_ne!(Tick::of(7, 4).number, Tick::of(7, 8_000_004).number);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_coarse_clock_here_ticks_often_enough() {
        let every = rustix::time::clock_getres(rustix::time::ClockId::RealtimeCoarse);
        assert!(
            every.tv_sec == 0 && u128::from(every.tv_nsec.unsigned_abs()) * 5 <= TICK.as_nanos(),
            "{every:?}"
        );
        assert!(Clock::system().tick().number.is_some());
    }
}
