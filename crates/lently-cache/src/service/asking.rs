//! `get_or_set`: a caller's way to a value. It recalls, joins or leads a flight, and takes what lands or asks again.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use tracing::{Instrument as _, Span};

use super::{
    CacheService, Inner, check_key,
    looking::Sought,
    spans,
    wish::{Takes, Wish},
};
use crate::{
    budget::Allowance,
    clock::later,
    entry::{Answer, Entry, FetchError, FetchFailure, Fetched, Lookup, Outcome, StaleReason},
    flight::{Boarding, Flight, Landed, Leader},
    memory::Found,
    policy::{Controls, Policy},
    stats::Ended,
};

impl CacheService {
    /// The value of `key`: from the nearest tier that has it, else by `fetch`, which is run at most once for all callers of
    /// the key in the whole cluster (without Redis: in this process), on a task of its own and within
    /// `policy.fetch_timeout`. Another process' fetch is waited for as long, then `policy.after_wait` decides.
    ///
    /// A value that is no longer fresh is given at once as long as `policy.stale` lasts, while it is fetched anew behind;
    /// until `policy.retention` is over it is given where that fails. [`Outcome::Stale`] says so.
    ///
    /// Dropping the call is free: the fetch goes on and its value is kept. If the key is deleted while it is being
    /// fetched, those who wait get the value and no tier stores it. The same for a value over `max_value_bytes`.
    ///
    /// # Errors
    /// The fetch's failure, shared by all who waited on any node and remembered as `policy.failures` says; that it took
    /// too long; that it panicked. A value of which the fetch says that it is gone or may not be read is dropped.
    pub async fn get_or_set<F, Fut>(&self, key: &str, policy: &Policy, fetch: F) -> Result<Answer, FetchError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        policy.tags.check().map_err(FetchError::BadKey)?;
        match self.recall_or(key, policy, fetch) {
            Ok(answer) => Ok(answer),
            // Boxed, for a future is moved about, and one with this in it would be a kilobyte on the path of every hit.
            Err(fetch) => Box::pin(self.seek(key, policy, &Controls::DEFAULT, fetch)).await,
        }
    }

    /// The same for a caller who wants something else than the policy says. Callers share a fetch whatever their controls: each
    /// takes what lands if it will do, or asks again.
    ///
    /// # Errors
    /// As [`get_or_set`](Self::get_or_set); [`FetchError::NotCached`] for `only_if_cached`.
    pub async fn get_or_set_with<F, Fut>(
        &self,
        key: &str,
        policy: &Policy,
        controls: &Controls,
        fetch: F,
    ) -> Result<Answer, FetchError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        policy.tags.check().map_err(FetchError::BadKey)?;
        let mut fetch = fetch;
        if *controls == Controls::DEFAULT {
            match self.recall_or(key, policy, fetch) {
                Ok(answer) => return Ok(answer),
                Err(unused) => fetch = unused,
            }
        }
        Box::pin(self.seek(key, policy, controls, fetch)).await
    }

    /// What memory has, if it will do whatever the policy says; gives `fetch` back where there is no such thing.
    #[inline]
    fn recall_or<F, Fut>(&self, key: &str, policy: &Policy, fetch: F) -> Result<Answer, F>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        let tick = self.0.clock.tick();
        let Some(entry) = self.0.recall(policy.kind, key, tick) else { return Err(fetch) };
        if is_due_ahead(&entry, policy, tick.soon) {
            let now = self.0.clock.now();
            if self.0.is_to_be_refreshed_ahead(key, &entry, policy, now) {
                self.refresh_behind(key, &entry, policy, now, fetch);
            }
        }
        Ok(Answer { entry, outcome: Outcome::Hit })
    }

    /// Looks at all there is.
    async fn seek<F, Fut>(
        &self,
        key: &str,
        policy: &Policy,
        controls: &Controls,
        fetch: F,
    ) -> Result<Answer, FetchError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        check_key(key).map_err(FetchError::BadKey)?;
        let span = spans::asking(policy.kind);
        let seeking = async {
            let inner = &*self.0;
            let now = inner.clock.now();
            let wish = Wish::of(controls, now);
            let asked = Asked { key, policy, wish: &wish, began: Instant::now(), span: &span };
            let mut fetch = fetch;
            if let Found::Trusted(entry) = inner.memory.get(key, now) {
                match self.serve(key, policy, &wish, &entry, now, fetch) {
                    Ok(outcome) => {
                        inner.count_served(&asked, &entry, outcome);
                        return Ok(Answer { entry, outcome });
                    }
                    Err(unused) => fetch = unused,
                }
            }
            if wish.only_if_cached {
                return inner.find(&asked).await;
            }
            let shared = Arc::from(key);
            // A hit in the remote tier is the caller's own matter and takes no task, as a fetch does.
            if !wish.anew
                && inner.remote.tier().is_some()
                && let Some(_alone) = inner.flights.look_out(&shared)
                && let Lookup::Fresh(entry) | Lookup::Stale(entry) =
                    inner.look_up(Sought::by(policy, key)).await
            {
                match self.serve(key, policy, &wish, &entry, inner.clock.now(), fetch) {
                    Ok(outcome) => {
                        inner.count_served(&asked, &entry, outcome);
                        return Ok(Answer { entry, outcome });
                    }
                    Err(unused) => fetch = unused,
                }
            }
            // Boxed, for most callers are served before.
            Box::pin(self.ask(&asked, shared, fetch)).await
        };
        seeking.instrument(span.clone()).await
    }

    /// How an entry that a tier has is served, if it will do, and begins the refresh that it is due; gives `fetch` back where the
    /// entry will not do.
    pub(super) fn serve<F, Fut>(
        &self,
        key: &str,
        policy: &Policy,
        wish: &Wish,
        entry: &Entry,
        now: Timestamp,
        fetch: F,
    ) -> Result<Outcome, F>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        match self.0.judge(wish, entry, policy, now) {
            Verdict::Fresh => {
                if !wish.only_if_cached && self.0.is_to_be_refreshed_ahead(key, entry, policy, now) {
                    self.refresh_behind(key, entry, policy, now, fetch);
                }
                Ok(Outcome::Hit)
            }
            Verdict::Stale(_) if wish.only_if_cached => Ok(Outcome::Stale(StaleReason::OnlyIfCached)),
            Verdict::Stale(Allowance::Spare { .. }) => Ok(Outcome::Stale(StaleReason::Budget)),
            Verdict::Stale(Allowance::Refresh) => {
                Ok(Outcome::Stale(self.refresh_behind(key, entry, policy, now, fetch)))
            }
            Verdict::No => Err(fetch),
        }
    }

    /// Joins flights until one lands with what will do, or leads one.
    pub(super) async fn ask<F, Fut>(
        &self,
        asked: &Asked<'_>,
        key: Arc<str>,
        fetch: F,
    ) -> Result<Answer, FetchError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        let &Asked { policy, wish, span, .. } = asked;
        loop {
            match self.0.flights.board(&key, wish.store) {
                Boarding::Join(flight) => {
                    if self.0.is_outdated(&flight).await {
                        self.0.flights.retire(&key, &flight);
                        continue;
                    }
                    let too_late = wish.anew && flight.is_fetched();
                    let landed = flight.wait().await;
                    if !too_late && self.0.will_do(&landed, wish) {
                        if let Some(fetching) = flight.fetching() {
                            span.follows_from(fetching);
                        }
                        return self.0.arrive(asked, landed, false);
                    }
                }
                Boarding::Lead(leader) => {
                    let flight = self.launch(leader, key, policy, *wish, fetch);
                    return self.0.arrive(asked, flight.wait().await, true);
                }
            }
        }
    }

    fn launch<F, Fut>(
        &self,
        mut leader: Leader,
        key: Arc<str>,
        policy: &Policy,
        wish: Wish,
        fetch: F,
    ) -> Arc<Flight>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        leader.launched_by = Span::current();
        let flight = leader.flight.clone();
        let (inner, policy) = (self.0.clone(), policy.clone());
        self.0.tasks.spawn(async move { inner.fly(leader, &key, &policy, wish, fetch).await });
        flight
    }

    /// Begins to fetch a stale value anew, unless somebody does, or it was tried a moment ago.
    fn refresh_behind<F, Fut>(
        &self,
        key: &str,
        stale: &Entry,
        policy: &Policy,
        now: Timestamp,
        fetch: F,
    ) -> StaleReason
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        if let Some(error) = self.0.resting.get(key, now) {
            return reason(&error);
        }
        let key: Arc<str> = Arc::from(key);
        if let Boarding::Lead(leader) = self.0.flights.board(&key, true) {
            self.0.refresh_began(policy.kind, &key);
            self.launch(leader, key, policy, Wish::newer_than(stale), fetch);
        }
        StaleReason::Refreshing
    }
}

