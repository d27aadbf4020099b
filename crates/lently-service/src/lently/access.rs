//! Who may read which analysis by its id: those who asked for it. Ids can be guessed, so knowing one is not enough.
//!
//! The store has the truth; this process remembers what it has granted, so that a hit does not wait for the store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lently_cache::Clock;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio_util::task::TaskTracker;

use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::store::{Erased, Store, later};

/// Grants remembered; beyond it the memory starts over, and the store is asked again.
const REMEMBERED_MAX: usize = 50_000;
/// Lines on their way into the store; beyond it the caller waits for one to arrive and so slows down.
const WRITES_MAX: usize = 256;
/// A line is written again for a later request, but not more often than this: a storm of hits is one request to a history.
const LINE_EVERY: Duration = Duration::from_secs(1);

type Grant = (UserId, AnalysisId);

pub(super) struct Access {
    book: Arc<Book>,
    tasks: TaskTracker,
    writes: Arc<Semaphore>,
}

struct Book {
    store: Store,
    clock: Clock,
    lines: Mutex<Lines>,
    /// Held while a line is written or taken away, so that one that was taken away does not come back.
    order: AsyncMutex<()>,
}

#[derive(Default)]
struct Lines {
    /// When each was last written down; `None` where that failed and is to be tried again.
    granted: HashMap<Grant, Option<Timestamp>>,
    /// Those on their way into the store.
    pending: HashSet<Grant>,
}

impl Lines {
    /// Whether the line wants writing, and nobody is about to.
    fn wants(&self, grant: &Grant, now: Timestamp) -> bool {
        let recent = |written: Timestamp| now < later(written, LINE_EVERY);
        !self.pending.contains(grant) && !self.granted.get(grant).copied().flatten().is_some_and(recent)
    }

    fn remember(&mut self, grant: Grant, written: Option<Timestamp>) {
        if self.granted.len() >= REMEMBERED_MAX {
            self.granted.clear();
        }
        self.granted.insert(grant, written);
    }
}

impl Access {
    pub(super) fn new(store: Store, clock: Clock, tasks: TaskTracker) -> Self {
        let book = Book { store, clock, lines: Mutex::default(), order: AsyncMutex::default() };
        Self { book: Arc::new(book), tasks, writes: Arc::new(Semaphore::new(WRITES_MAX)) }
    }

    /// Remembers that a user asked for an analysis, and writes it down behind the answer. Where that fails, the next request
    /// writes it.
    pub(super) async fn grant(&self, user: &UserId, id: &AnalysisId) {
        let grant = (user.clone(), id.clone());
        if !self.book.lines().wants(&grant, self.book.clock.now()) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.writes).acquire_owned().await else { return };
        let now = self.book.clock.now();
        let mut lines = self.book.lines();
        if !lines.wants(&grant, now) {
            return;
        }
        lines.remember(grant.clone(), Some(now));
        lines.pending.insert(grant.clone());
        drop(lines);
        let book = Arc::clone(&self.book);
        self.tasks.spawn(async move {
            book.write(grant).await;
            drop(permit);
        });
    }

    /// Writes down at once what is still on its way for a user: their history tells of what they have just asked for.
    pub(super) async fn write_down(&self, user: &UserId) {
        let pending: Vec<Grant> =
            self.book.lines().pending.iter().filter(|(of, _)| of == user).cloned().collect();
        for grant in pending {
            self.book.write(grant).await;
        }
        // One that is being written just now is none of these any more.
        drop(self.book.order.lock().await);
    }

    /// Whether a user asked for an analysis.
    pub(super) async fn may_read(&self, user: &UserId, id: &AnalysisId) -> Result<bool, ServiceError> {
        let grant = (user.clone(), id.clone());
        let known = self.book.lines().granted.get(&grant).copied();
        match known {
            Some(Some(_)) => Ok(true),
            Some(None) => {
                self.grant(user, id).await;
                Ok(true)
            }
            None => {
                let linked = self.book.store.is_linked(user, id).await?;
                if linked {
                    // Written some time ago: the next request writes its own time.
                    self.book.lines().remember(grant, Some(Timestamp::MIN));
                }
                Ok(linked)
            }
        }
    }

    /// Takes a user's line away, also one that is still on its way, and the analysis with the last line.
    pub(super) async fn revoke(&self, user: &UserId, id: &AnalysisId) -> Result<Erased, ServiceError> {
        let _order = self.book.order.lock().await;
        let own = (user.clone(), id.clone());
        // What is on its way counts as written, other users' lines too: the last line decides what is erased.
        let unwritten: HashSet<Grant> = {
            let lines = self.book.lines();
            let failed = lines.granted.get(&own) == Some(&None);
            let pending = lines.pending.iter().filter(|(_, of)| of == id).cloned();
            pending.chain(failed.then(|| own.clone())).collect()
        };
        for (of, id) in &unwritten {
            self.book.store.link(of, id).await?;
        }
        {
            let mut lines = self.book.lines();
            lines.pending.retain(|grant| !unwritten.contains(grant));
            lines.granted.remove(&own);
        }
        self.book.store.erase(user, id).await
    }
}

