//! YouTube's Data API v3 and Gemini's `generateContent` on loopback, out of comment files: for the demo, for tests and
//! benches, and for whoever wants to try Lently without a key. Counts quota and tokens, and is slow or broken on demand.
//!
//! It emulates the wire, not the world: nothing is ever asked of the real services.

mod change;
mod data;
mod faults;
mod gemini;
mod state;
mod world;
mod youtube;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State as Extract},
    http::StatusCode,
    routing::{get, post},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::compression::CompressionLayer;

use self::state::State;
pub use self::{
    change::{Change, NewComment},
    data::{Data, DataError, EVERYTHING, SAMPLES, Sample},
    gemini::tokens_of,
    state::{Counts, Fault, FaultKind, Latency, Method},
    world::{Growth, World, WorldConfig, WorldError},
};

/// The largest request taken; a batch of long comments is below 1 MiB.
const MAX_REQUEST_BYTES: usize = 8 << 20;
/// How long stopping waits for answers that are being sent.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

/// What to emulate, and where.
#[derive(Clone, Debug)]
pub struct EmulatorConfig {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The videos.
    pub data: Data,
    /// How slow it is.
    pub latency: Latency,
    /// The quota. YouTube gives a project 10,000 units a day (as of 2026-11-23).
    pub quota_units: u64,
    /// That of `videos.batchGetStats`, which has its own: as many a day (revision history of 2026-06-03).
    pub statistics_units: u64,
    /// The key that both APIs want; none wants none.
    pub api_key: Option<String>,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A running emulator. It stops when dropped.
pub struct Emulator {
    address: SocketAddr,
    state: Arc<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Emulator {
    /// Starts listening; returns once it does.
    ///
    /// # Errors
    /// [`EmulatorError::Listen`].
    pub async fn start(config: EmulatorConfig) -> Result<Self, EmulatorError> {
        let EmulatorConfig { listen, data, latency, quota_units, statistics_units, api_key } = config;
        let refuse = |source| EmulatorError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let is_world = data.is_world();
        let state = Arc::new(State::new(data, latency, [quota_units, statistics_units], api_key));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        // Nothing is gained by packing what goes no further than this process, and that is half of what a page costs.
        let app = if is_world {
            router(state.clone())
        } else {
            router(state.clone()).layer(CompressionLayer::new())
        };
        let stopped = stop.clone();
        tasks.spawn(async move {
            let serve = axum::serve(listener, app).with_graceful_shutdown(stopped.clone().cancelled_owned());
            let bound = async {
                stopped.cancelled().await;
                tokio::time::sleep(STOPS_WITHIN).await;
            };
            tokio::select! {
                result = serve => {
                    if let Err(error) = result {
                        tracing::warn!(%error, "the emulator ended");
                    }
                }
                () = bound => {}
            }
        });
        tasks.close();
        Ok(Self { address, state, tasks, stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to give `YouTubeConfig::base_url`.
    #[must_use]
    pub fn youtube_base_url(&self) -> url::Url {
        self.base_url()
    }

    /// What to give `GeminiConfig::base_url`.
    #[must_use]
    pub fn gemini_base_url(&self) -> url::Url {
        self.base_url()
    }

    fn base_url(&self) -> url::Url {
        url::Url::parse(&format!("http://{}/", self.address)).unwrap_or_else(|_| unreachable!())
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counts()
    }

    /// Begins counting anew; the quota is whole again.
    pub fn reset_counts(&self) {
        self.state.reset();
    }

    /// Changes how slow it is.
    pub fn set_latency(&self, latency: Latency) {
        self.state.set_latency(latency);
    }

    /// Makes it misbehave, or behave again.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state.set_fault(fault);
    }

    /// Puts other videos in the place of those there are.
    pub fn set_data(&self, data: Data) {
        self.state.set_data(data);
    }

    /// Has something happen to a video; how many of the changes found what they are about.
    pub fn change(&self, video_id: &str, changes: impl IntoIterator<Item = Change>) -> usize {
        self.state.change(video_id, changes.into_iter().collect())
    }

    /// Stops: answers that are being sent are finished, within a second.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/youtube/v3/videos", get(youtube::videos))
        .route("/youtube/v3/videos:batchGetStats", get(youtube::statistics))
        .route("/youtube/v3/commentThreads", get(youtube::comment_threads))
        .route("/youtube/v3/comments", get(youtube::comments))
        .route("/youtube/v3/channels", get(youtube::channels))
        .route("/youtube/v3/playlistItems", get(youtube::playlist_items))
        .route("/youtube/v3/captions", get(youtube::captions))
        .route("/youtube/v3/captions/{id}", get(youtube::download_caption))
        .route("/v1beta/models/{call}", post(gemini::generate))
        .route("/v1/models/{call}", post(gemini::generate))
        .route("/_emulator/counts", get(counts))
        .route("/_emulator/reset", post(reset))
        .route("/_emulator/latency", post(latency))
        .route("/_emulator/fault", post(fault))
        .route("/_emulator/change", post(change))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(state)
}

async fn counts(Extract(state): Extract<Arc<State>>) -> Json<Counts> {
    Json(state.counts())
}

async fn reset(Extract(state): Extract<Arc<State>>) -> StatusCode {
    state.reset();
    StatusCode::NO_CONTENT
}

/// Latencies in milliseconds, as they are set over HTTP.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Milliseconds {
    videos: u64,
    comment_threads: u64,
    comments: u64,
    gemini: u64,
}

async fn latency(Extract(state): Extract<Arc<State>>, Json(wanted): Json<Milliseconds>) -> StatusCode {
    state.set_latency(Latency {
        videos: Duration::from_millis(wanted.videos),
        comment_threads: Duration::from_millis(wanted.comment_threads),
        comments: Duration::from_millis(wanted.comments),
        gemini: Duration::from_millis(wanted.gemini),
    });
    StatusCode::NO_CONTENT
}

async fn fault(Extract(state): Extract<Arc<State>>, Json(wanted): Json<Option<Fault>>) -> StatusCode {
    state.set_fault(wanted);
    StatusCode::NO_CONTENT
}

/// Changes of a video, as they are made over HTTP.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    video_id: String,
    changes: Vec<Change>,
}

async fn change(
    Extract(state): Extract<Arc<State>>,
    Json(wanted): Json<Changes>,
) -> (StatusCode, Json<serde_json::Value>) {
    let wants = wanted.changes.len();
    let changed = state.change(&wanted.video_id, wanted.changes);
    let status = if changed == wants { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (status, Json(serde_json::json!({ "changed": changed })))
}
