//! A flight of one key: flown once, landed for everyone, and neither stored over a change nor joined after it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use shuttle::{
    future::{JoinHandle, block_on, spawn, yield_now},
    rand::{Rng as _, thread_rng},
};

use super::{Seen, all, entry, number, under, under_all};
use crate::{
    coherence::Notice,
    entry::{FetchError, StaleReason},
    flight::{Boarding, Flights, Landed, Leader},
    lease::Watchers,
    sync::{Arc, Mutex},
    tags::Tagged,
};

/// An upstream that gives the truth, a tier that keeps it, and the flights between them.
#[derive(Default)]
struct World {
    flights: Arc<Flights>,
    truth: AtomicU64,
    stored: Mutex<Option<u64>>,
    /// What a tier has that is no longer fresh: served at first, by a flight that goes on.
    stale: Mutex<Option<u64>>,
    fetching: AtomicU32,
    fetches: AtomicU32,
    /// The flights' tasks.
    flying: Mutex<Vec<JoinHandle<()>>>,
    /// The fetch fails.
    is_down: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A tier has something stale, in so many of the schedules.
    fn perhaps_stale(share: f64) -> Arc<Self> {
        let stale = thread_rng().gen_bool(share).then_some(0);
        Arc::new(Self { stale: Mutex::new(stale), ..Self::default() })
    }

    /// As the service does.
    async fn get_or_set(self: &Arc<Self>, store: bool) -> (Landed, bool) {
        let key = Arc::from("a");
        match self.flights.board(&key, store) {
            Boarding::Join(flight) => (flight.wait().await, false),
            Boarding::Lead(leader) => {
                let flight = leader.flight.clone();
                {
                    let mut flying = self.flying.lock().expect("a lock");
                    flying.push(spawn(self.clone().fly(leader)));
                }
                (flight.wait().await, true)
            }
        }
    }

    async fn fly(self: Arc<Self>, mut leader: Leader) {
        yield_now().await;
        let stale = { *self.stale.lock().expect("a lock") };
        yield_now().await;
        if let Some(stale) = stale {
            leader = leader.land_and_go_on(Landed::Stale(entry(stale), StaleReason::Refreshing));
        }
        leader.begins_with(&Tagged::default(), stale.is_none(), &tracing::Span::none()).await;
        let fetching = Fetching::begin(&self);
        yield_now().await;
        let value = self.truth.load(SeqCst);
        yield_now().await;
        drop(fetching);
        if self.is_down.load(SeqCst) {
            leader.land(Landed::Failed(FetchError::Abandoned, stale.map(entry)));
            return;
        }
        let store = async {
            yield_now().await;
            *self.stored.lock().expect("a lock") = Some(value);
        };
        let stored = leader.is_to_be_stored() && leader.flight.unless_fenced(store).await.is_some();
        leader.land(Landed::Fetched { entry: entry(value), stored });
    }

    /// Waits for the flights, also those that have landed what is stale and go on. None is left behind in the map.
    async fn settle(&self) {
        while let Some(flying) = { self.flying.lock().expect("a lock").pop() } {
            let _ = flying.await;
        }
        assert!(self.flights.is_empty(), "a flight that has ended is still there");
    }

    /// As the service does.
    async fn delete(&self) {
        self.flights.fence("a").await;
        yield_now().await;
        *self.stored.lock().expect("a lock") = None;
        *self.stale.lock().expect("a lock") = None;
        yield_now().await;
        self.flights.part("a");
    }

    fn stored(&self) -> Option<u64> {
        *self.stored.lock().expect("a lock")
    }
}

/// Counts, also where the task is dropped.
struct Fetching<'a>(&'a World);

impl<'a> Fetching<'a> {
    fn begin(world: &'a World) -> Self {
        world.fetches.fetch_add(1, SeqCst);
        world.fetching.fetch_add(1, SeqCst);
        Self(world)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.fetching.fetch_sub(1, SeqCst);
    }
}

