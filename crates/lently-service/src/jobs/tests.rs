use bytes::Bytes;
use lently_cache::Cost;

use super::*;
use crate::analysis::AnswerSource;

fn runs(max_running: usize, max_queued: usize) -> (Arc<Runs>, CancellationToken) {
    let stop = CancellationToken::new();
    (Arc::new(Runs::new(max_running, max_queued, TaskTracker::new(), stop.clone(), GRACE)), stop)
}

/// After the stop.
const GRACE: Duration = Duration::from_secs(10);

fn id(name: &str) -> AnalysisId {
    AnalysisId::derive(&[name])
}

fn answer(name: &str) -> AnalysisAnswer {
    AnalysisAnswer {
        id: id(name),
        body: Bytes::from_static(b"{}"),
        cached: false,
        source: AnswerSource::Fetched,
        stored: true,
        age: Duration::ZERO,
        ttl: Duration::ZERO,
        ttl_seconds: 0,
        stale: None,
        etag: String::new(),
        cost: Cost::default(),
    }
}

fn begin<Making>(
    runs: &Arc<Runs>,
    name: &str,
    user: &UserId,
    work: impl FnOnce(Arc<Run>) -> Making + Send + 'static,
) -> Result<Joined, ServiceError>
where
    Making: Future<Output = Ended> + Send + 'static,
{
    let payer = Payer::analysis(user.clone());
    runs.join_or_start(&id(name), &payer, None, Duration::from_secs(60), work, |_, _| async {})
}

fn started(joined: Result<Joined, ServiceError>) -> Arc<Run> {
    match joined {
        Ok(Joined::Started(run)) => run,
        _ => panic!("not started"),
    }
}

#[tokio::test]
async fn one_analysis_is_made_once_however_many_ask() {
    let (runs, _stop) = runs(2, 2);
    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let run = started(begin(&runs, "a", &UserId::local(), |_| async move {
        let _ = gate.await;
        Ok(answer("a"))
    }));
    let other = UserId::new("bob").expect("a user id");
    let joined = begin(&runs, "a", &other, |_| async { panic!("a second making") });
    assert!(matches!(joined, Ok(Joined::Shared(..))));
    assert!(run.is_of(&other));
    open.send(()).expect("the run waits");
    assert_eq!(run.ended().await.expect("made").id, id("a"));
    assert!(runs.get(&id("a")).is_none());
}

#[tokio::test]
async fn more_than_may_wait_are_refused_as_busy() {
    let (runs, _stop) = runs(1, 1);
    let wait = |_| std::future::pending::<Ended>();
    started(begin(&runs, "a", &UserId::local(), wait));
    started(begin(&runs, "b", &UserId::local(), wait));
    let refused = begin(&runs, "c", &UserId::local(), wait);
    assert!(matches!(refused, Err(ServiceError::Busy { waiting: 2 })));
}

#[tokio::test]
async fn a_panic_ends_the_run_and_is_remembered() {
    let (runs, _stop) = runs(1, 1);
    let run = started(begin(&runs, "a", &UserId::local(), |_| async { panic!("a defect") }));
    assert!(matches!(run.ended().await, Err(ServiceError::Interrupted)));
    assert!(runs.get(&id("a")).is_none());
    assert_eq!(runs.failure(&id("a")).map(|error| error.code()), Some("interrupted"));
    let again = started(begin(&runs, "a", &UserId::local(), |_| async { Ok(answer("a")) }));
    assert!(again.ended().await.is_ok());
    assert!(runs.failure(&id("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_stop_signal_ends_what_waits_at_once_and_what_is_at_work_after_its_grace() {
    let (runs, stop) = runs(1, 1);
    let wait = |_| std::future::pending::<Ended>();
    let at_work = started(begin(&runs, "a", &UserId::local(), wait));
    while runs.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let waiting = started(begin(&runs, "b", &UserId::local(), wait));
    let before = tokio::time::Instant::now();
    stop.cancel();
    assert!(waiting.ended().await.is_err());
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(at_work.ended().await.is_err());
    assert!(before.elapsed() >= GRACE);
    assert!(matches!(begin(&runs, "c", &UserId::local(), wait), Err(ServiceError::Interrupted)));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_has_an_end() {
    let (runs, _stop) = runs(1, 1);
    let wait = |_| std::future::pending::<Ended>();
    started(begin(&runs, "a", &UserId::local(), wait));
    while runs.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let waiting = started(begin(&runs, "b", &UserId::local(), wait));
    assert!(matches!(waiting.ended().await, Err(ServiceError::TimedOut)));
}

#[tokio::test]
async fn remembered_failures_have_a_bound() {
    let mut state = State::default();
    for number in 0..FAILURES_MAX + 5 {
        state.remember(&id(&number.to_string()), ServiceError::TimedOut);
    }
    assert_eq!(state.failures.len(), FAILURES_MAX);
    assert_eq!(state.order.len(), FAILURES_MAX);
    assert!(!state.failures.contains_key(&id("0")));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_everybody_left_holds_its_place_and_fails_nobody() {
    let (runs, stop) = runs(1, 0);
    let wait = |_| std::future::pending::<Ended>();
    let (ann, bob) = (UserId::local(), UserId::new("bob").expect("a user id"));
    started(begin(&runs, "a", &ann, wait));
    assert!(matches!(begin(&runs, "a", &bob, wait), Ok(Joined::Shared(..))));
    assert!(matches!(runs.leave(&id("a"), &ann), Left::Shared));
    assert!(matches!(runs.leave(&id("a"), &ann), Left::Nothing));
    let Left::Last(run) = runs.leave(&id("a"), &bob) else { panic!("bob was the last") };
    assert!(runs.get(&id("a")).is_none());
    assert!(matches!(begin(&runs, "a", &ann, wait), Err(ServiceError::Busy { waiting: 1 })));
    stop.cancel();
    assert!(run.ended().await.is_err());
    assert!(runs.failure(&id("a")).is_none());
    assert!(lock(&runs.state).left.is_empty());
}

/// Settling waits for the store; whoever asks meanwhile must not hear that there never was such an analysis.
#[tokio::test]
async fn a_failure_is_known_from_the_moment_the_run_is_gone() {
    let (runs, _stop) = runs(1, 1);
    let (seen, settling) = tokio::sync::oneshot::channel();
    let own = Arc::clone(&runs);
    let settle = move |_, _| async move {
        let known = own.get(&id("a")).is_none() && own.failure(&id("a")).is_some();
        seen.send(known).expect("the test waits");
    };
    let work = |_| async { Err(ServiceError::TimedOut) };
    let joined = runs.join_or_start(
        &id("a"),
        &Payer::analysis(UserId::local()),
        None,
        Duration::from_secs(60),
        work,
        settle,
    );
    assert!(started(joined).ended().await.is_err());
    assert!(settling.await.expect("settled"));
}
