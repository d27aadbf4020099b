//! Counters of what the cache did, per kind and tier, for people and for Prometheus.
//! Counting takes no lock.

mod series;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;

use self::series::Series;
use crate::{
    entry::{Entry, FailureClass, Tier},
    policy::{Cost, Kind},
    savings::Ledger,
};

/// How a request ended, for whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With what the tier had.
    Hit(Tier),
    /// With what the tier had, no longer fresh.
    Stale(Tier),
    /// In the place of a failure, with what the tier had. It waited for the fetch, so it is a miss.
    StaleIfError(Tier),
    /// With nothing, and nothing was to be fetched.
    Missing,
    /// With what it fetched itself.
    Fetched,
    /// With what another fetched meanwhile.
    Collapsed,
    /// With a failure that was remembered.
    Remembered,
    /// With a failure of a fetch that it began or joined.
    Failed,
}

impl Ended {
    pub(crate) const ALL: [Self; 14] = {
        use Tier::{Disk, Memory, Redis};
        [
            Self::Hit(Memory),
            Self::Hit(Redis),
            Self::Hit(Disk),
            Self::Stale(Memory),
            Self::Stale(Redis),
            Self::Stale(Disk),
            Self::StaleIfError(Memory),
            Self::StaleIfError(Redis),
            Self::StaleIfError(Disk),
            Self::Missing,
            Self::Fetched,
            Self::Collapsed,
            Self::Remembered,
            Self::Failed,
        ]
    };

    /// Its place in [`ALL`](Self::ALL).
    fn index(self) -> usize {
        let of = |tier| match tier {
            Tier::Memory => 0,
            Tier::Redis => 1,
            Tier::Disk => 2,
        };
        match self {
            Self::Hit(tier) => of(tier),
            Self::Stale(tier) => 3 + of(tier),
            Self::StaleIfError(tier) => 6 + of(tier),
            Self::Missing => 9,
            Self::Fetched => 10,
            Self::Collapsed => 11,
            Self::Remembered => 12,
            Self::Failed => 13,
        }
    }

    /// The tier that had the value, if one had.
    pub(crate) fn tier(self) -> Option<Tier> {
        match self {
            Self::Hit(tier) | Self::Stale(tier) | Self::StaleIfError(tier) => Some(tier),
            _ => None,
        }
    }

    /// The names of outcome and tier in metrics.
    pub(crate) fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Hit(tier) => ("hit", tier.name()),
            Self::Stale(tier) => ("stale", tier.name()),
            Self::StaleIfError(tier) => ("stale_if_error", tier.name()),
            Self::Missing => ("miss", "all"),
            Self::Fetched => ("fetched", "all"),
            Self::Collapsed => ("collapsed", "all"),
            Self::Remembered => ("remembered", "all"),
            Self::Failed => ("failed", "all"),
        }
    }
}

/// A snapshot of the counters.
///
/// A request that joined another's fetch counts as a miss (it waited) and as `collapsed`; so `misses - collapsed` is
/// what was fetched or found nowhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Requests answered from a tier.
    pub hits: u64,
    /// Requests that were not.
    pub misses: u64,
    /// Values stored.
    pub sets: u64,
    /// Keys deleted.
    pub deletes: u64,
    /// Errors of the remote tier that nobody was bothered with.
    pub errors: u64,
    /// `hits + misses`.
    pub total_requests: u64,
    /// Hits in a hundred requests, to one decimal; 0 without requests.
    pub hit_rate: f64,
    /// The same for people: `"79.6%"`.
    pub hit_rate_str: String,
    /// Requests that joined another's fetch.
    pub collapsed: u64,
    /// Fetches begun.
    pub fetches: u64,
    /// Requests answered with a failure that was remembered, without asking upstream.
    pub remembered_failures: u64,
    /// Requests answered with a value that was no longer fresh.
    pub stale: u64,
    /// Fetches begun behind an answer, ahead of a value's end or after it.
    pub refreshes: u64,
    /// What the answers that no fetch of their own paid for would have cost: hits, fresh or stale, and those that joined
    /// another's fetch. By what is written on the entries, of all kinds.
    pub saved: Cost,
    /// Hits, misses, savings by kind.
    pub by_kind: BTreeMap<&'static str, KindStats>,
    /// Hits by tier.
    pub by_tier: BTreeMap<&'static str, u64>,
    /// When counting began.
    pub since: Timestamp,
}

