//! The composition root: the only place that joins configuration, cache, service, tasks and metrics. It holds them and
//! decides nothing.

mod logging;
mod metrics;
mod traces;

use std::sync::Arc;

use lently_cache::{CacheConfig, CacheError, CacheService, Clock};
use lently_service::retention::{FIRST_SWEEP_AFTER, SWEEP_EVERY};
use lently_service::{Economy, Lently, RefreshBudget, ServiceConfig, ServiceError, UserId, keys};
use secrecy::ExposeSecret;

pub(crate) use self::traces::{answered, join_trace_of_caller};
pub use self::{logging::init_logging, metrics::Metrics, traces::close_traces};
use crate::{config::Config, tasks::Tasks};

/// Everything that runs. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct App {
    /// The service.
    pub lently: Lently,
    /// The cache underneath it.
    pub cache: CacheService,
    /// What it was opened with.
    pub config: Arc<Config>,
    /// What runs behind.
    pub tasks: Tasks,
    /// The numbers for Prometheus, one set for the whole process; a command that serves nothing has none.
    pub metrics: Option<Metrics>,
    /// Where the time comes from.
    pub clock: Clock,
}

/// Why the app could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The cache can never work as configured. A Redis that is not there is no such case.
    #[error("the cache cannot be opened")]
    Cache(#[from] CacheError),
    /// The service can never work as configured.
    #[error("the service cannot be opened")]
    Service(#[from] ServiceError),
    /// A directory could neither be found nor made.
    #[error("cannot make the directory {path}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl App {
    /// Opens everything, by the system's clock.
    ///
    /// # Errors
    /// What no waiting would mend; nothing is left running then.
    pub async fn open(config: Config) -> Result<Self, AppError> {
        Self::open_at(config, Clock::system()).await
    }

    /// The same by a given clock.
    pub async fn open_at(config: Config, clock: Clock) -> Result<Self, AppError> {
        // Before the cache, which registers its series as it opens.
        let metrics = Metrics::install();
        let app = Self::join(config, clock, Some(metrics.clone())).await?;
        metrics.keep(&app.tasks);
        let sweeping = app.lently.retention().clone().keep_sweeping(
            FIRST_SWEEP_AFTER,
            SWEEP_EVERY,
            app.tasks.stop_signal(),
        );
        app.tasks.spawn("retention", sweeping);
        Ok(app)
    }

    /// The same without numbers for Prometheus, whose clock takes longer to set than a hit does to answer, and without a sweep now and
    /// then: a command ends before the first.
    pub async fn open_for_command(config: Config) -> Result<Self, AppError> {
        Self::join(config, Clock::system(), None).await
    }

    async fn join(config: Config, clock: Clock, metrics: Option<Metrics>) -> Result<Self, AppError> {
        let tasks = Tasks::default();
        for path in [&config.data_dir, &config.cache_dir] {
            std::fs::create_dir_all(path)
                .map_err(|source| AppError::Directory { path: path.display().to_string(), source })?;
        }
        let refreshes = RefreshBudget::default();
        let cache = CacheService::open(CacheConfig {
            kinds: &keys::KINDS,
            prefix: config.cache.key_prefix.clone(),
            memory_bytes: config.cache.memory_bytes,
            remote: config.cache.remote.clone(),
            clock: clock.clone(),
            tasks: tasks.tracker(),
            budget: refreshes.budget(),
            max_value_bytes: config.cache.max_value_bytes,
        })
        .await?;
        let service = ServiceConfig {
            ttl: config.ttl.clone(),
            youtube: config.youtube.clone(),
            gemini: config.gemini.clone(),
            database_url: config.database_url.expose_secret().to_owned(),
            clock: clock.clone(),
            tasks: tasks.tracker(),
            stop: tasks.stop_signal(),
            // The rest of the time is for storing what they bring.
            stop_grace: config.shutdown.mul_f64(0.9),
            max_running: config.max_running,
            max_queued: config.max_queued,
            default_plan: config.default_plan,
            economy: Economy::default(),
            budgets: config.budgets.clone(),
            prices: config.prices.clone(),
            refreshes,
        };
        let lently = match Lently::open(service, cache.clone()).await {
            Ok(lently) => lently,
            Err(error) => {
                tasks.end(config.shutdown).await;
                return Err(error.into());
            }
        };
        Ok(Self { lently, cache, config: Arc::new(config), tasks, metrics, clock })
    }

    /// The one user there is as long as nobody logs in.
    #[must_use]
    pub fn user(&self) -> UserId {
        UserId::local()
    }

    /// Ends what runs, at most for `config.shutdown`, then closes cache and store. Whether everything ended in time.
    pub async fn close(&self) -> bool {
        let ended = self.tasks.end(self.config.shutdown).await;
        self.cache.close().await;
        self.lently.close().await;
        ended
    }
}
