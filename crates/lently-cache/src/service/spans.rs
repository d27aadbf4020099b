//! Spans, for those who trace: a request that goes beyond memory, and a fetch. They say in the words of the metrics what happened,
//! and nothing of keys and tags, which may be somebody's text.
//!
//! Their level is `DEBUG`: who only reads a log at `info` pays for one look at a number, and finds no more in it than before. A hit in
//! memory has none: a span would cost more than the hit.

use tracing::{Span, debug_span, field::Empty};

use crate::{
    entry::FailureClass,
    policy::{Cost, Kind},
    stats::Ended,
};

/// Around a request, until it is answered.
pub(super) fn asking(kind: Kind) -> Span {
    debug_span!("cache.get_or_set", kind = kind.name, tier = Empty, outcome = Empty)
}

/// Around a request for many keys. How each of them ended is told by the metrics alone.
pub(super) fn asking_many(keys: usize) -> Span {
    debug_span!("cache.get_or_set_many", keys)
}

/// Around a fetch, on the flight's own task: a part of the request that launched it, which may have gone by then.
pub(super) fn fetching(launched_by: &Span, kind: Kind) -> Span {
    debug_span!(
        parent: launched_by,
        "cache.fetch",
        kind = kind.name,
        outcome = Empty,
        quota_units = Empty,
        tokens_in = Empty,
        tokens_out = Empty,
        micro_dollars = Empty,
    )
}

/// A request has ended.
pub(super) fn ended(span: &Span, ended: Ended) {
    span.record("outcome", ended.labels().0);
    if let Some(tier) = ended.tier() {
        span.record("tier", tier.name());
    }
}

/// A fetch has ended, with what it took or a failure of that class.
pub(super) fn fetched(span: &Span, outcome: Result<Cost, FailureClass>) {
    match outcome {
        Ok(cost) => {
            span.record("outcome", "ok");
            let paid = [
                ("quota_units", cost.quota_units),
                ("tokens_in", cost.tokens_in),
                ("tokens_out", cost.tokens_out),
                ("micro_dollars", cost.micro_dollars),
            ];
            for (name, amount) in paid.into_iter().filter(|&(_, amount)| amount > 0) {
                span.record(name, amount);
            }
        }
        Err(class) => {
            span.record("outcome", class.name());
        }
    }
}
