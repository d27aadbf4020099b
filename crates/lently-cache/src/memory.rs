//! The memory tier: bounded in bytes, aware of how often and how dearly, checked against the clock on every read. It hears what the remote
//! tier tells of changes, and never asks it.

mod eviction;

use std::{cell::Cell, sync::Arc};

use jiff::Timestamp;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync::Cache};
use tokio::time::Instant;

use self::eviction::Sparing;
use crate::{
    clock::{Tick, later},
    coherence::{Coherence, MEMORY_TRUST, Notice, Ticket, Writing},
    entry::{Entry, PatternReport, Tier},
    explain::{Difference, NearReport},
    pattern::Pattern,
    service::MAX_KEY_BYTES,
};

/// What an entry takes beside key and value: the pointer to what is known of it, that, the etag and the cache's own slot.
const OVERHEAD_BYTES: u64 = 256;
/// More would not part the threads of a usual machine any better.
const MOST_SHARDS: u64 = 64;
/// A guess at a usual entry, for the cache's initial tables.
const USUAL_ENTRY_BYTES: u64 = 16 * 1024;

#[derive(Clone)]
struct Held {
    entry: Entry,
    trust: Trust,
}

/// How long a copy is served without asking the remote tier whether it is still there.
#[derive(Clone, Copy)]
enum Trust {
    /// There is no remote tier.
    Always,
    /// The remote tier did not take the value in this epoch. Once notices arrive anew it is asked whether it has another.
    Unwritten(u64),
    /// The remote tier tells nothing of changes.
    Until(Timestamp),
    /// As long as this epoch of notices lasts.
    Epoch(u64),
}

/// What became of a written value in the remote tier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is there.
    Remotely,
    /// There is no remote tier.
    HereAlone,
    /// It did not take it, or did not say so. The copy is believed until it can be asked again: paying for the value again
    /// is worse than that another node's delete does not reach it meanwhile.
    Perhaps,
}

#[derive(Clone)]
struct Bytewise;

impl Weighter<Arc<str>, Held> for Bytewise {
    fn weight(&self, key: &Arc<str>, held: &Held) -> u64 {
        weight(key, held)
    }
}

fn weight(key: &Arc<str>, held: &Held) -> u64 {
    OVERHEAD_BYTES + key.len() as u64 + held.entry.value.len() as u64
}

pub(crate) struct Memory {
    /// `None` where the tier is switched off by a size of zero.
    cache: Option<Cache<Arc<str>, Held, Bytewise, DefaultHashBuilder, Sparing>>,
    coherence: Coherence,
}

/// What memory knows of a key: an entry within its retention, fresh or not.
pub(crate) enum Found {
    /// The remote tier has the same.
    Trusted(Entry),
    /// The remote tier should be asked whether it still has it.
    Doubtful(Entry),
    /// The remote tier, which did not take it, should be asked whether it has a newer one.
    Unwritten(Entry),
    /// A tag of it was changed. The remote tier, or what is known of the tag, must be asked whether it may be served.
    Outdated(Entry),
    /// There was something, and its retention is over.
    Expired,
    Absent,
}

impl Memory {
    /// A tier of so many bytes in which the largest value finds room: each shard takes only what fits into it alone.
    pub(crate) fn new(bytes: u64, max_value_bytes: u64) -> Self {
        let items = usize::try_from(bytes / USUAL_ENTRY_BYTES).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        let largest = max_value_bytes.saturating_add(OVERHEAD_BYTES + MAX_KEY_BYTES as u64);
        // A shard keeps a thirty-second of itself for new entries, and one entry may take the rest.
        let shards = (bytes / (largest + largest / 16)).clamp(1, MOST_SHARDS);
        // A power of two, for another number would be rounded up.
        let shards = 1_usize << shards.ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(items)
            .weight_capacity(bytes)
            .build()
            .expect("the capacities were given");
        let cache =
            || Cache::with_options(options, Bytewise, DefaultHashBuilder::default(), Sparing::new(largest));
        Self { cache: (bytes > 0).then(cache), coherence: Coherence::new() }
    }

    /// The copy that may be served without another look: fresh and believed, by a clock that is read at next to no cost. Where there
    /// is none, [`get`](Self::get) says why, or that there is one after all.
    #[inline]
    pub(crate) fn recall(&self, key: &str, tick: Tick) -> Option<Entry> {
        let Held { entry, trust } = self.cache.as_ref()?.get(key)?;
        let trusted = match trust {
            Trust::Always => true,
            Trust::Unwritten(epoch) => !self.coherence.began_anew_since(epoch),
            Trust::Until(until) => tick.soon < until,
            Trust::Epoch(epoch) => self.coherence.believes_in(epoch, tick.number, Instant::now),
        };
        (trusted && entry.is_fresh(tick.soon) && entry.tagged.is_unchanged()).then_some(entry)
    }

