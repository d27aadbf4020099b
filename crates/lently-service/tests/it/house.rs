//! A Lently of its own for each test: emulator, cache, store in a directory that goes away, and a clock that is moved.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lently_cache::{CacheConfig, CacheService, Clock, RemoteConfig};
use lently_emulator::{Counts, Data, Emulator, EmulatorConfig, Latency};
use lently_service::ledger::{Budgets, RefreshBudget};
use lently_service::price::Prices;
use lently_service::{
    AnalysisAnswer, AnalysisBody, AnalysisRequest, AnalysisSource, CacheTtl, Economy, EngineChoice, Lently,
    ServiceConfig, ServiceError, UserId, UserPlan, keys,
};
use lently_testing::wait_until;
use lently_upstream::dump::parse_dump;
use lently_upstream::{CommentOrder, DEFAULT_MODEL, GeminiConfig, PacificDay, YouTubeConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub const NOON: &str = "2026-11-24T12:00:00Z";
/// Reached only by a broken program.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test may want otherwise.
pub struct Options {
    pub remote: RemoteConfig,
    pub gemini: bool,
    pub model: &'static str,
    pub youtube_key: bool,
    pub default_plan: UserPlan,
    pub economy: Economy,
    pub max_running: usize,
    pub max_queued: usize,
    pub stop_grace: Duration,
    pub latency: Latency,
    /// Set to share a store with another house.
    pub directory: Option<PathBuf>,
    pub ttl: CacheTtl,
    /// When its clock starts.
    pub start: &'static str,
    pub budgets: Budgets,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            remote: RemoteConfig::None,
            gemini: false,
            model: DEFAULT_MODEL,
            youtube_key: true,
            default_plan: UserPlan::Unlimited,
            economy: Economy::default(),
            max_running: 4,
            max_queued: 64,
            stop_grace: Duration::from_secs(10),
            latency: Latency::default(),
            directory: None,
            ttl: CacheTtl::default(),
            start: NOON,
            budgets: Budgets::default(),
        }
    }
}

pub struct House {
    pub lently: Lently,
    pub emulator: Arc<Emulator>,
    pub clock: Clock,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    started: jiff::Timestamp,
    _directory: TempDir,
}

/// What was spent upstream, whoever counted it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    pub units: u64,
    pub statistics: u64,
    pub gemini_calls: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
}

impl From<Counts> for Spent {
    fn from(counts: Counts) -> Self {
        let Counts { units, statistics, gemini_calls, tokens_in, tokens_out, .. } = counts;
        Self { units, statistics, gemini_calls, tokens_in, tokens_out }
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
            quota_units: 10_000,
            statistics_units: 10_000,
            api_key: Some("test-key".to_owned()),
        })
        .await
        .expect("an emulator");
        Self::beside(emulator, options).await
    }

    /// The same on an emulator that is there, perhaps another house's too.
    pub async fn beside(emulator: impl Into<Arc<Emulator>>, options: Options) -> Self {
        let emulator = emulator.into();
        let directory = tempfile::tempdir().expect("a directory");
        let database = options.directory.as_deref().unwrap_or(directory.path()).join("lently.db");
        let clock = Clock::manual(options.start.parse().expect("a time"));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let refreshes = RefreshBudget::default();
        let cache = CacheService::open(CacheConfig {
            kinds: &keys::KINDS,
            prefix: "test:".to_owned(),
            memory_bytes: 64 << 20,
            remote: options.remote,
            clock: clock.clone(),
            tasks: tasks.clone(),
            budget: refreshes.budget(),
            max_value_bytes: 16 << 20,
        })
        .await
        .expect("a cache");
        let key = || "test-key".to_owned().into();
        let youtube = YouTubeConfig {
            base_url: emulator.youtube_base_url(),
            api_key: options.youtube_key.then(key),
            ..YouTubeConfig::default()
        };
        let gemini = options.gemini.then(|| GeminiConfig {
            base_url: emulator.gemini_base_url(),
            max_attempts: 1,
            model: options.model.to_owned(),
            ..GeminiConfig::new(key())
        });
        let lently = Lently::open(
            ServiceConfig {
                ttl: options.ttl,
                youtube,
                gemini,
                database_url: format!("sqlite:{}", database.display()),
                clock: clock.clone(),
                tasks: tasks.clone(),
                stop: stop.clone(),
                stop_grace: options.stop_grace,
                max_running: options.max_running,
                max_queued: options.max_queued,
                default_plan: options.default_plan,
                economy: options.economy,
                budgets: options.budgets,
                prices: Prices::built_in(),
                refreshes,
            },
            cache,
        )
        .await
        .expect("a service");
        let started = clock.now();
        Self { lently, emulator, clock, tasks, stop, started, _directory: directory }
    }

    /// The same once its Redis is connected, if it has one.
    pub async fn connected(emulator: impl Into<Arc<Emulator>>, options: Options) -> Self {
        let is_redis = matches!(options.remote, RemoteConfig::Redis(_));
        let house = Self::beside(emulator, options).await;
        if is_redis {
            house.is_connected().await;
        }
        house
    }

    pub async fn is_connected(&self) {
        wait_until("redis is connected", PATIENCE, async || self.lently.cache().health().is_up()).await;
    }

    /// What its ledger says of all days since it was opened.
    pub async fn booked(&self) -> Spent {
        let mut spent = Spent::default();
        let mut day: PacificDay = PacificDay::of(self.started);
        while day.start() <= self.clock.now() {
            let report = self.lently.ledger().report(Some(day)).await.expect("a report");
            spent.units += report.buckets[0].spent_units;
            spent.statistics += report.buckets[2].spent_units;
            for model in report.models {
                spent.gemini_calls += model.calls;
                spent.tokens_in += model.tokens_in;
                spent.tokens_out += model.tokens_out;
            }
            day = PacificDay::of(day.end());
        }
        spent
    }

    /// Waits until its ledger says what the emulator counted: other nodes may still be about to tell what they spent.
    pub async fn books_are_exact(&self) {
        let mut seen = (Spent::default(), Spent::default());
        let exact = async || {
            seen = (self.booked().await, self.counts().into());
            seen.0 == seen.1
        };
        let waited = tokio::time::timeout(PATIENCE, wait_until("the ledger is exact", PATIENCE * 2, exact));
        let waited = waited.await;
        assert!(waited.is_ok(), "booked {:?}\ncounted {:?}", seen.0, seen.1);
    }

    pub fn counts(&self) -> Counts {
        self.emulator.counts()
    }

    pub async fn analyze(&self, request: &AnalysisRequest) -> Result<AnalysisAnswer, ServiceError> {
        self.analyze_as(&UserId::local(), request, false).await
    }

    pub async fn analyze_as(
        &self,
        user: &UserId,
        request: &AnalysisRequest,
        no_cache: bool,
    ) -> Result<AnalysisAnswer, ServiceError> {
        let (progress, _) = watch::channel(lently_service::Progress::default());
        self.lently.analyze(user, request.clone(), no_cache, progress).await
    }

    /// Waits until nothing is being written behind an answer any more.
    pub async fn settled(&self) {
        self.tasks.close();
        let waited = tokio::time::timeout(Duration::from_secs(20), self.tasks.wait()).await;
        assert!(waited.is_ok(), "tasks are still running");
        self.tasks.reopen();
    }
}

