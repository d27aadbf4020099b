//! A flight: look, take the lead, fetch, store, land.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration, time::Instant};

use futures::{
    FutureExt as _,
    future::{Either, select},
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Inner, Right, asking,
    asking::reason,
    looking::Sought,
    spans,
    wish::{Takes, Wish},
};
use crate::{
    budget::Allowance,
    coherence::Ticket,
    entry::{
        Entry, FailureClass, FetchError, FetchFailure, Fetched, Lookup, MissReason, StaleReason, Stored, Tier,
    },
    envelope::{self, Decoded},
    failure::{decode, encode},
    flight::{Landed, Leader},
    lease::{LONGEST_PATIENCE, Lead, Leading, Lease},
    policy::{AfterWait, Policy},
    remote::Remote,
    tags::{Tagged, Verdict},
};

/// A refresh that failed is not tried again here for so long, or less if its failure is forgotten before: each stale hit would
/// otherwise ask Redis whether it is time.
const REFRESH_REST: Duration = Duration::from_secs(1);

/// What the tiers had when a flight began, with the state of things then.
struct Kept {
    entry: Entry,
    ticket: Ticket,
}

/// What comes of a wish to fetch.
enum Turn {
    /// This process fetches: with a lease for the cluster, or for itself.
    Fetch(Option<Lease>),
    /// There is an answer already.
    Land(Landed),
}

