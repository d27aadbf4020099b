//! `get_or_set` and `refresh`: look, join or lead the one flight of a key, fetch, store, land.

use std::{sync::Arc, time::Instant};

use super::{CacheService, Inner, Right, check_key};
use crate::{
    entry::{Answer, FetchError, FetchFailure, Fetched, Lookup, Outcome, Tier},
    envelope::{self, Decoded},
    failure::{decode, encode},
    flight::{Boarding, Flight, Landed, Leader},
    lease::{Lead, Leading, Lease},
    policy::{AfterWait, Policy},
    remote::Remote,
};

impl CacheService {
    /// The value of `key`: from the nearest tier that has it fresh, else by `fetch`, which is run at most once for all
    /// callers of the key in the whole cluster (without Redis: in this process), on a task of its own and within
    /// `policy.fetch_timeout`. Another process' fetch is waited for as long, then `policy.after_wait` decides.
    ///
    /// Dropping the call is free: the fetch goes on and its value is kept. If the key is deleted while it is being
    /// fetched, those who wait get the value and no tier stores it. The same for a value over `max_value_bytes`.
    ///
    /// # Errors
    /// The fetch's failure, shared by all who waited on any node and remembered as `policy.failures` says; that it took
    /// too long; that it panicked.
    pub async fn get_or_set<F, Fut>(&self, key: &str, policy: &Policy, fetch: F) -> Result<Answer, FetchError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        check_key(key).map_err(FetchError::BadKey)?;
        let inner = &self.0;
        if let Some(entry) = inner.recall(policy.kind, key) {
            return Ok(Answer { entry, outcome: Outcome::Hit });
        }
        let began = Instant::now();
        let key: Arc<str> = Arc::from(key);
        match inner.flights.board(&key) {
            Boarding::Join(flight) => self.arrive(policy, flight.wait().await, false, began),
            Boarding::Lead(leader) => {
                let flight = self.launch(leader, key, policy, true, fetch);
                self.arrive(policy, flight.wait().await, true, began)
            }
        }
    }

    /// The same without looking into the tiers first, or minding a remembered failure: the value is fetched anew and
    /// replaces what they have. Callers who refresh at the same moment share one fetch, also with those who only wanted
    /// the value.
    ///
    /// # Errors
    /// As [`get_or_set`](Self::get_or_set). What the tiers have stays.
    pub async fn refresh<F, Fut>(&self, key: &str, policy: &Policy, fetch: F) -> Result<Answer, FetchError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        check_key(key).map_err(FetchError::BadKey)?;
        let began = Instant::now();
        let key: Arc<str> = Arc::from(key);
        loop {
            match self.0.flights.board(&key) {
                Boarding::Join(flight) => match flight.wait().await {
                    // That flight found the old value in a tier and fetched nothing.
                    Landed::Found(_) => {}
                    landed => return self.arrive(policy, landed, false, began),
                },
                Boarding::Lead(leader) => {
                    let flight = self.launch(leader, key, policy, false, fetch);
                    return self.arrive(policy, flight.wait().await, true, began);
                }
            }
        }
    }

    fn launch<F, Fut>(
        &self,
        leader: Leader,
        key: Arc<str>,
        policy: &Policy,
        look: bool,
        fetch: F,
    ) -> Arc<Flight>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        let flight = leader.flight.clone();
        let (inner, policy) = (self.0.clone(), policy.clone());
        self.0.tasks.spawn(async move {
            let landed = inner.fly(&leader.flight, &key, &policy, look, fetch).await;
            leader.land(landed);
        });
        flight
    }

    /// Counts, and turns the landing into the caller's answer.
    fn arrive(
        &self,
        policy: &Policy,
        landed: Landed,
        led: bool,
        began: Instant,
    ) -> Result<Answer, FetchError> {
        let counters = &self.0.counters;
        match landed {
            Landed::Found(entry) => {
                counters.hit(policy.kind, entry.tier, began.elapsed());
                Ok(Answer { entry, outcome: Outcome::Hit })
            }
            Landed::Fetched { entry, stored } => {
                counters.miss(policy.kind, None);
                if led {
                    return Ok(Answer { entry, outcome: Outcome::Fetched { stored } });
                }
                counters.collapsed();
                Ok(Answer { entry, outcome: Outcome::Collapsed })
            }
            Landed::Shared(entry) => {
                counters.miss(policy.kind, None);
                counters.collapsed();
                Ok(Answer { entry, outcome: Outcome::Collapsed })
            }
            Landed::Remembered(error) => {
                counters.miss(policy.kind, None);
                counters.remembered();
                Err(error)
            }
            Landed::Failed(error) => {
                counters.miss(policy.kind, None);
                if !led {
                    counters.collapsed();
                }
                Err(error)
            }
        }
    }
}

/// What comes of a wish to fetch.
enum Turn {
    /// This process fetches: with a lease for the cluster, or for itself.
    Fetch(Option<Lease>),
    /// There is an answer already.
    Land(Landed),
}