/// A house in a runtime of its own, which ends as a process that is killed does: nothing of it goes on.
pub struct Killed {
    house: House,
    runtime: Runtime,
}

impl Killed {
    /// Opens it and begins the work.
    pub fn begin<Work>(emulator: &Arc<Emulator>, options: Options, work: impl FnOnce(Lently) -> Work) -> Self
    where
        Work: Future<Output: Send> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let emulator = emulator.clone();
        let house = std::thread::scope(|scope| {
            let opening = scope.spawn(|| runtime.block_on(House::connected(emulator, options)));
            opening.join().expect("a house")
        });
        runtime.spawn(work(house.lently.clone()));
        Self { house, runtime }
    }

    pub fn kill(self) {
        self.runtime.shutdown_background();
        drop(self.house);
    }
}

/// The first sample whose description says so.
pub fn sample(what: &str) -> &'static lently_emulator::Sample {
    lently_emulator::SAMPLES
        .iter()
        .find(|sample| sample.what.contains(what) || sample.title.contains(what))
        .unwrap_or_else(|| panic!("no sample video with {what}"))
}

/// A request for a hundred comments of a sample video, judged by whatever is there.
pub fn request(video_id: &str) -> AnalysisRequest {
    AnalysisRequest {
        source: AnalysisSource::Video(video_id.parse().expect("a video")),
        max_comments: 100,
        order: CommentOrder::Relevance,
        include_replies: false,
        engine: EngineChoice::Auto,
        language: None,
    }
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

pub fn body(answer: &AnalysisAnswer) -> AnalysisBody {
    serde_json::from_slice(&answer.body).expect("an analysis")
}

/// A sample video with comments and nothing else remarkable about it.
pub fn plain() -> &'static str {
    lently_emulator::SAMPLES[0].video_id
}

/// Slow enough that a test can do something before the first answer comes.
pub fn slow() -> Latency {
    let latency = Duration::from_millis(300);
    Latency { videos: latency, comment_threads: latency, comments: latency, gemini: latency }
}

/// A request for all comments of a file.
pub fn file(name: &str, content: &[u8]) -> AnalysisRequest {
    AnalysisRequest {
        source: AnalysisSource::Dump {
            dump: Arc::new(parse_dump(name, content).expect("a dump")),
            digest: blake3::hash(content).to_hex().to_string(),
            file_name: name.to_owned(),
        },
        max_comments: u32::MAX,
        order: CommentOrder::Time,
        include_replies: true,
        engine: EngineChoice::Auto,
        language: None,
    }
}
