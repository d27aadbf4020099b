//! What is said of an analysis while it is being made: invalidated, erased.

use std::path::Path;
use std::time::Duration;

use lently_service::{AnalysisId, AnalysisState, AnswerSource, ServiceError, Stage, Started, UserId};
use lently_testing::wait_until;

use crate::house::{House, Options, plain, request, slow, user};

const PATIENCE: Duration = Duration::from_secs(30);

/// A house with a slow YouTube on the store in `directory`; its cache is its own and empty.
async fn house_on(directory: &Path) -> House {
    let directory = Some(directory.to_owned());
    House::with(Options { latency: slow(), directory, ..Options::default() }).await
}

/// Begins an analysis and waits until it is at work.
async fn begin(house: &House, user: &UserId) -> AnalysisId {
    let started = house.lently.start(user, request(plain()), false).await.expect("begun");
    let Started::Running(id) = started else { panic!("it cannot be ready yet") };
    at_work(house, &id).await;
    id
}

async fn at_work(house: &House, id: &AnalysisId) {
    wait_until("it is at work", PATIENCE, async || {
        house.lently.progress(id).is_some_and(|progress| progress.borrow().stage != Stage::Queued)
    })
    .await;
}

#[tokio::test]
async fn an_analysis_invalidated_while_it_is_being_made_is_not_fresh_afterwards() {
    for whole_user in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let (house, user) = (house_on(directory.path()).await, UserId::local());
        let id = begin(&house, &user).await;
        if whole_user {
            house.lently.invalidate_user(&user).await.expect("invalidated");
        } else {
            house.lently.analyses().invalidate_analysis(&id).await.expect("invalidated");
        }
        let state = house.lently.wait(&user, &id, PATIENCE).await.expect("a state");
        assert!(matches!(state, AnalysisState::Ready(_)), "who waits gets it: {state:?}");
        house.settled().await;
        let next = house_on(directory.path()).await;
        let answer = next.analyze(&request(plain())).await.expect("an analysis");
        assert_eq!(answer.source, AnswerSource::Fetched, "by user: {whole_user}");
    }
}

#[tokio::test]
async fn an_analysis_erased_while_it_is_being_made_is_not_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let (house, user) = (house_on(directory.path()).await, UserId::local());
    let wanted = request(plain());
    let id = house.lently.analysis_id(&wanted);
    let waiting = house.analyze(&wanted);
    let erasing = async {
        at_work(&house, &id).await;
        house.lently.erase(&user, &id).await.expect("erased");
        let gone = house.lently.analysis(&user, &id).await;
        assert!(matches!(gone, Err(ServiceError::NotFound)), "{gone:?}");
    };
    let (answer, ()) = tokio::join!(waiting, erasing);
    assert!(!answer.expect("who waits gets it").stored);
    house.settled().await;
    assert!(matches!(house.lently.analysis(&user, &id).await, Err(ServiceError::NotFound)));
    assert!(matches!(house.lently.erase(&user, &id).await, Err(ServiceError::NotFound)));
    let next = house_on(directory.path()).await;
    assert_eq!(next.analyze(&wanted).await.expect("an analysis").source, AnswerSource::Fetched);
}

#[tokio::test]
async fn an_analysis_erased_while_it_is_being_made_and_asked_for_again_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let (house, ann) = (house_on(directory.path()).await, user("ann"));
    let id = begin(&house, &ann).await;
    house.lently.erase(&ann, &id).await.expect("erased");
    let again = house.lently.start(&ann, request(plain()), false).await.expect("begun");
    assert!(matches!(again, Started::Running(_)));
    let state = house.lently.wait(&ann, &id, PATIENCE).await.expect("a state");
    assert!(matches!(state, AnalysisState::Ready(_)), "{state:?}");
    house.settled().await;
    assert_eq!(house.lently.list(&ann, 10, None).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn an_analysis_that_others_wait_for_is_kept_for_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let (house, ann, bob) = (house_on(directory.path()).await, user("ann"), user("bob"));
    let id = begin(&house, &ann).await;
    house.lently.start(&bob, request(plain()), false).await.expect("joined");
    house.lently.erase(&ann, &id).await.expect("erased");
    let state = house.lently.wait(&bob, &id, PATIENCE).await.expect("a state");
    assert!(matches!(state, AnalysisState::Ready(_)), "{state:?}");
    assert!(matches!(house.lently.analysis(&ann, &id).await, Err(ServiceError::NotFound)));
}