    /// Looks by the clock's `now`, and, where a copy is believed because of notices, by a clock that never jumps.
    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Found {
        let held = self.cache.as_ref().and_then(|cache| cache.get(key));
        held.map_or(Found::Absent, |held| self.judge(held, now))
    }

    /// The same, and no reason to keep the copy any longer.
    pub(crate) fn peek(&self, key: &str, now: Timestamp) -> Found {
        let held = self.cache.as_ref().and_then(|cache| cache.peek(key));
        held.map_or(Found::Absent, |held| self.judge(held, now))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.cache.is_some()
    }

    #[inline]
    fn judge(&self, held: Held, now: Timestamp) -> Found {
        if now >= held.entry.retain_until {
            return Found::Expired;
        }
        if !held.entry.tagged.is_unchanged() {
            return Found::Outdated(held.entry);
        }
        let trusted = match held.trust {
            Trust::Always => true,
            Trust::Unwritten(epoch) if self.coherence.began_anew_since(epoch) => {
                return Found::Unwritten(held.entry);
            }
            Trust::Unwritten(_) => true,
            Trust::Until(until) => now < until,
            Trust::Epoch(epoch) => self.coherence.believes(epoch, Instant::now()),
        };
        if trusted { Found::Trusted(held.entry) } else { Found::Doubtful(held.entry) }
    }

    /// To be taken before the remote tier is asked; see [`fill`](Self::fill).
    pub(crate) fn ticket(&self, key: &str) -> Ticket {
        self.coherence.ticket(key)
    }

    /// Whether the key was not changed since `ticket` was taken, as far as that is known.
    pub(crate) fn is_current(&self, ticket: Ticket) -> bool {
        self.coherence.is_current(ticket)
    }

    /// Keeps what was read from the remote tier, unless the key changed since `ticket` was taken.
    pub(crate) fn fill(&self, key: &Arc<str>, entry: &Entry, ticket: Ticket, now: Timestamp) -> bool {
        let trust = match ticket.epoch() {
            Some(epoch) => Trust::Epoch(epoch),
            None => Trust::Until(later(now, MEMORY_TRUST)),
        };
        self.coherence.if_current(ticket, || self.insert(key, entry, trust)).unwrap_or(false)
    }

