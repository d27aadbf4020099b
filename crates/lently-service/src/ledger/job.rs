//! What a job has set aside of a bucket before it began: what it takes first, and gives back at its end.

use std::sync::{Arc, Mutex, PoisonError};

use lently_upstream::Bucket;

use super::book::Held;

/// What is set aside for a job. Cheap to clone; with the last clone, what is left is given back.
#[derive(Clone)]
pub struct Job(Arc<Inner>);

struct Inner {
    bucket: Bucket,
    wanted: u64,
    held: Mutex<Option<Held>>,
}

impl Job {
    pub(super) fn new(bucket: Bucket, wanted: u64, held: Option<Held>) -> Self {
        Self(Arc::new(Inner { bucket, wanted, held: Mutex::new(held) }))
    }

    fn held<T>(&self, look: impl FnOnce(&mut Option<Held>) -> T) -> T {
        look(&mut self.0.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is still set aside of it, and what was wanted at first.
    pub(crate) fn granted(&self) -> (u64, u64) {
        (self.held(|held| held.as_ref().map_or(0, Held::amount)), self.0.wanted)
    }

    /// Takes units out of it, if it is for that bucket and has as many left of today.
    pub(super) fn take(&self, bucket: Bucket, units: u64) -> Option<Held> {
        if bucket != self.0.bucket {
            return None;
        }
        self.held(|held| held.as_mut()?.split(units))
    }

    /// Gives back what is left; whether there was anything.
    pub(super) fn give_back(&self) -> bool {
        self.held(Option::take).is_some_and(|held| held.amount() > 0)
    }
}
