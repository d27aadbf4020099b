//! The two engines, as configured, and which of them a request means. It judges nothing itself.

use std::sync::Arc;

use lently_analysis::{LocalEngine, Verdict};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use crate::error::ServiceError;
use crate::gemini::{CachedGemini, prompt_version};
use crate::request::EngineChoice;

/// What stands ready to judge. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engines {
    gemini: Option<CachedGemini>,
    local: Arc<OnceCell<Arc<LocalEngine>>>,
    tasks: TaskTracker,
}

/// The engine that a request means, here.
#[derive(Clone)]
pub(crate) enum Engine {
    Local,
    Gemini(CachedGemini),
}

impl Engine {
    /// The name in the analysis.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Gemini(_) => "gemini",
        }
    }

    /// Gemini's model, where Gemini it is.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::Local => None,
            Self::Gemini(gemini) => Some(gemini.model()),
        }
    }

    /// Everything about the engine that determines its verdicts.
    pub(crate) fn identity(&self) -> [String; 4] {
        let (model, prompts) = match self {
            Self::Local => (String::new(), String::new()),
            Self::Gemini(gemini) => (gemini.model().to_owned(), prompt_version()),
        };
        [self.name().to_owned(), local_version(), model, prompts]
    }
}

/// The version of the local engine, as it stands in analyses.
pub(crate) fn local_version() -> String {
    LocalEngine::VERSION.to_string()
}

impl Engines {
    pub(crate) fn new(gemini: Option<CachedGemini>, tasks: TaskTracker) -> Self {
        Self { gemini, local: Arc::default(), tasks }
    }

    pub(crate) const fn gemini(&self) -> Option<&CachedGemini> {
        self.gemini.as_ref()
    }

    /// Refuses Gemini where it has no key.
    pub(crate) fn resolve(&self, choice: EngineChoice) -> Result<Engine, ServiceError> {
        match (choice, &self.gemini) {
            (EngineChoice::Gemini, None) => Err(ServiceError::EngineUnavailable { engine: "gemini" }),
            (EngineChoice::Auto | EngineChoice::Gemini, Some(gemini)) => Ok(Engine::Gemini(gemini.clone())),
            (EngineChoice::Auto | EngineChoice::Local, _) => Ok(Engine::Local),
        }
    }

    /// Judges texts locally, on a thread of its own.
    pub(crate) async fn judge_locally(&self, texts: Vec<String>) -> Result<Vec<Verdict>, ServiceError> {
        let engine = self.local().await?;
        self.blocking(move || {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            engine.judge_all(&texts)
        })
        .await
    }

    /// Runs what takes long on the processor where it does not hold up others.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let done = self.tasks.spawn_blocking(work).await;
        done.map_err(|error| ServiceError::internal("work on the processor panicked", error))
    }

    /// The models are loaded once, when first needed: a process that only serves hits never pays for them.
    async fn local(&self) -> Result<Arc<LocalEngine>, ServiceError> {
        self.local.get_or_try_init(|| self.blocking(|| Arc::new(LocalEngine::new()))).await.cloned()
    }
}
