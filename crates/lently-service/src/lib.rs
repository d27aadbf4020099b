//! The product: what Lently caches, for how long, under which key and from where; users, plans, jobs and the store.
//!
//! It never speaks HTTP to its callers, never reads the environment, and spells cache keys in [`keys`] alone.

pub mod keys;
pub mod ttl;

pub mod author;
pub mod ids;
pub mod plan;
pub mod price;
pub mod request;

pub mod body;
pub mod cached;
pub mod economy;
pub mod error;
pub mod filter;
pub mod judged;
pub mod progress;
pub mod shape;

pub mod analysis;
pub mod pattern;
pub mod youtube;

mod engine;
pub mod estimate;
mod gemini;
mod jobs;
mod judge;
pub mod ledger;
mod places;
mod popularity;
mod purse;
pub mod retention;
mod run;
mod since;
pub mod store;
mod tombstones;
pub mod warming;

pub mod lently;

pub use analysis::{AnalysisAnswer, AnswerSource, CachedAnalysisService};
pub use author::Author;
pub use body::{
    AnalysisBody, BodyEngine, BodyRequest, BodySince, BodySource, BodyVerdict, BodyWords, JudgedCounts,
};
pub use cached::{Cached, Served};
pub use economy::Economy;
pub use error::ServiceError;
pub use estimate::{CachedParts, Estimate};
pub use filter::{CommentFilter, CommentPage, CommentSort, PageRequest};
pub use ids::{AnalysisId, UserId};
pub use judged::JudgedComment;
pub use keys::{CacheKeys, EntryKind};
pub use ledger::{Budgets, FreshnessSteps, Ledger, LedgerReport, Payer, Purpose, RefreshBudget, UserReport};
pub use lently::{
    AnalysisState, AnalysisVersion, Compared, ComparedAnalysis, Difference, Erasure, JudgedTexts, Lently,
    ServiceConfig, Spending, Started, Usage, UserInvalidation, When,
};
pub use pattern::{PatternInvalidation, PatternMeasure};
pub use plan::{PlanLimits, UserPlan};
pub use price::{PriceError, Prices};
pub use progress::{Progress, Stage};
pub use request::{AnalysisRequest, AnalysisSource, EngineChoice, MAX_COMMENTS};
pub use retention::{Retention, RetentionReport, SweepReport};
pub use store::{AnalysisListItem, PartReport, Store, StorePart};
pub use ttl::CacheTtl;
pub use warming::{WarmPlan, WarmReport, WarmRequest, WarmState, WarmedVideo, WhyLeft};
pub use youtube::{CachedYouTubeService, CommentsRequest};
