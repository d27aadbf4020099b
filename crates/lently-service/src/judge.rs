//! Judges comments: by Gemini where it is the engine, locally otherwise and for whatever Gemini leaves.
//!
//! It never fails for Gemini's sake: what happened is told by the counts and by `degraded`. Equal texts are judged once.
//! Gemini has until a deadline; the local engine, which takes microseconds a comment, has none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lently_analysis::{JudgedBy, Verdict, prompt};
use tokio::time::timeout_at;

use crate::body::JudgedCounts;
use crate::engine::{Engine, Engines};
use crate::error::ServiceError;
use crate::gemini::{BATCH, CachedGemini, Judgment, Payer, Unanswered};

/// Texts per piece of local work: long enough to be worth a thread, short enough to show progress and stop.
const LOCAL_CHUNK: usize = 128;
/// Groups of [`BATCH`] texts that one analysis has judged at once, each in a call; so no more of its texts are in flight.
const GROUPS_AT_ONCE: usize = 4;

/// The judgments on some comments, and who made them.
pub(crate) struct Judged {
    /// One for each comment, in order.
    pub verdicts: Vec<Verdict>,
    pub counts: JudgedCounts,
    /// Comments whose verdict had been paid for before.
    pub reused: u64,
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
pub type OnJudged = Arc<dyn Fn(u64) + Send + Sync>;

/// Judges each text. At the payer's deadline Gemini is left alone, and the rest is judged locally.
pub(crate) async fn judge(
    engines: &Engines,
    engine: &Engine,
    texts: &[String],
    payer: Payer,
    on_judged: OnJudged,
) -> Result<Judged, ServiceError> {
    let progress = Arc::new(Counter { done: AtomicU64::new(0), on_judged });
    let (distinct, outcome) = match engine {
        Engine::Local => (Distinct::of(texts, |text| text.trim().to_owned()), Outcome::default()),
        Engine::Gemini(gemini) => {
            let distinct = Distinct::of(texts, prompt::normalized);
            let outcome = ask(gemini, &distinct, &progress, payer).await;
            (distinct, outcome)
        }
    };
    let Outcome { judgments, stopped, left } = outcome;
    let mut verdicts: Vec<Option<Verdict>> = vec![None; distinct.keys.len()];
    let (mut reused, mut model_version) = (0, None);
    for (place, Judgment { verdict, model_version: version, reused: again }) in judgments {
        verdicts[place] = Some(verdict);
        reused += if again { distinct.weight[place] } else { 0 };
        model_version = Some(version);
    }
    let unjudged: Vec<usize> = (0..verdicts.len()).filter(|place| verdicts[*place].is_none()).collect();
    for (place, verdict) in judge_locally(engines, &distinct, &unjudged, &progress).await? {
        verdicts[place] = Some(verdict);
    }
    let verdicts: Vec<Verdict> =
        distinct.place.iter().filter_map(|place| verdicts.get(*place).cloned().flatten()).collect();
    let gemini = verdicts.iter().filter(|verdict| verdict.judged_by == JudgedBy::Gemini).count() as u64;
    let counts = JudgedCounts { gemini, local: verdicts.len() as u64 - gemini };
    let why = stopped.or(left).filter(|_| counts.local > 0);
    let degraded = why.map(|why| Degraded {
        reason: format!("{} comments were judged locally: {why}", counts.local),
        may_pass: why.may_pass(),
    });
    Ok(Judged { verdicts, counts, reused, model_version, degraded })
}

/// What came of asking Gemini.
#[derive(Default)]
struct Outcome {
    /// With the place of the text that each is on.
    judgments: Vec<(usize, Judgment)>,
    /// Why Gemini is left alone, if it is.
    stopped: Option<Unanswered>,
    /// Why single texts are left.
    left: Option<Unanswered>,
}

/// Asks Gemini for a verdict on each text that has none yet, until the deadline. What is under way then goes on and is kept, for
/// whoever asks next.
async fn ask(gemini: &CachedGemini, distinct: &Distinct, progress: &Counter, payer: Payer) -> Outcome {
    let shared = Shared { gemini, distinct, progress, state: Mutex::default(), payer: &payer };
    if timeout_at(payer.deadline, shared.work()).await.is_err() {
        shared.state().stopped.get_or_insert(Unanswered::OutOfTime);
    }
    shared.state.into_inner().unwrap_or_else(PoisonError::into_inner)
}

struct Shared<'a> {
    gemini: &'a CachedGemini,
    distinct: &'a Distinct,
    progress: &'a Counter,
    payer: &'a Payer,
    /// No lock on it is held across an `.await`.
    state: Mutex<Outcome>,
}

impl Shared<'_> {
    fn state(&self) -> MutexGuard<'_, Outcome> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judged(&self, place: usize, judgment: Judgment) {
        self.state().judgments.push((place, judgment));
        self.progress.add(self.distinct.weight[place]);
    }

    /// First what was paid for before, so that the rest fills its batches.
    async fn work(&self) {
        let mut known = vec![false; self.distinct.keys.len()];
        let found = |place: usize, judgment| {
            known[place] = true;
            self.judged(place, judgment);
        };
        self.gemini.recall(&self.distinct.keys, found).await;
        let unknown: Vec<usize> = (0..known.len()).filter(|place| !known[*place]).collect();
        let groups: Vec<Vec<usize>> = unknown.chunks(BATCH).map(<[usize]>::to_vec).collect();
        stream::iter(groups)
            .for_each_concurrent(GROUPS_AT_ONCE, |group| async move { self.ask(&group).await })
            .await;
    }

    async fn ask(&self, group: &[usize]) {
        if self.state().stopped.is_some() {
            return;
        }
        let texts: Vec<Arc<str>> =
            group.iter().map(|place| Arc::clone(&self.distinct.keys[*place])).collect();
        let answers = self.gemini.judge(&texts, self.payer).await;
        for (place, answer) in group.iter().zip(answers) {
            match answer {
                Ok(judgment) => self.judged(*place, judgment),
                Err(why) => {
                    let mut state = self.state();
                    let reason = if why.is_general() { &mut state.stopped } else { &mut state.left };
                    reason.get_or_insert(why);
                }
            }
        }
    }
}

/// Equal texts, once each; `place` tells for every comment which text is its.
struct Distinct {
    /// What makes two texts equal.
    keys: Vec<Arc<str>>,
    /// The first text of each, trimmed.
    texts: Vec<String>,
    /// How many comments have each text.
    weight: Vec<u64>,
    place: Vec<usize>,
}

impl Distinct {
    fn of(all: &[String], key: impl Fn(&str) -> String) -> Self {
        let mut known: HashMap<Arc<str>, usize> = HashMap::with_capacity(all.len());
        let mut distinct = Self {
            keys: Vec::new(),
            texts: Vec::new(),
            weight: Vec::new(),
            place: Vec::with_capacity(all.len()),
        };
        for text in all {
            let key: Arc<str> = Arc::from(key(text));
            let place = *known.entry(Arc::clone(&key)).or_insert_with(|| {
                distinct.keys.push(key);
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
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let texts = ["first!", "nice", " first!", "first!"].map(str::to_owned);
        let distinct = Distinct::of(&texts, |text| text.trim().to_owned());
        assert_eq!(distinct.texts, ["first!", "nice"]);
        assert_eq!(distinct.weight, [3, 1]);
        assert_eq!(distinct.place, [0, 1, 0, 0]);
    }
}
