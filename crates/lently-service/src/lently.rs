//! The face of the service: everything a command line or an HTTP server asks of Lently, for a user.
//!
//! It joins the parts and keeps no state of its own. A hit does not wait for the store, but for the first one, which learns
//! what was erased.

mod access;
mod comparing;
mod erasing;
mod judging;
mod making;
mod users;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lently_cache::{CacheService, Clock};
use lently_upstream::{GeminiClient, GeminiConfig, VideoId, WallClock, YouTubeClient, YouTubeConfig};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::analysis::{AnalysisAnswer, AnswerSource, CachedAnalysisService};
use crate::body::AnalysisBody;
use crate::economy::Economy;
use crate::engine::{Engine, Engines};
use crate::error::ServiceError;
use crate::filter::{self, CommentFilter, CommentPage, PageRequest};
use crate::gemini::{CachedGemini, Ground};
use crate::ids::{AnalysisId, UserId};
use crate::jobs::{Keeping, Left, Runs};
use crate::judged::{self, JudgedComment};
use crate::ledger::{Budgets, Ledger, LedgerConfig, RefreshBudget};
use crate::plan::UserPlan;
use crate::popularity::Popularity;
use crate::price::Prices;
use crate::progress::{Progress, Stage};
use crate::request::{AnalysisRequest, AnalysisSource};
use crate::retention::Retention;
use crate::store::{AnalysisListItem, Erased, Store};
use crate::ttl::CacheTtl;
use crate::youtube::{CachedYouTubeService, YouTubeParts};

use access::Access;
pub use comparing::{AnalysisVersion, COMPARED_MAX, Compared, ComparedAnalysis, Difference, When};
pub use erasing::Erasure;
pub use judging::JudgedTexts;
pub use users::{Usage, UserInvalidation};

/// Everything the service must be told; complete before it is opened.
#[derive(Clone)]
pub struct ServiceConfig {
    /// How long entries live and fetches may take.
    pub ttl: CacheTtl,
    /// YouTube's client.
    pub youtube: YouTubeConfig,
    /// Gemini's client; without it every analysis is judged locally.
    pub gemini: Option<GeminiConfig>,
    /// The store: `sqlite:` and a path.
    pub database_url: String,
    /// The clock by which entries age, and quotas begin anew; the clients' own are not used.
    pub clock: Clock,
    /// Where tasks run; shutdown waits for it.
    pub tasks: TaskTracker,
    /// Ends what runs: nothing new begins, what is at work has `stop_grace`.
    pub stop: CancellationToken,
    /// How long an analysis may go on after `stop`, so that what is paid for is kept.
    pub stop_grace: Duration,
    /// Analyses made at the same time; at least 1.
    pub max_running: usize,
    /// Analyses that may wait for a place; more are refused with [`ServiceError::Busy`].
    pub max_queued: usize,
    /// The plan of users who have none.
    pub default_plan: UserPlan,
    /// Which means of paying only once are on; all, but in a simulation.
    pub economy: Economy,
    /// What may be spent a day.
    pub budgets: Budgets,
    /// What tokens cost.
    pub prices: Prices,
    /// What the cache was opened with, so that the ledger has a say in its refreshes.
    pub refreshes: RefreshBudget,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Lently {
    inner: Arc<Inner>,
}

struct Inner {
    cache: CacheService,
    store: Store,
    client: YouTubeClient,
    youtube: CachedYouTubeService,
    analyses: CachedAnalysisService,
    engines: Engines,
    access: Access,
    runs: Arc<Runs>,
    ledger: Ledger,
    retention: Retention,
    popularity: Popularity,
    ttl: Arc<CacheTtl>,
    clock: Clock,
    default_plan: UserPlan,
}

/// What starting an analysis gave.
#[derive(Debug, Clone)]
pub enum Started {
    /// It was there.
    Ready(AnalysisAnswer),
    /// It is being made, for this caller or for others too.
    Running(AnalysisId),
}

/// How an analysis stands.
#[derive(Debug, Clone)]
pub enum AnalysisState {
    /// Finished.
    Ready(AnalysisAnswer),
    /// Being made.
    Running(Progress),
    /// The last attempt failed, and there is no earlier result.
    Failed {
        /// The stable code of the error.
        code: String,
        /// A sentence for the user.
        message: String,
    },
}

/// What this process has spent since it started, failed calls included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// YouTube's quota units.
    pub quota_units: u64,
    /// Tokens sent to Gemini.
    pub tokens_in: u64,
    /// Tokens that Gemini produced, thoughts included.
    pub tokens_out: u64,
}

/// So long a cancellation waits for the end of what it ends: it comes at the next page or at once.
const CANCELED_WITHIN: Duration = Duration::from_secs(5);

