//! The units that a warming may still take. Parts of it are held for what is under way, so that what runs side by side stays within it
//! together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Units to be taken; what is left of a part goes back to the whole with its last clone.
#[derive(Clone)]
pub(crate) struct Units(Arc<Inner>);

struct Inner {
    left: AtomicU64,
    /// Of the whole.
    spent: Arc<AtomicU64>,
    whole: Option<Units>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(whole) = &self.whole {
            let left = self.left.load(Ordering::Relaxed);
            whole.0.left.fetch_add(left, Ordering::Relaxed);
        }
    }
}

impl Units {
    /// So many, or as many as anyone may come to take.
    pub(crate) fn of(limit: Option<u64>) -> Self {
        // Half of what the counter holds is without end, and what goes back does not overflow.
        let left = AtomicU64::new(limit.unwrap_or(u64::MAX / 2).min(u64::MAX / 2));
        Self(Arc::new(Inner { left, spent: Arc::default(), whole: None }))
    }

    /// Holds a part for something, if there is as much.
    pub(crate) fn hold(&self, units: u64) -> Option<Self> {
        self.take_left(units).then(|| {
            let (left, spent) = (AtomicU64::new(units), Arc::clone(&self.0.spent));
            Self(Arc::new(Inner { left, spent, whole: Some(self.clone()) }))
        })
    }

    /// Takes units to spend them, out of the whole where the part has not as many; whether there were as many.
    pub(crate) fn take(&self, units: u64) -> bool {
        let taken =
            self.take_left(units) || self.0.whole.as_ref().is_some_and(|whole| whole.take_left(units));
        if taken {
            self.0.spent.fetch_add(units, Ordering::Relaxed);
        }
        taken
    }

    /// Counts units that were spent already, whether or not there were as many.
    pub(crate) fn spend(&self, units: u64) {
        if !self.take(units) {
            let left = self.0.left.swap(0, Ordering::Relaxed);
            if let Some(whole) = &self.0.whole {
                let beyond = units.saturating_sub(left);
                let _ = whole.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    Some(left.saturating_sub(beyond))
                });
            }
            self.0.spent.fetch_add(units, Ordering::Relaxed);
        }
    }

    /// Gives back what was taken and not spent.
    pub(crate) fn give_back(&self, units: u64) {
        self.0.left.fetch_add(units, Ordering::Relaxed);
        self.0.spent.fetch_sub(units, Ordering::Relaxed);
    }

    pub(crate) fn left(&self) -> u64 {
        self.0.left.load(Ordering::Relaxed)
    }

    /// What was spent of the whole.
    pub(crate) fn spent(&self) -> u64 {
        self.0.spent.load(Ordering::Relaxed)
    }

    fn take_left(&self, units: u64) -> bool {
        let less = |left: u64| left.checked_sub(units);
        self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_and_not_taken_goes_back_and_nothing_is_taken_twice() {
        let whole = Units::of(Some(10));
        let part = whole.hold(6).expect("as much");
        assert!(whole.hold(5).is_none(), "six are held");
        assert!(part.take(4) && part.take(3), "two of the part are left, so three come from the whole");
        assert!(!part.take(3), "two here and one there");
        assert_eq!((part.left(), whole.left(), whole.spent()), (2, 1, 7));
        part.give_back(1);
        drop(part);
        assert_eq!((whole.left(), whole.spent()), (4, 6));
        let part = whole.hold(1).expect("as much");
        part.spend(9);
        drop(part);
        assert_eq!((whole.left(), whole.spent()), (0, 15), "what is spent is spent");
        assert!(Units::of(None).hold(u64::MAX / 4).is_some());
    }
}
