//! An upstream on loopback that answers what a test tells it to, in order, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use lently_upstream::{GeminiConfig, YouTubeClient, YouTubeConfig};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use url::Url;

/// Long and odd enough to be found wherever it does not belong.
pub const KEY: &str = "AIza-planted-secret-0123456789";
pub const TOKEN: &str = "ya29.planted-token-9876543210";

pub struct Upstream {
    pub base_url: Url,
    state: Shared,
    server: AbortHandle,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Live>>);

#[derive(Default)]
struct Live {
    answers: VecDeque<Response>,
    asked: Vec<Asked>,
}

/// A request as it came.
#[derive(Clone)]
pub struct Asked {
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let url = Url::parse("http://upstream").and_then(|base| base.join(&self.target)).expect("an address");
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

impl Upstream {
    pub async fn answering(answers: impl IntoIterator<Item = Response>) -> Self {
        let state = Shared::default();
        state.with(|live| live.answers.extend(answers));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = axum::Router::new().fallback(answer).with_state(state.clone());
        let serving = async move { axum::serve(listener, app).await };
        let server = TaskTracker::new().spawn(serving).abort_handle();
        Self { base_url: format!("http://{address}/").parse().expect("an address"), state, server }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.with(|live| live.asked.clone())
    }

    pub fn youtube_config(&self) -> YouTubeConfig {
        YouTubeConfig {
            base_url: self.base_url.clone(),
            api_key: Some(KEY.to_owned().into()),
            oauth_token: Some(TOKEN.to_owned().into()),
            ..YouTubeConfig::default()
        }
    }

    pub fn youtube(&self) -> YouTubeClient {
        YouTubeClient::new(self.youtube_config()).expect("a client")
    }

    pub fn gemini_config(&self) -> GeminiConfig {
        GeminiConfig { base_url: self.base_url.clone(), ..GeminiConfig::new(KEY.to_owned().into()) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut Live) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn answer(State(state): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let asked = Asked {
        target: head.uri.to_string(),
        headers: head.headers,
        body: to_bytes(body, 1 << 20).await.expect("a body").to_vec(),
    };
    state.with(|live| {
        live.asked.push(asked);
        live.answers.pop_front().unwrap_or_else(|| reply(418, "nobody told me what to answer"))
    })
}

/// An answer with a status.
pub fn reply(status: u16, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().expect("a header"));
    response
}

/// The same with one more header.
pub fn with_header(mut response: Response, name: &'static str, value: &str) -> Response {
    response.headers_mut().insert(name, value.parse().expect("a header"));
    response
}

/// YouTube's error with a reason.
pub fn youtube_error(status: u16, reason: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": status, "errors": [{ "reason": reason }] } });
    reply(status, body.to_string())
}
