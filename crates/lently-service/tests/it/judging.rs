//! Gemini as the engine: what it judges, and what happens to comments it does not; and what becomes of a harvest cut short.

use std::time::Duration;

use lently_emulator::{Fault, FaultKind, Method};
use lently_service::{AnalysisAnswer, AnalysisBody, EngineChoice, Progress, Stage, UserId};
use tokio::sync::watch;

use crate::house::{House, Options, body, plain, request, slow};

async fn house() -> House {
    House::with(Options { gemini: true, ..Options::default() }).await
}

async fn judged(house: &House) -> (AnalysisAnswer, AnalysisBody) {
    let answer = house.analyze(&request(plain())).await.expect("an analysis");
    let body = body(&answer);
    assert_eq!(body.engine.judged.gemini + body.engine.judged.local, 100);
    (answer, body)
}

#[tokio::test]
async fn gemini_judges_in_batches_and_writes_the_summary() {
    let house = house().await;
    let (answer, body) = judged(&house).await;
    assert_eq!(body.engine.name, "gemini");
    assert_eq!(body.engine.judged.gemini, 100);
    assert_eq!(body.engine.degraded, None);
    assert_eq!(body.engine.model.as_deref(), Some("gemini-3.5-flash-lite"));
    assert!(body.engine.model_version.is_some());
    assert!(body.report.summary.starts_with("Of 100 comments read"), "{}", body.report.summary);
    let counts = house.counts();
    assert!(counts.gemini_calls <= 3, "two batches at most, and the summary: {counts:?}");
    assert_eq!(answer.cost.tokens_in, counts.tokens_in);
    assert_eq!(answer.cost.tokens_out, counts.tokens_out);
    assert!(answer.cost.micro_dollars > 0);
    assert_eq!(house.lently.spending().tokens_in, counts.tokens_in);
    let before = counts.gemini_calls;
    house.analyze(&request(plain())).await.expect("a hit");
    assert_eq!(house.counts().gemini_calls, before);
}

#[tokio::test]
async fn the_local_engine_sends_nothing_to_gemini() {
    let house = house().await;
    let local = lently_service::AnalysisRequest { engine: EngineChoice::Local, ..request(plain()) };
    let made = body(&house.analyze(&local).await.expect("an analysis"));
    assert_eq!((made.engine.judged.local, house.counts().gemini_calls), (100, 0));
}

fn fault(kind: FaultKind, times: Option<u64>) -> Option<Fault> {
    Some(Fault { kind, method: Some(Method::Gemini), times })
}

/// What an answer may have wrong with it though it is a 200.
const USELESS: [FaultKind; 4] =
    [FaultKind::Truncated, FaultKind::Blocked, FaultKind::NoParts, FaultKind::Malformed];

