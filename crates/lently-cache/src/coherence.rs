//! Whether a copy in memory still is what the remote tier has: generations that every change raises, and an epoch that ends
//! whenever changes may have been missed. It keeps no value and asks nobody.
//!
//! A reader takes a [`Ticket`] before it asks the remote tier and keeps what it got only if the ticket is still current.
//! A writer makes itself known while it writes, so that two of them never both keep their value.

use std::{hash::BuildHasher, time::Duration};

use tokio::time::Instant;

use crate::{
    chance::Hashing,
    clock::TICK,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

/// How long copies in memory are believed after the last sign that the remote tier's notices of changes arrive. This is the
/// bound on serving what another process has changed; a tier that sends no notices is asked again after as long.
pub const MEMORY_TRUST: Duration = Duration::from_secs(2);
/// Generations are counted per stripe of keys, not per key; a collision costs a memory copy, nothing else.
const STRIPES: usize = if cfg!(test) { 2 } else { 1024 };

/// What the remote tier lets this process know of changes by others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice<'a> {
    /// Notices arrive from now on; what was missed before is not known.
    Armed,
    /// The key (without prefix) was changed, deleted or has expired.
    Changed(&'a str),
    /// The lease of the key was taken, given back or has expired, or its owner gave a sign of life.
    Leased(&'a str),
    /// Everything is gone.
    Flushed,
    /// Whatever happened until then has been told.
    Confirmed(Instant),
    /// Notices no longer arrive.
    Lost,
    /// The remote tier may be asked from now on: what could not be told may be told.
    Reachable,
}

pub(crate) struct Coherence {
    stripes: Vec<Stripe>,
    hasher: Hashing,
    /// Odd while notices arrive, even while they do not; raised on each change from one to the other.
    epoch: AtomicU64,
    /// Until when copies of this epoch are believed, in milliseconds since `base`.
    believed_until: AtomicU64,
    /// The number of a tick in which they are, and will be for longer than any tick lasts.
    believed_in: AtomicU64,
    base: Instant,
}

/// Locked for the moment in which a copy is laid into memory, so that a change comes before it, and forbids it, or after it, and
/// removes it.
#[derive(Default)]
struct Stripe(Mutex<State>);

#[derive(Default)]
struct State {
    generation: u64,
    writers: u32,
}

impl Stripe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self) {
        self.lock().generation += 1;
    }
}

/// The state of things when a look at the remote tier began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    stripe: usize,
    generation: u64,
    epoch: u64,
}

impl Ticket {
    /// The epoch when it was taken, whether notices arrived or not.
    pub(crate) fn taken_in(self) -> u64 {
        self.epoch
    }

    /// The epoch in which notices arrived, or `None` where they did not.
    pub(crate) fn epoch(self) -> Option<u64> {
        (self.epoch % 2 == 1).then_some(self.epoch)
    }
}

