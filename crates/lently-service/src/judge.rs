//! Judges comments: by Gemini in batches where it is the engine, locally otherwise and for whatever Gemini leaves.
//!
//! It never fails for Gemini's sake: what happened is told by the counts and by `degraded`. Equal texts are judged once.
//! Gemini has until a deadline; the local engine, which takes microseconds a comment, has none.

mod batches;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lently_analysis::{JudgedBy, Verdict};
use lently_cache::Cost;
use tokio::time::Instant;

use crate::body::JudgedCounts;
use crate::engine::{Engine, Engines};
use crate::error::ServiceError;

pub(crate) use batches::generate_request;

/// Texts per piece of local work: long enough to be worth a thread, short enough to show progress and stop.
const LOCAL_CHUNK: usize = 128;

/// The judgments on some comments, and who made them.
pub(crate) struct Judged {
    /// One for each comment, in order.
    pub verdicts: Vec<Verdict>,
    pub counts: JudgedCounts,
    pub cost: Cost,
    pub model_version: Option<String>,
    /// Why Gemini did not judge all, where it should have.
    pub degraded: Option<Degraded>,
}

/// Why Gemini did not do all it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Degraded {
    /// For the user.
    pub reason: String,
    /// Whether Gemini may do better soon. Otherwise asking again would only buy the same once more.
    pub may_pass: bool,
}

/// Told how many comments are judged so far.
pub(crate) type OnJudged = Arc<dyn Fn(u64) + Send + Sync>;

/// Judges each text. At the deadline Gemini is left alone, and the rest is judged locally.
pub(crate) async fn judge(
    engines: &Engines,
    engine: &Engine,
    texts: &[String],
    deadline: Instant,
    on_judged: OnJudged,
) -> Result<Judged, ServiceError> {
    let distinct = Distinct::of(texts);
    let progress = Arc::new(Counter { done: AtomicU64::new(0), on_judged });
    let mut verdicts: Vec<Option<Verdict>> = vec![None; distinct.texts.len()];
    let mut outcome = batches::Outcome::default();
    if let Engine::Gemini(gemini) = engine {
        outcome = batches::judge(gemini, &distinct, &progress, deadline).await;
        verdicts.clone_from(&outcome.verdicts);
    }
    let left: Vec<usize> = verdicts
        .iter()
        .enumerate()
        .filter(|(_, verdict)| verdict.is_none())
        .map(|(index, _)| index)
        .collect();
    for (index, verdict) in judge_locally(engines, &distinct, &left, &progress).await? {
        verdicts[index] = Some(verdict);
    }
    let verdicts: Vec<Verdict> =
        distinct.place.iter().filter_map(|place| verdicts.get(*place).cloned().flatten()).collect();
    let gemini = verdicts.iter().filter(|verdict| verdict.judged_by == JudgedBy::Gemini).count() as u64;
    let counts = JudgedCounts { gemini, local: verdicts.len() as u64 - gemini };
    let degraded = match engine {
        Engine::Gemini(_) if counts.local > 0 => Some(outcome.degraded(counts.local)),
        _ => None,
    };
    Ok(Judged { verdicts, counts, cost: outcome.cost, model_version: outcome.model_version, degraded })
}

/// Equal texts, once each; `place` tells for every comment which text is its.
struct Distinct {
    texts: Vec<String>,
    /// How many comments have each text.
    weight: Vec<u64>,
    place: Vec<usize>,
}

impl Distinct {
    fn of(all: &[String]) -> Self {
        let mut known: HashMap<&str, usize> = HashMap::with_capacity(all.len());
        let mut distinct =
            Self { texts: Vec::new(), weight: Vec::new(), place: Vec::with_capacity(all.len()) };
        for text in all {
            let place = *known.entry(text.trim()).or_insert_with(|| {
                distinct.texts.push(text.trim().to_owned());
                distinct.weight.push(0);
                distinct.texts.len() - 1
            });
            distinct.weight[place] += 1;
            distinct.place.push(place);
        }
        distinct
    }

