//! A client of Gemini's `generateContent` for structured answers. Counts every token, those of useless answers
//! included. Knows nothing of what it asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::{
    clock::WallClock,
    error::{Unusable, UpstreamError, word},
    meter::{self, Expense, Meter},
    pacific::next_midnight,
    transport::{self, Reply},
    youtube::{by_status, secret},
};

/// The model asked where none is configured.
pub const DEFAULT_MODEL: &str = "gemini-3.5-flash-lite";
/// Its limits are those of a minute, and what is asked belongs to work in the background: a minute is worth waiting for.
const LONGEST_HINT: Duration = Duration::from_secs(90);

/// How Gemini is reached.
#[derive(Clone, Debug)]
pub struct GeminiConfig {
    /// Where the API is. Default `https://generativelanguage.googleapis.com/`.
    pub base_url: Url,
    /// The API key.
    pub api_key: SecretString,
    /// The model. Default [`DEFAULT_MODEL`].
    pub model: String,
    /// How long one exchange may take. Default 60 s.
    pub timeout: Duration,
    /// How often a call is tried in all. Default 4.
    pub max_attempts: u32,
    /// By which a used-up quota ends at midnight. Default the system's.
    pub clock: WallClock,
}

impl GeminiConfig {
    /// Google's own address, the default model and limits.
    #[must_use]
    pub fn new(api_key: SecretString) -> Self {
        Self {
            base_url: Url::parse("https://generativelanguage.googleapis.com/")
                .unwrap_or_else(|_| unreachable!()),
            api_key,
            model: DEFAULT_MODEL.to_owned(),
            timeout: Duration::from_secs(60),
            max_attempts: 4,
            clock: WallClock::default(),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// What the model is told to do.
    pub system: String,
    /// What it is to do it on.
    pub user: String,
    /// The JSON Schema its answer must follow. The API's promise is not relied upon: check the answer.
    pub schema: Value,
    /// The most tokens it may answer with; thinking counts.
    pub max_output_tokens: u32,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// JSON, if the model kept to the schema.
    pub text: String,
    /// What it took.
    pub usage: TokenUsage,
    /// The exact model that answered.
    pub model_version: String,
}

/// Tokens, as the API bills them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Sent.
    pub input: u64,
    /// Produced, thinking included.
    pub output: u64,
}

/// The client. Cheap to clone; clones share connections and counters.
#[derive(Clone)]
pub struct GeminiClient(Arc<Inner>, Option<Meter>);

struct Inner {
    http: transport::Http,
    config: GeminiConfig,
    input: AtomicU64,
    output: AtomicU64,
}

impl GeminiClient {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// The TLS library cannot be set up; a model name that cannot stand in an address.
    pub fn new(config: GeminiConfig) -> Result<Self, UpstreamError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if config.model.is_empty() || !config.model.bytes().all(plain) {
            return Err(UpstreamError::BadRequest {
                reason: word("the model name has other characters in it"),
            });
        }
        let http = transport::Http::new(config.timeout);
        let inner = Inner { http, config, input: AtomicU64::new(0), output: AtomicU64::new(0) };
        Ok(Self(Arc::new(inner), None))
    }

    /// The same client for whoever is told of its expenses by that meter.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        Self(Arc::clone(&self.0), Some(meter))
    }

    /// Tokens spent by this client and its clones.
    #[must_use]
    pub fn tokens_spent(&self) -> TokenUsage {
        TokenUsage {
            input: self.0.input.load(Ordering::Relaxed),
            output: self.0.output.load(Ordering::Relaxed),
        }
    }

    /// Asks for an answer that follows a schema. An overloaded or rate-limiting Gemini is asked again, after its own
    /// hint of up to 90 s; where an answer cannot be used or did not come in time it is not: that may be billed, and the caller may
    /// ask for less.
    ///
    /// # Errors
    /// By class, see [`UpstreamError`].
    pub async fn generate_json(&self, request: &GenerateRequest) -> Result<Generated, UpstreamError> {
        let body = json!({
            "systemInstruction": { "parts": [{ "text": request.system }] },
            "contents": [{ "role": "user", "parts": [{ "text": request.user }] }],
            "generationConfig": {
                "temperature": 0,
                "maxOutputTokens": request.max_output_tokens,
                "responseMimeType": "application/json",
                "responseJsonSchema": request.schema,
            },
        });
        transport::with_retries(self.0.config.max_attempts, LONGEST_HINT, is_free, || {
            self.ask(request, &body)
        })
        .await
    }

    async fn ask(&self, request: &GenerateRequest, body: &Value) -> Result<Generated, UpstreamError> {
        let config = &self.0.config;
        let url = config
            .base_url
            .join(&format!("v1beta/models/{}:generateContent", config.model))
            .map_err(|_| UpstreamError::BadRequest { reason: word("the base URL cannot be used") })?;
        let key = secret(config.api_key.expose_secret().to_owned())?;
        let asking = self.0.http.client()?.post(url).header("x-goog-api-key", key).json(body);
        let (meter, model) = (self.1.as_ref(), &config.model);
        let _kept = meter::tell(meter, || Expense::Asking {
            model: model.clone(),
            bytes: (request.system.len() + request.user.len() + request.schema.to_string().len()) as u64,
            max_output_tokens: request.max_output_tokens,
        })
        .await?;
        let reply = transport::exchange(asking).await?;
        if !reply.status.is_success() {
            return Err(classify(&reply, next_midnight(config.clock.now())));
        }
        let read = read(&reply.body);
        let usage = match &read {
            Ok(generated) => generated.usage,
            Err(UpstreamError::Unusable { usage, .. }) => *usage,
            Err(_) => TokenUsage::default(),
        };
        self.0.input.fetch_add(usage.input, Ordering::Relaxed);
        self.0.output.fetch_add(usage.output, Ordering::Relaxed);
        meter::tell(meter, || Expense::Answered { model: model.clone(), usage }).await?;
        read
    }
}

