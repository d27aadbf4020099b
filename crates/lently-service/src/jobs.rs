//! The analyses being made: at most one run per id, a bounded number at work, a bounded number waiting.
//!
//! A run belongs to the process, not to a caller: one who leaves does not end it. It ends by itself, by its time limit, or
//! with the process; its waiters are always told.

mod about;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lently_upstream::{Comment, VideoId};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::about::About;
use crate::analysis::AnalysisAnswer;
use crate::author::Author;
use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};
use crate::ledger::Payer;
use crate::progress::{Progress, Stage};
use crate::store::Reservation;

/// Failures remembered, so that one who comes back for the result learns of it; the oldest go first.
const FAILURES_MAX: usize = 1_000;

type Ended = Result<AnalysisAnswer, ServiceError>;

/// One analysis being made.
pub(crate) struct Run {
    id: AnalysisId,
    /// Who asked first, and what for: what it spends is theirs.
    payer: Payer,
    progress: watch::Sender<Progress>,
    ended: watch::Sender<Option<Ended>>,
    claims: Mutex<Claims>,
    keeping: AsyncMutex<Keeping>,
    about: Mutex<About>,
    canceled: CancellationToken,
}

/// What is to become of a result, by what was said of it while it was being made. It only ever moves down this list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keeping {
    /// Nothing was said: it is fresh.
    #[default]
    Fresh,
    /// It was invalidated: it is readable by its id, and the next request makes it anew.
    Expired,
    /// It was erased, by the last who had asked for it or with what it is about: it goes to whoever waits, and nothing of it is kept.
    Not,
}

/// Who asked for a run, and what was set aside for them.
#[derive(Default)]
pub(crate) struct Claims {
    pub users: HashSet<UserId>,
    /// Those who asked and have erased it since.
    pub gone: HashSet<UserId>,
    pub reservations: Vec<Reservation>,
}

impl Run {
    fn new(id: &AnalysisId, payer: &Payer, reservation: Option<Reservation>) -> Self {
        let claims = Claims {
            users: HashSet::from([payer.user.clone()]),
            reservations: reservation.into_iter().collect(),
            ..Claims::default()
        };
        Self {
            id: id.clone(),
            payer: payer.clone(),
            progress: watch::Sender::new(Progress::default()),
            ended: watch::Sender::new(None),
            claims: Mutex::new(claims),
            keeping: AsyncMutex::default(),
            about: Mutex::default(),
            canceled: CancellationToken::new(),
        }
    }

    pub(crate) const fn progress(&self) -> &watch::Sender<Progress> {
        &self.progress
    }

    /// Fires when nobody wants it any more.
    pub(crate) fn canceled(&self) -> CancellationToken {
        self.canceled.clone()
    }

    /// Ends it, at once, for nobody wants it any more.
    pub(crate) fn cancel(&self) {
        self.canceled.cancel();
    }

    /// Whose its expenses are.
    pub(crate) fn payer(&self) -> Payer {
        self.payer.clone()
    }

    /// Whether this user is among those who asked.
    pub(crate) fn is_of(&self, user: &UserId) -> bool {
        lock(&self.claims).users.contains(user)
    }

    /// How the result is to be kept. The guard is held while it is being kept, so that an invalidation comes either before
    /// (and is heeded) or after (and finds what there is to invalidate).
    pub(crate) async fn keeping(&self) -> AsyncMutexGuard<'_, Keeping> {
        self.keeping.lock().await
    }

    /// Says how the result is to be kept. What is being kept at the moment has been kept when this returns.
    pub(crate) async fn keep_as(&self, keeping: Keeping) {
        let mut current = self.keeping.lock().await;
        *current = keeping.max(*current);
    }

    /// Says of which video it is, or that it is of none.
    pub(crate) fn is_of_video(&self, video_id: Option<VideoId>) {
        lock(&self.about).is_of_video(video_id);
    }

    /// Says what it is made of.
    pub(crate) fn has_read(&self, comments: &[Comment]) {
        lock(&self.about).has_read(comments);
    }

    /// Whether it may be about a video.
    pub(crate) fn may_be_of(&self, video_id: &VideoId) -> bool {
        lock(&self.about).may_be_of(video_id)
    }

    /// Whether comments of an author may be in it: those that are being read are not known yet.
    pub(crate) fn may_have(&self, author: &Author) -> bool {
        lock(&self.about).may_have(author)
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Err(ServiceError::Interrupted)),
            Err(_) => Err(ServiceError::Interrupted),
        }
    }
}

