//! Gemini's `generateContent` for the two requests that Lently makes. The verdicts are those of the local engine: it is
//! the wire that is emulated, not the judgment.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State as Extract},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use lently_analysis::{Category, JudgedBy, LocalEngine, Sentiment, Verdict, prompt};
use serde_json::{Value, json};

use crate::{
    faults,
    state::{FaultKind, Method, State},
};

/// About what a token is of English text; enough for a count that behaves like the real one.
const BYTES_PER_TOKEN: usize = 4;

pub(crate) async fn generate(
    Extract(state): Extract<Arc<State>>,
    Path(call): Path<String>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Result<Response, Response> {
    let Some(model) = call.strip_suffix(":generateContent") else {
        return Err(refuse(StatusCode::NOT_FOUND, "NOT_FOUND", "only generateContent is emulated"));
    };
    state.charge(0, |counts| counts.gemini_calls += 1);
    tokio::time::sleep(state.latency_of(Method::Gemini)).await;
    let fault = state.fault_for(Method::Gemini);
    if let Some(fault) = &fault
        && let Some(response) = faults::gemini(fault).await
    {
        if matches!(fault, FaultKind::Blocked | FaultKind::NoParts) {
            state.charge(0, |counts| counts.tokens_in += faults::TOKENS_IN_VAIN);
        }
        return Err(response);
    }
    let given = headers.get("x-goog-api-key").and_then(|value| value.to_str().ok());
    if state.api_key.as_deref().is_some_and(|wanted| given != Some(wanted)) {
        return Err(faults::key_invalid("generativelanguage.googleapis.com"));
    }
    let (system, user) = read(&request).ok_or_else(|| {
        refuse(
            StatusCode::BAD_REQUEST,
            "INVALID_ARGUMENT",
            "expected contents, application/json and responseJsonSchema",
        )
    })?;
    if let Some(FaultKind::BlockedFor { word }) = &fault
        && user.contains(word.as_str())
    {
        state.charge(0, |counts| counts.tokens_in += faults::TOKENS_IN_VAIN);
        return Err(faults::blocked());
    }
    let tokens_in = tokens(&system) + tokens(&user);
    let texts = prompt::read_items(&user).map_or(0, |items| items.len() as u64);
    let is_summary = prompt::is_summary_request(&user);
    let judges = state.data().judges();
    let answered = tokio::task::spawn_blocking(move || answer(&user, judges)).await.ok().flatten();
    let mut text = answered.ok_or_else(|| {
        refuse(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "only Lently's own prompts are emulated")
    })?;
    let mut finish = "STOP";
    match fault {
        Some(FaultKind::Truncated) => {
            let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            text.truncate(half);
            finish = "MAX_TOKENS";
        }
        Some(FaultKind::Invented) => {
            text = text.replace(" comments read,", " comments read by 987654 viewers,")
        }
        Some(FaultKind::Malformed) => text = "I would rather not answer in JSON.".to_owned(),
        _ => {}
    }
    let tokens_out = tokens(&text);
    state.charge(0, |counts| {
        counts.texts += texts;
        counts.tokens_in += tokens_in;
        counts.tokens_out += tokens_out;
        if is_summary {
            counts.summaries += 1;
            counts.summary_tokens += tokens_in + tokens_out;
        }
    });
    let body = json!({
        "candidates": [{ "content": { "parts": [{ "text": text }], "role": "model" }, "finishReason": finish, "index": 0 }],
        "usageMetadata": {
            "promptTokenCount": tokens_in, "candidatesTokenCount": tokens_out, "totalTokenCount": tokens_in + tokens_out,
        },
        "modelVersion": format!("{model}-emulated"),
        "responseId": "emulated",
    });
    Ok(Json(body).into_response())
}

/// Instruction and input, if the request has the form that structured answers need.
fn read(request: &Value) -> Option<(String, String)> {
    let config = &request["generationConfig"];
    let structured =
        config["responseMimeType"] == "application/json" && config["responseJsonSchema"].is_object();
    let user = request["contents"][0]["parts"][0]["text"].as_str().filter(|_| structured)?;
    let system = request["systemInstruction"]["parts"][0]["text"].as_str().unwrap_or_default();
    Some((system.to_owned(), user.to_owned()))
}

/// Who judges comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judges {
    /// The local engine.
    LocalEngine,
    /// Chance, which is the same for the same text: what a made-up comment means is of no interest, and there are millions of them.
    Chance,
}

/// The tokens that a request about a made-up world is counted as, and its answer; none for one that is not Lently's own.
#[must_use]
pub fn tokens_of(request: &prompt::Prompt) -> (u64, u64) {
    let answered = answer(&request.user, Judges::Chance).map_or(0, |text| tokens(&text));
    (tokens(&request.system) + tokens(&request.user), answered)
}

fn answer(user: &str, judges: Judges) -> Option<String> {
    if prompt::is_summary_request(user) {
        let facts: Value = serde_json::from_str(user.split_once('\n')?.1).ok()?;
        let theme = &facts["themes"][0];
        let label = theme["label"].as_str();
        let spoken_of = format!("The comments speak most of {}.", label.unwrap_or("many things"));
        let claims = json!([
            { "text": "Of {read} comments read, {positive} are positive and {negative} negative.", "ids": [] },
            { "text": spoken_of, "ids": theme["quotations"][0]["id"].as_str().into_iter().collect::<Vec<_>>() },
        ]);
        let names: Vec<_> = label.iter().map(|label| json!({ "label": label, "name": label })).collect();
        return Some(json!({ "claims": claims, "themes": names }).to_string());
    }
    let engine = LocalEngine::new();
    let judge = |text: &str| match judges {
        Judges::LocalEngine => engine.judge(text),
        Judges::Chance => drawn(text),
    };
    let items = prompt::read_items(user)?.into_iter();
    let verdicts: Vec<_> = items.map(|(index, text)| (index, judge(&text))).collect();
    Some(prompt::encode_verdicts(&verdicts))
}

fn drawn(text: &str) -> Verdict {
    let hash = blake3::hash(text.as_bytes());
    let [first, second, ..] = hash.as_bytes();
    let (sentiment, score) = match first % 8 {
        0..4 => (Sentiment::Positive, 0.6),
        4..7 => (Sentiment::Neutral, 0.0),
        _ => (Sentiment::Negative, -0.6),
    };
    let categories =
        [Category::Praise, Category::Question, Category::Criticism, Category::Suggestion, Category::Other];
    Verdict {
        sentiment,
        score,
        category: categories[usize::from(*second) % categories.len()],
        language: Some("en".to_owned()),
        toxic: false,
        confidence: None,
        judged_by: JudgedBy::Gemini,
    }
}

fn tokens(text: &str) -> u64 {
    text.len().div_ceil(BYTES_PER_TOKEN) as u64
}

fn refuse(code: StatusCode, status: &str, message: &str) -> Response {
    let body = json!({ "error": { "code": code.as_u16(), "message": message, "status": status }});
    (code, Json(body)).into_response()
}
