//! How many fetches callers may have going at once. A caller who leaves does not end a fetch, so it is not the callers that
//! are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ServiceError;

/// Places to fetch in, and to wait in for one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Places {
    running: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// A place, until it is dropped.
pub(crate) struct Place {
    taken: Arc<AtomicUsize>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(crate) fn new(max_running: usize, max_waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(max_running)),
            taken: Arc::default(),
            max: max_running.saturating_add(max_waiting),
        }
    }

    /// Waits for a place to fetch in; refuses where as many wait already as may. It may be dropped while it waits.
    pub(crate) async fn take(&self) -> Result<Place, ServiceError> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        // From here on the count is given back by the drop, wherever this ends.
        let mut place = Place { taken: Arc::clone(&self.taken), permit: None };
        if taken >= self.max {
            return Err(ServiceError::Busy { waiting: taken });
        }
        let permit = Arc::clone(&self.running).acquire_owned().await;
        place.permit = Some(permit.map_err(|_| ServiceError::Interrupted)?);
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        // The permit goes back by itself.
        self.permit.take();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn more_than_may_wait_are_refused_and_a_place_left_is_free_again() {
        let places = Places::new(1, 1);
        let first = places.take().await.expect("a place");
        let mut second = Box::pin(places.take());
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert!(matches!(places.take().await, Err(ServiceError::Busy { waiting: 2 })));
        drop(second);
        let mut third = Box::pin(places.take());
        assert!(third.as_mut().now_or_never().is_none(), "it waits where the second did");
        drop(first);
        third.await.expect("the first one's place");
        places.take().await.expect("everything was given back");
    }
}
