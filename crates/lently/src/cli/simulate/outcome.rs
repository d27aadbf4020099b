//! What a way of caching cost and gave, summed up, and several beside each other. It decides nothing.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use lently_emulator::Counts;
use serde::Serialize;

use super::{
    Policy,
    workload::{START, Workload},
};

/// YouTube's quota of a day: units, and statistics calls, which have a bucket of their own.
pub(super) const UNITS_A_DAY: u64 = 10_000;
pub(super) const STATISTICS_A_DAY: u64 = 10_000;

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// Whether the whole analysis was there.
    pub hit: bool,
    pub spent: Counts,
    pub latency: Duration,
    pub unseen: Duration,
}

/// What is counted as answers come.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: u64,
    hits: u64,
    units: u64,
    metadata_calls: u64,
    pages: u64,
    statistics: u64,
    tokens_in: u64,
    tokens_out: u64,
    summaries: u64,
    summary_tokens: u64,
    /// Units and statistics calls of each day.
    days: BTreeMap<i64, (u64, u64)>,
    latencies_ms: Vec<u64>,
    unseen_seconds: Vec<u64>,
}

impl Tally {
    pub(super) fn add(&mut self, at: Timestamp, answered: &Answered) {
        let Answered { hit, spent, latency, unseen } = answered;
        self.requests += 1;
        self.hits += u64::from(*hit);
        self.units += spent.units;
        self.metadata_calls += spent.videos;
        self.pages += spent.comment_threads;
        self.statistics += spent.statistics;
        self.tokens_in += spent.tokens_in;
        self.tokens_out += spent.tokens_out;
        self.summaries += spent.summaries;
        self.summary_tokens += spent.summary_tokens;
        let day = self.days.entry(at.duration_since(START).as_hours() / 24).or_default();
        day.0 += spent.units;
        day.1 += spent.statistics;
        self.latencies_ms.push(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
        self.unseen_seconds.push(unseen.as_secs());
    }

    pub(super) fn outcome(self, policy: Policy) -> Outcome {
        let busiest = |of: fn(&(u64, u64)) -> u64| self.days.values().map(of).max().unwrap_or_default();
        Outcome {
            policy: policy.name(),
            is_bound: policy >= Policy::Looking,
            requests: self.requests,
            hits: self.hits,
            units: self.units,
            metadata_calls: self.metadata_calls,
            pages: self.pages,
            statistics_calls: self.statistics,
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            summaries: self.summaries,
            summary_tokens: self.summary_tokens,
            units_on_the_busiest_day: busiest(|day| day.0),
            statistics_calls_on_the_busiest_day: busiest(|day| day.1),
            latency_ms: Quantiles::of(self.latencies_ms),
            unseen_seconds: Quantiles::of(self.unseen_seconds),
        }
    }
}

/// What a way of caching cost and gave.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub policy: &'static str,
    /// Of the lower bound nothing is known but what it pays.
    pub is_bound: bool,
    pub requests: u64,
    pub hits: u64,
    pub units: u64,
    /// Of these units, one for each call for metadata and one for each page of comments.
    pub metadata_calls: u64,
    pub pages: u64,
    pub statistics_calls: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub summaries: u64,
    /// Among the tokens, sent and answered.
    pub summary_tokens: u64,
    pub units_on_the_busiest_day: u64,
    pub statistics_calls_on_the_busiest_day: u64,
    /// As it would be with the real services.
    pub latency_ms: Quantiles,
    /// How long ago the oldest comment was written that an answer should know of and does not; 0 for most.
    pub unseen_seconds: Quantiles,
}

impl Outcome {
    pub(super) const fn tokens(&self) -> u64 {
        self.tokens_in + self.tokens_out
    }

    pub(super) fn hit_ratio(&self) -> f64 {
        self.hits as f64 / self.requests.max(1) as f64
    }

    /// A sum, for each thousand requests.
    pub(super) fn per_thousand(&self, sum: u64) -> f64 {
        sum as f64 * 1e3 / self.requests.max(1) as f64
    }
}

/// How something is distributed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Quantiles {
    pub mean: f64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Quantiles {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let last = values.len().saturating_sub(1);
        let at = |share: f64| values.get((last as f64 * share).round() as usize).copied().unwrap_or_default();
        let mean = values.iter().map(|value| *value as f64).sum::<f64>() / values.len().max(1) as f64;
        Self { mean, p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// Several ways of caching, for the same requests.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub requests: usize,
    pub counted: usize,
    pub clients: usize,
    pub videos: usize,
    pub outcomes: Vec<Compared>,
}

/// One of them, beside the plain cache and the lower bound.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    #[serde(flatten)]
    pub outcome: Outcome,
    pub units_ratio_to_plain: Option<f64>,
    pub tokens_ratio_to_plain: Option<f64>,
    pub units_ratio_to_bound: Option<f64>,
    pub tokens_ratio_to_bound: Option<f64>,
}

impl Comparison {
    pub(super) fn of(workload: &Workload, mut outcomes: Vec<Outcome>) -> Self {
        // The bound asks for summaries and has none written: they are taken to be as long as everybody's.
        let written = outcomes.iter().find(|outcome| !outcome.is_bound && outcome.summaries > 0);
        let of_one = written.map_or(0, |outcome| outcome.summary_tokens / outcome.summaries);
        for bound in outcomes.iter_mut().filter(|outcome| outcome.is_bound) {
            bound.summary_tokens = bound.summaries * of_one;
            bound.tokens_in += bound.summary_tokens;
        }
        let find = |policy: Policy| outcomes.iter().find(|outcome| outcome.policy == policy.name()).cloned();
        let (plain, bound) = (find(Policy::Plain), find(Policy::Oracle));
        let ratio = |of: u64, to: Option<u64>| to.filter(|to| *to > 0).map(|to| of as f64 / to as f64);
        let compared = |outcome: Outcome| Compared {
            units_ratio_to_plain: ratio(outcome.units, plain.as_ref().map(|plain| plain.units)),
            tokens_ratio_to_plain: ratio(outcome.tokens(), plain.as_ref().map(Outcome::tokens)),
            units_ratio_to_bound: ratio(outcome.units, bound.as_ref().map(|bound| bound.units)),
            tokens_ratio_to_bound: ratio(outcome.tokens(), bound.as_ref().map(Outcome::tokens)),
            outcome,
        };
        Self {
            requests: workload.requests.len(),
            counted: workload.counted(),
            clients: workload.clients(),
            videos: workload.videos(),
            outcomes: outcomes.clone().into_iter().map(compared).collect(),
        }
    }
}