impl Inner {
    /// Lands with what will do for the leader. A stale value that will do lands at once, and the flight goes on as another.
    pub(super) async fn fly<F, Fut>(
        &self,
        mut leader: Leader,
        key: &Arc<str>,
        policy: &Policy,
        mut wish: Wish,
        fetch: F,
    ) where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        let mut kept = None;
        let ticket = self.memory.ticket(key);
        if !wish.anew {
            let began = Instant::now();
            if let Lookup::Fresh(entry) | Lookup::Stale(entry) = self.look_up(Sought::by(policy, key)).await {
                let now = self.clock.now();
                match self.judge(&wish, &entry, policy, now) {
                    asking::Verdict::Fresh if self.is_to_be_refreshed_ahead(key, &entry, policy, now) => {
                        self.refresh_began(policy.kind, key);
                        wish = Wish::newer_than(&entry);
                        leader = leader.land_and_go_on(Landed::Found(entry.clone()));
                    }
                    asking::Verdict::Fresh => return leader.land(Landed::Found(entry)),
                    asking::Verdict::Stale(Allowance::Spare { .. }) => {
                        return leader.land(Landed::Stale(entry, StaleReason::Budget));
                    }
                    asking::Verdict::Stale(Allowance::Refresh) => {
                        if let Some(error) = self.resting.get(key, now) {
                            return leader.land(Landed::Stale(entry, reason(&error)));
                        }
                        self.refresh_began(policy.kind, key);
                        wish = Wish::newer_than(&entry);
                        leader = leader.land_and_go_on(Landed::Stale(entry.clone(), StaleReason::Refreshing));
                    }
                    asking::Verdict::No => self.counters.missed_in(policy.kind, began.elapsed()),
                }
                kept = Some(Kept { entry, ticket });
            } else {
                self.counters.missed_in(policy.kind, began.elapsed());
            }
        }
        // Boxed, for most flights end before, and each begins with its future being moved to a task.
        let landed = Box::pin(self.bring(&leader, key, policy, &wish, kept, fetch)).await;
        leader.land(landed);
    }

    /// Fetches and stores, or waits for another process that does. `kept` is what the tiers have and will not do.
    async fn bring<F, Fut>(
        &self,
        leader: &Leader,
        key: &Arc<str>,
        policy: &Policy,
        wish: &Wish,
        kept: Option<Kept>,
        fetch: F,
    ) -> Landed
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        let mut lease = match self.take_the_lead(key, policy, wish).await {
            Turn::Fetch(lease) => lease,
            Turn::Land(Landed::Remembered(error, _)) => {
                let kept = self.still_there(key, policy, kept).await;
                self.rest(key, &error, kept.is_some(), self.clock.now(), REFRESH_REST);
                return Landed::Remembered(error, kept);
            }
            Turn::Land(Landed::Failed(error, _)) => {
                return Landed::Failed(error, self.still_there(key, policy, kept).await);
            }
            Turn::Land(landed) => return landed,
        };
        let tagged = self.snapshot(policy).await;
        let span = spans::fetching(&leader.launched_by, policy.kind);
        leader.begins_with(&tagged, kept.is_none(), &span).await;
        self.fetch_began(policy.kind, key);
        let since = tokio::time::Instant::now();
        let taken = lease.as_ref().map_or_else(CancellationToken::new, Lease::taken);
        // One that took too long is dropped before anyone is told of it, and may fetch.
        let fetched = {
            // A fetch that panics has failed, and what is kept may be served all the same.
            let fetching = async move { fetch().await }.instrument(span.clone());
            let fetching = AssertUnwindSafe(fetching).catch_unwind();
            let fetching = pin!(tokio::time::timeout(policy.fetch_timeout, fetching));
            let outdated = pin!(async {
                select(pin!(leader.flight.retired()), pin!(taken.cancelled())).await;
            });
            match select(fetching, outdated).await {
                Either::Left((fetched, _)) => fetched,
                // Of no use to anyone who comes now: somebody else may fetch.
                Either::Right((_, fetching)) => {
                    leader.retire().await;
                    lease = None;
                    fetching.await
                }
            }
        };
        leader.flight.has_fetched();
        let took = since.elapsed();
        let error = match fetched {
            Ok(Ok(Ok(fetched))) => {
                spans::fetched(&span, Ok(fetched.cost));
                self.fetch_ended(policy.kind, key, Ok(()), took);
                return self.keep(leader, key, policy, lease, (fetched, tagged), since).await;
            }
            Ok(Ok(Err(failure))) => FetchError::Failed(failure),
            Ok(Err(_panic)) => FetchError::Abandoned,
            Err(_) => FetchError::TimedOut { after: policy.fetch_timeout },
        };
        spans::fetched(&span, Err(error.class()));
        self.fetch_ended(policy.kind, key, Err(error.class()), took);
        let kept = match kept {
            None if wish.anew => match self.look_up(Sought::by(policy, key)).await {
                Lookup::Fresh(entry) | Lookup::Stale(entry) => Some(entry),
                Lookup::Missing(_) => None,
            },
            kept => self.still_there(key, policy, kept).await,
        };
        self.remember(leader, key, policy, lease, error, kept).await
    }

    /// What was kept, unless it was changed or deleted since: then what is there now.
    async fn still_there(&self, key: &Arc<str>, policy: &Policy, kept: Option<Kept>) -> Option<Entry> {
        let Kept { entry, ticket } = kept?;
        if self.memory.is_current(ticket) && entry.tagged.is_unchanged() {
            return Some(entry);
        }
        match self.look_up(Sought::by(policy, key)).await {
            Lookup::Fresh(entry) | Lookup::Stale(entry) => Some(entry),
            // Nobody can say.
            Lookup::Missing(MissReason::TierResting) => Some(entry),
            Lookup::Missing(_) => None,
        }
    }

    async fn keep(
        &self,
        leader: &Leader,
        key: &Arc<str>,
        policy: &Policy,
        lease: Option<Lease>,
        (fetched, tagged): (Fetched, Tagged),
        since: tokio::time::Instant,
    ) -> Landed {
        self.failures.forget(key);
        self.resting.forget(key);
        let Fetched { value, mut cost, fresh, retain } = fetched;
        if cost.milliseconds == 0 {
            cost.milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        let too_large = value.len() as u64 > self.max_value_bytes;
        let fresh = fresh.map_or(policy.fresh, |shorter| shorter.min(policy.fresh));
        let mut entry = match retain {
            Some(shorter) if shorter < policy.retention => {
                let policy = Policy { retention: shorter, ..policy.clone() };
                envelope::entry(&policy, value, cost, fresh, self.clock.now())
            }
            _ => envelope::entry(policy, value, cost, fresh, self.clock.now()),
        };
        entry = entry.with_tagged(tagged);
        if too_large {
            tracing::warn!(
                kind = policy.kind.name,
                bytes = entry.value.len(),
                limit = self.max_value_bytes,
                "a fetched value is too large to be cached"
            );
            return Landed::Fetched { entry, stored: false };
        }
        if !leader.is_to_be_stored() {
            return Landed::Fetched { entry, stored: false };
        }
        if !entry.tagged.is_unchanged() || entry.tagged.is_unknown() {
            // Something was heard, or could not be learned; whether it was an invalidation, the tier knows.
            match self.judge_tags(&entry.tagged).await {
                Ok(Verdict::Valid(tagged)) => entry = entry.with_tagged(tagged),
                Ok(_) => return Landed::Fetched { entry, stored: false },
                // Whoever reads it will find out.
                Err(_) => {}
            }
        }
        let right = lease.map_or(Right::Fetched, Right::Lease);
        let stored = leader.flight.unless_fenced(self.store(key, policy, &entry, right, since)).await;
        let stored = stored.unwrap_or(Stored { memory: false, remote: false });
        self.was_stored(policy.kind, key, stored);
        Landed::Fetched { entry, stored: stored.anywhere() }
    }

    /// Lands with a failure that callers on every node are spared from repeating, for as long as its class says.
    async fn remember(
        &self,
        leader: &Leader,
        key: &Arc<str>,
        policy: &Policy,
        lease: Option<Lease>,
        error: FetchError,
        kept: Option<Entry>,
    ) -> Landed {
        let now = self.clock.now();
        let lasts = policy.failures.of(&error, now);
        // What its source says is gone, or is nobody's to read, is not shown any longer.
        let gone = matches!(error.class(), FailureClass::NotFound | FailureClass::Forbidden);
        let remembering = async {
            let writing = gone.then(|| self.memory.write(key));
            if gone {
                self.memory.remove(key);
            }
            let told = match (lease, encode(&error)) {
                (Some(lease), Some(record)) if gone || !lasts.is_zero() => {
                    self.swallow_count(lease.fail(&record, lasts, gone).await).is_ok()
                }
                (Some(_), _) => false,
                (None, _) => {
                    if let (true, Remote::Disk(disk)) = (gone, &self.remote) {
                        let _ = self.swallow_count(disk.delete(key).await);
                    }
                    false
                }
            };
            if !told && !lasts.is_zero() {
                self.failures.remember(key, &error, now, lasts);
            }
            drop(writing);
            if gone {
                self.memory.remove(key);
            }
        };
        // Not where the key was changed meanwhile: what was true of the old one may not be of the new.
        leader.flight.unless_fenced(remembering).await;
        let kept = kept.filter(|_| !gone);
        self.rest(key, &error, kept.is_some(), now, lasts.min(REFRESH_REST));
        Landed::Failed(error, kept)
    }

    /// Where there is a stale value to serve, its refresh rests a moment.
    fn rest(&self, key: &Arc<str>, error: &FetchError, is_kept: bool, now: Timestamp, lasts: Duration) {
        if is_kept && !lasts.is_zero() {
            self.resting.remember(key, error, now, lasts);
        }
    }

    /// A failure that this process remembers by itself, where nobody else can.
    fn remembered(&self, key: &str, anew: bool) -> Turn {
        match self.failures.get(key, self.clock.now()) {
            Some(error) if !anew => Turn::Land(Landed::Remembered(error, None)),
            _ => Turn::Fetch(None),
        }
    }

    /// Becomes the one who fetches in the whole cluster, or lands with what another fetched.
    async fn take_the_lead(&self, key: &Arc<str>, policy: &Policy, wish: &Wish) -> Turn {
        // What was learned while nobody else could be told is not forgotten when they can.
        if let Turn::Land(landed) = self.remembered(key, wish.anew) {
            return Turn::Land(landed);
        }
        let Remote::Redis(redis) = &self.remote else { return Turn::Fetch(None) };
        if self.make_good(key).await.is_err() {
            return Turn::Fetch(None);
        }
        let leading = Leading {
            redis,
            watchers: &self.watchers,
            tokens: &self.tokens,
            upkeep: &self.upkeep,
            patience: policy.fetch_timeout,
            until: tokio::time::Instant::now() + policy.fetch_timeout.min(LONGEST_PATIENCE) * 2,
            anew: wish.anew,
        };
        // What was waited for may not do after all, for a tag of it was changed a moment ago: then once more, for the lease.
        for _ in 0..2 {
            if let Some(turn) = self.take_the_lead_with(&leading, key, policy, wish).await {
                return turn;
            }
        }
        Turn::Fetch(None)
    }

    async fn take_the_lead_with(
        &self,
        leading: &Leading<'_>,
        key: &Arc<str>,
        policy: &Policy,
        wish: &Wish,
    ) -> Option<Turn> {
        let ticket = self.memory.ticket(key);
        let take_over = policy.after_wait == AfterWait::Fetch;
        let lead = leading.lead(key, take_over, |stored, waited| {
            let now = self.clock.now();
            match self.decode_ours(stored.clone(), policy.kind, Tier::Redis, now) {
                // What changed while another's fetch was waited for is what that fetch brought.
                Decoded::Entry(entry) => match self.is_known_valid(&entry.tagged, now) {
                    valid if waited => valid != Some(false),
                    valid => valid == Some(true) && wish.takes(&entry, now) == Takes::Fresh,
                },
                _ => false,
            }
        });
        Some(match self.swallow_count(lead.await) {
            // Without Redis each process fetches for itself.
            Err(_) | Ok(Lead::Alone) => Turn::Fetch(None),
            Ok(Lead::Failed(record)) => match decode(&record) {
                Some(error) => Turn::Land(Landed::Remembered(error, None)),
                // Another version's words. Fetching is what would be done without them.
                None => Turn::Fetch(None),
            },
            Ok(Lead::Cluster(lease)) => Turn::Fetch(Some(lease)),
            Ok(Lead::Patience) => {
                Turn::Land(Landed::Failed(FetchError::TimedOut { after: policy.fetch_timeout }, None))
            }
            Ok(Lead::Found(stored, waited)) => {
                let now = self.clock.now();
                let Decoded::Entry(entry) = self.decode_ours(stored, policy.kind, Tier::Redis, now) else {
                    // Its retention was not over a moment ago.
                    return None;
                };
                let entry = self.admit(entry).await?;
                self.memory.fill(key, &entry, ticket, self.clock.now());
                Turn::Land(if waited { Landed::Shared(entry) } else { Landed::Found(entry) })
            }
        })
    }
}
