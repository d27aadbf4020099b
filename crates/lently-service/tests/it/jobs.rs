//! Analyses that are begun and waited for; how many at once; what the stop signal does.

use std::time::Duration;

use lently_cache::Controls;
use lently_emulator::Latency;
use lently_service::youtube::{FETCHES_MAX, FETCHES_WAITING_MAX};
use lently_service::{
    AnalysisRequest, AnalysisState, CommentsRequest, ServiceError, Stage, Started, UserId, UserPlan,
};
use lently_upstream::CommentOrder;
use tokio::sync::watch;

use crate::house::{House, Options, plain, request, slow};

const PATIENCE: Duration = Duration::from_secs(30);

fn other(max_comments: u32) -> AnalysisRequest {
    AnalysisRequest { max_comments, ..request(plain()) }
}

#[tokio::test]
async fn an_analysis_that_was_begun_is_found_by_its_id_until_and_after_it_ends() {
    let house = House::open().await;
    let user = UserId::local();
    let started = house.lently.start(&user, request(plain()), false).await.expect("begun");
    let Started::Running(id) = started else { panic!("it cannot be ready yet") };
    assert_eq!(id, house.lently.analysis_id(&request(plain())));
    let state = house.lently.wait(&user, &id, PATIENCE).await.expect("a state");
    let AnalysisState::Ready(answer) = state else { panic!("{state:?}") };
    assert!(house.lently.progress(&id).is_none());
    let again = house.lently.start(&user, request(plain()), false).await.expect("there");
    let Started::Ready(hit) = again else { panic!("it is there") };
    assert_eq!(hit.body, answer.body);
    let unknown = house.lently.analysis_id(&other(7));
    assert!(matches!(house.lently.analysis(&user, &unknown).await, Err(ServiceError::NotFound)));
}

#[tokio::test]
async fn more_than_may_run_and_wait_are_refused_as_busy() {
    let options = Options { max_running: 1, max_queued: 1, latency: slow(), ..Options::default() };
    let house = House::with(options).await;
    let user = UserId::local();
    for max_comments in [1, 2] {
        let started = house.lently.start(&user, other(max_comments), false).await.expect("begun");
        assert!(matches!(started, Started::Running(_)));
    }
    let refused = house.lently.start(&user, other(3), false).await.expect_err("a third");
    assert!(matches!(refused, ServiceError::Busy { waiting: 2 }), "{refused:?}");
    assert!(refused.is_retryable());
    assert_eq!(house.lently.usage(&user).await.expect("usage").used, 2, "the refused one is not counted");
    let joined = house.lently.start(&user, other(2), false).await.expect("joined");
    assert!(matches!(joined, Started::Running(_)), "one that is being made may always be joined");
}

#[tokio::test]
async fn progress_goes_through_the_stages_in_their_order() {
    let house = House::open().await;
    let (sender, mut receiver) = watch::channel(lently_service::Progress::default());
    let lently = house.lently.clone();
    let making = async move {
        let answer = lently.analyze(&UserId::local(), request(plain()), false, sender).await;
        answer.expect("an analysis")
    };
    let watching = async {
        let mut stages = vec![receiver.borrow().stage];
        while receiver.changed().await.is_ok() {
            let stage = receiver.borrow_and_update().stage;
            if stages.last() != Some(&stage) {
                stages.push(stage);
            }
        }
        stages
    };
    let (_, stages) = tokio::join!(making, watching);
    let order =
        [Stage::Queued, Stage::Metadata, Stage::Comments, Stage::Judging, Stage::Summarizing, Stage::Done];
    let place = |stage: &Stage| order.iter().position(|other| other == stage);
    assert!(stages.is_sorted_by_key(place), "{stages:?}");
    assert_eq!(stages.last(), Some(&Stage::Done));
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_waste_what_was_begun() {
    let house = House::with(Options { latency: slow(), ..Options::default() }).await;
    let (user, wanted) = (UserId::local(), request(plain()));
    let id = house.lently.analysis_id(&wanted);
    let (progress, mut watched) = watch::channel(lently_service::Progress::default());
    // The caller stays until the run has reached the video, whose answer the emulator holds back, and leaves there.
    tokio::select! {
        biased;
        at_work = watched.wait_for(|progress| progress.stage != Stage::Queued) => {
            assert!(at_work.is_ok(), "the caller is still there");
        }
        ended = house.lently.analyze(&user, wanted, false, progress) => {
            panic!("it ended before the caller left: {ended:?}");
        }
    }
    assert!(house.lently.progress(&id).is_some(), "it is still being made");
    let state = house.lently.wait(&user, &id, PATIENCE).await.expect("a state");
    assert!(matches!(state, AnalysisState::Ready(_)), "{state:?}");
    assert_eq!(house.counts().comment_threads, 1);
}

#[tokio::test]
async fn after_the_stop_signal_nothing_begins_and_what_waits_is_told() {
    let options = Options { max_running: 1, max_queued: 8, latency: slow(), ..Options::default() };
    let house = House::with(options).await;
    let user = UserId::local();
    let mut ids = Vec::new();
    for max_comments in [1, 2] {
        match house.lently.start(&user, other(max_comments), false).await.expect("begun") {
            Started::Running(id) => ids.push(id),
            Started::Ready(_) => panic!("it cannot be ready yet"),
        }
    }
    lently_testing::wait_until("the first is at work", PATIENCE, async || {
        let stage = house.lently.progress(&ids[0]).map(|progress| progress.borrow().stage);
        stage != Some(Stage::Queued)
    })
    .await;
    house.stop.cancel();
    let refused = house.lently.start(&user, other(3), false).await.expect_err("stopping");
    assert_eq!(refused.code(), "interrupted");
    let waiting = house.lently.wait(&user, &ids[1], PATIENCE).await.expect("a state");
    assert!(matches!(&waiting, AnalysisState::Failed { code, .. } if code == "interrupted"), "{waiting:?}");
    let at_work = house.lently.wait(&user, &ids[0], PATIENCE).await.expect("a state");
    assert!(matches!(at_work, AnalysisState::Ready(_)), "what was at work may end: {at_work:?}");
}

/// Each caller asks for another video, is gone at once and leaves a fetch behind; an analysis meanwhile is none of them.
#[tokio::test]
async fn fetches_that_callers_leave_behind_have_a_bound() {
    let latency = Latency { comment_threads: Duration::from_secs(2), ..Latency::default() };
    let house = House::with(Options { latency, ..Options::default() }).await;
    let asking = |number: usize| {
        let request = CommentsRequest {
            video_id: format!("another{number:04}").parse().expect("a video id"),
            max_comments: 100,
            order: CommentOrder::Relevance,
            include_replies: false,
        };
        let youtube = house.lently.youtube();
        async move { youtube.fetch_comments_cached(&request, UserPlan::Unlimited, &Controls::DEFAULT).await }
    };
    let most = FETCHES_MAX + FETCHES_WAITING_MAX;
    let leaving = (1..=most).map(|amount| tokio::time::timeout(Duration::from_millis(50), asking(amount)));
    let left = futures::future::join_all(leaving).await;
    assert!(left.iter().all(Result::is_err), "nobody has an answer yet");
    let refused = asking(most + 1).await.expect_err("one more");
    assert!(matches!(refused, ServiceError::Busy { waiting } if waiting <= most), "{refused:?}");
    let wanted = AnalysisRequest { order: CommentOrder::Time, ..request(plain()) };
    house.analyze(&wanted).await.expect("an analysis");
}