/// The counters of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindStats {
    /// Requests answered from a tier.
    pub hits: u64,
    /// Requests that were not.
    pub misses: u64,
    /// Values stored.
    pub sets: u64,
    /// As in [`Stats::saved`].
    pub saved: Cost,
}

/// One in so many hits in memory is timed: reading a clock twice takes as long as the hit.
const TIMED: u64 = 64;

/// The live counters.
pub(crate) struct Counters {
    kinds: Vec<KindCounters>,
    deletes: AtomicU64,
    errors: AtomicU64,
    collapsed: AtomicU64,
    fetches: AtomicU64,
    remembered: AtomicU64,
    stale: AtomicU64,
    refreshes: AtomicU64,
    since: Mutex<Timestamp>,
}

struct KindCounters {
    kind: Kind,
    /// In the order of [`Ended::ALL`].
    ended: [Count; Ended::ALL.len()],
    sets: AtomicU64,
    /// Counts what memory recalled, too.
    saved: Ledger,
    series: Series,
}

/// A count that only grows, and where it stood at the last reset.
#[derive(Default)]
struct Count {
    ever: AtomicU64,
    before: AtomicU64,
}

impl Counters {
    /// Registers every series at once, so that a scrape shows zeros before the first request.
    pub(crate) fn new(kinds: &[Kind], since: Timestamp) -> Self {
        series::describe();
        let counters = Self {
            kinds: kinds.iter().map(|&kind| KindCounters::new(kind)).collect(),
            deletes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            collapsed: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            since: Mutex::new(since),
        };
        counters.publish();
        counters
    }

    /// The time, if the next hit in memory is one that is timed: of each thread's, one in [`TIMED`].
    #[inline]
    pub(crate) fn begin_recall(&self, kind: Kind) -> Option<Instant> {
        self.kind(kind)
            .is_some_and(|counters| counters.saved.recalled_here().is_multiple_of(TIMED))
            .then(Instant::now)
    }

    /// Memory had a fresh entry: the same as [`ended`](Self::ended) with a hit there, for less.
    #[inline]
    pub(crate) fn recalled(&self, kind: Kind, entry: &Entry, began: Option<Instant>) {
        if let Some(counters) = self.kind(kind) {
            counters.saved.recalled(&entry.cost);
            if let Some(began) = began {
                counters.series.time(Ended::Hit(Tier::Memory), began.elapsed());
            }
        }
    }

    /// A request has ended; `took` where it was timed. What it did not pay for itself is on the entry it got.
    pub(crate) fn ended(&self, kind: Kind, ended: Ended, entry: Option<&Entry>, took: Option<Duration>) {
        if let Some(counters) = self.kind(kind) {
            counters.ended[ended.index()].ever.fetch_add(1, Relaxed);
            if let Some(entry) = entry.filter(|_| ended != Ended::Fetched) {
                counters.saved.add(&entry.cost);
            }
            counters.series.count(ended);
            if let Some(took) = took {
                counters.series.time(ended, took);
            }
        }
        if matches!(ended, Ended::Stale(_) | Ended::StaleIfError(_)) {
            self.stale.fetch_add(1, Relaxed);
        }
    }

    /// The time a flight looked in vain before it fetched. Its callers are counted as they arrive.
    pub(crate) fn missed_in(&self, kind: Kind, took: Duration) {
        if let Some(counters) = self.kind(kind) {
            counters.series.time(Ended::Missing, took);
        }
    }

    /// A fetch ended: well, or with a failure of that class.
    pub(crate) fn fetched_in(&self, kind: Kind, outcome: Result<(), FailureClass>, took: Duration) {
        if self.kind(kind).is_some() {
            series::fetched_in(kind, outcome, took);
        }
    }

    /// Brings the series up to date that are not counted where a hit passes.
    pub(crate) fn publish(&self) {
        for counters in &self.kinds {
            series::saved(counters.kind, &counters.saved.ever());
            for ended in Ended::ALL {
                series::answers(counters.kind, ended, counters.ever(ended));
            }
            for tier in Tier::ALL {
                let hits = counters.ever(Ended::Hit(tier)) + counters.ever(Ended::Stale(tier));
                counters.series.hits(tier, hits);
            }
        }
    }