#[test]
fn all_who_ask_at_once_share_one_fetch_and_everyone_is_answered() {
    let (shared, twice) = (Seen::default(), Seen::default());
    let (once, again) = (shared.clone(), twice.clone());
    under(5_000, move || {
        let world = World::new();
        let callers = (0..3).map(|_| {
            let world = world.clone();
            spawn(async move { world.get_or_set(true).await })
        });
        let mut led = 0;
        for (landed, leads) in all(callers.collect::<Vec<_>>()) {
            assert!(matches!(landed, Landed::Fetched { stored: true, .. }), "{landed:?}");
            led += u32::from(leads);
        }
        assert_eq!(world.fetches.load(SeqCst), led, "a fetch for each flight and no more");
        if led == 1 {
            once.note()
        } else {
            again.note()
        }
        block_on(world.settle());
    });
    shared.assert("all share one flight");
    twice.assert("somebody comes after it has ended");
}

#[test]
fn no_two_flights_of_a_key_fetch_at_once() {
    under(5_000, || {
        let world = World::perhaps_stale(0.5);
        let callers = (0..3).map(|_| {
            let world = world.clone();
            spawn(async move {
                world.get_or_set(true).await;
                assert!(world.fetching.load(SeqCst) <= 1);
            })
        });
        let watcher = {
            let world = world.clone();
            spawn(async move {
                for _ in 0..4 {
                    assert!(world.fetching.load(SeqCst) <= 1);
                    yield_now().await;
                }
            })
        };
        all(callers.chain([watcher]).collect::<Vec<_>>());
        block_on(world.settle());
    });
}

// A panic in a flight drops it just so.
#[test]
fn whoever_waits_for_a_flight_that_is_dropped_is_told_and_the_next_one_begins_anew() {
    let (abandoned, fetched) = (Seen::default(), Seen::default());
    let (left, done) = (abandoned.clone(), fetched.clone());
    under(5_000, move || {
        let world = World::perhaps_stale(0.3);
        let callers = (0..3).map(|_| {
            let world = world.clone();
            spawn(async move { world.get_or_set(true).await })
        });
        let callers: Vec<_> = callers.collect();
        let dropping = {
            let world = world.clone();
            spawn(async move {
                yield_now().await;
                if let Some(flying) = { world.flying.lock().expect("a lock").pop() } {
                    flying.abort();
                    let _ = flying.await;
                }
            })
        };
        for (landed, _) in all(callers) {
            match landed {
                Landed::Fetched { .. } => done.note(),
                Landed::Failed(FetchError::Abandoned, None) => left.note(),
                Landed::Stale(..) => {}
                other => panic!("{other:?}"),
            }
        }
        all([dropping]);
        block_on(world.settle());
        *world.stale.lock().expect("a lock") = None;
        let (landed, led) = block_on(world.get_or_set(true));
        assert!(matches!(landed, Landed::Fetched { .. }) && led, "{landed:?}");
    });
    abandoned.assert("somebody waited for it");
    fetched.assert("somebody else is answered");
}

#[test]
fn a_caller_that_leaves_takes_nothing_from_the_others_and_what_it_asked_for_is_stored() {
    let (left_early, left_late) = (Seen::default(), Seen::default());
    let (early, late) = (left_early.clone(), left_late.clone());
    under(5_000, move || {
        let world = World::new();
        let leaving = {
            let world = world.clone();
            spawn(async move { world.get_or_set(true).await })
        };
        let staying = {
            let world = world.clone();
            spawn(async move { world.get_or_set(false).await })
        };
        block_on(async {
            for _ in 0..thread_rng().gen_range(1..8) {
                yield_now().await;
            }
            leaving.abort();
        });
        let asked = !world.flights.is_empty() || world.stored().is_some();
        late.note_if(block_on(leaving).is_ok());
        let (landed, led) = all([staying]).remove(0);
        assert!(matches!(landed, Landed::Fetched { .. }), "{landed:?}");
        early.note_if(asked && !led);
        block_on(world.settle());
        if !led {
            assert!(world.stored().is_some(), "the one who left had wanted it stored");
        }
    });
    left_early.assert("somebody leaves whose flight another has joined");
    left_late.assert("somebody is answered before leaving");
}