impl Lently {
    /// Joins the parts. Nothing is connected or opened yet but what `cache` is.
    pub async fn open(config: ServiceConfig, cache: CacheService) -> Result<Self, ServiceError> {
        let ttl = Arc::new(config.ttl);
        let store = Store::new(&config.database_url, config.clock.clone())?;
        let hands = config.clock.clone();
        let clock = WallClock::new(move || hands.now());
        let client = YouTubeClient::new(YouTubeConfig { clock: clock.clone(), ..config.youtube })?;
        let ledger = Ledger::open(LedgerConfig {
            budgets: config.budgets,
            ttl: CacheTtl::clone(&ttl),
            prices: Arc::new(config.prices),
            refreshes: config.refreshes,
            store: store.clone(),
            cache: cache.clone(),
            clock: config.clock.clone(),
            tasks: config.tasks.clone(),
            stop: config.stop.clone(),
        });
        let gemini = match config.gemini {
            Some(gemini) => {
                ledger.check_model(&gemini.model)?;
                let ground = Ground {
                    cache: cache.clone(),
                    store: store.clone(),
                    ledger: ledger.clone(),
                    ttl: Arc::clone(&ttl),
                    clock: config.clock.clone(),
                    reuse: config.economy.verdicts,
                    gathering: config.economy.gathering,
                    stop: config.stop.clone(),
                    grace: config.stop_grace,
                };
                let model = gemini.model.clone();
                Some(CachedGemini::new(GeminiClient::new(GeminiConfig { clock, ..gemini })?, model, ground))
            }
            None => None,
        };
        let popularity = Popularity::new(store.clone(), ledger.clone(), config.clock.clone(), &config.stop);
        let engines = Engines::new(gemini, config.tasks.clone());
        let youtube = CachedYouTubeService::new(YouTubeParts {
            cache: cache.clone(),
            client: client.clone(),
            ledger: ledger.clone(),
            store: store.clone(),
            ttl: Arc::clone(&ttl),
            clock: config.clock.clone(),
            economy: config.economy,
            popularity: popularity.clone(),
        });
        let access = Access::new(store.clone(), config.clock.clone(), config.tasks.clone());
        let tasks = config.tasks.clone();
        let runs = Arc::new(Runs::new(
            config.max_running,
            config.max_queued,
            config.tasks,
            config.stop,
            config.stop_grace,
        ));
        let analyses = CachedAnalysisService::new(
            cache.clone(),
            store.clone(),
            Arc::clone(&runs),
            ledger.clone(),
            Arc::clone(&ttl),
            config.clock.clone(),
        );
        let retention = Retention::new(store.clone(), cache.clone(), Arc::clone(&ttl), config.clock.clone());
        // Before the first look, which waits for it, and beside what a command does until then.
        let preparing = analyses.clone();
        tasks.spawn(async move { preparing.prepare().await });
        Ok(Self {
            inner: Arc::new(Inner {
                cache,
                store,
                client,
                youtube,
                analyses,
                engines,
                access,
                runs,
                ledger,
                retention,
                popularity,
                ttl,
                clock: config.clock,
                default_plan: config.default_plan,
            }),
        })
    }

    /// What the fleet spends, and may spend.
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// What is kept for how long, and what sees to it.
    pub fn retention(&self) -> &Retention {
        &self.inner.retention
    }

    /// YouTube's data through the cache, paid by the one user there is as long as nobody logs in; for others see
    /// [`paid_by`](CachedYouTubeService::paid_by).
    pub fn youtube(&self) -> &CachedYouTubeService {
        &self.inner.youtube
    }