    pub(crate) fn set(&self, kind: Kind) {
        if let Some(counters) = self.kind(kind) {
            counters.sets.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn deleted(&self, keys: u64) {
        self.deletes.fetch_add(keys, Relaxed);
    }

    pub(crate) fn error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn collapsed(&self) {
        self.collapsed.fetch_add(1, Relaxed);
    }

    pub(crate) fn fetch(&self) {
        self.fetches.fetch_add(1, Relaxed);
    }

    pub(crate) fn remembered(&self) {
        self.remembered.fetch_add(1, Relaxed);
    }

    pub(crate) fn refresh(&self) {
        self.refreshes.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let mut by_kind = BTreeMap::new();
        let mut by_tier: BTreeMap<_, _> = Tier::ALL.iter().map(|tier| (tier.name(), 0)).collect();
        let mut total = KindStats::default();
        for counters in &self.kinds {
            let mut stats = KindStats {
                hits: 0,
                misses: 0,
                sets: counters.sets.load(Relaxed),
                saved: counters.saved.sum(),
            };
            for ended in Ended::ALL {
                let count = counters.since_reset(ended);
                match ended {
                    Ended::Hit(tier) | Ended::Stale(tier) => {
                        stats.hits += count;
                        *by_tier.entry(tier.name()).or_default() += count;
                    }
                    _ => stats.misses += count,
                }
            }
            total.hits += stats.hits;
            total.misses += stats.misses;
            total.sets += stats.sets;
            total.saved = total.saved + stats.saved;
            by_kind.insert(counters.kind.name, stats);
        }
        let hit_rate = hit_rate(total.hits, total.misses);
        Stats {
            hits: total.hits,
            misses: total.misses,
            sets: total.sets,
            deletes: self.deletes.load(Relaxed),
            errors: self.errors.load(Relaxed),
            total_requests: total.hits + total.misses,
            hit_rate,
            hit_rate_str: format!("{hit_rate:.1}%"),
            collapsed: self.collapsed.load(Relaxed),
            fetches: self.fetches.load(Relaxed),
            remembered_failures: self.remembered.load(Relaxed),
            stale: self.stale.load(Relaxed),
            refreshes: self.refreshes.load(Relaxed),
            saved: total.saved,
            by_kind,
            by_tier,
            since: *self.since.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Begins anew. The Prometheus counters go on: they only ever grow.
    pub(crate) fn reset(&self, now: Timestamp) {
        for counters in &self.kinds {
            counters.sets.store(0, Relaxed);
            counters.saved.reset();
            for ended in Ended::ALL {
                counters.ended[ended.index()].before.store(counters.ever(ended), Relaxed);
            }
        }
        for counter in [
            &self.deletes,
            &self.errors,
            &self.collapsed,
            &self.fetches,
            &self.remembered,
            &self.stale,
            &self.refreshes,
        ] {
            counter.store(0, Relaxed);
        }
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn kind(&self, kind: Kind) -> Option<&KindCounters> {
        // The same constant, as a rule: then its bytes need not be compared.
        self.kinds
            .iter()
            .find(|counters| std::ptr::eq(counters.kind.name, kind.name) || counters.kind.name == kind.name)
    }
}

impl KindCounters {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            ended: Default::default(),
            sets: AtomicU64::new(0),
            saved: Ledger::default(),
            series: Series::new(kind),
        }
    }

    fn ever(&self, ended: Ended) -> u64 {
        let recalled = if ended == Ended::Hit(Tier::Memory) { self.saved.recalled_ever() } else { 0 };
        self.ended[ended.index()].ever.load(Relaxed) + recalled
    }

    fn since_reset(&self, ended: Ended) -> u64 {
        self.ever(ended).saturating_sub(self.ended[ended.index()].before.load(Relaxed))
    }
}

fn hit_rate(hits: u64, misses: u64) -> f64 {
    let total = hits + misses;
    if total == 0 {
        return 0.0;
    }
    (hits as f64 * 1000.0 / total as f64).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_a_place_of_its_own() {
        for (place, ended) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(ended.index(), place);
        }
    }

    #[test]
    fn the_hit_rate_has_one_decimal_and_is_zero_without_requests() {
        assert!((hit_rate(0, 0) - 0.0).abs() < f64::EPSILON);
        assert!((hit_rate(1247, 320) - 79.6).abs() < 1e-9);
        assert!((hit_rate(3, 0) - 100.0).abs() < f64::EPSILON);
    }
}
