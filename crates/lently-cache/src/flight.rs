//! At most one fetch per key and process: the first caller's fetch runs on a task of its own, the others wait for it.
//! A flight knows nothing of tiers; what it runs and stores is handed in.

use std::collections::{HashMap, HashSet};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    chance::Hashing,
    entry::{Entry, FetchError, StaleReason},
    pattern::Pattern,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    tags::Tagged,
};

/// How a flight ended.
#[derive(Clone, Debug)]
pub(crate) enum Landed {
    /// A tier had the value.
    Found(Entry),
    /// A tier had it, no longer fresh; where it is being refreshed, by a flight of its own.
    Stale(Entry, StaleReason),
    /// Another process' fetch, which was waited for, brought it.
    Shared(Entry),
    /// The fetch brought it.
    Fetched { entry: Entry, stored: bool },
    /// Nothing was fetched: an earlier fetch, here or elsewhere, failed, and it is too early to try again.
    /// With what the tiers still have within its retention.
    Remembered(FetchError, Option<Entry>),
    /// The fetch brought none. With what the tiers still have within its retention.
    Failed(FetchError, Option<Entry>),
}

/// The flights under way, by key.
#[derive(Default)]
pub(crate) struct Flights {
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// Those that are joined.
    under_way: HashMap<Arc<str>, Arc<Flight>, Hashing>,
    /// Those that nobody joins any more, and that fetch what they may store: a deletion has to find them.
    apart: Vec<(Arc<str>, Arc<Flight>)>,
    /// Keys that a caller looks for by itself.
    looked_for: HashSet<Arc<str>, Hashing>,
}

impl Places {
    /// Lets nobody join the flight any more.
    fn part(&mut self, key: &Arc<str>, flight: Arc<Flight>) {
        if flight.is_fetching() {
            self.apart.push((key.clone(), flight));
        }
    }

    fn has(&self, key: &str, flight: &Arc<Flight>) -> bool {
        self.under_way.get(key).is_some_and(|current| Arc::ptr_eq(current, flight))
    }
}

pub(crate) struct Flight {
    landed: OnceLock<Landed>,
    /// It has landed, or nobody flies it any more.
    over: CancellationToken,
    /// Held while the value is being stored, so that a delete comes either before (and forbids it) or after (and
    /// removes it). True once the key was deleted.
    fence: AsyncMutex<bool>,
    /// Whether anyone who waits lets the value be stored.
    is_to_be_stored: AtomicBool,
    /// The versions of its tags, once its fetch has begun, and the fetch's span.
    tagged: OnceLock<(Tagged, Span)>,
    /// Whatever it lands with is yet to be fetched.
    is_all_new: AtomicBool,
    /// It only stores what it fetched.
    is_fetched: AtomicBool,
    /// Nobody joins it any more: what it brings is not to be stored.
    retired: CancellationToken,
}

/// What a caller gets when it asks for a flight.
pub(crate) enum Boarding {
    /// Nobody flies; the caller must launch this one.
    Lead(Leader),
    /// Somebody does.
    Join(Arc<Flight>),
}

/// The right to look for a key without a flight, until it is dropped. Nobody waits for who has it, so its caller needs no task of
/// its own to be sure that it gets on.
pub(crate) struct Lookout {
    flights: Arc<Flights>,
    key: Arc<str>,
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.flights.lock().looked_for.remove(&self.key);
    }
}

/// The leader's half. Dropped before [`land`](Self::land), it frees the followers with `Abandoned`.
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: Arc<str>,
    pub(crate) flight: Arc<Flight>,
    /// The span in which the flight was launched.
    pub(crate) launched_by: Span,
}

impl Flights {
    /// Joins the key's flight, or begins one. `store`: whether the caller lets what is fetched be stored.
    pub(crate) fn board(self: &Arc<Self>, key: &Arc<str>, store: bool) -> Boarding {
        let under_way = &mut self.lock().under_way;
        if let Some(flight) = under_way.get(key) {
            flight.is_to_be_stored.fetch_or(store, Relaxed);
            return Boarding::Join(flight.clone());
        }
        let leader = Leader::new(self.clone(), key.clone(), store);
        under_way.insert(key.clone(), leader.flight.clone());
        Boarding::Lead(leader)
    }

    /// The right to look for the key by oneself, where nobody else does and nobody flies: two who look at the same time are better
    /// off with a flight, and a crowd is with one look of theirs.
    pub(crate) fn look_out(self: &Arc<Self>, key: &Arc<str>) -> Option<Lookout> {
        let mut places = self.lock();
        let alone = !places.under_way.contains_key(key) && places.looked_for.insert(key.clone());
        drop(places);
        alone.then(|| Lookout { flights: self.clone(), key: key.clone() })
    }

    /// The key's flight, without joining it.
    pub(crate) fn look(&self, key: &str) -> Option<Arc<Flight>> {
        self.lock().under_way.get(key).cloned()
    }

    /// Forbids the key's flight to store what it brings, and lets the next caller begin a new one.
    pub(crate) async fn fence(&self, key: &str) {
        self.fence_where(|other| other == key).await;
    }

    /// Lets the next caller of the key begin a new flight: a tag of this one was changed.
    pub(crate) fn retire(&self, key: &str, flight: &Arc<Flight>) {
        let mut places = self.lock();
        if places.has(key, flight) {
            places.under_way.remove(key);
        }
        drop(places);
        flight.retired.cancel();
    }

    /// Lets nobody join a flight any more that began while the key was being changed and may have found what was there before.
    /// To be called once the change is made; what it fetches may be stored, for that fetch began after the change did.
    pub(crate) fn part(&self, key: &str) {
        self.part_where(|other| other == key);
    }

