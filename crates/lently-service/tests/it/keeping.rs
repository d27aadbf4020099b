//! What is said of an analysis while it is being made: invalidated, erased.

use std::path::Path;
use std::time::Duration;

use lently_service::{AnalysisId, AnalysisState, AnswerSource, Stage, Started, UserId};
use lently_testing::wait_until;

use crate::house::{House, Options, plain, request, slow};

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
    wait_until("it is at work", PATIENCE, async || {
        house.lently.progress(&id).is_some_and(|progress| progress.borrow().stage != Stage::Queued)
    })
    .await;
    id
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
