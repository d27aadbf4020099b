//! What costs and what does not: misses, hits, shared fetches, the store behind the cache.

use std::time::Duration;

use lently_cache::{Controls, Outcome, RemoteConfig};
use lently_service::{AnalysisState, AnswerSource, CommentsRequest, UserId, UserPlan};
use lently_upstream::CommentOrder;

use crate::house::{House, Options, body, plain, request};

fn comments(max_comments: u32) -> CommentsRequest {
    CommentsRequest {
        video_id: plain().parse().expect("a video id"),
        max_comments,
        order: CommentOrder::Relevance,
        include_replies: false,
    }
}

#[tokio::test]
async fn the_second_analysis_is_a_hit_and_costs_nothing() {
    let house = House::open().await;
    let first = house.analyze(&request(plain())).await.expect("an analysis");
    assert!(!first.cached);
    assert_eq!(first.source, AnswerSource::Fetched);
    assert!(first.stored);
    let spent = house.counts();
    assert_eq!((spent.videos, spent.comment_threads, spent.units), (1, 1, 2));
    assert_eq!(first.cost.quota_units, 2);
    let made = body(&first);
    assert_eq!(made.verdicts.len() as u64, made.report.coverage.read);
    assert_eq!(made.verdicts.len(), 100);
    assert_eq!(made.engine.name, "local");
    assert_eq!(made.engine.judged.local, 100);

    let second = house.analyze(&request(plain())).await.expect("an analysis");
    assert!(second.cached);
    assert_eq!(second.source, AnswerSource::Memory);
    assert_eq!(second.body, first.body);
    assert_eq!(second.etag, first.etag);
    assert_eq!(house.counts().units, 2);

    let stats = house.lently.cache().stats();
    assert_eq!(
        (stats.hits, stats.misses),
        (1, 3),
        "one hit; analysis, video and comments were missed once each"
    );
    assert_eq!(house.lently.spending().quota_units, 2);
}

#[tokio::test]
async fn two_hundred_callers_of_a_cold_video_cost_one_fetch_of_each_kind() {
    let house = House::open().await;
    let wanted = request(plain());
    let answers = futures::future::join_all((0..200).map(|_| house.analyze(&wanted))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("an analysis")).collect();
    let counts = house.counts();
    assert_eq!((counts.videos, counts.comment_threads), (1, 1));
    assert_eq!(answers.iter().filter(|answer| answer.source == AnswerSource::Fetched).count(), 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let analyses = house.lently.cache().stats().by_kind["analysis"];
    assert_eq!((analyses.hits, analyses.misses), (0, 200), "every caller is counted, and once");
}

#[tokio::test]
async fn a_cache_that_is_lost_is_not_an_analysis_lost() {
    let house = House::open().await;
    let first = house.analyze(&request(plain())).await.expect("an analysis");
    house.lently.cache().flush_all().await.expect("flushed");
    let again = house.analyze(&request(plain())).await.expect("an analysis");
    assert!(again.cached);
    assert_eq!(again.source, AnswerSource::Store);
    assert_eq!((again.body, again.etag), (first.body, first.etag));
    assert_eq!(house.counts().units, 2, "nothing was asked of YouTube");
    let third = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(third.source, AnswerSource::Memory, "the store has refilled the cache");
}

#[tokio::test]
async fn an_analysis_past_its_time_is_made_anew_and_stays_readable_by_its_id_meanwhile() {
    let house = House::open().await;
    let first = house.analyze(&request(plain())).await.expect("an analysis");
    house.clock.advance(Duration::from_secs(3_601));
    let by_id = house.lently.analysis(&UserId::local(), &first.id).await.expect("a state");
    assert!(matches!(by_id, AnalysisState::Ready(answer) if answer.source == AnswerSource::Store));
    let second = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(second.source, AnswerSource::Fetched);
    assert_eq!(second.id, first.id);
    // The statistics of the video say that no comment has come.
    assert_eq!((house.counts().units, house.counts().statistics), (2, 1));
}

#[tokio::test]
async fn comments_that_are_fresh_serve_an_analysis_of_another_engine() {
    let house = House::with(Options { gemini: true, ..Options::default() }).await;
    house.analyze(&request(plain())).await.expect("an analysis");
    let local =
        lently_service::AnalysisRequest { engine: lently_service::EngineChoice::Local, ..request(plain()) };
    let answer = house.analyze(&local).await.expect("an analysis");
    assert_eq!(answer.source, AnswerSource::Fetched);
    assert_eq!(answer.cost.quota_units, 0, "its comments were there");
    assert_eq!(house.counts().units, 2);
}

#[tokio::test]
async fn no_cache_makes_the_analysis_from_comments_fetched_anew() {
    let house = House::open().await;
    house.analyze(&request(plain())).await.expect("an analysis");
    let anew = house.analyze_as(&UserId::local(), &request(plain()), true).await.expect("an analysis");
    assert_eq!(anew.source, AnswerSource::Fetched);
    assert_eq!(house.counts().units, 4);
    let hit = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(hit.body, anew.body);
    assert!(hit.cached);
}

#[tokio::test]
async fn a_second_process_on_the_same_disk_answers_from_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = || Options {
        remote: RemoteConfig::Disk { path: directory.path().join("cache.db"), max_bytes: 1 << 30 },
        directory: Some(directory.path().to_owned()),
        ..Options::default()
    };
    let first = House::with(options()).await;
    let made = first.analyze(&request(plain())).await.expect("an analysis");
    first.settled().await;
    let second = House::with(options()).await;
    let found = second.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(found.source, AnswerSource::Disk);
    assert_eq!(found.body, made.body);
    assert_eq!(second.counts().units, 0);
}