impl Coherence {
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            hasher: Hashing::default(),
            epoch: AtomicU64::new(0),
            believed_until: AtomicU64::new(0),
            believed_in: AtomicU64::new(0),
            base: Instant::now(),
        }
    }

    pub(crate) fn ticket(&self, key: &str) -> Ticket {
        let stripe = self.hasher.hash_one(key) as usize % STRIPES;
        // The epoch first: if it ends between the two reads, the ticket is of the one that ended.
        let epoch = self.epoch.load(SeqCst);
        Ticket { stripe, generation: self.stripes[stripe].lock().generation, epoch }
    }

    /// Whether the key was not changed since, and the epoch has not ended.
    pub(crate) fn is_current(&self, ticket: Ticket) -> bool {
        self.if_current(ticket, || ()).is_some()
    }

    /// Lays a copy into memory unless the key was changed since, or the epoch has ended.
    pub(crate) fn if_current<T>(&self, ticket: Ticket, lay: impl FnOnce() -> T) -> Option<T> {
        self.if_unchanged(ticket, || (self.epoch.load(SeqCst) == ticket.epoch).then(lay))?
    }

    /// The same, whatever became of the notices.
    pub(crate) fn if_unchanged<T>(&self, ticket: Ticket, lay: impl FnOnce() -> T) -> Option<T> {
        let state = self.stripes[ticket.stripe].lock();
        (state.generation == ticket.generation).then(lay)
    }

    /// Changes a copy in its place while no other is laid into memory for the key.
    pub(crate) fn locked<T>(&self, key: &str, change: impl FnOnce() -> T) -> T {
        let stripe = self.hasher.hash_one(key) as usize % STRIPES;
        let _state = self.stripes[stripe].lock();
        change()
    }

    /// Whether notices arrive, and have begun to since `epoch`.
    pub(crate) fn began_anew_since(&self, epoch: u64) -> bool {
        let now = self.epoch.load(SeqCst);
        now != epoch && now % 2 == 1
    }

    /// The epoch now, whether notices arrive or not.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// Makes every ticket of the key worthless.
    pub(crate) fn raise(&self, key: &str) {
        let stripe = self.hasher.hash_one(key) as usize % STRIPES;
        self.stripes[stripe].raise();
    }

    pub(crate) fn raise_all(&self) {
        self.stripes.iter().for_each(Stripe::raise);
    }

    /// Whether copies of `epoch` are believed at `at`.
    pub(crate) fn believes(&self, epoch: u64, at: Instant) -> bool {
        self.epoch.load(SeqCst) == epoch && self.since_base(at) < self.believed_until.load(SeqCst)
    }

    /// Whether copies of `epoch` are believed now, in the tick of that number. It is [`believes`](Self::believes) with `now` read
    /// once a tick: that the notices were lost or begin anew ends belief at once, and the bound never moves.
    #[inline]
    pub(crate) fn believes_in(&self, epoch: u64, tick: Option<u64>, now: impl FnOnce() -> Instant) -> bool {
        if let Some(tick) = tick
            && self.believed_in.load(Relaxed) == tick
        {
            return self.epoch.load(SeqCst) == epoch;
        }
        let now = now();
        if let Some(tick) = tick
            && self.since_base(now + TICK) < self.believed_until.load(SeqCst)
        {
            // Nobody reads anything else by it: the bound only ever grows.
            self.believed_in.store(tick, Relaxed);
        }
        self.believes(epoch, now)
    }

    /// Begins or ends an epoch: copies of the one before are no longer believed.
    pub(crate) fn notices_arrive(&self, arrive: bool) {
        let _ = self.epoch.fetch_update(SeqCst, SeqCst, |epoch| {
            let arrived = epoch % 2 == 1;
            match (arrived, arrive) {
                (false, false) => None,
                (true, true) => Some(epoch + 2),
                _ => Some(epoch + 1),
            }
        });
    }

    pub(crate) fn confirm(&self, at: Instant) {
        self.believed_until.fetch_max(self.since_base(at + MEMORY_TRUST), SeqCst);
    }

    /// A writer of the key begins. Tickets taken before are worthless.
    pub(crate) fn write(&self, key: &str) -> Writing<'_> {
        let stripe = self.hasher.hash_one(key) as usize % STRIPES;
        let epoch = self.epoch.load(SeqCst);
        let mut state = self.stripes[stripe].lock();
        state.writers += 1;
        state.generation += 1;
        Writing { coherence: self, ticket: Ticket { stripe, generation: state.generation, epoch } }
    }

    fn since_base(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A write under way. Dropped, it makes the tickets worthless that were taken meanwhile.
pub(crate) struct Writing<'a> {
    coherence: &'a Coherence,
    ticket: Ticket,
}

