//! Tags that change while their versions are learned, while entries are fetched with them, and while copies of those are served.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use shuttle::{
    future::{JoinHandle, block_on, spawn, yield_now},
    rand::{Rng as _, thread_rng},
};
use tokio::time::Instant;

use super::{Seen, all, entry, number, under};
use crate::{
    coherence::Notice,
    entry::Entry,
    flight::{Boarding, Flights, Landed, Leader},
    memory::{Found, Memory, Written},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    tags::{Book, Record, Tagged, Verdict},
};

const KEY: &str = "a";
const TAG: &str = "t";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A node that stores one entry with one tag in memory and on a server, which tells it of the tag's changes.
struct World {
    memory: Memory,
    book: Book,
    flights: Arc<Flights>,
    truth: AtomicU64,
    server: Mutex<Server>,
    flying: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Server {
    record: Option<Record>,
    stored: Option<Entry>,
    /// Changes of the tag that the node was not told of yet.
    wire: VecDeque<()>,
}

impl World {
    fn new() -> Arc<Self> {
        let world = Self {
            memory: Memory::new(1 << 20, 1 << 10),
            book: Book::new(false),
            flights: Arc::default(),
            truth: AtomicU64::new(0),
            server: Mutex::default(),
            flying: Mutex::default(),
        };
        world.memory.hear(Notice::Armed);
        // The schedules take time of their own.
        world.memory.hear(Notice::Confirmed(Instant::now() + Duration::from_secs(3600)));
        Arc::new(world)
    }

    fn server<T>(&self, does: impl FnOnce(&mut Server) -> T) -> T {
        does(&mut self.server.lock().expect("a lock"))
    }

    /// As the service does.
    async fn snapshot(&self) -> Tagged {
        let tag = Arc::from(TAG);
        let mut looked = self.book.look([&tag].into_iter(), self.memory.believed_epoch(), NOW);
        if !looked.unknown().is_empty() {
            yield_now().await;
            let record = self.server(|server| *server.record.get_or_insert_with(Record::new));
            yield_now().await;
            looked.learn([Some((record, Timestamp::MAX))]);
        }
        looked.marks()
    }

    /// As the service does.
    async fn judge(&self, tagged: &Tagged) -> Verdict {
        let mut looked = self.book.look(tagged.names(), self.memory.believed_epoch(), NOW);
        if !looked.unknown().is_empty() {
            yield_now().await;
            let record = self.server(|server| server.record);
            yield_now().await;
            looked.learn([record.map(|record| (record, Timestamp::MAX))]);
        }
        looked.judge(tagged)
    }

    /// As the service does.
    async fn get_or_set(self: &Arc<Self>) -> u64 {
        if let Found::Trusted(entry) = self.memory.get(KEY, NOW) {
            return number(&entry);
        }
        let key = Arc::from(KEY);
        loop {
            let flight = match self.flights.board(&key, true) {
                Boarding::Join(flight) => {
                    let outdated = match flight.outdated() {
                        Some(tagged) => !matches!(self.judge(tagged).await, Verdict::Valid(_)),
                        None => false,
                    };
                    if outdated {
                        self.flights.retire(&key, &flight);
                        continue;
                    }
                    flight
                }
                Boarding::Lead(leader) => {
                    let flight = leader.flight.clone();
                    let mut flying = self.flying.lock().expect("a lock");
                    flying.push(spawn(self.clone().fly(leader)));
                    flight
                }
            };
            return match flight.wait().await {
                Landed::Found(entry) | Landed::Fetched { entry, .. } => number(&entry),
                other => panic!("{other:?}"),
            };
        }
    }

    async fn fly(self: Arc<Self>, leader: Leader) {
        if let Some(found) = self.look_up().await {
            return leader.land(Landed::Found(found));
        }
        let tagged = self.snapshot().await;
        leader.begins_with(&tagged, true, &tracing::Span::none()).await;
        yield_now().await;
        let mut entry = entry(self.truth.load(SeqCst)).with_tagged(tagged);
        yield_now().await;
        if !entry.tagged.is_unchanged() {
            match self.judge(&entry.tagged).await {
                Verdict::Valid(tagged) => entry = entry.with_tagged(tagged),
                _ => return leader.land(Landed::Fetched { entry, stored: false }),
            }
        }
        let store = async {
            let writing = self.memory.write(KEY);
            let stored = entry.clone().with_tagged(Tagged::read(marks(&entry.tagged)));
            self.server(|server| server.stored = Some(stored));
            yield_now().await;
            self.memory.keep(&KEY.into(), &entry, &writing, Written::Remotely, NOW);
        };
        leader.flight.unless_fenced(store).await;
        leader.land(Landed::Fetched { entry, stored: true });
    }

    async fn look_up(&self) -> Option<Entry> {
        if let Found::Trusted(entry) = self.memory.get(KEY, NOW) {
            return Some(entry);
        }
        let ticket = self.memory.ticket(KEY);
        yield_now().await;
        let stored = self.server(|server| server.stored.clone())?;
        yield_now().await;
        let Some(found) = self.judge(&stored.tagged).await.apply(stored) else {
            self.memory.remove_outdated(KEY);
            return None;
        };
        self.memory.fill(&KEY.into(), &found, ticket, NOW);
        Some(found)
    }

