//! Plays requests through the service as it is, by a clock that is moved, against an emulator of its own. Nothing waits: how long
//! answers would take is reckoned from what was asked upstream.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use lently_analysis::grouped;
use lently_cache::{CacheConfig, CacheService, Clock, RemoteConfig};
use lently_emulator::{Counts, Data, Emulator, EmulatorConfig, Latency, World};
use lently_service::ledger::{Budgets, RefreshBudget};
use lently_service::price::Prices;
use lently_service::{
    AnalysisAnswer, AnalysisRequest, AnalysisSource, CacheTtl, EngineChoice, Lently, Progress, ServiceConfig,
    UserId, UserPlan, keys,
};
use lently_upstream::{CommentOrder, GeminiConfig, YouTubeConfig};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Policy,
    outcome::{Answered, Outcome, Tally},
    workload::{Asked, Workload},
};
use crate::cli::{CliError, bench::SERVICES_LATENCY, chain, tell};

const KEY: &str = "simulation";
/// Room for all there is, as Redis would have: memory is the only tier, and metadata that gives way would be bought again.
const MEMORY_BYTES: u64 = 1 << 36;
/// A day's budget of each quota, which no day comes near: what is spent is to be seen, not bounded.
const UNITS: u64 = 1 << 40;
/// Calls to Gemini that run side by side for one analysis.
const SIDE_BY_SIDE: u64 = 4;
/// What an answer out of memory takes, with HTTP around it (`lently bench latency`, read 2026-11-27).
const HIT: Duration = Duration::from_millis(1);
/// How often it is told how far a replay is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Plays all requests on this thread, which nothing else is played on: nothing then waits for another thread but what SQLite does.
pub(super) fn run(
    policy: Policy,
    world: Arc<World>,
    ttl: CacheTtl,
    workload: &Workload,
) -> Result<Outcome, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::of(&error))?;
    runtime.block_on(async { Replay::open(policy, world, ttl).await?.run(workload).await })
}