    /// To be taken before the remote tier is written to; see [`keep`](Self::keep).
    pub(crate) fn write(&self, key: &str) -> Writing<'_> {
        self.coherence.write(key)
    }

    /// Keeps what was written, unless somebody else changed the key meanwhile: then nothing is kept of it.
    pub(crate) fn keep(
        &self,
        key: &Arc<str>,
        entry: &Entry,
        writing: &Writing<'_>,
        written: Written,
        now: Timestamp,
    ) -> bool {
        let Some(ticket) = writing.written() else {
            self.remove(key);
            return false;
        };
        if written == Written::Remotely {
            return self.fill(key, entry, ticket, now);
        }
        let trust = match written {
            Written::HereAlone => Trust::Always,
            // Of when the write began: what others did while notices did not arrive may be missed since.
            Written::Perhaps | Written::Remotely => Trust::Unwritten(ticket.taken_in()),
        };
        // The loss of the link, which may be why it was not taken, is no reason not to keep it.
        self.coherence.if_unchanged(ticket, || self.insert(key, entry, trust)).unwrap_or(false)
    }

    /// Goes on keeping a value that the remote tier does not have, unless the key changed since `ticket` was taken.
    pub(crate) fn keep_unwritten(&self, key: &Arc<str>, entry: &Entry, ticket: Ticket) {
        let trust = Trust::Unwritten(ticket.taken_in());
        let _ = self.coherence.if_current(ticket, || self.insert(key, entry, trust));
    }

    /// The same where there is no remote tier.
    pub(crate) fn keep_alone(&self, key: &Arc<str>, entry: &Entry, ticket: Ticket) {
        let _ = self.coherence.if_unchanged(ticket, || self.insert(key, entry, Trust::Always));
    }

    /// Makes a copy stale that the remote tier does not have; whether there is a copy at all. To be called while writing.
    pub(crate) fn expire(&self, key: &Arc<str>, now: Timestamp) -> bool {
        let Some(cache) = &self.cache else { return false };
        self.coherence.locked(key, || {
            let Some(held) = cache.get(&**key) else { return false };
            let there = now < held.entry.retain_until;
            if matches!(held.trust, Trust::Always | Trust::Unwritten(_)) {
                // Nobody lays another copy down meanwhile; where somebody removes this one, it stays away.
                let _ = cache.replace(key.clone(), Held { entry: held.entry.expired(now), ..held }, true);
            }
            there
        })
    }

    /// Removes a copy of which a tag was changed, unless there is another one by now.
    pub(crate) fn remove_outdated(&self, key: &str) {
        if let Some(cache) = &self.cache {
            cache.remove_if(key, |held| !held.entry.tagged.is_unchanged());
        }
    }

    /// Removes a copy unless it is the only one.
    pub(crate) fn remove_written(&self, key: &str) {
        let written = |held: &Held| !matches!(held.trust, Trust::Always | Trust::Unwritten(_));
        if let Some(cache) = &self.cache {
            cache.remove_if(key, written);
        }
    }

    /// The epoch of notices, if they arrive and are believed.
    pub(crate) fn believed_epoch(&self) -> Option<u64> {
        let epoch = self.coherence.epoch();
        (epoch % 2 == 1 && self.coherence.believes(epoch, Instant::now())).then_some(epoch)
    }

    fn insert(&self, key: &Arc<str>, entry: &Entry, trust: Trust) -> bool {
        let Some(cache) = &self.cache else { return false };
        cache.insert(key.clone(), Held { entry: entry.clone().lying_in(Tier::Memory), trust });
        cache.contains_key(key)
    }

    /// Acts on what the remote tier tells.
    pub(crate) fn hear(&self, notice: Notice<'_>) {
        match notice {
            Notice::Armed => self.coherence.notices_arrive(true),
            Notice::Lost => self.coherence.notices_arrive(false),
            Notice::Confirmed(at) => self.coherence.confirm(at),
            Notice::Leased(_) | Notice::Reachable => {}
            Notice::Changed(key) => {
                self.coherence.raise(key);
                self.remove(key);
            }
            Notice::Flushed => {
                self.coherence.notices_arrive(true);
                if let Some(cache) = &self.cache {
                    cache.retain(|_, held| matches!(held.trust, Trust::Always | Trust::Unwritten(_)));
                }
            }
        }
    }

    /// Makes worthless what is being read of any key.
    pub(crate) fn distrust_reads(&self) {
        self.coherence.raise_all();
    }

    pub(crate) fn remove(&self, key: &str) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.remove(key).is_some())
    }

    /// Removes what matches; how many there were.
    pub(crate) fn remove_matching(&self, pattern: &Pattern) -> u64 {
        let removed = Cell::new(0);
        if let Some(cache) = &self.cache {
            cache.retain(|key, _| {
                let hit = pattern.matches(key);
                removed.set(removed.get() + u64::from(hit));
                !hit
            });
        }
        removed.get()
    }

    /// Keys of values within their retention for which `difference` tells one, so many at most.
    pub(crate) fn near(
        &self,
        most: usize,
        now: Timestamp,
        difference: impl Fn(&str) -> Option<Difference>,
    ) -> Vec<NearReport> {
        let held = self.cache.iter().flat_map(|cache| cache.iter());
        let held = held.filter(|(_, held)| now < held.entry.retain_until);
        let near = held.filter_map(|(key, _)| {
            let difference = difference(&key)?;
            Some(NearReport { key: key.to_string(), tier: Tier::Memory, difference })
        });
        near.take(most).collect()
    }

    /// What matches and is within its retention.
    pub(crate) fn measure(&self, pattern: &Pattern, now: Timestamp) -> PatternReport {
        let mut report = PatternReport::default();
        for (_, entry) in self.matching(pattern).iter().filter(|(_, entry)| now < entry.retain_until) {
            let times = Some((entry.fetched_at, entry.retain_until));
            report.add(entry.value.len() as u64, entry.cost, times);
        }
        report
    }

    /// Drops what is beyond its retention, which no read would serve; how many there were.
    pub(crate) fn sweep(&self, now: Timestamp) -> u64 {
        let dropped = Cell::new(0);
        if let Some(cache) = &self.cache {
            cache.retain(|_, held| {
                let over = now >= held.entry.retain_until;
                dropped.set(dropped.get() + u64::from(over));
                !over
            });
        }
        dropped.get()
    }

    pub(crate) fn matching(&self, pattern: &Pattern) -> Vec<(Arc<str>, Entry)> {
        let Some(cache) = &self.cache else { return Vec::new() };
        cache.iter().filter(|(key, _)| pattern.matches(key)).map(|(key, held)| (key, held.entry)).collect()
    }
}