impl Inner {
    async fn fly<F, Fut>(
        &self,
        flight: &Flight,
        key: &Arc<str>,
        policy: &Policy,
        look: bool,
        fetch: F,
    ) -> Landed
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
    {
        if look {
            let began = Instant::now();
            if let Lookup::Fresh(entry) = self.look_up(policy.kind, key, Some(policy.fresh)).await {
                return Landed::Found(entry);
            }
            self.counters.missed_in(policy.kind, began.elapsed());
        }
        let lease = match self.take_the_lead(key, policy, look).await {
            Turn::Fetch(lease) => lease,
            Turn::Land(landed) => return landed,
        };
        self.counters.fetch();
        let began = Instant::now();
        let fetched = match tokio::time::timeout(policy.fetch_timeout, fetch()).await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(failure)) => {
                return self.remember(flight, key, policy, lease, FetchError::Failed(failure)).await;
            }
            Err(_) => {
                let late = FetchError::TimedOut { after: policy.fetch_timeout };
                return self.remember(flight, key, policy, lease, late).await;
            }
        };
        self.failures.forget(key);
        let Fetched { value, mut cost, fresh } = fetched;
        if cost.milliseconds == 0 {
            cost.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        let too_large = value.len() as u64 > self.max_value_bytes;
        let fresh = fresh.map_or(policy.fresh, |shorter| shorter.min(policy.fresh));
        let entry = envelope::entry(policy, value, cost, fresh, self.clock.now());
        if too_large {
            tracing::warn!(
                kind = policy.kind.name,
                bytes = entry.value.len(),
                limit = self.max_value_bytes,
                "a fetched value is too large to be cached"
            );
            return Landed::Fetched { entry, stored: false };
        }
        let stored = flight
            .unless_fenced(self.store(key, policy, &entry, lease.map_or(Right::Fetched, Right::Lease)))
            .await;
        Landed::Fetched { entry, stored: stored.is_some_and(crate::entry::Stored::anywhere) }
    }

    /// Lands with a failure that callers on every node are spared from repeating, for as long as its class says.
    async fn remember(
        &self,
        flight: &Flight,
        key: &Arc<str>,
        policy: &Policy,
        lease: Option<Lease>,
        error: FetchError,
    ) -> Landed {
        let now = self.clock.now();
        let lasts = policy.failures.of(&error, now);
        if !lasts.is_zero() {
            let remembering = async {
                match (lease, encode(&error)) {
                    (Some(lease), Some(record)) => {
                        if self.swallow_count(lease.fail(&record, lasts).await).is_err() {
                            self.failures.remember(key, &error, now, lasts);
                        }
                    }
                    _ => self.failures.remember(key, &error, now, lasts),
                }
            };
            // Not where the key was changed meanwhile: what was true of the old one may not be of the new.
            flight.unless_fenced(remembering).await;
        }
        Landed::Failed(error)
    }

    /// A failure that this process remembers by itself, where nobody else can.
    fn remembered(&self, key: &str, look: bool) -> Turn {
        match self.failures.get(key, self.clock.now()) {
            Some(error) if look => Turn::Land(Landed::Remembered(error)),
            _ => Turn::Fetch(None),
        }
    }

    /// Becomes the one who fetches in the whole cluster, or lands with what another fetched.
    async fn take_the_lead(&self, key: &Arc<str>, policy: &Policy, look: bool) -> Turn {
        // What was learned while nobody else could be told is not forgotten when they can.
        if let Turn::Land(landed) = self.remembered(key, look) {
            return Turn::Land(landed);
        }
        let Remote::Redis(redis) = &self.remote else { return Turn::Fetch(None) };
        let leading = Leading {
            redis,
            watchers: &self.watchers,
            tokens: &self.tokens,
            upkeep: &self.upkeep,
            patience: policy.fetch_timeout,
            anew: !look,
        };
        let ticket = self.memory.ticket(key);
        let mut first = None;
        let lead = leading.lead(key, |stored, waited| {
            // A refresh wants what was fetched since it was asked for, not what was there before.
            let old = !look && (!waited || first.as_ref() == Some(stored));
            if !waited {
                first = Some(stored.clone());
            }
            !old && matches!(self.decode_ours(stored, policy.kind, Tier::Redis), Decoded::Entry(_))
        });
        match self.swallow_count(lead.await) {
            // Without Redis each process fetches for itself.
            Err(_) | Ok(Lead::Alone) => Turn::Fetch(None),
            Ok(Lead::Failed(record)) => match decode(&record) {
                Some(error) => Turn::Land(Landed::Remembered(error)),
                // Another version's words. Fetching is what would be done without them.
                None => Turn::Fetch(None),
            },
            Ok(Lead::Cluster(lease)) => Turn::Fetch(Some(lease)),
            Ok(Lead::Patience) => match policy.after_wait {
                AfterWait::Fetch => match self.swallow_count(leading.take_over(key).await) {
                    Ok(Lead::Cluster(lease)) => Turn::Fetch(Some(lease)),
                    _ => Turn::Fetch(None),
                },
                AfterWait::Fail => {
                    Turn::Land(Landed::Failed(FetchError::TimedOut { after: policy.fetch_timeout }))
                }
            },
            Ok(Lead::Found(stored, waited)) => match self.decode_ours(&stored, policy.kind, Tier::Redis) {
                Decoded::Entry(entry) => {
                    self.memory.fill(key, &entry, ticket, self.clock.now());
                    Turn::Land(if waited { Landed::Shared(entry) } else { Landed::Found(entry) })
                }
                // It was fresh a moment ago.
                Decoded::Expired | Decoded::Unreadable => Turn::Fetch(None),
            },
        }
    }
}
