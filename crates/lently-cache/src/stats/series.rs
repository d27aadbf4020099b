//! The counters as Prometheus sees them, through the `metrics` facade. The labels are kind, tier, outcome; never a key, which would
//! be a series for each and could be somebody's.

use std::time::Duration;

use super::Ended;
use crate::{
    entry::{FailureClass, Tier},
    policy::{Cost, Kind},
};

/// The handles that lie on the path of a request.
pub(super) struct Series {
    /// In the order of [`Tier::ALL`].
    hits: [metrics::Counter; 3],
    misses: metrics::Counter,
    /// In the order of [`Ended::ALL`].
    latency: [metrics::Histogram; Ended::ALL.len()],
}

impl Series {
    pub(super) fn new(kind: Kind) -> Self {
        let counter = |counter: metrics::Counter| {
            counter.increment(0);
            counter
        };
        Self {
            hits: Tier::ALL.map(|tier| {
                counter(metrics::counter!("cache_hits_total", "kind" => kind.name, "tier" => tier.name()))
            }),
            misses: counter(metrics::counter!("cache_misses_total", "kind" => kind.name, "tier" => "all")),
            latency: Ended::ALL.map(|ended| {
                let (outcome, tier) = ended.labels();
                metrics::histogram!(
                    "cache_latency_seconds", "kind" => kind.name, "tier" => tier, "outcome" => outcome
                )
            }),
        }
    }

    /// A miss goes at once; what lies on the path of a hit is brought up to date by [`hits`](Self::hits) and [`answers`].
    pub(super) fn count(&self, ended: Ended) {
        if !matches!(ended, Ended::Hit(_) | Ended::Stale(_)) {
            self.misses.increment(1);
        }
    }

    pub(super) fn hits(&self, tier: Tier, count: u64) {
        self.hits[Ended::Hit(tier).index()].absolute(count);
    }

    pub(super) fn time(&self, ended: Ended, took: Duration) {
        self.latency[ended.index()].record(took);
    }
}

pub(super) fn describe() {
    metrics::describe_counter!("cache_hits_total", "Requests answered from a cache tier");
    metrics::describe_counter!("cache_misses_total", "Requests that no cache tier could answer");
    metrics::describe_histogram!(
        "cache_latency_seconds",
        metrics::Unit::Seconds,
        "Time until a request was answered (of fresh hits in memory, one in 64), or until a look found nothing (miss)"
    );
    metrics::describe_counter!("lently_cache_answers_total", "Requests by how they ended");
    metrics::describe_histogram!(
        "lently_cache_fetch_seconds",
        metrics::Unit::Seconds,
        "Time that fetches took, by how they ended"
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
}

pub(super) fn answers(kind: Kind, ended: Ended, count: u64) {
    let (outcome, tier) = ended.labels();
    metrics::counter!(
        "lently_cache_answers_total", "kind" => kind.name, "tier" => tier, "outcome" => outcome
    )
    .absolute(count);
}

pub(super) fn fetched_in(kind: Kind, outcome: Result<(), FailureClass>, took: Duration) {
    let outcome = outcome.err().map_or("ok", FailureClass::name);
    metrics::histogram!("lently_cache_fetch_seconds", "kind" => kind.name, "outcome" => outcome).record(took);
}

pub(super) fn saved(kind: Kind, saved: &Cost) {
    let kind = kind.name;
    metrics::counter!("lently_cache_saved_quota_units_total", "kind" => kind).absolute(saved.quota_units);
    metrics::counter!("lently_cache_saved_tokens_total", "kind" => kind, "direction" => "in")
        .absolute(saved.tokens_in);
    metrics::counter!("lently_cache_saved_tokens_total", "kind" => kind, "direction" => "out")
        .absolute(saved.tokens_out);
    metrics::counter!("lently_cache_saved_micro_dollars_total", "kind" => kind).absolute(saved.micro_dollars);
    metrics::counter!("lently_cache_saved_milliseconds_total", "kind" => kind).absolute(saved.milliseconds);
}