#[tokio::test]
async fn a_useless_answer_costs_its_batch_a_halving_and_no_comment_its_verdict() {
    for kind in USELESS {
        let house = house().await;
        house.emulator.set_fault(fault(kind.clone(), Some(1)));
        let (answer, body) = judged(&house).await;
        assert_eq!((body.engine.judged.gemini, &body.engine.degraded), (100, &None), "{kind:?}");
        let counts = house.counts();
        assert!(counts.gemini_calls <= 5, "two batches, two halves, the summary: {kind:?}: {counts:?}");
        assert_eq!(
            (answer.cost.tokens_in, answer.cost.tokens_out),
            (counts.tokens_in, counts.tokens_out),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn useless_answers_without_end_are_given_up_and_said() {
    for kind in USELESS {
        let house = house().await;
        house.emulator.set_fault(fault(kind.clone(), None));
        let (_, body) = judged(&house).await;
        assert_eq!(body.engine.judged.local, 100, "{kind:?}");
        let said = body.engine.degraded.expect("a reason");
        assert!(said.contains("judged locally") && said.contains("in a row"), "{kind:?}: {said}");
        assert!(house.counts().gemini_calls <= 12, "{kind:?}: {:?}", house.counts());
        assert!(!body.report.summary.is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_failing_gemini_is_left_alone_and_the_rest_judged_locally() {
    let failures = [
        FaultKind::Unavailable,
        FaultKind::RateLimited { retry_after: None },
        FaultKind::RateLimited { retry_after: Some(3_600) },
        FaultKind::QuotaExceeded,
        FaultKind::KeyInvalid,
        FaultKind::Cut,
    ];
    for kind in failures {
        let house = house().await;
        house.emulator.set_fault(fault(kind.clone(), None));
        let (_, body) = judged(&house).await;
        assert_eq!(body.engine.judged.local, 100, "{kind:?}");
        let said = body.engine.degraded.expect("a reason");
        assert!(said.contains("judged locally: Gemini failed"), "{kind:?}: {said}");
        assert!(!said.contains("test-key"), "{said}");
        assert!(house.counts().gemini_calls <= 3, "{kind:?}: {:?}", house.counts());
    }
}

#[tokio::test]
async fn a_summary_with_a_number_that_nobody_counted_is_written_locally_and_said() {
    let house = house().await;
    house.emulator.set_fault(fault(FaultKind::Invented, None));
    let (answer, body) = judged(&house).await;
    assert_eq!(body.engine.judged.gemini, 100);
    assert!(!body.report.summary.contains("987654"), "{}", body.report.summary);
    assert!(body.report.summary.contains("The mood is"), "{}", body.report.summary);
    let said = body.engine.degraded.expect("a reason");
    assert!(said.contains("written locally") && said.contains("not counted"), "{said}");
    assert_eq!(answer.cost.tokens_out, house.counts().tokens_out, "it is paid for nevertheless");
}

#[tokio::test]
async fn a_degraded_analysis_is_made_again_soon() {
    let house = house().await;
    house.emulator.set_fault(fault(FaultKind::Unavailable, None));
    judged(&house).await;
    house.emulator.set_fault(None);
    house.clock.advance(Duration::from_secs(301));
    let (_, body) = judged(&house).await;
    assert_eq!((body.engine.judged.gemini, body.engine.degraded), (100, None));
}

#[tokio::test]
async fn pages_read_before_the_quota_was_used_up_are_analyzed_and_the_rest_is_read_when_it_is_there_again() {
    let house = House::with(Options { latency: slow(), ..Options::default() }).await;
    let wanted = lently_service::AnalysisRequest { max_comments: 200, ..request(plain()) };
    let (progress, mut steps) = watch::channel(Progress::default());
    let user = UserId::local();
    let making = house.lently.analyze(&user, wanted.clone(), false, progress);
    // The first page is there, and the second on its way.
    let cut = async {
        let read = |progress: &Progress| progress.stage == Stage::Comments && progress.done > 0;
        steps.wait_for(read).await.expect("a page");
        let kind = FaultKind::QuotaExceeded;
        house.emulator.set_fault(Some(Fault { kind, method: Some(Method::CommentThreads), times: None }));
    };
    let (answer, ()) = tokio::join!(making, cut);
    let answer = answer.expect("what was read");
    let coverage = body(&answer).report.coverage;
    assert_eq!((coverage.read, coverage.complete), (100, false));
    assert!(coverage.basis.starts_with("YouTube failed after 1 page,"), "{}", coverage.basis);
    assert_eq!(answer.cost.quota_units, house.counts().units, "the refused call is paid for, too");
    house.emulator.set_fault(None);
    let cached = house.analyze(&wanted).await.expect("a hit");
    assert!(cached.cached && cached.ttl <= Duration::from_secs(300), "{:?}", cached.ttl);
    house.clock.advance(Duration::from_secs(301));
    let asked = house.counts().units;
    house.analyze(&wanted).await.expect("of what there is");
    assert_eq!(house.counts().units, asked, "the quota is not there again before midnight, and nobody asks");
    house.clock.advance(Duration::from_secs(20 * 3_600));
    let coverage = body(&house.analyze(&wanted).await.expect("an analysis")).report.coverage;
    let basis = "the limit of 200 comments was reached: those that YouTube ranks first; \
         read in full at 2026-11-24 12:00 UTC, and checked at 2026-11-25 08:05 UTC";
    assert_eq!((coverage.read, coverage.basis.as_str()), (200, basis));
    assert_eq!(house.counts().units, asked + 2, "the pages that were missing");
}
