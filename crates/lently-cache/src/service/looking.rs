//! A look into the tiers: memory, then the remote one, for a key or for many in one round trip. It fills memory and fetches
//! nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use jiff::Timestamp;

use super::Inner;
use crate::{
    coherence::Ticket,
    entry::{Entry, Lookup, MissReason, Tier},
    envelope::{self, BareLife, Decoded, Limits},
    error::CacheError,
    memory::Found,
    policy::{Kind, Policy},
};

/// Keys the remote tier is asked for in one round trip. All answers of one must arrive within the timeout of a command.
const READ_AT_ONCE: usize = 50;
/// Such round trips under way for one caller.
const ROUND_TRIPS: usize = 4;

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    pub key: &'a str,
    pub kind: Kind,
    /// The life a bare value would have, where it lives longer.
    pub fresh: Option<Duration>,
}

impl<'a> Sought<'a> {
    pub(super) fn by(policy: &Policy, key: &'a str) -> Self {
        Self { key, kind: policy.kind, fresh: Some(policy.fresh) }
    }
}

/// What memory says of a key.
enum Glance {
    /// All there is to know.
    Told(Lookup),
    /// The remote tier is to be asked.
    Ask(Held),
}

/// What memory has of a key while the remote tier is asked for it.
struct Held {
    tier: Tier,
    ticket: Ticket,
    entry: Option<Entry>,
    /// The entry never got there.
    unwritten: bool,
    /// Why there is nothing, if there is nothing.
    nothing: MissReason,
    /// Whether the remote tier has been told all that this process changed of the key: else it is not asked.
    told: Result<(), CacheError>,
}

impl Inner {
    /// Looks for one key.
    pub(super) async fn look_up(&self, sought: Sought<'_>) -> Lookup {
        match self.glance(sought.key).await {
            Glance::Told(lookup) => lookup,
            Glance::Ask(held) => {
                let stored = match &held.told {
                    Ok(()) => self.count_unless_wrong_type(self.remote.get(sought.key).await),
                    Err(error) => Err(error.clone()),
                };
                self.take(sought, held, stored).await
            }
        }
    }