    /// The same for every key that matches.
    pub(crate) fn part_matching(&self, pattern: &Pattern) {
        self.part_where(|key| pattern.matches(key));
    }

    fn part_where(&self, is_changed: impl Fn(&str) -> bool) {
        let mut places = self.lock();
        let parted: Vec<_> = places
            .under_way
            .extract_if(|key, flight| !flight.is_all_new.load(Relaxed) && is_changed(key))
            .collect();
        for (key, flight) in parted {
            places.part(&key, flight);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let places = self.lock();
        places.under_way.is_empty() && places.apart.is_empty() && places.looked_for.is_empty()
    }

    /// The same as a fence for every key that matches; for every key at all without a pattern.
    pub(crate) async fn fence_matching(&self, pattern: Option<&Pattern>) {
        self.fence_where(|key| pattern.is_none_or(|pattern| pattern.matches(key))).await;
    }

    async fn fence_where(&self, is_changed: impl Fn(&str) -> bool) {
        let flights: Vec<_> = {
            let mut places = self.lock();
            let Places { under_way, apart, .. } = &mut *places;
            let joined = under_way.extract_if(|key, _| is_changed(key));
            joined.chain(apart.extract_if(.., |(key, _)| is_changed(key))).collect()
        };
        for (_, flight) in flights {
            *flight.fence.lock().await = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Waits for the end. Leaving is free: the fetch goes on.
    pub(crate) async fn wait(&self) -> Landed {
        self.over.cancelled().await;
        self.landed.get().cloned().unwrap_or(Landed::Failed(FetchError::Abandoned, None))
    }

    /// Its fetch is over: whoever wants it fetched anew comes too late for it.
    pub(crate) fn has_fetched(&self) {
        self.is_fetched.store(true, Relaxed);
    }

    /// Whether its fetch is over.
    pub(crate) fn is_fetched(&self) -> bool {
        self.is_fetched.load(Relaxed)
    }

    /// Whether its fetch has begun.
    pub(crate) fn is_fetching(&self) -> bool {
        self.tagged.get().is_some()
    }

    /// The span of its fetch, once that has begun.
    pub(crate) fn fetching(&self) -> Option<&Span> {
        self.tagged.get().map(|(_, span)| span)
    }

    /// The versions of its tags where a change of one was heard of since.
    pub(crate) fn outdated(&self) -> Option<&Tagged> {
        self.tagged.get().map(|(tagged, _)| tagged).filter(|tagged| !tagged.is_unchanged())
    }

    /// Waits until nobody joins it any more.
    pub(crate) async fn retired(&self) {
        self.retired.cancelled().await;
    }

    /// Runs `store` unless the key was deleted since the flight began; `None` if it was.
    pub(crate) async fn unless_fenced<T>(&self, store: impl Future<Output = T>) -> Option<T> {
        let fenced = self.fence.lock().await;
        if *fenced { None } else { Some(store.await) }
    }
}

impl Leader {
    fn new(flights: Arc<Flights>, key: Arc<str>, store: bool) -> Self {
        let flight = Flight {
            landed: OnceLock::new(),
            over: CancellationToken::new(),
            fence: AsyncMutex::new(false),
            is_to_be_stored: AtomicBool::new(store),
            tagged: OnceLock::new(),
            is_all_new: AtomicBool::new(false),
            is_fetched: AtomicBool::new(false),
            retired: CancellationToken::new(),
        };
        Self { flights, key, flight: Arc::new(flight), launched_by: Span::none() }
    }

    /// Whether anyone who waits lets the value be stored. If not, nobody joins any more who would.
    pub(crate) fn is_to_be_stored(&self) -> bool {
        let mut places = self.flights.lock();
        let store = self.flight.is_to_be_stored.load(Relaxed);
        if !store && places.has(&self.key, &self.flight) {
            places.under_way.remove(&self.key);
        }
        store
    }

    /// Its fetch begins, with these versions of its tags; `is_all_new` unless it has something older to land with. Whoever deleted the
    /// key did so before: what is fetched now may be stored, unless the key is deleted again.
    pub(crate) async fn begins_with(&self, tagged: &Tagged, is_all_new: bool, span: &Span) {
        *self.flight.fence.lock().await = false;
        let mut places = self.flights.lock();
        let _ = self.flight.tagged.set((tagged.clone(), span.clone()));
        self.flight.is_all_new.store(is_all_new, Relaxed);
        if !places.has(&self.key, &self.flight) {
            places.part(&self.key, self.flight.clone());
        }
    }

    /// Lets the next caller begin a new flight: what this one brings is of the past, and not to be stored.
    pub(crate) async fn retire(&self) {
        self.flights.retire(&self.key, &self.flight);
        *self.flight.fence.lock().await = true;
    }

    /// Ends the flight with what there is for now, and goes on as another one in its place: whoever comes later joins that.
    pub(crate) fn land_and_go_on(self, landed: Landed) -> Self {
        let mut next = {
            let under_way = &mut self.flights.lock().under_way;
            let place = under_way.get_mut(&self.key).filter(|place| Arc::ptr_eq(place, &self.flight));
            let store = self.flight.is_to_be_stored.load(Relaxed);
            let next = Self::new(self.flights.clone(), self.key.clone(), store);
            if let Some(place) = place {
                *place = next.flight.clone();
            }
            next
        };
        next.launched_by = self.launched_by.clone();
        self.land(landed);
        next
    }

    /// Ends the flight and wakes everyone.
    pub(crate) fn land(self, landed: Landed) {
        let _ = self.flight.landed.set(landed);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut places = self.flights.lock();
        if places.has(&self.key, &self.flight) {
            places.under_way.remove(&self.key);
        }
        places.apart.retain(|(_, flight)| !Arc::ptr_eq(flight, &self.flight));
        drop(places);
        self.flight.over.cancel();
    }
}
