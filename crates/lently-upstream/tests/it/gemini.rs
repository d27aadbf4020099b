//! The Gemini client over the wire.

use std::sync::{Arc, Mutex};

use axum::response::Response;
use lently_upstream::{
    Expense, GeminiClient, GeminiConfig, GenerateRequest, Generated, Meter, TokenUsage, Unusable,
    UpstreamError,
};
use serde_json::{Value, json};

use crate::upstream::{KEY, Upstream, reply};

fn request() -> GenerateRequest {
    GenerateRequest {
        system: "judge".to_owned(),
        user: "this".to_owned(),
        schema: json!({ "type": "object" }),
        max_output_tokens: 100,
    }
}

fn answer(text: &str, finish: &str) -> Response {
    let body = json!({
        "candidates": [{ "content": { "parts": [{ "text": text }] }, "finishReason": finish }],
        "usageMetadata": { "promptTokenCount": 10, "candidatesTokenCount": 5 },
        "modelVersion": "gemini-3.5-flash-lite-001",
    });
    reply(200, body.to_string())
}

fn limited(delay: Value) -> Response {
    let body = json!({ "error": { "code": 429, "details": [{ "retryDelay": delay }] } });
    reply(429, body.to_string())
}

pub async fn ask(upstream: &Upstream, max_attempts: u32) -> Result<Generated, UpstreamError> {
    let config = GeminiConfig { max_attempts, ..upstream.gemini_config() };
    GeminiClient::new(config).expect("a client").generate_json(&request()).await
}

#[tokio::test]
async fn a_structured_answer_is_asked_for_and_its_tokens_are_kept() {
    let upstream = Upstream::answering([answer("{}", "STOP")]).await;
    let generated = ask(&upstream, 1).await.expect("an answer");
    assert_eq!((generated.text.as_str(), generated.usage), ("{}", TokenUsage { input: 10, output: 5 }));
    assert_eq!(generated.model_version, "gemini-3.5-flash-lite-001");
    let asked = &upstream.asked()[0];
    assert_eq!(asked.target, "/v1beta/models/gemini-3.5-flash-lite:generateContent");
    assert_eq!(asked.header("x-goog-api-key"), Some(KEY));
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    assert_eq!(body["generationConfig"]["responseJsonSchema"], json!({ "type": "object" }));
    assert_eq!(body["generationConfig"]["maxOutputTokens"], 100);
}

#[tokio::test]
async fn a_useless_answer_is_counted_and_not_bought_again() {
    let upstream = Upstream::answering([answer("{\"a", "MAX_TOKENS"), answer("{}", "STOP")]).await;
    let client = GeminiClient::new(upstream.gemini_config()).expect("a client");
    let error = client.generate_json(&request()).await.expect_err("a useless answer");
    let usage = TokenUsage { input: 10, output: 5 };
    assert_eq!(error, UpstreamError::Unusable { reason: Unusable::Truncated, usage });
    assert_eq!((client.tokens_spent(), upstream.asked().len()), (usage, 1));
}

#[tokio::test]
async fn a_hint_is_waited_out_and_a_long_one_told() {
    let upstream = Upstream::answering([limited(json!("0s")), answer("{}", "STOP")]).await;
    ask(&upstream, 4).await.expect("an answer");
    let upstream = Upstream::answering([limited(json!("3600s"))]).await;
    assert!(matches!(ask(&upstream, 4).await, Err(UpstreamError::RateLimited { retry_after: Some(_) })));
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test]
async fn what_is_misconfigured_says_so_without_the_key() {
    let cases = [
        (404, json!({ "error": { "code": 404, "status": "NOT_FOUND" } }), "GEMINI_MODEL"),
        (400, json!({ "error": { "status": "FAILED_PRECONDITION" } }), "FAILED_PRECONDITION"),
        (403, json!({ "error": { "details": [{ "reason": "SERVICE_DISABLED" }] } }), "API is enabled"),
    ];
    for (status, body, expected) in cases {
        let upstream = Upstream::answering([reply(status, body.to_string())]).await;
        let error = ask(&upstream, 4).await.expect_err("a refusal");
        let said = format!("{error} {error:?}");
        assert!(said.contains(expected) && !said.contains(KEY), "{said}");
        // Halving what was sent would not help.
        assert!(!matches!(error, UpstreamError::BadRequest { .. }), "{said}");
        assert_eq!(upstream.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_meter_is_told_before_each_attempt_and_of_what_an_answer_took() {
    let upstream = Upstream::answering([limited(json!("0s")), answer("{\"a", "MAX_TOKENS")]).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&told);
    let meter = Meter::new(move |expense| {
        book.lock().expect("the book").push(expense);
        std::future::ready(Ok(None))
    });
    let client = GeminiClient::new(upstream.gemini_config()).expect("a client").metered(meter);
    client.generate_json(&request()).await.expect_err("a useless answer");
    let told = told.lock().expect("the book");
    let [
        Expense::Asking { bytes, max_output_tokens: 100, .. },
        Expense::Asking { .. },
        Expense::Answered { model, usage },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(*bytes >= 9, "all that is sent");
    assert_eq!((model.as_str(), *usage), ("gemini-3.5-flash-lite", TokenUsage { input: 10, output: 5 }));
}