    /// As the service does.
    async fn invalidate(&self) {
        self.book.changed(TAG);
        yield_now().await;
        self.server(|server| server.record = server.record.map(|_| Record::new()));
        yield_now().await;
        self.book.changed(TAG);
    }

    fn invalidate_elsewhere(&self) {
        self.server(|server| {
            server.record = server.record.map(|_| Record::new());
            server.wire.push_back(());
        });
    }

    async fn hear(&self) {
        while let Some(()) = self.server(|server| server.wire.pop_front()) {
            self.book.changed(TAG);
            yield_now().await;
        }
    }

    async fn settle(&self) {
        while let Some(flying) = { self.flying.lock().expect("a lock").pop() } {
            flying.await.expect("a flight");
        }
        assert!(self.flights.is_empty(), "a flight that has ended is still there");
    }
}

fn marks(tagged: &Tagged) -> Vec<(Arc<str>, u64)> {
    tagged.versions().map(|(tag, version)| (tag.into(), version)).collect()
}

/// The truth changes and with it the tag, here or elsewhere, while two callers ask; nobody who comes after it is served what was
/// true before.
fn changes(here: bool, old_served: &Seen, new_served: &Seen) {
    let world = World::new();
    if thread_rng().gen_bool(0.5) {
        // Something is there already, with a version that the node knows.
        block_on(world.get_or_set());
    }
    let callers = (0..2).map(|_| {
        let (world, old, new) = (world.clone(), old_served.clone(), new_served.clone());
        spawn(async move { if world.get_or_set().await == 0 { old.note() } else { new.note() } })
    });
    let change = {
        let world = world.clone();
        spawn(async move {
            world.truth.store(1, SeqCst);
            yield_now().await;
            if here {
                world.invalidate().await;
            } else {
                world.invalidate_elsewhere();
                yield_now().await;
                world.hear().await;
            }
            assert_eq!(world.get_or_set().await, 1, "the tag was changed before");
        })
    };
    all(callers.chain([change]).collect::<Vec<_>>());
    block_on(world.settle());
    assert_eq!(block_on(world.get_or_set()), 1);
    block_on(world.settle());
}

#[test]
fn nothing_of_before_a_tag_was_changed_here_is_served_after_it() {
    let (old, new) = (Seen::default(), Seen::default());
    let (old_served, new_served) = (old.clone(), new.clone());
    under(6_000, move || changes(true, &old_served, &new_served));
    old.assert("a caller of before is served what was true then");
    new.assert("a caller of meanwhile is served what is true");
}

#[test]
fn nothing_of_before_a_tag_was_changed_elsewhere_is_served_after_that_was_heard() {
    let (old, new) = (Seen::default(), Seen::default());
    let (old_served, new_served) = (old.clone(), new.clone());
    under(6_000, move || changes(false, &old_served, &new_served));
    old.assert("a caller of before is served what was true then");
    new.assert("a caller of meanwhile is served what is true");
}

#[test]
fn a_change_while_a_version_is_learned_is_never_lost() {
    let known = Seen::default();
    let seen = known.clone();
    under(6_000, move || {
        let world = World::new();
        // Holds what is known, as an entry would.
        let holder = block_on(world.snapshot());
        let learners = (0..2).map(|_| {
            let world = world.clone();
            spawn(async move {
                world.snapshot().await;
            })
        });
        let change = {
            let world = world.clone();
            spawn(async move {
                for _ in 0..2 {
                    world.invalidate_elsewhere();
                    yield_now().await;
                    world.hear().await;
                }
            })
        };
        all(learners.chain([change]).collect::<Vec<_>>());
        let tag = Arc::from(TAG);
        let looked = world.book.look([&tag].into_iter(), world.memory.believed_epoch(), NOW);
        let knows = looked.unknown().is_empty();
        seen.note_if(knows);
        let version = world.server(|server| server.record).map(|record| record.version);
        let marks = looked.marks();
        let said = marks.versions().next().map(|(_, version)| version);
        assert!(!knows || said == version, "{said:?} is known, and {version:?} is true");
        assert!(!holder.is_unchanged(), "what was learned before the changes");
    });
    known.assert("what was learned after the last change is known");
}

// Without a remote tier what this process knows is all there is.
#[test]
fn a_tag_that_is_changed_by_the_only_process_makes_everything_of_before_invalid() {
    let (before, since) = (Seen::default(), Seen::default());
    let (old, new) = (before.clone(), since.clone());
    under(6_000, move || {
        let world = Arc::new((Book::new(true), AtomicBool::new(false)));
        let taker = {
            let world = world.clone();
            spawn(async move {
                let tag = Arc::from(TAG);
                let marks = world.0.look([&tag].into_iter(), None, NOW).marks();
                // Not whether it has ended: what is taken meanwhile may be of before or after.
                (!world.1.load(SeqCst), marks)
            })
        };
        let change = {
            let world = world.clone();
            spawn(async move {
                world.1.store(true, SeqCst);
                world.0.change_alone(TAG, false, NOW);
            })
        };
        let (is_of_before, marks) = all([taker]).remove(0);
        all([change]);
        let looked = world.0.look(marks.names(), None, NOW);
        let is_valid = marks.is_unchanged() && matches!(looked.judge(&marks), Verdict::Valid(_));
        assert!(!(is_of_before && is_valid));
        if is_of_before { old.note() } else { new.note_if(is_valid) }
    });
    before.assert("something is of before");
    since.assert("something is valid");
}