impl Writing<'_> {
    /// The ticket with which the written value may be kept in memory; `None` if another writer or a notice came between,
    /// for then nobody here knows whose value the remote tier has. Either way the tickets taken meanwhile are worthless:
    /// whoever read the old value must not keep it after this.
    pub(crate) fn written(&self) -> Option<Ticket> {
        let mut state = self.coherence.stripes[self.ticket.stripe].lock();
        let alone = state.writers == 1 && state.generation == self.ticket.generation;
        state.generation += 1;
        alone.then_some(Ticket { generation: state.generation, ..self.ticket })
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut state = self.coherence.stripes[self.ticket.stripe].lock();
        state.writers -= 1;
        // Untouched but for what this writer has raised itself: the written value may have been kept.
        let kept = state.writers == 0 && state.generation == self.ticket.generation + 1;
        if !kept {
            state.generation += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::once;

    #[test]
    fn a_ticket_is_worth_something_until_the_key_changes() {
        once(|| {
            let coherence = Coherence::new();
            let ticket = coherence.ticket("a");
            assert!(coherence.is_current(ticket));
            coherence.raise("a");
            assert!(!coherence.is_current(ticket));
            let (all, epoch) = (coherence.ticket("a"), coherence.ticket("a"));
            coherence.raise_all();
            assert!(!coherence.is_current(all));
            coherence.notices_arrive(true);
            assert!(!coherence.is_current(epoch));
        });
    }

    #[test]
    fn of_two_writers_at_once_neither_knows_whose_value_lies_there() {
        once(|| {
            let coherence = Coherence::new();
            let before = coherence.ticket("a");
            let first = coherence.write("a");
            assert!(!coherence.is_current(before));
            let second = coherence.write("a");
            assert_eq!(second.written(), None, "another one is under way");
            drop(second);
            assert_eq!(first.written(), None, "another one was under way");
            drop(first);
            let alone = coherence.write("a");
            let during = coherence.ticket("a");
            let ticket = alone.written().expect("nobody else wrote");
            assert!(coherence.is_current(ticket) && !coherence.is_current(during));
            drop(alone);
            assert!(coherence.is_current(ticket), "ending changes nothing that is known");
        });
    }

    #[test]
    fn a_notice_during_a_write_forbids_keeping_its_value_and_what_was_read_since() {
        once(|| {
            let coherence = Coherence::new();
            let writing = coherence.write("a");
            coherence.raise("a");
            // Of the old value: the write has not reached the remote tier yet.
            let reading = coherence.ticket("a");
            assert_eq!(writing.written(), None);
            assert!(!coherence.is_current(reading));
            let reading = coherence.ticket("a");
            drop(writing);
            assert!(!coherence.is_current(reading), "whose value is there is not known until it ends");
        });
    }

    #[test]
    fn a_write_that_is_given_up_makes_worthless_what_was_read_meanwhile() {
        once(|| {
            let coherence = Coherence::new();
            let writing = coherence.write("a");
            let reading = coherence.ticket("a");
            drop(writing);
            assert!(!coherence.is_current(reading));
        });
    }

    #[test]
    fn copies_are_believed_to_the_end_of_a_tick_only_if_they_are_for_longer_than_one() {
        once(|| {
            let (coherence, start) = (Coherence::new(), Instant::now());
            let believes = |epoch, tick, at| coherence.believes_in(epoch, Some(tick), || at);
            let unasked =
                |epoch, tick| coherence.believes_in(epoch, Some(tick), || panic!("asked in tick {tick}"));
            coherence.notices_arrive(true);
            let epoch = coherence.epoch();
            assert!(!believes(epoch, 1, start), "nothing was confirmed");
            coherence.confirm(start);
            assert!(believes(epoch, 1, start) && unasked(epoch, 1) && !unasked(epoch + 2, 1));
            let last = start + MEMORY_TRUST - TICK;
            assert!(believes(epoch, 2, last) && !believes(epoch, 2, last + TICK), "not for a whole tick");
            assert!(!coherence.believes_in(epoch, None, || last + TICK));
            coherence.confirm(last);
            assert!(believes(epoch, 3, last));
            coherence.notices_arrive(false);
            assert!(!unasked(epoch, 3), "lost, in the same tick");
        });
    }

    #[test]
    fn copies_are_believed_while_notices_arrive_and_are_confirmed() {
        once(|| {
            let (coherence, start) = (Coherence::new(), Instant::now());
            assert_eq!(coherence.ticket("a").epoch(), None);
            coherence.notices_arrive(true);
            let epoch = coherence.ticket("a").epoch().expect("notices arrive");
            assert!(!coherence.believes(epoch, start), "nothing was confirmed");
            coherence.confirm(start);
            assert!(coherence.believes(epoch, start));
            assert!(!coherence.believes(epoch, start + MEMORY_TRUST));
            coherence.confirm(start + Duration::from_secs(1));
            assert!(coherence.believes(epoch, start + MEMORY_TRUST));
            coherence.notices_arrive(true);
            assert!(!coherence.believes(epoch, start), "armed anew: something may have been missed");
            coherence.notices_arrive(false);
            assert_eq!(coherence.ticket("a").epoch(), None);
        });
    }
}
