//! A circuit breaker: after a few errors in a row calls are refused for a while, then one probe decides.
//! It counts and decides; it never calls anything.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many errors in a row open the circuit.
const OPENS_AFTER: u32 = 5;
/// So long it stays open before a probe is let through.
const RESTS_FOR: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Breaker {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        errors: u32,
    },
    Open {
        until: Instant,
    },
    /// One probe is under way; if it never reports, another is let through at `until`.
    Probing {
        until: Instant,
    },
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Closed { errors: 0 }) }
    }

    /// Whether a call may be made now. The clock is read where it matters: not while all is well.
    pub(crate) fn permits(&self, now: impl FnOnce() -> Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (State::Open { until } | State::Probing { until }) = *state else { return true };
        let now = now();
        if now < until {
            return false;
        }
        *state = State::Probing { until: now + RESTS_FOR };
        true
    }

    /// A call went well. True if that closed the circuit.
    pub(crate) fn succeeded(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = !matches!(*state, State::Closed { .. });
        *state = State::Closed { errors: 0 };
        was_open
    }

    /// A call failed. True if that opened the circuit.
    pub(crate) fn failed(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { errors } if errors + 1 < OPENS_AFTER => {
                *state = State::Closed { errors: errors + 1 };
                false
            }
            State::Closed { .. } => {
                *state = State::Open { until: now + RESTS_FOR };
                true
            }
            State::Open { .. } | State::Probing { .. } => {
                *state = State::Open { until: now + RESTS_FOR };
                false
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_errors_open_it_and_one_probe_at_a_time_may_close_it() {
        let (breaker, start) = (Breaker::new(), Instant::now());
        let permits = |at| breaker.permits(|| at);
        for _ in 0..OPENS_AFTER - 1 {
            assert!(!breaker.failed(start));
        }
        assert!(permits(start));
        assert!(breaker.failed(start));
        assert!(!permits(start));
        let later = start + RESTS_FOR;
        assert!(permits(later), "the probe");
        assert!(!permits(later), "only one");
        breaker.failed(later);
        assert!(!permits(later));
        assert!(permits(later + RESTS_FOR));
        assert!(breaker.succeeded());
        assert!(permits(later) && breaker.is_closed());
    }

    #[test]
    fn a_success_between_errors_keeps_it_closed() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        for _ in 0..20 {
            assert!(!breaker.failed(now));
            assert!(!breaker.succeeded());
        }
    }
}