impl Book {
    async fn write(&self, grant: Grant) {
        let _order = self.order.lock().await;
        if !self.lines().pending.remove(&grant) {
            return;
        }
        let (user, id) = &grant;
        if let Err(error) = self.store.link(user, id).await {
            tracing::warn!(analysis_id = %id, error = &error as &dyn std::error::Error, "history not written");
            self.lines().remember(grant, None);
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct House {
        access: Access,
        store: Store,
        clock: Clock,
        tasks: TaskTracker,
    }

    fn house(database_url: &str) -> House {
        let clock = Clock::manual("2026-11-24T12:00:00Z".parse().expect("a time"));
        let store = Store::new(database_url, clock.clone()).expect("an address");
        let tasks = TaskTracker::new();
        House { access: Access::new(store.clone(), clock.clone(), tasks.clone()), store, clock, tasks }
    }

    impl House {
        async fn grant(&self, user: &UserId, id: &AnalysisId) {
            self.access.grant(user, id).await;
            self.tasks.close();
            self.tasks.wait().await;
            self.tasks.reopen();
        }
    }

    #[tokio::test]
    async fn a_line_that_could_not_be_written_is_written_with_the_next_request() {
        let directory = tempfile::tempdir().expect("a directory");
        let in_the_way = directory.path().join("data");
        std::fs::write(&in_the_way, "not a directory").expect("a file");
        let house = house(&format!("sqlite:{}", in_the_way.join("lently.db").display()));
        let (user, id) = (UserId::local(), AnalysisId::derive(&["a"]));
        house.grant(&user, &id).await;
        std::fs::remove_file(&in_the_way).expect("removed");
        assert!(!house.store.is_linked(&user, &id).await.expect("read"));
        assert!(house.access.may_read(&user, &id).await.expect("read"), "who asked may read it meanwhile");
        house.grant(&user, &id).await;
        assert!(house.store.is_linked(&user, &id).await.expect("read"));
    }

    /// The task that writes has not run when the line is taken away: there is one thread, and nothing was awaited.
    #[tokio::test]
    async fn a_line_taken_away_while_it_is_on_its_way_does_not_come_back() {
        let house = house("sqlite::memory:");
        let (ann, bob) = (UserId::local(), UserId::new("bob").expect("a user id"));
        let id = AnalysisId::derive(&["a"]);
        house.access.grant(&ann, &id).await;
        house.access.grant(&bob, &id).await;
        assert_eq!(house.access.revoke(&ann, &id).await.expect("revoked"), Erased::Line, "bob has it too");
        house.grant(&bob, &id).await;
        assert!(!house.store.is_linked(&ann, &id).await.expect("read"));
        assert!(!house.access.may_read(&ann, &id).await.expect("read"));
        assert!(house.access.may_read(&bob, &id).await.expect("read"));
    }

    #[tokio::test]
    async fn a_storm_of_requests_is_one_line_a_second() {
        let house = house("sqlite::memory:");
        let (user, id) = (UserId::local(), AnalysisId::derive(&["a"]));
        for wanted in [true, false, false] {
            let now = house.clock.now();
            assert_eq!(house.access.book.lines().wants(&(user.clone(), id.clone()), now), wanted);
            house.grant(&user, &id).await;
        }
        house.clock.advance(LINE_EVERY);
        assert!(house.access.book.lines().wants(&(user, id), house.clock.now()));
    }
}
