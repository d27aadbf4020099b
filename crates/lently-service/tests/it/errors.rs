//! What cannot be had: the code says why, and nothing is kept of it.

use std::time::Duration;

use lently_cache::Controls;
use lently_service::{AnalysisState, EngineChoice, Started, UserId};

use crate::house::{House, Options, plain, request, sample};

#[tokio::test]
async fn disabled_comments_and_removed_videos_have_their_own_codes() {
    let house = House::open().await;
    for (what, code) in [("disabled", "comments-disabled"), ("removed", "video-not-found")] {
        let error = house.analyze(&request(sample(what).video_id)).await.expect_err(what);
        assert_eq!(error.code(), code);
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_failed_analysis_tells_its_reason_by_its_id_and_may_be_tried_again() {
    let house = House::open().await;
    let user = UserId::local();
    let started =
        house.lently.start(&user, request(sample("disabled").video_id), false).await.expect("begun");
    let Started::Running(id) = started else { panic!("there was nothing to be ready") };
    let state = house.lently.wait(&user, &id, std::time::Duration::from_secs(20)).await.expect("a state");
    assert!(matches!(&state, AnalysisState::Failed { code, .. } if code == "comments-disabled"), "{state:?}");
    let asked = house.counts().comment_threads;
    let again = house.analyze(&request(sample("disabled").video_id)).await.expect_err("still disabled");
    assert_eq!(again.code(), "comments-disabled");
    assert_eq!(house.counts().comment_threads, asked, "the answer is remembered, and costs nothing");
    house.clock.advance(Duration::from_secs(600));
    house.analyze(&request(sample("disabled").video_id)).await.expect_err("still disabled");
    assert_eq!(house.counts().comment_threads, asked + 1, "and asked for again after ten minutes");
}

#[tokio::test]
async fn gemini_without_a_key_is_refused_before_anything_is_spent() {
    let house = House::open().await;
    let wanted = lently_service::AnalysisRequest { engine: EngineChoice::Gemini, ..request(plain()) };
    let error = house.analyze(&wanted).await.expect_err("no key");
    assert_eq!(error.code(), "engine-unavailable");
    assert_eq!(house.counts().units, 0);
}

#[tokio::test]
async fn youtube_without_a_key_says_so() {
    let house = House::with(Options { youtube_key: false, ..Options::default() }).await;
    let error = house.analyze(&request(plain())).await.expect_err("no key");
    assert_eq!(error.code(), "key-missing");
}

#[tokio::test]
async fn an_amount_out_of_range_is_the_callers_fault() {
    let house = House::open().await;
    for max_comments in [0, lently_service::request::MAX_COMMENTS + 1] {
        let wanted = lently_service::AnalysisRequest { max_comments, ..request(plain()) };
        assert_eq!(house.analyze(&wanted).await.expect_err("out of range").code(), "invalid-request");
    }
}

#[tokio::test]
async fn a_language_that_is_none_never_becomes_a_key() {
    let house = House::open().await;
    let video = plain().parse().expect("a video id");
    for language in ["", "*", "en:x", "a\nb"] {
        let error =
            house.lently.youtube().get_transcript_cached(&video, Some(language), &Controls::DEFAULT).await;
        assert_eq!(error.expect_err("no language").code(), "invalid-request");
    }
}