/// A service with its world, before the first request.
struct Replay {
    policy: Policy,
    world: Arc<World>,
    emulator: Emulator,
    lently: Lently,
    cache: CacheService,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Replay {
    async fn open(policy: Policy, world: Arc<World>, ttl: CacheTtl) -> Result<Self, CliError> {
        let failed = |error: &(dyn std::error::Error + 'static)| CliError::of(error);
        let emulator = Emulator::start(EmulatorConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            data: Data::of_world(Arc::clone(&world), super::workload::START),
            latency: Latency::default(),
            quota_units: u64::MAX,
            // Counted by the day in the report; the emulator would take all days for one.
            statistics_units: u64::MAX,
            api_key: None,
        })
        .await
        .map_err(|error| failed(&error))?;
        let (tasks, stop, clock) =
            (TaskTracker::new(), CancellationToken::new(), Clock::manual(super::workload::START));
        let refreshes = RefreshBudget::default();
        let cache = CacheService::open(CacheConfig {
            kinds: &keys::KINDS,
            prefix: String::new(),
            memory_bytes: MEMORY_BYTES,
            remote: RemoteConfig::None,
            clock: clock.clone(),
            tasks: tasks.clone(),
            budget: refreshes.budget(),
            max_value_bytes: 64 << 20,
        })
        .await
        .map_err(|error| failed(&error))?;
        let service = ServiceConfig {
            ttl,
            youtube: YouTubeConfig {
                base_url: emulator.youtube_base_url(),
                api_key: Some(KEY.into()),
                ..YouTubeConfig::default()
            },
            gemini: Some(GeminiConfig {
                base_url: emulator.gemini_base_url(),
                ..GeminiConfig::new(KEY.into())
            }),
            database_url: "sqlite::memory:".to_owned(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
            stop_grace: Duration::from_secs(10),
            max_running: 4,
            max_queued: 64,
            default_plan: UserPlan::Unlimited,
            economy: policy.economy(),
            budgets: Budgets {
                shared_units: UNITS,
                stats_units: UNITS,
                search_units: UNITS,
                ..Budgets::default()
            },
            prices: Prices::built_in(),
            refreshes,
        };
        let lently = Lently::open(service, cache.clone()).await.map_err(|error| failed(&error))?;
        Ok(Self { policy, world, emulator, lently, cache, clock, tasks, stop })
    }

    /// Plays all requests, one after the other.
    async fn run(self, workload: &Workload) -> Result<Outcome, CliError> {
        let mut tally = Tally::default();
        let mut told = Instant::now();
        for (number, asked) in workload.requests.iter().enumerate() {
            self.clock
                .advance(Duration::try_from(asked.at.duration_since(self.clock.now())).unwrap_or_default());
            self.emulator.set_data(Data::of_world(Arc::clone(&self.world), asked.at));
            let before = self.emulator.counts();
            let answer = self.ask(asked).await?;
            let spent = difference(self.emulator.counts(), before);
            if number >= workload.first_counted {
                tally.add(
                    asked.at,
                    &Answered {
                        hit: answer.cached,
                        spent,
                        latency: latency(&spent),
                        unseen: self.unseen(asked, &answer)?,
                    },
                );
            }
            if told.elapsed() > TOLD_EVERY {
                told = Instant::now();
                tell(&format!(
                    "{}: {} of {} requests",
                    self.policy.name(),
                    grouped(number as u64),
                    grouped(workload.requests.len() as u64)
                ));
            }
        }
        let outcome = tally.outcome(self.policy);
        self.close().await;
        Ok(outcome)
    }

    async fn ask(&self, asked: &Asked) -> Result<AnalysisAnswer, CliError> {
        let source = asked
            .video
            .as_str()
            .parse()
            .map_err(|_| CliError::Failed(format!("`{}` is no video", asked.video)))?;
        let request = AnalysisRequest {
            source: AnalysisSource::Video(source),
            max_comments: asked.max_comments,
            order: asked.order,
            include_replies: false,
            engine: EngineChoice::Gemini,
            language: None,
        };
        let (progress, _) = watch::channel(Progress::default());
        let no_cache = self.policy == Policy::NoCache;
        self.lently
            .analyze(&UserId::local(), request, no_cache, progress)
            .await
            .map_err(|error| CliError::Failed(format!("{} at {}: {}", asked.video, asked.at, chain(&error))))
    }

    /// How long ago the oldest comment was written that the answer does not know of and should: zero if it knows all.
    fn unseen(&self, asked: &Asked, answer: &AnalysisAnswer) -> Result<Duration, CliError> {
        let known = Known::read(asked, answer)?;
        if self.world.count_at(asked.video.as_str(), asked.at) <= known {
            return Ok(Duration::ZERO);
        }
        let written: Timestamp = self.world.written_at(asked.video.as_str(), known);
        Ok(Duration::try_from(asked.at.duration_since(written)).unwrap_or_default())
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.cache.close().await;
        self.lently.close().await;
        self.emulator.stop().await;
    }
}

/// As much of an answer as tells how new it is.
#[derive(Deserialize)]
struct Known {
    source: KnownSource,
    verdicts: Vec<KnownComment>,
}

#[derive(Deserialize)]
struct KnownSource {
    comment_count: Option<u64>,
}

#[derive(Deserialize)]
struct KnownComment {
    id: String,
}

impl Known {
    /// How many of the video's comments, from the oldest on, were there for it to choose from. The newest that it shows tells, where
    /// it shows the newest; else YouTube's count at the time.
    fn read(asked: &Asked, answer: &AnalysisAnswer) -> Result<u64, CliError> {
        let known: Self = serde_json::from_slice(&answer.body).map_err(|error| CliError::of(&error))?;
        let whole = (known.verdicts.len() as u64) < u64::from(asked.max_comments);
        if !whole && asked.order == CommentOrder::Relevance {
            return Ok(known.source.comment_count.unwrap_or_default());
        }
        let number = |comment: &KnownComment| comment.id.rsplit_once('.')?.1.parse::<u64>().ok();
        Ok(known.verdicts.iter().filter_map(number).max().map_or(0, |newest| newest + 1))
    }
}

/// What the answer would have taken: calls that depend on each other one after the other.
fn latency(spent: &Counts) -> Duration {
    let verdicts = spent.gemini_calls - spent.summaries.min(spent.gemini_calls);
    let times = |one: Duration, calls: u64| one * u32::try_from(calls).unwrap_or(u32::MAX);
    HIT + times(SERVICES_LATENCY.videos, spent.videos + spent.statistics)
        + times(SERVICES_LATENCY.comment_threads, spent.comment_threads)
        + times(SERVICES_LATENCY.gemini, verdicts.div_ceil(SIDE_BY_SIDE) + spent.summaries)
}

fn difference(after: Counts, before: Counts) -> Counts {
    Counts {
        videos: after.videos - before.videos,
        statistics: after.statistics - before.statistics,
        comment_threads: after.comment_threads - before.comment_threads,
        units: after.units - before.units,
        gemini_calls: after.gemini_calls - before.gemini_calls,
        summaries: after.summaries - before.summaries,
        tokens_in: after.tokens_in - before.tokens_in,
        tokens_out: after.tokens_out - before.tokens_out,
        summary_tokens: after.summary_tokens - before.summary_tokens,
        ..Counts::default()
    }
}
