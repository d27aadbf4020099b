//! A server of its own for each test: emulator, app over directories that go away, a client, and a wire between them.

use std::{net::SocketAddr, time::Duration};

use lently::{
    app::App,
    config::{Config, Env},
    http,
};
use lently_cache::Clock;
use lently_emulator::{Counts, Data, Emulator, EmulatorConfig, Latency};
use lently_testing::{RedisServer, wait_until};
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

pub const ADMIN_KEY: &str = "planted-admin-key-0001";
pub const YOUTUBE_KEY: &str = "planted-youtube-key-0002";
/// Only a broken server takes so long.
pub const LONG: Duration = Duration::from_secs(60);

/// What a test may want otherwise.
pub struct Options {
    pub latency: Latency,
    pub quota_units: u64,
    pub admin_key: bool,
    /// With Gemini, as the emulator plays it.
    pub gemini: bool,
    /// The system's, without one.
    pub clock: Option<Clock>,
    /// More variables.
    pub env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            latency: Latency::default(),
            quota_units: 10_000,
            admin_key: true,
            gemini: false,
            clock: None,
            env: Vec::new(),
        }
    }
}

impl Options {
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn redis(self, redis: &RedisServer) -> Self {
        self.set("REDIS_HOST", "127.0.0.1").set("REDIS_PORT", redis.port())
    }
}

pub struct House {
    pub app: App,
    pub emulator: Emulator,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub serving: JoinHandle<Result<(), http::ServeError>>,
    _directory: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body without what is said in front of it of how it came.
    pub fn stored(&self) -> Value {
        let mut body = self.json();
        for said in ["cached", "served"] {
            assert!(
                body.as_object_mut().is_some_and(|body| body.remove(said).is_some()),
                "{said} in {self:?}"
            );
        }
        body
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Asserts the status and returns the body.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// Asserts that it is a problem with this status and code.
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store");
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:lently:problem:{code}"));
        assert_eq!(body["request_id"], self.header("x-request-id"));
        for member in ["title", "detail", "request_id"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
        }
        body
    }
}

impl House {
    pub async fn open() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let emulator = Emulator::start(EmulatorConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            data: Data::samples(),
            latency: options.latency,
            quota_units: options.quota_units,
            statistics_units: 10_000,
            api_key: Some(YOUTUBE_KEY.to_owned()),
        })
        .await
        .expect("an emulator");
        let directory = tempfile::tempdir().expect("a directory");
        let below = |name: &str| directory.path().join(name).display().to_string();
        let mut pairs = vec![
            ("LENTLY_DATA_DIR".to_owned(), below("data")),
            ("LENTLY_CACHE_DIR".to_owned(), below("cache")),
            ("YOUTUBE_BASE_URL".to_owned(), emulator.youtube_base_url().to_string()),
            ("YOUTUBE_API_KEY".to_owned(), YOUTUBE_KEY.to_owned()),
        ];
        if options.admin_key {
            pairs.push(("ADMIN_API_KEY".to_owned(), ADMIN_KEY.to_owned()));
        }
        if options.gemini {
            pairs.push(("GEMINI_BASE_URL".to_owned(), emulator.gemini_base_url().to_string()));
            pairs.push(("GEMINI_API_KEY".to_owned(), YOUTUBE_KEY.to_owned()));
        }
        pairs.extend(options.env);
        let config = Config::from_env(&Env::from_pairs(pairs)).expect("a configuration");
        let clock = options.clock.unwrap_or_else(Clock::system);
        let app = App::open_at(config, clock).await.expect("an app");
        let listener = http::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        // Not on the app's own tasks: the server waits for those to end.
        let serving = TaskTracker::new().spawn(http::serve(app.clone(), listener));
        let client = reqwest::Client::builder().timeout(LONG).build().expect("a client");
        Self { app, emulator, address, client, serving, _directory: directory }
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", path)).await
    }

    pub async fn admin(&self, method: &str, path: &str) -> Answer {
        send(self.request(method, path).header("X-Admin-Key", ADMIN_KEY)).await
    }

    /// A start that does not wait.
    pub fn start(&self, body: &Value) -> RequestBuilder {
        self.request("POST", "/api/analysis/start").json(body)
    }

    /// A start of a sample video that waits for its end.
    pub async fn analyze(&self, video_id: &str) -> Answer {
        send(self.start(&json!({ "video_url_or_id": video_id })).header("Prefer", "wait=60")).await
    }

    pub async fn stats(&self) -> Value {
        self.get("/api/cache/stats").await.expect(200).json()["stats"].clone()
    }

    pub fn counts(&self) -> Counts {
        self.emulator.counts()
    }

    /// Waits until `/health` tells `status`.
    pub async fn until_health(&self, status: &str) {
        wait_until(&format!("/health tells {status}"), LONG, async || {
            self.get("/health").await.expect(200).json()["status"] == status
        })
        .await;
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.expect("a body") }
}

/// The first sample whose description says so.
pub fn sample(what: &str) -> &'static str {
    let says = |sample: &&lently_emulator::Sample| sample.what.contains(what) || sample.title.contains(what);
    lently_emulator::SAMPLES
        .iter()
        .find(says)
        .unwrap_or_else(|| panic!("no sample video with {what}"))
        .video_id
}

/// A sample video with comments and nothing else remarkable about it.
pub fn plain() -> &'static str {
    lently_emulator::SAMPLES[0].video_id
}

/// Every call takes so long.
pub fn slow(milliseconds: u64) -> Latency {
    let latency = Duration::from_millis(milliseconds);
    Latency { videos: latency, comment_threads: latency, comments: latency, gemini: latency }
}
