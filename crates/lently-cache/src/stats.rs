//! Counters of what the cache did, per kind and tier, for people and for Prometheus.
//! Counting takes no lock.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    entry::{Entry, Tier},
    policy::{Cost, Kind},
    savings::Ledger,
};

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
const TIMED: u64 = 8;

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
    /// In the order of [`Tier::ALL`].
    tiers: [TierCounters; 3],
    misses: AtomicU64,
    sets: AtomicU64,
    saved: Ledger,
    missed: metrics::Counter,
    miss_latency: metrics::Histogram,
}

struct TierCounters {
    hits: AtomicU64,
    hit: metrics::Counter,
    latency: metrics::Histogram,
}

impl Counters {
    /// Registers every series at once, so that a scrape shows zeros before the first request.
    pub(crate) fn new(kinds: &[Kind], since: Timestamp) -> Self {
        metrics::describe_counter!("cache_hits_total", "Requests answered from a cache tier");
        metrics::describe_counter!("cache_misses_total", "Requests that no cache tier could answer");
        metrics::describe_histogram!(
            "cache_latency_seconds",
            metrics::Unit::Seconds,
            "Time to find a value in a tier (of those in memory, one in eight), or to find it in none"
        );
        metrics::describe_counter!(
            "lently_cache_saved_quota_units_total",
            "Units of a metered quota that answers out of the cache saved"
        );
        metrics::describe_counter!(
            "lently_cache_saved_tokens_total",
            "Tokens that answers out of the cache saved"
        );
        metrics::describe_counter!(
            "lently_cache_saved_micro_dollars_total",
            "Millionths of a US dollar that answers out of the cache saved"
        );
        metrics::describe_counter!(
            "lently_cache_saved_milliseconds_total",
            "Time of fetching that answers out of the cache saved"
        );
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

    /// An answer with `entry` out of its tier.
    pub(crate) fn hit(&self, kind: Kind, entry: &Entry, took: Duration) {
        if let Some(counters) = self.kind(kind) {
            counters.saved.add(&entry.cost);
            let counters = &counters.tiers[tier_index(entry.tier)];
            counters.hits.fetch_add(1, Relaxed);
            counters.hit.increment(1);
            counters.latency.record(took);
        }
    }

    /// Whether the next hit in memory is one that is timed: one in [`TIMED`].
    pub(crate) fn is_to_be_timed(&self, kind: Kind) -> bool {
        self.kind(kind).is_some_and(|counters| counters.tiers[0].hits.load(Relaxed).is_multiple_of(TIMED))
    }

    /// A hit in memory; `took` where it was timed.
    pub(crate) fn recalled(&self, kind: Kind, entry: &Entry, took: Option<Duration>) {
        if let Some(counters) = self.kind(kind) {
            counters.saved.add(&entry.cost);
            let counters = &counters.tiers[0];
            counters.hits.fetch_add(1, Relaxed);
            counters.hit.increment(1);
            if let Some(took) = took {
                counters.latency.record(took);
            }
        }
    }

    /// A request that no tier could answer; `took` is the time that looking took, where the request looked itself.
    pub(crate) fn miss(&self, kind: Kind, took: Option<Duration>) {
        if let Some(counters) = self.kind(kind) {
            counters.misses.fetch_add(1, Relaxed);
            counters.missed.increment(1);
            if let Some(took) = took {
                counters.miss_latency.record(took);
            }
        }
    }

    /// The time a flight looked in vain before it fetched. Its callers are counted as they arrive.
    pub(crate) fn missed_in(&self, kind: Kind, took: Duration) {
        if let Some(counters) = self.kind(kind) {
            counters.miss_latency.record(took);
        }
    }

    /// An answer that is no hit, and that another fetch than the caller's own paid for.
    pub(crate) fn saved(&self, kind: Kind, entry: &Entry) {
        if let Some(counters) = self.kind(kind) {
            counters.saved.add(&entry.cost);
        }
    }

    /// Brings the series up to date that are not counted where a hit passes.
    pub(crate) fn publish(&self) {
        for counters in &self.kinds {
            let kind = counters.kind.name;
            let saved = counters.saved.ever();
            metrics::counter!("lently_cache_saved_quota_units_total", "kind" => kind)
                .absolute(saved.quota_units);
            metrics::counter!("lently_cache_saved_tokens_total", "kind" => kind, "direction" => "in")
                .absolute(saved.tokens_in);
            metrics::counter!("lently_cache_saved_tokens_total", "kind" => kind, "direction" => "out")
                .absolute(saved.tokens_out);
            metrics::counter!("lently_cache_saved_micro_dollars_total", "kind" => kind)
                .absolute(saved.micro_dollars);
            metrics::counter!("lently_cache_saved_milliseconds_total", "kind" => kind)
                .absolute(saved.milliseconds);
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

    pub(crate) fn stale(&self) {
        self.stale.fetch_add(1, Relaxed);
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
                misses: counters.misses.load(Relaxed),
                sets: counters.sets.load(Relaxed),
                saved: counters.saved.sum(),
            };
            for (tier, of_tier) in Tier::ALL.iter().zip(&counters.tiers) {
                let hits = of_tier.hits.load(Relaxed);
                stats.hits += hits;
                *by_tier.entry(tier.name()).or_default() += hits;
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
            counters.misses.store(0, Relaxed);
            counters.sets.store(0, Relaxed);
            counters.saved.reset();
            for tier in &counters.tiers {
                tier.hits.store(0, Relaxed);
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
        self.kinds.iter().find(|counters| counters.kind.name == kind.name)
    }
}

impl KindCounters {
    fn new(kind: Kind) -> Self {
        let missed = metrics::counter!("cache_misses_total", "kind" => kind.name, "tier" => "all");
        missed.increment(0);
        Self {
            kind,
            tiers: Tier::ALL.map(|tier| {
                let hit = metrics::counter!("cache_hits_total", "kind" => kind.name, "tier" => tier.name());
                hit.increment(0);
                let latency = metrics::histogram!(
                    "cache_latency_seconds", "kind" => kind.name, "tier" => tier.name(), "outcome" => "hit"
                );
                TierCounters { hits: AtomicU64::new(0), hit, latency }
            }),
            misses: AtomicU64::new(0),
            sets: AtomicU64::new(0),
            saved: Ledger::default(),
            missed,
            miss_latency: metrics::histogram!(
                "cache_latency_seconds", "kind" => kind.name, "tier" => "all", "outcome" => "miss"
            ),
        }
    }
}

fn tier_index(tier: Tier) -> usize {
    match tier {
        Tier::Memory => 0,
        Tier::Redis => 1,
        Tier::Disk => 2,
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
    fn the_hit_rate_has_one_decimal_and_is_zero_without_requests() {
        assert!((hit_rate(0, 0) - 0.0).abs() < f64::EPSILON);
        assert!((hit_rate(1247, 320) - 79.6).abs() < 1e-9);
        assert!((hit_rate(3, 0) - 100.0).abs() < f64::EPSILON);
    }
}