    fn pick(&self, indices: &[usize]) -> Vec<String> {
        indices.iter().map(|index| self.texts[*index].clone()).collect()
    }
}

struct Counter {
    done: AtomicU64,
    on_judged: OnJudged,
}

impl Counter {
    fn add(&self, comments: u64) {
        let done = self.done.fetch_add(comments, Ordering::Relaxed) + comments;
        (self.on_judged)(done);
    }
}

async fn judge_locally(
    engines: &Engines,
    distinct: &Distinct,
    indices: &[usize],
    progress: &Arc<Counter>,
) -> Result<Vec<(usize, Verdict)>, ServiceError> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Chunks of their own: a closure over borrowed ones is not general enough for the flight's task.
    let chunks: Vec<Vec<usize>> = indices.chunks(LOCAL_CHUNK).map(<[usize]>::to_vec).collect();
    let pieces: Vec<Vec<(usize, Verdict)>> = stream::iter(chunks)
        .map(|chunk| async move {
            let verdicts = engines.judge_locally(distinct.pick(&chunk)).await?;
            progress.add(chunk.iter().map(|index| distinct.weight[*index]).sum());
            Ok::<_, ServiceError>(chunk.into_iter().zip(verdicts).collect())
        })
        .buffer_unordered(workers)
        .try_collect()
        .await?;
    Ok(pieces.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Once;
    use std::time::Duration;

    use lently_emulator::{Data, Emulator, EmulatorConfig, Fault, FaultKind, Latency};
    use lently_upstream::GeminiConfig;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::request::EngineChoice;

    #[test]
    fn equal_texts_are_one() {
        let texts = ["first!", "nice", " first!", "first!"].map(str::to_owned);
        let distinct = Distinct::of(&texts);
        assert_eq!(distinct.texts, ["first!", "nice"]);
        assert_eq!(distinct.weight, [3, 1]);
        assert_eq!(distinct.place, [0, 1, 0, 0]);
    }

    #[tokio::test]
    async fn at_the_deadline_the_rest_is_judged_locally_and_what_is_judged_stays() {
        let emulator = Arc::new(
            Emulator::start(EmulatorConfig {
                listen: "127.0.0.1:0".parse().expect("an address"),
                data: Data::samples(),
                latency: Latency::default(),
                quota_units: 10_000,
                api_key: None,
            })
            .await
            .expect("an emulator"),
        );
        let gemini = GeminiConfig {
            base_url: emulator.gemini_base_url(),
            ..GeminiConfig::new("key".to_owned().into())
        };
        let engines = Engines::new(Some(gemini), TaskTracker::new()).expect("engines");
        let engine = engines.resolve(EngineChoice::Gemini).expect("Gemini");
        let texts: Vec<String> = (0..600).map(|number| format!("nice video {number}")).collect();
        let (silence, faulty) = (Once::new(), Arc::clone(&emulator));
        // After its first answer Gemini is silent. Nothing but the deadline is left to happen, and time is moved there.
        let on_judged = move |_| {
            silence.call_once(|| {
                faulty.set_fault(Some(Fault { kind: FaultKind::Hang, method: None, times: None }));
                tokio::time::pause();
            });
        };
        let deadline = Instant::now() + Duration::from_secs(50);
        let judged = judge(&engines, &engine, &texts, deadline, Arc::new(on_judged)).await.expect("verdicts");
        assert_eq!(judged.verdicts.len(), 600);
        assert_eq!(judged.counts.gemini + judged.counts.local, 600);
        assert!((50..=350).contains(&judged.counts.gemini), "{:?}", judged.counts);
        assert!(judged.cost.tokens_out > 0);
        let Degraded { reason, may_pass } = judged.degraded.expect("a reason");
        assert!(reason.contains("judged locally: the time for Gemini was over") && !may_pass, "{reason}");
    }
}
