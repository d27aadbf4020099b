//! Who may read which analysis by its id: those who asked for it. Ids can be guessed, so knowing one is not enough.
//!
//! The store has the truth; this process remembers what it has granted, so that a hit does not wait for the store.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::store::Store;

/// Grants remembered; beyond it the memory starts over, and the store is asked again.
const REMEMBERED_MAX: usize = 50_000;
/// Lines on their way into the store; beyond it the caller writes its own and so slows down.
const WRITES_MAX: usize = 256;

type Grant = (UserId, AnalysisId);

pub(super) struct Access {
    store: Store,
    tasks: TaskTracker,
    writes: Arc<Semaphore>,
    granted: Mutex<HashSet<Grant>>,
}

impl Access {
    pub(super) fn new(store: Store, tasks: TaskTracker) -> Self {
        Self { store, tasks, writes: Arc::new(Semaphore::new(WRITES_MAX)), granted: Mutex::default() }
    }

    /// Remembers that a user asked for an analysis, and writes it down behind the answer.
    pub(super) async fn grant(&self, user: &UserId, id: &AnalysisId) {
        if !self.remember(user, id) {
            return;
        }
        match Arc::clone(&self.writes).try_acquire_owned() {
            Ok(permit) => {
                let (store, user, id) = (self.store.clone(), user.clone(), id.clone());
                self.tasks.spawn(async move {
                    write(&store, &user, &id).await;
                    drop(permit);
                });
            }
            Err(_) => write(&self.store, user, id).await,
        }
    }

    /// Whether a user asked for an analysis.
    pub(super) async fn may_read(&self, user: &UserId, id: &AnalysisId) -> Result<bool, ServiceError> {
        if self.granted().contains(&(user.clone(), id.clone())) {
            return Ok(true);
        }
        let linked = self.store.is_linked(user, id).await?;
        if linked {
            self.remember(user, id);
        }
        Ok(linked)
    }

    pub(super) fn revoke(&self, user: &UserId, id: &AnalysisId) {
        self.granted().remove(&(user.clone(), id.clone()));
    }

    fn remember(&self, user: &UserId, id: &AnalysisId) -> bool {
        let mut granted = self.granted();
        if granted.len() >= REMEMBERED_MAX {
            granted.clear();
        }
        granted.insert((user.clone(), id.clone()))
    }

    fn granted(&self) -> MutexGuard<'_, HashSet<Grant>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(store: &Store, user: &UserId, id: &AnalysisId) {
    if let Err(error) = store.link(user, id).await {
        tracing::warn!(analysis_id = %id, error = &error as &dyn std::error::Error, "history not written");
    }
}
