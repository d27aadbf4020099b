//! Fetching many ids in one upstream call: those that are asked for within a short window, by whomever, go out together. It
//! knows no key and no tier: it stands behind the flights, each of which asks it for its own id.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{sync::oneshot, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    chance::Hashing,
    entry::{FailureClass, FetchFailure, Fetched},
};

/// What an upstream call says of each id it was asked for. An id it says nothing of is not found.
pub type Batch<I> = HashMap<I, Result<Fetched, FetchFailure>>;

/// How ids are gathered into upstream calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// The most ids in one call; one at least. A batch that is full goes out at once.
    pub max_ids: usize,
    /// How long the first id of a batch waits for others. It counts into the fetch timeouts of those who wait, so it should be
    /// a small part of them; zero is as long as it takes to ask a timer.
    pub window: Duration,
}

impl Default for Batching {
    /// 50 ids, 5 ms: within one `videos.list` of YouTube, and hardly felt beside a call over a network.
    fn default() -> Self {
        Self { max_ids: 50, window: Duration::from_millis(5) }
    }
}

/// A loader of many ids. Cheap to clone; all clones gather into the same batches. Made by
/// [`CacheService::bulk`](crate::CacheService::bulk).
pub struct Bulk<I>(Arc<Inner<I>>);

struct Inner<I> {
    batching: Batching,
    call: Call<I>,
    tasks: TaskTracker,
    gathering: Mutex<Gathering<I>>,
}

type Call<I> = Box<dyn Fn(Vec<I>) -> BoxFuture<'static, Result<Batch<I>, FetchFailure>> + Send + Sync>;

/// The batch that has not gone out yet.
struct Gathering<I> {
    /// In the order in which they were first asked for.
    ids: Vec<I>,
    waiting: HashMap<I, Vec<Waiter>, Hashing>,
    /// Which batch it is: a window that ends late does not end the next one's.
    number: u64,
    /// Cancelled when it goes out, so that no window is waited for in vain.
    out: CancellationToken,
}

type Waiter = oneshot::Sender<Result<Fetched, FetchFailure>>;

/// Why an id has no value, where upstream gave no reason.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum BulkError {
    #[error("it is not among what the bulk call answered")]
    Missing,
    #[error("the bulk call ended without an answer")]
    Abandoned,
}

impl<I> Clone for Bulk<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I> fmt::Debug for Bulk<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk").field("batching", &self.0.batching).finish_non_exhaustive()
    }
}

impl<I: Clone + Eq + Hash + Send + Sync + 'static> Bulk<I> {
    pub(crate) fn new<F, Fut>(batching: Batching, tasks: TaskTracker, call: F) -> Self
    where
        F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Batch<I>, FetchFailure>> + Send + 'static,
    {
        let call = Box::new(move |ids| -> BoxFuture<'static, _> { Box::pin(call(ids)) });
        Self(Arc::new(Inner { batching, call, tasks, gathering: Mutex::new(Gathering::of(0)) }))
    }

    /// Fetches one id together with others that are asked for at the same time: the fetch to give to
    /// [`get_or_set`](crate::CacheService::get_or_set) where an id is wanted alone.
    ///
    /// The call runs on a task of its own, for as long as anyone waits for an id of it.
    ///
    /// # Errors
    /// What the call says of the id, or of all; [`FailureClass::NotFound`] if it says nothing of it;
    /// [`FailureClass::Transient`] if it panics.
    pub fn fetch(&self, id: I) -> impl Future<Output = Result<Fetched, FetchFailure>> + Send + use<I> {
        let answer = self.enter(id);
        async move {
            let abandoned = |_| Err(FetchFailure::new(FailureClass::Transient, BulkError::Abandoned));
            answer.await.unwrap_or_else(abandoned)
        }
    }

    /// Puts an id into the batch that is being gathered, and begins one where there is none.
    fn enter(&self, id: I) -> oneshot::Receiver<Result<Fetched, FetchFailure>> {
        let (waiter, answer) = oneshot::channel();
        let mut gathering = self.gathering();
        if let Some(waiters) = gathering.waiting.get_mut(&id) {
            waiters.push(waiter);
            return answer;
        }
        gathering.ids.push(id.clone());
        gathering.waiting.insert(id, vec![waiter]);
        if gathering.ids.len() >= self.0.batching.max_ids {
            let batch = gathering.take();
            drop(gathering);
            self.0.tasks.spawn(self.clone().send(batch));
        } else if gathering.ids.len() == 1 {
            let (number, out) = (gathering.number, gathering.out.clone());
            drop(gathering);
            let this = self.clone();
            self.0.tasks.spawn(async move {
                if out.run_until_cancelled(sleep(this.0.batching.window)).await.is_none() {
                    return;
                }
                let batch = {
                    let mut gathering = this.gathering();
                    (gathering.number == number).then(|| gathering.take())
                };
                if let Some(batch) = batch {
                    this.send(batch).await;
                }
            });
        }
        answer
    }

    /// Makes the call and tells everyone. Ids that nobody waits for any more are left out.
    async fn send(self, Gathering { mut ids, mut waiting, .. }: Gathering<I>) {
        waiting.retain(|_, waiters| waiters.iter().any(|waiter| !waiter.is_closed()));
        ids.retain(|id| waiting.contains_key(id));
        if ids.is_empty() {
            return;
        }
        let answered = {
            let call = (self.0.call)(ids);
            // As with a single fetch, nobody pays for what has taken longer than all who wait allow.
            let gone = async {
                for waiter in waiting.values_mut().flatten() {
                    waiter.closed().await;
                }
            };
            tokio::select! {
                biased;
                answered = call => answered,
                () = gone => return,
            }
        };
        match answered {
            Ok(mut batch) => {
                for (id, waiters) in waiting {
                    let missing = || Err(FetchFailure::new(FailureClass::NotFound, BulkError::Missing));
                    tell(waiters, &batch.remove(&id).unwrap_or_else(missing));
                }
            }
            Err(failure) => {
                let failed = Err(failure);
                waiting.into_values().for_each(|waiters| tell(waiters, &failed));
            }
        }
    }

    fn gathering(&self) -> std::sync::MutexGuard<'_, Gathering<I>> {
        self.0.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I> Gathering<I> {
    fn of(number: u64) -> Self {
        Self { ids: Vec::new(), waiting: HashMap::default(), number, out: CancellationToken::new() }
    }

    /// What has been gathered; the next begins.
    fn take(&mut self) -> Self {
        let next = Self::of(self.number + 1);
        let gathered = std::mem::replace(self, next);
        gathered.out.cancel();
        gathered
    }
}

fn tell(waiters: Vec<Waiter>, answer: &Result<Fetched, FetchFailure>) {
    for waiter in waiters {
        // Who has left needs no answer.
        let _ = waiter.send(answer.clone());
    }
}