/// How a caller came by a run.
pub(crate) enum Joined {
    /// It was begun for this caller.
    Started(Arc<Run>),
    /// It was there; where the caller's reservation was not needed, it is handed back.
    Shared(Arc<Run>, Option<Reservation>),
}

/// What a user leaves behind who no longer wants a run's result.
pub(crate) enum Left {
    /// The user was not among those who asked.
    Nothing,
    /// A run that others want.
    Shared,
    /// A run that nobody wants any more. It goes on for whoever waits, out of the way of a new one.
    Last(Arc<Run>),
}

/// All runs of this process.
pub(crate) struct Runs {
    state: Mutex<State>,
    places: Semaphore,
    max: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// After the stop signal, a run may go on for so long before it is given up.
    grace: Duration,
}

#[derive(Default)]
struct State {
    running: HashMap<AnalysisId, Arc<Run>>,
    /// Those that everybody has left. They hold their places until they end.
    left: Vec<Arc<Run>>,
    failures: HashMap<AnalysisId, ServiceError>,
    order: VecDeque<AnalysisId>,
}

impl State {
    fn remember(&mut self, id: &AnalysisId, error: ServiceError) {
        if self.failures.insert(id.clone(), error).is_none() {
            self.order.push_back(id.clone());
        }
        while self.order.len() > FAILURES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.failures.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, id: &AnalysisId) {
        if self.failures.remove(id).is_some() {
            self.order.retain(|other| other != id);
        }
    }
}