/// Whether the failure has cost nothing and may be gone when tried again.
fn is_free(error: &UpstreamError) -> bool {
    error.is_retryable() && *error != UpstreamError::TimedOut
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    candidates: Vec<Candidate>,
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Usage,
    model_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Candidate {
    content: Content,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Vec<Part>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    text: Option<String>,
    thought: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PromptFeedback {
    block_reason: Option<String>,
    block_reason_message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Usage {
    prompt_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
}

/// Reads a 200: not every one is an answer.
fn read(body: &[u8]) -> Result<Generated, UpstreamError> {
    let unusable = |reason, usage| Err(UpstreamError::Unusable { reason, usage });
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return unusable(Unusable::Malformed, TokenUsage::default());
    };
    let usage = TokenUsage {
        input: answer.usage_metadata.prompt_token_count,
        output: answer.usage_metadata.candidates_token_count + answer.usage_metadata.thoughts_token_count,
    };
    let blocked = answer
        .prompt_feedback
        .is_some_and(|feedback| feedback.block_reason.is_some() || feedback.block_reason_message.is_some());
    let Some(candidate) = answer.candidates.into_iter().next() else {
        return unusable(if blocked { Unusable::Blocked } else { Unusable::Malformed }, usage);
    };
    match candidate.finish_reason.as_deref() {
        None | Some("STOP" | "FINISH_REASON_UNSPECIFIED") => {}
        Some("MAX_TOKENS") => return unusable(Unusable::Truncated, usage),
        Some(
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE"
            | "IMAGE_SAFETY" | "MODEL_ARMOR",
        ) => return unusable(Unusable::Blocked, usage),
        Some("MALFORMED_RESPONSE" | "MALFORMED_FUNCTION_CALL") => {
            return unusable(Unusable::Malformed, usage);
        }
        Some(other) => return unusable(Unusable::UnknownFinish(word(other)), usage),
    }
    let text: String = candidate
        .content
        .parts
        .into_iter()
        .filter(|part| !part.thought)
        .filter_map(|part| part.text)
        .collect();
    if text.trim().is_empty() {
        return unusable(Unusable::NoParts, usage);
    }
    Ok(Generated { text, usage, model_version: answer.model_version })
}

fn classify(reply: &Reply, midnight: Timestamp) -> UpstreamError {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let error = &body["error"];
    let details = || error["details"].as_array().into_iter().flatten();
    let reason = details().find_map(|detail| detail["reason"].as_str()).unwrap_or_default();
    if matches!(
        reason,
        "API_KEY_INVALID" | "API_KEY_EXPIRED" | "API_KEY_SERVICE_BLOCKED" | "SERVICE_DISABLED"
    ) {
        return UpstreamError::KeyInvalid;
    }
    let status = error["status"].as_str().unwrap_or_default();
    let hint = details()
        .find_map(|detail| retry_delay(&detail["retryDelay"]))
        .or_else(|| transport::retry_after(&reply.headers));
    match reply.status.as_u16() {
        429 => {
            let per_day = details()
                .flat_map(|detail| detail["violations"].as_array().into_iter().flatten())
                .any(|violation| violation["quotaId"].as_str().is_some_and(|id| id.contains("PerDay")));
            if per_day {
                // Asking again today is of no use, whatever the hint for the minute's limit says.
                UpstreamError::QuotaExhausted { until: midnight }
            } else {
                UpstreamError::RateLimited { retry_after: hint }
            }
        }
        404 => UpstreamError::Forbidden { reason: "there is no such model; check GEMINI_MODEL".to_owned() },
        // Where the caller is, or what the project has not set up: nothing about the request itself.
        400 if status == "FAILED_PRECONDITION" => UpstreamError::Forbidden { reason: word(status) },
        _ => by_status(reply.status, word(status), hint),
    }
}

/// `"26s"` or `"26.5s"`.
fn retry_delay(value: &Value) -> Option<Duration> {
    let seconds: f64 = value.as_str()?.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds.min(86_400.0)).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    fn why(body: &str) -> Unusable {
        match read(body.as_bytes()) {
            Err(UpstreamError::Unusable { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_answer_is_joined_without_its_thoughts_and_its_tokens_are_kept() {
        let body = r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"[1,"},{"text":"2]"}]},
            "finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":4,
            "thoughtsTokenCount":3},"modelVersion":"gemini-3.5-flash-lite-001"}"#;
        let generated = read(body.as_bytes()).expect("an answer");
        assert_eq!(generated.text, "[1,2]");
        assert_eq!(generated.usage, TokenUsage { input: 10, output: 7 });
        assert_eq!(generated.model_version, "gemini-3.5-flash-lite-001");
    }

    #[test]
    fn every_useless_answer_says_why() {
        assert_eq!(why("{"), Unusable::Malformed);
        assert_eq!(why("{}"), Unusable::Malformed);
        assert_eq!(why(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#), Unusable::Blocked);
        assert_eq!(why(r#"{"candidates":[{"finishReason":"SAFETY"}]}"#), Unusable::Blocked);
        assert_eq!(
            why(r#"{"candidates":[{"finishReason":"MAX_TOKENS","content":{"role":"model"}}]}"#),
            Unusable::Truncated
        );
        assert_eq!(why(r#"{"candidates":[{"content":{}}]}"#), Unusable::NoParts);
        assert_eq!(
            why(r#"{"candidates":[{"finishReason":"NEW<>"}]}"#),
            Unusable::UnknownFinish("NEW".into())
        );
    }

    const NOON: &str = "2026-11-24T12:00:00Z";
    /// As recorded on the free tier (`gemini-2.5-flash`), without its link to the help.
    const MINUTE_LIMIT: &str = r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your
        plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[
        {"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_input_token_count",
        "quotaId":"GenerateContentInputTokensPerModelPerMinute-FreeTier",
        "quotaDimensions":{"location":"global","model":"gemini-2.5-flash"},"quotaValue":"250000"}]},
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"26s"}]}}"#;

    fn refused(status: u16, body: &str) -> Reply {
        Reply {
            status: reqwest::StatusCode::from_u16(status).expect("a status"),
            headers: Default::default(),
            // The line breaks are this file's, not the body's.
            body: body.replace('\n', " ").into(),
        }
    }

    #[test]
    fn a_429_tells_a_minute_from_a_day() {
        let now: Timestamp = NOON.parse().expect("a time");
        let limited = |retry_after| UpstreamError::RateLimited { retry_after };
        assert_eq!(classify(&refused(429, MINUTE_LIMIT), now), limited(Some(Duration::from_secs(26))));
        assert_eq!(classify(&refused(429, r#"{"error":{"code":429}}"#), now), limited(None));
        let day = MINUTE_LIMIT.replace("PerMinute", "PerDayPerProject");
        assert!(matches!(classify(&refused(429, &day), now), UpstreamError::QuotaExhausted { .. }));
    }

    #[test]
    fn an_overloaded_model_keeps_its_hint() {
        let now: Timestamp = NOON.parse().expect("a time");
        let mut reply = refused(503, r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#);
        reply.headers.insert("retry-after", 40.into());
        let transient = UpstreamError::Transient {
            reason: "UNAVAILABLE".to_owned(),
            retry_after: Some(Duration::from_secs(40)),
        };
        assert_eq!(classify(&reply, now), transient);
    }

    /// How often Gemini is asked that refuses with `body` until the third time, and how long that takes.
    async fn asked_until_it_answers(body: &str) -> (u32, Duration) {
        let (calls, begin) = (Cell::new(0), Instant::now());
        let now: Timestamp = NOON.parse().expect("a time");
        let ask = || async {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { Err(classify(&refused(429, body), now)) } else { Ok(()) }
        };
        let _ = transport::with_retries(4, LONGEST_HINT, is_free, ask).await;
        (calls.get(), begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_a_minute_is_waited_out_and_no_longer_one() {
        let (calls, took) = asked_until_it_answers(MINUTE_LIMIT).await;
        assert_eq!(calls, 3);
        assert!((52..66).contains(&took.as_secs()), "twice 26 s and a quarter at most: {took:?}");
        let (calls, took) = asked_until_it_answers(&MINUTE_LIMIT.replace("26s", "90s")).await;
        assert_eq!(calls, 3);
        assert!((180..226).contains(&took.as_secs()), "{took:?}");
        let longer = MINUTE_LIMIT.replace("26s", "90.5s");
        assert_eq!(asked_until_it_answers(&longer).await, (1, Duration::ZERO));
    }
}
