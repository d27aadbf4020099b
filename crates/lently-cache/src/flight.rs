//! At most one fetch per key and process: the first caller's fetch runs on a task of its own, the others wait for it.
//! A flight knows nothing of tiers; what it runs and stores is handed in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::{
    entry::{Entry, FetchError},
    pattern::Pattern,
};

/// How a flight ended.
#[derive(Clone, Debug)]
pub(crate) enum Landed {
    /// A tier had the value.
    Found(Entry),
    /// Another process' fetch, which was waited for, brought it.
    Shared(Entry),
    /// The fetch brought it.
    Fetched { entry: Entry, stored: bool },
    /// Nothing was fetched: an earlier fetch, here or elsewhere, failed, and it is too early to try again.
    Remembered(FetchError),
    /// The fetch brought none.
    Failed(FetchError),
}

/// The flights under way, by key.
#[derive(Default)]
pub(crate) struct Flights {
    under_way: Mutex<HashMap<Arc<str>, Arc<Flight>>>,
}

pub(crate) struct Flight {
    landed: watch::Receiver<Option<Landed>>,
    /// Held while the value is being stored, so that a delete comes either before (and forbids it) or after (and
    /// removes it). True once the key was deleted.
    fence: AsyncMutex<bool>,
}

/// What a caller gets when it asks for a flight.
pub(crate) enum Boarding {
    /// Nobody flies; the caller must launch this one.
    Lead(Leader),
    /// Somebody does.
    Join(Arc<Flight>),
}

/// The leader's half. Dropped before [`land`](Self::land), it frees the followers with `Abandoned`.
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: Arc<str>,
    pub(crate) flight: Arc<Flight>,
    landing: watch::Sender<Option<Landed>>,
}

impl Flights {
    /// Joins the key's flight, or begins one.
    pub(crate) fn board(self: &Arc<Self>, key: &Arc<str>) -> Boarding {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(key) {
            return Boarding::Join(flight.clone());
        }
        let (landing, landed) = watch::channel(None);
        let flight = Arc::new(Flight { landed, fence: AsyncMutex::new(false) });
        under_way.insert(key.clone(), flight.clone());
        Boarding::Lead(Leader { flights: self.clone(), key: key.clone(), flight, landing })
    }

    /// Forbids the key's flight to store what it brings, and lets the next caller begin a new one.
    pub(crate) async fn fence(&self, key: &str) {
        let flight = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(flight) = flight {
            *flight.fence.lock().await = true;
        }
    }

    /// The same for every key that matches; for every key at all without a pattern.
    pub(crate) async fn fence_matching(&self, pattern: Option<&Pattern>) {
        let flights: Vec<_> = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way
                .extract_if(|key, _| pattern.is_none_or(|pattern| pattern.matches(key)))
                .map(|(_, flight)| flight)
                .collect()
        };
        for flight in flights {
            *flight.fence.lock().await = true;
        }
    }
}

impl Flight {
    /// Waits for the end. Leaving is free: the fetch goes on.
    pub(crate) async fn wait(&self) -> Landed {
        let mut landed = self.landed.clone();
        match landed.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or(Landed::Failed(FetchError::Abandoned)),
            Err(_) => Landed::Failed(FetchError::Abandoned),
        }
    }

    /// Runs `store` unless the key was deleted since the flight began; `None` if it was.
    pub(crate) async fn unless_fenced<T>(&self, store: impl Future<Output = T>) -> Option<T> {
        let fenced = self.fence.lock().await;
        if *fenced { None } else { Some(store.await) }
    }
}

impl Leader {
    /// Ends the flight and wakes everyone.
    pub(crate) fn land(self, landed: Landed) {
        let _ = self.landing.send(Some(landed));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            under_way.remove(&self.key);
        }
    }
}