/// What a caller wants, and since when.
pub(super) struct Asked<'a> {
    pub key: &'a str,
    pub policy: &'a Policy,
    pub wish: &'a Wish,
    pub began: Instant,
    /// Of this key alone, or of the many that it is one of.
    pub span: &'a Span,
}

/// Whether an entry will do, and what the budget says where it is stale.
pub(super) enum Verdict {
    Fresh,
    Stale(Allowance),
    No,
}

impl Inner {
    pub(super) fn is_to_be_refreshed_ahead(
        &self,
        key: &str,
        entry: &Entry,
        policy: &Policy,
        now: Timestamp,
    ) -> bool {
        is_due_ahead(entry, policy, now)
            && self.resting.get(key, now).is_none()
            && self.budget.allows(policy.kind, entry.cost) == Allowance::Refresh
    }

    pub(super) fn judge(&self, wish: &Wish, entry: &Entry, policy: &Policy, now: Timestamp) -> Verdict {
        let takes = wish.takes(entry, now);
        if takes == Takes::Fresh {
            return Verdict::Fresh;
        }
        if takes == Takes::No && !wish.may_be_spared(entry) {
            return Verdict::No;
        }
        let allowance = self.budget.allows(policy.kind, entry.cost);
        if let Allowance::Spare { stale_for } = allowance
            && wish.may_be_spared(entry)
        {
            let spared = now < later(entry.fresh_until, stale_for).min(entry.retain_until);
            if spared {
                return Verdict::Stale(allowance);
            }
            // Too old to be spared: the policy alone decides.
            return if takes == Takes::Stale { Verdict::Stale(Allowance::Refresh) } else { Verdict::No };
        }
        if takes == Takes::Stale { Verdict::Stale(allowance) } else { Verdict::No }
    }