#[test]
fn what_was_there_or_fetched_before_a_change_is_neither_stored_nor_served_after_it() {
    let (old_served, new_stored, failed) = (Seen::default(), Seen::default(), Seen::default());
    let (old, new, down) = (old_served.clone(), new_stored.clone(), failed.clone());
    under(12_000, move || {
        let world = World::perhaps_stale(0.5);
        world.is_down.store(thread_rng().gen_bool(0.2), SeqCst);
        let callers = (0..2).map(|_| {
            let (world, old) = (world.clone(), old.clone());
            spawn(async move {
                let landed = world.get_or_set(true).await.0;
                old.note_if(matches!(landed, Landed::Fetched { stored: false, .. }));
            })
        });
        let change = {
            let (world, down) = (world.clone(), down.clone());
            spawn(async move {
                world.truth.store(1, SeqCst);
                yield_now().await;
                world.delete().await;
                match world.get_or_set(true).await.0 {
                    Landed::Fetched { entry, .. } | Landed::Stale(entry, _) => assert_eq!(number(&entry), 1),
                    Landed::Failed(_, None) => down.note(),
                    other => panic!("{other:?}, after the change was acknowledged"),
                }
            })
        };
        all(callers.chain([change]).collect::<Vec<_>>());
        block_on(world.settle());
        assert_ne!(world.stored(), Some(0), "of before the change");
        new.note_if(world.stored() == Some(1));
    });
    old_served.assert("a caller of before the change is served what is not stored");
    new_stored.assert("what was fetched after it is stored");
    failed.assert("a fetch after it fails");
}

#[test]
fn a_flight_that_lost_its_place_to_one_change_is_found_by_the_next() {
    let (served_between, stored_last) = (Seen::default(), Seen::default());
    let (between, last) = (served_between.clone(), stored_last.clone());
    under(12_000, move || {
        let world = World::perhaps_stale(0.5);
        let callers = (0..2).map(|_| {
            let (world, between) = (world.clone(), between.clone());
            spawn(async move {
                if let (Landed::Fetched { entry, stored: false }, _) = world.get_or_set(true).await {
                    between.note_if(number(&entry) == 1);
                }
            })
        });
        let changes = {
            let world = world.clone();
            spawn(async move {
                for truth in [1, 2] {
                    world.truth.store(truth, SeqCst);
                    yield_now().await;
                    world.delete().await;
                }
            })
        };
        all(callers.chain([changes]).collect::<Vec<_>>());
        block_on(world.settle());
        assert!(!matches!(world.stored(), Some(0 | 1)), "of before the second change: {:?}", world.stored());
        last.note_if(world.stored() == Some(2));
    });
    served_between.assert("what was fetched between the changes is served to who waited and not stored");
    stored_last.assert("what was fetched after the second is stored");
}

#[test]
fn what_one_caller_wants_stored_is_stored_though_another_does_not() {
    let joined = Seen::default();
    let seen = joined.clone();
    under(5_000, move || {
        let world = World::perhaps_stale(0.3);
        let other = {
            let world = world.clone();
            spawn(async move { world.get_or_set(false).await })
        };
        match block_on(world.get_or_set(true)) {
            (Landed::Fetched { stored, .. }, led) => {
                assert!(stored);
                seen.note_if(!led);
            }
            // Whoever gets what is stale wants what replaces it stored.
            (Landed::Stale(..), _) => {
                block_on(world.settle());
                assert!(world.stored().is_some());
            }
            other => panic!("{other:?}"),
        }
        all([other]);
        block_on(world.settle());
    });
    joined.assert("one joins the other's flight");
}

#[test]
fn everyone_who_watches_a_lease_is_woken_by_what_happens_after() {
    let schedules = under_all(|| {
        let (watchers, key) = (Arc::new(Watchers::default()), Arc::from("a"));
        let mut watch = watchers.watch(&key);
        let other = {
            let (watchers, key) = (watchers.clone(), key.clone());
            shuttle::thread::spawn(move || drop(watchers.watch(&key)))
        };
        let news = {
            let watchers = watchers.clone();
            shuttle::thread::spawn(move || watchers.hear(Notice::Leased("a")))
        };
        block_on(watch.news());
        other.join().expect("dropped");
        news.join().expect("told");
        drop(watch);
        assert!(watchers.is_empty());
    });
    assert!(schedules > 10, "{schedules} schedules");
}
