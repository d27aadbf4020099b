//! Gemini as the engine: what it judges, and what happens to comments it does not.

use lently_service::{AnalysisAnswer, AnalysisBody, EngineChoice};

use crate::house::{House, Options, body, plain, request};

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