    /// A caller has its answer.
    pub(super) fn answered(&self, asked: &Asked<'_>, ended: Ended, entry: Option<&Entry>) {
        spans::ended(asked.span, ended);
        self.ended(asked.policy.kind, asked.key, ended, entry, Some(asked.began.elapsed()));
    }

    /// Counts an entry of a tier that was served.
    pub(super) fn count_served(&self, asked: &Asked<'_>, entry: &Entry, outcome: Outcome) {
        let hit = outcome == Outcome::Hit;
        let ended = if hit { Ended::Hit(entry.tier) } else { Ended::Stale(entry.tier) };
        self.answered(asked, ended, Some(entry));
    }

    /// What a tier has, for a caller who wants nothing fetched.
    async fn find(&self, asked: &Asked<'_>) -> Result<Answer, FetchError> {
        let &Asked { key, policy, wish, .. } = asked;
        if let Lookup::Fresh(entry) | Lookup::Stale(entry) = self.look_up(Sought::by(policy, key)).await {
            let outcome = match self.judge(wish, &entry, policy, self.clock.now()) {
                Verdict::Fresh => Some(Outcome::Hit),
                Verdict::Stale(_) => Some(Outcome::Stale(StaleReason::OnlyIfCached)),
                Verdict::No => None,
            };
            if let Some(outcome) = outcome {
                self.count_served(asked, &entry, outcome);
                return Ok(Answer { entry, outcome });
            }
        }
        self.answered(asked, Ended::Missing, None);
        Err(FetchError::NotCached)
    }

