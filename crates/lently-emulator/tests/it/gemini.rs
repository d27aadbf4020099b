//! Gemini's side: verdicts, summaries, and every way of getting none.

use std::time::Duration;

use lently_analysis::prompt;
use lently_emulator::{Emulator, Fault, FaultKind};
use lently_upstream::{GeminiClient, GeminiConfig, GenerateRequest, Unusable, UpstreamError};

use crate::{KEY, emulator};

fn client(emulator: &Emulator) -> GeminiClient {
    GeminiClient::new(GeminiConfig {
        base_url: emulator.gemini_base_url(),
        timeout: Duration::from_secs(5),
        max_attempts: 1,
        ..GeminiConfig::new(KEY.into())
    })
    .expect("a client")
}

fn request(texts: &[&str]) -> GenerateRequest {
    let prompt::Prompt { system, user, schema, max_output_tokens } = prompt::verdict_request(texts);
    GenerateRequest { system, user, schema, max_output_tokens }
}

#[tokio::test]
async fn verdicts_come_by_index_and_tokens_are_counted() {
    let emulator = emulator(0).await;
    let client = client(&emulator);
    let answer = client.generate_json(&request(&["I love this", "Where is it?"])).await.expect("an answer");
    let verdicts = prompt::parse_verdicts(&answer.text, 2).expect("a list");
    assert!(verdicts.iter().all(Option::is_some));
    let (counts, spent) = (emulator.counts(), client.tokens_spent());
    assert_eq!((counts.gemini_calls, counts.tokens_in, counts.tokens_out), (1, spent.input, spent.output));
    assert!(answer.model_version.starts_with("gemini-3.5-flash-lite"));
}

#[tokio::test]
async fn each_fault_is_what_the_real_service_sends() {
    let emulator = emulator(0).await;
    for (kind, expected) in [
        (FaultKind::Blocked, Unusable::Blocked),
        (FaultKind::Truncated, Unusable::Truncated),
        (FaultKind::NoParts, Unusable::NoParts),
    ] {
        emulator.set_fault(Some(Fault { kind, method: None, times: None }));
        match client(&emulator).generate_json(&request(&["x"])).await {
            Err(UpstreamError::Unusable { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let with = |kind| emulator.set_fault(Some(Fault { kind, method: None, times: None }));
    let ask = || async { client(&emulator).generate_json(&request(&["x"])).await };
    with(FaultKind::Malformed);
    let answer = ask().await.expect("an answer, but not in JSON");
    assert!(prompt::parse_verdicts(&answer.text, 1).is_err());
    with(FaultKind::RateLimited { retry_after: Some(26) });
    let limited = UpstreamError::RateLimited { retry_after: Some(Duration::from_secs(26)) };
    assert_eq!(ask().await.expect_err("an error"), limited);
    with(FaultKind::RateLimited { retry_after: None });
    assert_eq!(ask().await.expect_err("an error"), UpstreamError::RateLimited { retry_after: None });
    with(FaultKind::QuotaExceeded);
    assert!(matches!(ask().await, Err(UpstreamError::QuotaExhausted { .. })));
    with(FaultKind::Unavailable);
    assert!(matches!(ask().await, Err(UpstreamError::Transient { .. })));
}