    /// Finished analyses through the cache.
    pub fn analyses(&self) -> &CachedAnalysisService {
        &self.inner.analyses
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The cache underneath.
    pub fn cache(&self) -> &CacheService {
        &self.inner.cache
    }

    /// Whether Gemini can be asked: a key is configured.
    pub fn has_gemini(&self) -> bool {
        self.inner.engines.gemini().is_some()
    }

    /// Derives the id of what a request would give. Not the user's, nor whether the cache is to be avoided.
    pub fn analysis_id(&self, request: &AnalysisRequest) -> AnalysisId {
        // A request for an engine that is not there has an id too, and is refused when it is to be made.
        let engine = self.inner.engines.resolve(request.engine).unwrap_or(Engine::Local);
        let [engine, version, model, prompts] = engine.identity();
        let (kind, source, name) = match &request.source {
            AnalysisSource::Video(video) => ("video", video.video_id.to_string(), ""),
            AnalysisSource::Dump { digest, file_name, .. } => ("file", digest.clone(), file_name.as_str()),
        };
        AnalysisId::derive(&[
            "1",
            kind,
            &source,
            name,
            &request.max_comments.to_string(),
            &request.order.to_string(),
            if request.include_replies { "replies" } else { "" },
            // The choice stands in the result, so `auto` and `gemini` are two analyses though one engine judges both.
            request.engine.name(),
            &engine,
            &version,
            &model,
            &prompts,
            // Gemini alone writes in another language.
            if engine == "gemini" { request.language() } else { "" },
        ])
    }

    /// Returns an analysis: from a tier, from the store, or made now, alone or with others who ask for the same.
    ///
    /// `no_cache` makes it anew from comments fetched anew; where it is being made already, that one is shared.
    /// Dropping the future does not end the making.
    pub async fn analyze(
        &self,
        user: &UserId,
        request: AnalysisRequest,
        no_cache: bool,
        progress: watch::Sender<Progress>,
    ) -> Result<AnalysisAnswer, ServiceError> {
        let (id, engine) = self.check(&request)?;
        self.note_request(&request);
        if let Some(answer) = self.ready(user, &id, no_cache).await? {
            progress.send_replace(Progress::at(Stage::Done));
            return Ok(answer);
        }
        let (run, own) = self.submit(user, &id, request, engine, no_cache).await?;
        let mut steps = run.progress().subscribe();
        let ended = run.ended();
        tokio::pin!(ended);
        let result = loop {
            tokio::select! {
                result = &mut ended => break result,
                Ok(()) = steps.changed() => { progress.send_replace(*steps.borrow_and_update()); }
            }
        };
        progress.send_replace(Progress::at(Stage::Done));
        let mut answer = result?;
        if !own && answer.source == AnswerSource::Fetched {
            answer.source = AnswerSource::Collapsed;
        }
        Ok(answer)
    }

    /// Returns an analysis that is there, or begins it and returns at once.
    pub async fn start(
        &self,
        user: &UserId,
        request: AnalysisRequest,
        no_cache: bool,
    ) -> Result<Started, ServiceError> {
        let (id, engine) = self.check(&request)?;
        self.note_request(&request);
        if let Some(answer) = self.ready(user, &id, no_cache).await? {
            return Ok(Started::Ready(answer));
        }
        self.submit(user, &id, request, engine, no_cache).await?;
        Ok(Started::Running(id))
    }

    /// Tells how an analysis stands that this user asked for.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for an unknown id and for one that only others asked for.
    pub async fn analysis(&self, user: &UserId, id: &AnalysisId) -> Result<AnalysisState, ServiceError> {
        if let Some(run) = self.inner.runs.get(id).filter(|run| run.is_of(user)) {
            return Ok(AnalysisState::Running(*run.progress().borrow()));
        }
        if !self.inner.access.may_read(user, id).await? {
            return Err(ServiceError::NotFound);
        }
        if let Some(answer) = self.inner.analyses.find(id).await? {
            return Ok(AnalysisState::Ready(answer));
        }
        match self.inner.runs.failure(id) {
            Some(error) => {
                Ok(AnalysisState::Failed { code: error.code().to_owned(), message: error.to_string() })
            }
            None => Err(ServiceError::NotFound),
        }
    }

    /// The comments of an analysis with the verdicts on them, in the order in which they were read; `None` where this node's store does
    /// not have them: it was made on another node, or by an earlier version.
    pub async fn judged_comments(
        &self,
        answer: &AnalysisAnswer,
    ) -> Result<Option<Vec<JudgedComment>>, ServiceError> {
        let Some(packed) = self.inner.store.load_comments(&answer.id).await? else { return Ok(None) };
        let body = answer.body.clone();
        self.inner
            .engines
            .blocking(move || {
                let verdicts = serde_json::from_slice::<AnalysisBody>(&body).ok()?.verdicts;
                judged::join(judged::unpack(&packed)?, verdicts)
            })
            .await
    }

    /// Picks a page of the comments of an analysis.
    ///
    /// # Errors
    /// [`ServiceError::CommentsNotKept`], and what [`select`](crate::filter::select) refuses.
    pub async fn find_comments(
        &self,
        answer: &AnalysisAnswer,
        filter: CommentFilter,
        page: PageRequest,
    ) -> Result<CommentPage, ServiceError> {
        let comments = self.judged_comments(answer).await?.ok_or(ServiceError::CommentsNotKept)?;
        self.inner.engines.blocking(move || filter::select(comments, &filter, page)).await?
    }

    /// How far an analysis is, while it is being made.
    pub fn progress(&self, id: &AnalysisId) -> Option<watch::Receiver<Progress>> {
        self.inner.runs.get(id).map(|run| run.progress().subscribe())
    }

    /// Waits at most so long for an analysis to end, and tells how it stands.
    pub async fn wait(
        &self,
        user: &UserId,
        id: &AnalysisId,
        at_most: Duration,
    ) -> Result<AnalysisState, ServiceError> {
        if let Some(run) = self.inner.runs.get(id).filter(|run| run.is_of(user)) {
            // Only the waiting matters here: how it ended is asked for below.
            let _ = tokio::time::timeout(at_most, run.ended()).await;
        }
        self.analysis(user, id).await
    }

    /// A user's finished analyses, the latest request first; at most 200.
    pub async fn list(
        &self,
        user: &UserId,
        limit: u32,
        before: Option<Timestamp>,
    ) -> Result<Vec<AnalysisListItem>, ServiceError> {
        self.inner.access.write_down(user).await;
        self.inner.store.list(user, limit, before).await
    }

    /// Takes a user out of an analysis that is being made; with the last who wants it, it ends. What was read and judged by then is kept,
    /// so that asking again goes on from there. A call that is under way goes on, for it is paid.
    ///
    /// Returns whether it ended: it goes on for others who have asked for it.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where it is not being made, or not for this user.
    pub async fn cancel(&self, user: &UserId, id: &AnalysisId) -> Result<bool, ServiceError> {
        match self.inner.runs.leave(id, user) {
            Left::Nothing => Err(ServiceError::NotFound),
            Left::Shared => Ok(false),
            Left::Last(run) => {
                self.inner.runs.remember_canceled(id);
                run.cancel();
                // Its end is near, and then its place is free.
                let _ = tokio::time::timeout(CANCELED_WITHIN, run.ended()).await;
                Ok(true)
            }
        }
    }

    /// Takes an analysis out of a user's history; with the last user's, the analysis itself, from the store and every tier.
    ///
    /// One that is being made goes to whoever waits for it and is not kept, unless others have asked for it too. A tier that
    /// cannot be reached is no reason to fail: its copy is not served again, and goes when it can be reached.
    pub async fn erase(&self, user: &UserId, id: &AnalysisId) -> Result<(), ServiceError> {
        let left = self.inner.runs.leave(id, user);
        // The run before the store: from here on it keeps nothing, and what it has kept goes next.
        if let Left::Last(run) = &left {
            run.keep_as(Keeping::Not).await;
        }
        match self.inner.access.revoke(user, id).await? {
            Erased::Nothing if matches!(left, Left::Nothing) => Err(ServiceError::NotFound),
            Erased::Nothing | Erased::Line => Ok(()),
            Erased::Analysis { erased_at, summaries } => {
                self.inner.runs.forget_failure(id);
                self.inner.analyses.forget(id, erased_at).await;
                self.inner.analyses.forget_summaries(&summaries).await;
                Ok(())
            }
        }
    }

    /// What this process has spent since it started.
    pub fn spending(&self) -> Spending {
        let tokens = self.inner.engines.gemini().map(CachedGemini::tokens_spent);
        let (tokens_in, tokens_out) = tokens.map_or((0, 0), |tokens| (tokens.input, tokens.output));
        Spending { quota_units: self.inner.client.units_spent(), tokens_in, tokens_out }
    }

    /// Closes the store. The cache, the tasks and the stop signal are their owner's.
    pub async fn close(&self) {
        self.inner.popularity.close().await;
        self.inner.ledger.close().await;
        self.inner.store.close().await;
    }

    /// The videos that were asked for most lately.
    pub(crate) async fn most_asked(&self, count: u32) -> Result<Vec<VideoId>, ServiceError> {
        self.inner.popularity.most_asked(count).await
    }

    fn note_request(&self, request: &AnalysisRequest) {
        if let AnalysisSource::Video(video) = &request.source {
            self.inner.popularity.count(&video.video_id);
        }
    }

    pub(crate) fn check(&self, request: &AnalysisRequest) -> Result<(AnalysisId, Engine), ServiceError> {
        request.validate()?;
        let engine = self.inner.engines.resolve(request.engine)?;
        Ok((self.analysis_id(request), engine))
    }

    /// What is there already. A store that fails is a miss here: the analysis can still be made.
    async fn ready(
        &self,
        user: &UserId,
        id: &AnalysisId,
        no_cache: bool,
    ) -> Result<Option<AnalysisAnswer>, ServiceError> {
        if no_cache {
            self.inner.analyses.pass_by(id).await;
            return Ok(None);
        }
        let found = self.inner.analyses.look(id).await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "store not readable");
            None
        });
        if found.is_some() {
            self.inner.access.grant(user, id).await;
        }
        Ok(found)
    }
}
