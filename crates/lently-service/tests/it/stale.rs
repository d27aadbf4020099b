//! What is no longer fresh: when it is served, and what is said of it.

use std::time::Duration;

use lently_cache::{Controls, FailureClass, Outcome, StaleReason};
use lently_emulator::{Change, Fault, FaultKind, NewComment};
use lently_service::youtube::Comments;
use lently_service::{AnalysisBody, AnswerSource, Cached, CommentsRequest, ServiceError, UserId, UserPlan};
use lently_testing::wait_until;
use lently_upstream::CommentOrder;

use crate::house::{House, body, plain, request};

const BOUND: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

fn comments() -> CommentsRequest {
    CommentsRequest {
        video_id: plain().parse().expect("an id"),
        max_comments: 100,
        order: CommentOrder::Time,
        include_replies: false,
    }
}

async fn try_read(house: &House) -> Result<Cached<Comments>, ServiceError> {
    let (youtube, wanted) = (house.lently.youtube(), comments());
    youtube.fetch_comments_cached(&wanted, UserPlan::Free, &Controls::DEFAULT).await
}

async fn read(house: &House) -> Outcome {
    try_read(house).await.expect("comments").outcome
}

fn is_of_old_comments(analysis: &AnalysisBody) -> bool {
    analysis.report.caution.as_ref().is_some_and(|caution| caution.contains("are those that were read at"))
}

fn quota_is_gone(house: &House) {
    house.emulator.set_fault(Some(Fault { kind: FaultKind::QuotaExceeded, method: None, times: None }));
}

#[tokio::test]
async fn within_their_window_comments_are_given_at_once_and_read_anew_once() {
    let house = House::open().await;
    assert_eq!(read(&house).await, Outcome::Fetched { stored: true });
    house.clock.advance(HOUR);
    let new =
        NewComment { id: "new".to_owned(), published_at: Some(house.clock.now()), ..NewComment::default() };
    assert_eq!(house.emulator.change(plain(), [Change::Add(new)]), 1);
    for _ in 0..5 {
        assert!(matches!(read(&house).await, Outcome::Stale(StaleReason::Refreshing) | Outcome::Hit));
    }
    wait_until("they are read anew", BOUND, async || read(&house).await == Outcome::Hit).await;
    assert_eq!(house.counts().comment_threads, 2);
    house.clock.advance(7 * HOUR);
    assert_eq!(read(&house).await, Outcome::Fetched { stored: true }, "beyond the window");
}

#[tokio::test]
async fn without_quota_comments_are_given_within_their_retention_and_not_beyond() {
    let house = House::open().await;
    read(&house).await;
    quota_is_gone(&house);
    house.clock.advance(7 * HOUR);
    let Outcome::Stale(StaleReason::Failed(FailureClass::QuotaExhausted { until })) = read(&house).await
    else {
        panic!("they are not given")
    };
    assert!(until > house.clock.now());
    let units = house.counts().units;
    for _ in 0..10 {
        assert!(matches!(read(&house).await, Outcome::Stale(_)));
    }
    assert_eq!(house.counts().units, units, "asked again before the quota is there again");
    house.clock.advance(27 * 24 * HOUR);
    assert!(matches!(read(&house).await, Outcome::Stale(StaleReason::Failed(_))), "on the last day");
    house.clock.advance(24 * HOUR);
    assert_eq!(try_read(&house).await.expect_err("beyond the retention").code(), "quota-exhausted");
}

#[tokio::test]
async fn an_analysis_without_quota_is_of_the_comments_there_are_says_so_and_is_made_again_soon() {
    let house = House::open().await;
    let first = body(&house.analyze(&request(plain())).await.expect("an analysis"));
    assert!(!is_of_old_comments(&first), "{:?}", first.report.caution);
    quota_is_gone(&house);
    house.clock.advance(2 * HOUR);
    let answer = house.analyze(&request(plain())).await.expect("an analysis all the same");
    let second = body(&answer);
    assert!(is_of_old_comments(&second), "{:?}", second.report.caution);
    let caution = second.report.caution.expect("a caution");
    let said =
        "The comments are those that were read at 2026-11-24 12:00 UTC, because YouTube's quota is used up";
    assert!(caution.contains(said), "{caution}");
    assert!(answer.source == AnswerSource::Fetched && answer.ttl <= Duration::from_secs(300), "{answer:?}");
    house.emulator.set_fault(None);
    // Until then YouTube's word counts, whatever a caller wants.
    house.clock.advance(19 * HOUR);
    let anew = house.analyze_as(&UserId::local(), &request(plain()), true).await.expect("an analysis");
    let later = body(&anew);
    assert!(!is_of_old_comments(&later), "{:?}", later.report.caution);
}