#[tokio::test]
async fn an_invalidated_video_is_fetched_anew() {
    let house = House::open().await;
    let youtube = house.lently.youtube();
    let video = plain().parse().expect("a video id");
    for expected in [true, false] {
        let found = youtube
            .fetch_comments_cached(&comments(100), UserPlan::Free, &Controls::DEFAULT)
            .await
            .expect("comments");
        assert_eq!(matches!(found.outcome, Outcome::Fetched { .. }), expected);
    }
    let metadata = youtube.get_video_metadata_cached(&video, &Controls::DEFAULT).await.expect("a video");
    assert_eq!(metadata.value().expect("parsed").id, video);
    assert_eq!(youtube.invalidate_video(&video).await.expect("invalidated"), 2);
    let again = youtube
        .fetch_comments_cached(&comments(100), UserPlan::Free, &Controls::DEFAULT)
        .await
        .expect("comments");
    assert!(!again.is_hit());
    assert_eq!(house.counts().comment_threads, 2);
}

#[tokio::test]
async fn an_invalidated_analysis_is_made_anew_and_its_comments_are_not_paid_again() {
    let house = House::open().await;
    let first = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(house.lently.analyses().invalidate_analysis(&first.id).await.expect("invalidated"), 1);
    let second = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(second.source, AnswerSource::Fetched);
    assert_eq!(house.counts().units, 2);
}

#[tokio::test]
async fn a_plan_reads_no_more_comments_than_it_allows() {
    let house = House::open().await;
    let refused = house
        .lently
        .youtube()
        .fetch_comments_cached(&comments(101), UserPlan::Free, &Controls::DEFAULT)
        .await;
    assert_eq!(refused.expect_err("too many").code(), "plan-limit");
    assert_eq!(house.counts().units, 0);
}

/// One request is one hit or one miss of its kind, whatever becomes of it.
#[tokio::test]
async fn a_request_counts_once_however_it_is_answered() {
    let house = House::open().await;
    let counted = || {
        let analyses = house.lently.cache().stats().by_kind["analysis"];
        (analyses.hits, analyses.misses)
    };
    let first = house.analyze(&request(plain())).await.expect("made");
    assert_eq!(counted(), (0, 1), "made");
    house.lently.cache().flush_all().await.expect("flushed");
    house.analyze(&request(plain())).await.expect("restored");
    assert_eq!(counted(), (0, 2), "restored from the store");
    house.clock.advance(Duration::from_secs(3_601));
    let (user, id) = (UserId::local(), first.id);
    house.lently.analysis(&user, &id).await.expect("a state");
    assert_eq!(counted(), (0, 3), "read by its id, from the store, past its time");
    house.analyze(&request(plain())).await.expect("made anew");
    assert_eq!(counted(), (0, 4), "past its time, and made anew");
    house.lently.analysis(&user, &id).await.expect("a state");
    house.analyze(&request(plain())).await.expect("a hit");
    assert_eq!(counted(), (2, 4), "there");
    house.analyze_as(&user, &request(plain()), true).await.expect("made anew");
    assert_eq!(counted(), (2, 5), "not to be had from the cache");
    house.lently.start(&user, request(plain()), true).await.expect("begun");
    house.lently.start(&user, request(plain()), true).await.expect("joined");
    assert_eq!(counted(), (2, 7), "begun and joined");
}