impl Runs {
    pub(crate) fn new(
        max_running: usize,
        max_queued: usize,
        tasks: TaskTracker,
        stop: CancellationToken,
        grace: Duration,
    ) -> Self {
        let max_running = max_running.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            state: Mutex::default(),
            places: Semaphore::new(max_running),
            max: max_running.saturating_add(max_queued),
            tasks,
            stop,
            grace,
        }
    }

    /// The run of an analysis, where one is going on.
    pub(crate) fn get(&self, id: &AnalysisId) -> Option<Arc<Run>> {
        lock(&self.state).running.get(id).cloned()
    }

    /// What is being made for a user.
    pub(crate) fn of(&self, user: &UserId) -> Vec<AnalysisId> {
        let state = lock(&self.state);
        state.running.values().filter(|run| run.is_of(user)).map(|run| run.id.clone()).collect()
    }

    /// Every run that is going on and has not been left by everybody.
    pub(crate) fn all(&self) -> Vec<(AnalysisId, Arc<Run>)> {
        lock(&self.state).running.iter().map(|(id, run)| (id.clone(), Arc::clone(run))).collect()
    }

    /// How the last run of an analysis failed, where it did and none has succeeded since.
    pub(crate) fn failure(&self, id: &AnalysisId) -> Option<ServiceError> {
        lock(&self.state).failures.get(id).cloned()
    }

    /// Tells those who come back for the result that it was canceled.
    pub(crate) fn remember_canceled(&self, id: &AnalysisId) {
        lock(&self.state).remember(id, ServiceError::Canceled);
    }

    pub(crate) fn forget_failure(&self, id: &AnalysisId) {
        lock(&self.state).forget(id);
    }

    /// Takes a user out of the run of an analysis.
    pub(crate) fn leave(&self, id: &AnalysisId, user: &UserId) -> Left {
        let mut state = lock(&self.state);
        let Some(run) = state.running.get(id).cloned() else { return Left::Nothing };
        let mut claims = lock(&run.claims);
        if !claims.users.remove(user) {
            return Left::Nothing;
        }
        claims.gone.insert(user.clone());
        if !claims.users.is_empty() {
            return Left::Shared;
        }
        drop(claims);
        state.running.remove(id);
        state.left.push(Arc::clone(&run));
        Left::Last(run)
    }

    /// Joins the run of an analysis or begins one, on the tracker. `work` makes the analysis once there is a place; `settle` is
    /// given the claims and whether they count, before anyone is told of the end.
    pub(crate) fn join_or_start<Work, Making, Settle, Settling>(
        self: &Arc<Self>,
        id: &AnalysisId,
        payer: &Payer,
        reservation: Option<Reservation>,
        wait_at_most: Duration,
        work: Work,
        settle: Settle,
    ) -> Result<Joined, ServiceError>
    where
        Work: FnOnce(Arc<Run>) -> Making + Send + 'static,
        Making: Future<Output = Ended> + Send + 'static,
        Settle: FnOnce(Claims, bool) -> Settling + Send + 'static,
        Settling: Future<Output = ()> + Send + 'static,
    {
        let mut state = lock(&self.state);
        if let Some(run) = state.running.get(id) {
            let run = Arc::clone(run);
            let mut claims = lock(&run.claims);
            let needless = if claims.users.insert(payer.user.clone()) {
                claims.reservations.extend(reservation);
                None
            } else {
                reservation
            };
            drop(claims);
            return Ok(Joined::Shared(run, needless));
        }
        if self.stop.is_cancelled() {
            return Err(ServiceError::Interrupted);
        }
        let waiting = state.running.len() + state.left.len();
        if waiting >= self.max {
            return Err(ServiceError::Busy { waiting });
        }
        state.forget(id);
        let run = Arc::new(Run::new(id, payer, reservation));
        state.running.insert(id.clone(), Arc::clone(&run));
        drop(state);
        let ending = Ending { runs: Arc::clone(self), run: Arc::clone(&run), result: None };
        let (runs, own) = (Arc::clone(self), Arc::clone(&run));
        // A part of the request that began it, however long that is gone.
        let span = tracing::debug_span!("analysis.run", outcome = tracing::field::Empty);
        self.tasks.spawn(async move {
            let mut ending = ending;
            let result = runs
                .carry_out(work(Arc::clone(&own)), own.canceled(), wait_at_most)
                .instrument(span.clone())
                .await;
            let made = |answer: &AnalysisAnswer| if answer.cached { "cached" } else { "made" };
            span.record("outcome", result.as_ref().map_or_else(ServiceError::code, made));
            let counts = result.as_ref().is_ok_and(|answer| !answer.cached);
            let claims = runs.close_doors(&own, result.as_ref().err());
            settle(claims, counts).await;
            ending.result = Some(result);
        });
        Ok(Joined::Started(run))
    }

    async fn carry_out(
        &self,
        making: impl Future<Output = Ended>,
        canceled: CancellationToken,
        wait_at_most: Duration,
    ) -> Ended {
        let _place = tokio::select! {
            place = self.places.acquire() => place.map_err(|_| ServiceError::Interrupted)?,
            () = self.stop.cancelled() => return Err(ServiceError::Interrupted),
            () = canceled.cancelled() => return Err(ServiceError::Canceled),
            () = tokio::time::sleep(wait_at_most) => return Err(ServiceError::TimedOut),
        };
        let given_up = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            result = making => result,
            () = canceled.cancelled() => Err(ServiceError::Canceled),
            () = given_up => Err(ServiceError::Interrupted),
        }
    }

    /// Nobody joins from here on, so every claim there will be is there. A failure is remembered in the same moment for those who
    /// asked: there is none in which the run is gone and how it ended is not known.
    fn close_doors(&self, run: &Arc<Run>, failure: Option<&ServiceError>) -> Claims {
        let mut state = lock(&self.state);
        if state.running.get(&run.id).is_some_and(|current| Arc::ptr_eq(current, run)) {
            state.running.remove(&run.id);
        }
        state.left.retain(|other| !Arc::ptr_eq(other, run));
        let claims = std::mem::take(&mut *lock(&run.claims));
        if let Some(error) = failure.filter(|_| !claims.users.is_empty()) {
            state.remember(&run.id, error.clone());
        }
        claims
    }
}

/// Tells the waiters of the end, also where the task panics or is dropped with its runtime.
struct Ending {
    runs: Arc<Runs>,
    run: Arc<Run>,
    result: Option<Ended>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or(Err(ServiceError::Interrupted));
        drop(self.runs.close_doors(&self.run, result.as_ref().err()));
        self.run.progress.send_replace(Progress::at(Stage::Done));
        self.run.ended.send_replace(Some(result));
    }
}

/// A panic elsewhere while the lock was held leaves plain maps behind, not broken ones.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
