//! A client of Lently's own HTTP API, for commands that talk to a server. Bounded in time; never prints a key, and sends
//! it to admin routes of the server that was named, to nobody else.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::CliError;

/// An analysis that is waited for may take this long.
const TIMEOUT: Duration = Duration::from_secs(120);

pub(super) struct ServerClient {
    http: Client,
    base: String,
    admin_key: Option<SecretString>,
}

/// An answer, with how long it took until its last byte.
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
    pub took: Duration,
}

impl ServerClient {
    pub(super) fn new(base: &str, admin_key: Option<SecretString>) -> Result<Self, CliError> {
        let http = Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            // A redirect would take the admin key along: only standard headers are withheld from another host.
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| CliError::Failed(format!("cannot set up a client: {error}")))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), admin_key })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Reply, CliError> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Asks for an analysis and waits for it.
    pub(super) async fn start(&self, body: &Value) -> Result<Reply, CliError> {
        self.send(self.request(Method::POST, "/api/analysis/start").json(body)).await
    }

    /// Calls an admin route, with the key where there is one.
    pub(super) async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, CliError> {
        let mut request = self.request(method, path);
        if let Some(key) = &self.admin_key {
            request = request.header("x-admin-key", key.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).header("prefer", "wait=60")
    }

    async fn send(&self, request: RequestBuilder) -> Result<Reply, CliError> {
        let told = |error: reqwest::Error| {
            CliError::Failed(format!(
                "{} does not answer ({}); is a server running there?",
                self.base,
                error.without_url()
            ))
        };
        let began = Instant::now();
        let response = request.send().await.map_err(told)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.map_err(told)?;
        let took = began.elapsed();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Reply { status, headers, body, bytes: bytes.into(), took })
    }
}

impl Reply {
    /// The answer's body, or its problem as an error.
    pub(super) fn expect_ok(self) -> Result<Value, CliError> {
        self.check()?;
        Ok(self.body)
    }

    /// The answer's body as what it is to be, or its problem as an error.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        self.check()?;
        serde_json::from_slice(&self.bytes).map_err(|_| {
            CliError::Failed("the server's answer is not what was asked for; is it Lently's?".to_owned())
        })
    }

    fn check(&self) -> Result<(), CliError> {
        if self.status < 300 {
            return Ok(());
        }
        if self.status < 400 {
            return Err(CliError::Failed(format!(
                "the server answered {}: it redirects elsewhere, which is not followed; name the server itself",
                self.status
            )));
        }
        Err(CliError::Failed(format!("the server answered {}: {}", self.status, self.problem())))
    }

    /// What went wrong, for people.
    pub(super) fn problem(&self) -> String {
        let text = |name: &str| self.body[name].as_str().map(crate::report::clean);
        text("detail").or_else(|| text("title")).unwrap_or_else(|| "no reason given".to_owned())
    }

    pub(super) fn cache_status(&self) -> &str {
        self.headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or("-")
    }
}
