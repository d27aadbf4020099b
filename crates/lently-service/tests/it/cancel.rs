//! Wanting an analysis no more: it ends, what was paid for is kept, and nobody else is hurt.

use std::time::Duration;

use lently_service::{AnalysisRequest, AnalysisState, ServiceError, Started, UserId};
use lently_testing::wait_until;

use crate::house::{House, Options, body, plain, request, slow};

const BOUND: Duration = Duration::from_secs(60);

fn long() -> AnalysisRequest {
    AnalysisRequest { max_comments: 500, include_replies: false, ..request(plain()) }
}

async fn begun(house: &House, user: &UserId) -> lently_service::AnalysisId {
    match house.lently.start(user, long(), false).await.expect("begun") {
        Started::Running(id) => id,
        Started::Ready(_) => panic!("it was there"),
    }
}

async fn first_page(house: &House) {
    wait_until("a page is asked for", BOUND, async || house.counts().comment_threads >= 1).await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_ends_and_is_gone_on_with_when_it_is_wanted_again() {
    let house = House::with(Options { latency: slow(), ..Options::default() }).await;
    let user = UserId::local();
    let id = begun(&house, &user).await;
    first_page(&house).await;
    assert!(house.lently.cancel(&user, &id).await.expect("canceled"));
    let state = house.lently.analysis(&user, &id).await.expect("a state");
    assert!(matches!(&state, AnalysisState::Failed { code, .. } if code == "canceled"), "{state:?}");
    house.settled().await;
    let uninterrupted = House::open().await;
    let whole = body(&uninterrupted.analyze(&long()).await.expect("an analysis")).report.coverage.read;
    let (read, pages) = (house.counts().comment_threads, uninterrupted.counts().comment_threads);
    assert!(read < pages, "{read} of {pages} pages");
    let answer = house.analyze(&long()).await.expect("an analysis");
    assert_eq!(body(&answer).report.coverage.read, whole);
    assert_eq!(house.counts().comment_threads, pages, "no page is read twice");
}

#[tokio::test]
async fn what_somebody_else_wants_goes_on() {
    let house = House::with(Options { latency: slow(), ..Options::default() }).await;
    let (one, other) = (UserId::local(), UserId::new("other").expect("an id"));
    let id = begun(&house, &one).await;
    assert_eq!(begun(&house, &other).await, id);
    assert!(!house.lently.cancel(&one, &id).await.expect("left"), "it goes on");
    assert!(matches!(house.lently.cancel(&one, &id).await, Err(ServiceError::NotFound)));
    let state = house.lently.wait(&other, &id, BOUND).await.expect("a state");
    assert!(matches!(state, AnalysisState::Ready(_)), "{state:?}");
}

#[tokio::test]
async fn what_is_not_being_made_cannot_be_canceled() {
    let house = House::open().await;
    let answer = house.analyze(&request(plain())).await.expect("an analysis");
    let refused = house.lently.cancel(&UserId::local(), &answer.id).await;
    assert!(matches!(refused, Err(ServiceError::NotFound)), "{refused:?}");
}
