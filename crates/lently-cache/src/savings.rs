//! What answers out of the cache saved, by what is written on the entries, and how many memory gave. It lies on the path of a hit, so it
//! takes no lock, adds only what is not zero, and a thread has its own sums as long as there are some left: nobody else writes them, so
//! that adding is no atomic step of the processor's.

use std::{
    cell::Cell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::policy::Cost;

/// The first threads that ever count have sums of their own, the others share the last; reading adds them up.
const SHARDS: usize = 32;
/// What one answer counts at most in any unit: a header that says more was not written by us, and must not turn the sum over.
const MOST: u64 = 1 << 40;

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// `usize::MAX` until it counts for the first time.
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A sum of costs that only grows, seen since the last [`reset`](Self::reset).
#[derive(Default)]
pub(crate) struct Ledger {
    shards: [Shard; SHARDS],
    before: Mutex<Cost>,
}

/// Two lines of a processor's cache: some fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    quota_units: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
    micro_dollars: AtomicU64,
    milliseconds: AtomicU64,
    recalled: AtomicU64,
}

impl Ledger {
    pub(crate) fn add(&self, cost: &Cost) {
        let own = own_shard();
        self.shards[own].add(own < SHARDS - 1, 0, cost);
    }

    /// Memory gave what had cost so much.
    #[inline]
    pub(crate) fn recalled(&self, cost: &Cost) {
        let own = own_shard();
        self.shards[own].add(own < SHARDS - 1, 1, cost);
    }

    /// How often memory gave something to this thread, or to those that share its sums.
    #[inline]
    pub(crate) fn recalled_here(&self) -> u64 {
        self.shards[own_shard()].recalled.load(Relaxed)
    }

    /// How often memory gave something since the beginning, whatever was reset.
    pub(crate) fn recalled_ever(&self) -> u64 {
        self.shards.iter().map(|shard| shard.recalled.load(Relaxed)).sum()
    }

    /// Since the beginning, whatever was reset.
    pub(crate) fn ever(&self) -> Cost {
        self.shards.iter().fold(Cost::default(), |sum, shard| sum + shard.load())
    }

    /// Since the last reset.
    pub(crate) fn sum(&self) -> Cost {
        let before = *self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let ever = self.ever();
        Cost {
            quota_units: ever.quota_units.saturating_sub(before.quota_units),
            tokens_in: ever.tokens_in.saturating_sub(before.tokens_in),
            tokens_out: ever.tokens_out.saturating_sub(before.tokens_out),
            micro_dollars: ever.micro_dollars.saturating_sub(before.micro_dollars),
            milliseconds: ever.milliseconds.saturating_sub(before.milliseconds),
        }
    }

    pub(crate) fn reset(&self) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = self.ever();
    }
}

impl Shard {
    /// `alone`: no other thread adds to these sums.
    #[inline]
    fn add(&self, alone: bool, recalled: u64, cost: &Cost) {
        for (sum, amount) in [
            (&self.recalled, recalled),
            (&self.quota_units, cost.quota_units),
            (&self.tokens_in, cost.tokens_in),
            (&self.tokens_out, cost.tokens_out),
            (&self.micro_dollars, cost.micro_dollars),
            (&self.milliseconds, cost.milliseconds),
        ] {
            match amount.min(MOST) {
                0 => {}
                amount if alone => sum.store(sum.load(Relaxed) + amount, Relaxed),
                amount => drop(sum.fetch_add(amount, Relaxed)),
            }
        }
    }

    fn load(&self) -> Cost {
        Cost {
            quota_units: self.quota_units.load(Relaxed),
            tokens_in: self.tokens_in.load(Relaxed),
            tokens_out: self.tokens_out.load(Relaxed),
            micro_dollars: self.micro_dollars.load(Relaxed),
            milliseconds: self.milliseconds.load(Relaxed),
        }
    }
}

/// The sums that this thread adds to. They are not given back: who comes late in a process shares.
fn own_shard() -> usize {
    SHARD.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT_SHARD.fetch_add(1, Relaxed).min(SHARDS - 1));
        }
        own.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_all_threads_add_up_and_begin_anew() {
        let ledger = Ledger::default();
        let cost = Cost { quota_units: 1, tokens_in: 2, tokens_out: 3, micro_dollars: 4, milliseconds: 5 };
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..50).for_each(|_| (ledger.add(&cost), ledger.recalled(&cost)).0));
            }
        });
        let n = 200 * SHARDS as u64;
        let all = Cost {
            quota_units: n,
            tokens_in: 2 * n,
            tokens_out: 3 * n,
            micro_dollars: 4 * n,
            milliseconds: 5 * n,
        };
        assert_eq!((ledger.sum(), ledger.recalled_ever()), (all, n / 2));
        ledger.reset();
        ledger.add(&cost);
        assert_eq!((ledger.sum(), ledger.ever()), (cost, all + cost));
    }

    #[test]
    fn a_header_that_exaggerates_does_not_turn_the_sum_over() {
        let ledger = Ledger::default();
        for _ in 0..3 {
            ledger.add(&Cost { micro_dollars: u64::MAX, ..Cost::default() });
        }
        assert_eq!(ledger.sum().micro_dollars, 3 << 40);
    }
}
