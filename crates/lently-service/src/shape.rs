//! Whether bytes are a value of the kind that their key says. Others may write into the same Redis, and so may older and newer
//! Lentlys; what is not of its kind is removed and fetched anew, never served.

use std::collections::BTreeMap;
use std::hash::Hash;

use futures::future::join_all;
use lently_cache::{
    Answer, Bulk, CacheService, Controls, Entry, FetchError, FetchFailure, Fetched, Lookup, Outcome, Policy,
    Tier, Wanted,
};
use lently_upstream::Transcript;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};

use crate::gemini::{StoredSummary, StoredVerdict};
use crate::ids::AnalysisId;
use crate::keys::EntryKind;
use crate::lently::Usage;
use crate::youtube::{KnownVideo, Shelf};

/// Checks the JSON of a value against the type of its kind.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check(kind: EntryKind, value: &[u8]) -> Result<(), serde_json::Error> {
    match kind {
        EntryKind::Analysis => is::<Analysis>(value),
        EntryKind::Comments => is::<Shelf>(value),
        EntryKind::Video => is::<KnownVideo>(value),
        EntryKind::Transcript => is::<Transcript>(value),
        EntryKind::Quota => is::<Usage>(value),
        EntryKind::Verdict => is::<StoredVerdict>(value),
        EntryKind::Summary => is::<StoredSummary>(value),
    }
}

/// The outline of an [`AnalysisBody`](crate::AnalysisBody): its bytes are served as they are, so that is as far as anyone
/// looks.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it parses matters")]
struct Analysis {
    analysis_id: AnalysisId,
    status: String,
    source: Object,
    request: Object,
    engine: Object,
    report: Object,
    verdicts: Vec<IgnoredAny>,
    cost: Object,
}

type Object = BTreeMap<String, IgnoredAny>;

/// Every value is an object; serde would take a list of the right members for one too.
fn is<T: DeserializeOwned>(value: &[u8]) -> Result<(), serde_json::Error> {
    if !value.trim_ascii_start().starts_with(b"{") {
        return Err(serde_json::Error::custom("it is no object"));
    }
    serde_json::from_slice::<T>(value).map(drop)
}

/// `get_or_set_with` for a kind: what a tier outside this process has is checked, and where it is not of its kind, it is removed and
/// fetched anew. What is in memory came from there, and was checked, or was made here.
pub(crate) async fn get_or_set<F, Fut>(
    cache: &CacheService,
    kind: EntryKind,
    key: &str,
    policy: &Policy,
    controls: &Controls,
    fetch: F,
) -> Result<Answer, FetchError>
where
    F: FnOnce() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
{
    let answer = cache.get_or_set_with(key, policy, controls, fetch.clone()).await?;
    if may_be_served(cache, kind, key, &answer).await {
        return Ok(answer);
    }
    anew(cache, key, policy, controls, fetch).await
}

/// The same of many.
pub(crate) async fn get_or_set_many<I>(
    cache: &CacheService,
    kind: EntryKind,
    wanted: &[Wanted<I>],
    controls: &Controls,
    bulk: &Bulk<I>,
) -> Vec<Result<Answer, FetchError>>
where
    I: Clone + Eq + Hash + Send + Sync + 'static,
{
    let answers = cache.get_or_set_many_with(wanted, controls, bulk).await;
    let checked = wanted.iter().zip(answers).map(|(Wanted { id, key, policy }, answer)| async move {
        let answer = answer?;
        if may_be_served(cache, kind, key, &answer).await {
            return Ok(answer);
        }
        let (bulk, id) = (bulk.clone(), id.clone());
        anew(cache, key, policy, controls, move || bulk.fetch(id)).await
    });
    join_all(checked).await
}

async fn may_be_served(cache: &CacheService, kind: EntryKind, key: &str, answer: &Answer) -> bool {
    let was_kept = matches!(answer.outcome, Outcome::Hit | Outcome::Stale(_));
    !was_kept || is_sound(cache, kind, key, &answer.entry).await
}

/// In the place of what is not of its kind.
async fn anew<F, Fut>(
    cache: &CacheService,
    key: &str,
    policy: &Policy,
    controls: &Controls,
    fetch: F,
) -> Result<Answer, FetchError>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Fetched, FetchFailure>> + Send + 'static,
{
    if controls.only_if_cached {
        return Err(FetchError::NotCached);
    }
    cache.get_or_set_with(key, policy, &Controls { no_cache: true, ..*controls }, fetch).await
}

/// What the tiers have of a key, for a fetch that builds on it; what is not of its kind is removed. It is not counted as a request.
pub(crate) async fn peek(cache: &CacheService, kind: EntryKind, key: &str) -> Option<(Entry, bool)> {
    let (entry, is_fresh) = match cache.peek(kind.kind(), key).await {
        Lookup::Fresh(entry) => (entry, true),
        Lookup::Stale(entry) => (entry, false),
        _ => return None,
    };
    is_sound(cache, kind, key, &entry).await.then_some((entry, is_fresh))
}

/// Whether an entry is of its kind; it is removed and counted where it is not.
pub(crate) async fn is_sound(cache: &CacheService, kind: EntryKind, key: &str, entry: &Entry) -> bool {
    if entry.tier == Tier::Memory {
        return true;
    }
    let Err(error) = check(kind, &entry.value) else { return true };
    metrics::counter!("lently_cache_values_refused_total", "kind" => kind.name()).increment(1);
    // Not the message: it may quote the value, which is somebody's text.
    let (tier, line, column) = (entry.tier.name(), error.line(), error.column());
    tracing::warn!(kind = kind.name(), tier, line, column, "a cached value is not of its kind");
    if let Err(error) = cache.delete(key).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a value that is not of its kind is not removed yet"
        );
    }
    false
}