    /// Looks for many, in their order.
    pub(super) async fn look_up_many(&self, sought: &[Sought<'_>]) -> Vec<Lookup> {
        let mut lookups = Vec::with_capacity(sought.len());
        let mut asked = Vec::new();
        for (place, sought) in sought.iter().enumerate() {
            match self.glance(sought.key).await {
                Glance::Told(lookup) => lookups.push(lookup),
                Glance::Ask(held) => {
                    lookups.push(Lookup::Missing(held.nothing));
                    asked.push((place, held));
                }
            }
        }
        let mut batches = Vec::with_capacity(asked.len().div_ceil(READ_AT_ONCE));
        while !asked.is_empty() {
            let rest = asked.split_off(asked.len().min(READ_AT_ONCE));
            batches.push(std::mem::replace(&mut asked, rest));
        }
        let round_trips = batches.into_iter().map(|batch| self.ask(sought, batch));
        let mut answers = stream::iter(round_trips).buffer_unordered(ROUND_TRIPS);
        while let Some(told) = answers.next().await {
            for (place, lookup) in told {
                lookups[place] = lookup;
            }
        }
        lookups
    }

    /// Asks the remote tier for what memory does not have, in one round trip.
    async fn ask(&self, sought: &[Sought<'_>], batch: Vec<(usize, Held)>) -> Vec<(usize, Lookup)> {
        let believed = |(place, held): &(usize, Held)| held.told.is_ok().then_some(sought[*place].key);
        let keys: Vec<&str> = batch.iter().filter_map(believed).collect();
        let mut stored = self.remote.get_many(&keys).await.into_iter();
        join_all(batch.into_iter().map(|(place, held)| {
            let stored = match &held.told {
                Ok(()) => stored.next().map_or(Ok(None), |stored| self.count_unless_wrong_type(stored)),
                Err(error) => Err(error.clone()),
            };
            async move { (place, self.take(sought[place], held, stored).await) }
        }))
        .await
    }

    async fn glance(&self, key: &str) -> Glance {
        let now = self.clock.now();
        let mut found = self.memory.get(key, now);
        let mut told = Ok(());
        if !matches!(found, Found::Trusted(_)) && self.repairs.owes(key) {
            // Boxed, as whatever seldom waits here: it would make the future of every look several times as large.
            told = Box::pin(self.make_good(key)).await;
            found = self.memory.get(key, now);
        }
        let mut unwritten = false;
        let (entry, nothing) = match found {
            Found::Trusted(entry) => return Glance::Told(Lookup::of(entry, now)),
            Found::Doubtful(entry) => (Some(entry), MissReason::Absent),
            Found::Unwritten(entry) => {
                unwritten = true;
                (Some(entry), MissReason::Absent)
            }
            Found::Expired => {
                self.memory.remove(key);
                (None, MissReason::Expired)
            }
            Found::Outdated(entry) if self.remote.tier().is_none() => {
                let ticket = self.memory.ticket(key);
                let Some(entry) = self.admit(entry).await else {
                    self.memory.remove_outdated(key);
                    return Glance::Told(Lookup::Missing(MissReason::Invalidated));
                };
                self.memory.keep_alone(&Arc::from(key), &entry, ticket);
                return Glance::Told(Lookup::of(entry, now));
            }
            Found::Outdated(_) => (None, MissReason::Absent),
            Found::Absent => match self.repairs.value(key) {
                Some(entry) if now < entry.retain_until => {
                    unwritten = true;
                    (Some(entry), MissReason::Absent)
                }
                _ => (None, MissReason::Absent),
            },
        };
        match self.remote.tier() {
            None => Glance::Told(Lookup::Missing(nothing)),
            Some(tier) => {
                Glance::Ask(Held { tier, ticket: self.memory.ticket(key), entry, unwritten, nothing, told })
            }
        }
    }

    /// Takes what the remote tier answered.
    async fn take(
        &self,
        Sought { key, kind, fresh }: Sought<'_>,
        held: Held,
        stored: Result<Option<Bytes>, CacheError>,
    ) -> Lookup {
        let Held { tier, ticket, entry: held, unwritten, nothing, told: _ } = held;
        let mut now = self.clock.now();
        let found = match stored {
            Ok(Some(stored)) if envelope::is_ours(&stored) => self.decode_ours(stored, kind, tier, now),
            Ok(Some(stored)) => {
                let found = Box::pin(self.decode(stored, kind, tier, key, fresh)).await;
                now = self.clock.now();
                found
            }
            Ok(None) => Decoded::Absent,
            Err(CacheError::WrongType) => return Lookup::Missing(MissReason::Unreadable),
            Err(_) => {
                return held.map_or(Lookup::Missing(MissReason::TierResting), |entry| Lookup::of(entry, now));
            }
        };
        // What never got there, and is newer than what did: the only copy of what was paid for.
        if let Some(mine) = held.as_ref().filter(|_| unwritten)
            && !matches!(&found, Decoded::Entry(theirs) if theirs.fetched_at > mine.fetched_at)
            && let Some(mine) = &self.admit(mine.clone()).await
        {
            self.memory.keep_unwritten(&Arc::from(key), mine, ticket);
            return Lookup::of(mine.clone(), self.clock.now());
        }
        match found {
            Decoded::Entry(entry) => {
                let may_wait = !entry.tagged.is_empty();
                let Some(entry) = self.admit(entry).await else {
                    self.memory.remove_outdated(key);
                    return Lookup::Missing(MissReason::Invalidated);
                };
                if may_wait {
                    now = self.clock.now();
                }
                if self.memory.is_on() {
                    self.memory.fill(&Arc::from(key), &entry, ticket, now);
                }
                Lookup::of(entry, now)
            }
            Decoded::Absent => {
                match held {
                    Some(_) => drop(self.memory.remove(key)),
                    None => self.memory.remove_outdated(key),
                }
                Lookup::Missing(nothing)
            }
            Decoded::Expired => Lookup::Missing(MissReason::Expired),
            Decoded::Unreadable => Lookup::Missing(MissReason::Unreadable),
        }
    }

    pub(super) fn decode_ours(&self, stored: Bytes, kind: Kind, tier: Tier, now: Timestamp) -> Decoded {
        let limits = Limits { max_value_bytes: self.max_value_bytes };
        envelope::decode(stored, kind, tier, limits, now, None)
    }

    pub(super) async fn decode(
        &self,
        stored: Bytes,
        kind: Kind,
        tier: Tier,
        key: &str,
        policy_fresh: Option<Duration>,
    ) -> Decoded {
        let limits = Limits { max_value_bytes: self.max_value_bytes };
        let bare = if envelope::is_ours(&stored) {
            None
        } else {
            let ttl = self.remote.ttl(key).await.ok().flatten();
            ttl.map(|ttl| BareLife { ttl: Some(ttl), fresh: policy_fresh.unwrap_or(ttl) })
        };
        envelope::decode(stored, kind, tier, limits, self.clock.now(), bare)
    }

    /// A key that holds something else is no error of the tier's.
    fn count_unless_wrong_type<T>(&self, result: Result<T, CacheError>) -> Result<T, CacheError> {
        match result {
            Err(CacheError::WrongType) => result,
            _ => self.swallow_count(result),
        }
    }
}