    /// Whether what another caller's flight landed with will do. What was fetched meanwhile always does.
    fn will_do(&self, landed: &Landed, wish: &Wish) -> bool {
        let now = self.clock.now();
        match landed {
            Landed::Found(entry) => wish.takes(entry, now) == Takes::Fresh,
            Landed::Stale(entry, StaleReason::Budget) => wish.may_be_spared(entry),
            Landed::Stale(entry, _) => wish.takes(entry, now) != Takes::No,
            Landed::Remembered(..) => !wish.anew,
            Landed::Fetched { .. } | Landed::Shared(_) | Landed::Failed(..) => true,
        }
    }

    /// Counts, and turns the landing into the caller's answer.
    fn arrive(&self, asked: &Asked<'_>, landed: Landed, led: bool) -> Result<Answer, FetchError> {
        let ended = |ended, entry: &Entry| self.answered(asked, ended, Some(entry));
        match landed {
            Landed::Found(entry) => {
                ended(Ended::Hit(entry.tier), &entry);
                Ok(Answer { entry, outcome: Outcome::Hit })
            }
            Landed::Stale(entry, reason) => {
                ended(Ended::Stale(entry.tier), &entry);
                Ok(Answer { entry, outcome: Outcome::Stale(reason) })
            }
            Landed::Fetched { entry, stored } if led => {
                ended(Ended::Fetched, &entry);
                Ok(Answer { entry, outcome: Outcome::Fetched { stored } })
            }
            Landed::Fetched { entry, .. } | Landed::Shared(entry) => {
                self.counters.collapsed();
                ended(Ended::Collapsed, &entry);
                Ok(Answer { entry, outcome: Outcome::Collapsed })
            }
            Landed::Remembered(error, kept) => {
                self.counters.remembered();
                self.arrive_in_vain(asked, error.remembered(), kept, Ended::Remembered)
            }
            Landed::Failed(error, kept) => {
                if !led {
                    self.counters.collapsed();
                }
                self.arrive_in_vain(asked, error, kept, Ended::Failed)
            }
        }
    }

    /// With what there still is, where that will do instead. Either way it is a miss: the caller waited for a fetch.
    fn arrive_in_vain(
        &self,
        asked: &Asked<'_>,
        error: FetchError,
        kept: Option<Entry>,
        ended: Ended,
    ) -> Result<Answer, FetchError> {
        let wish = asked.wish;
        let now = self.clock.now();
        let will_do = |entry: &Entry| {
            wish.takes(entry, now) != Takes::No
                || (error.excuses_a_stale_value() && wish.takes_after_failure(entry, now))
        };
        let kept = kept.filter(will_do);
        let ended = kept.as_ref().map_or(ended, |entry| Ended::StaleIfError(entry.tier));
        self.answered(asked, ended, kept.as_ref());
        match kept {
            Some(entry) => Ok(Answer { entry, outcome: Outcome::Stale(reason(&error)) }),
            None => Err(error),
        }
    }
}

/// Whether it is time to fetch a fresh value anew, for callers to come. The moment lies in the first half of the time ahead, at a
/// place that the value's own hash chooses: on every node the same, for every value another.
pub(super) fn is_due_ahead(entry: &Entry, policy: &Policy, now: Timestamp) -> bool {
    if policy.refresh_ahead.is_zero() {
        return false;
    }
    let digits = entry.etag.as_bytes().first_chunk::<2>().map_or(0, |&[a, b]| u16::from(a ^ (b << 3)) % 64);
    let ahead = policy.refresh_ahead.mul_f64(0.5 + f64::from(digits) / 128.0);
    entry.ttl(now) <= ahead
}

/// Why a value is served in the place of this failure.
pub(super) fn reason(error: &FetchError) -> StaleReason {
    StaleReason::Failed(error.class())
}
