//! Gemini's part of judging: batches, a few at once; a batch whose answer cannot be used is halved and asked again.
//!
//! Every loop ends: halving stops at one comment, and Gemini is left alone after a few useless answers in a row, at the
//! first failure that its client's own retries did not cure, or at the deadline. What is unjudged then stays so, for the
//! caller to deal with.

use std::sync::{Mutex, PoisonError};

use futures::stream::{self, StreamExt as _};
use lently_analysis::{Verdict, prompt};
use lently_cache::Cost;
use lently_upstream::{GenerateRequest, TokenUsage, UpstreamError};
use tokio::time::{Instant, timeout_at};

use super::{Counter, Degraded, Distinct};
use crate::engine::Gemini;
use crate::price::token_cost;

/// Comments per call: the instructions' tokens are spread over many, and an answer lost is not many comments lost.
const BATCH: usize = 50;
/// Calls at once for one analysis.
const CONCURRENT_CALLS: usize = 4;
/// After so many useless answers in a row, the rest would be useless too. One comment that poisons its batch of
/// fifty costs six halvings, but there every other answer is good.
const USELESS_IN_A_ROW: u32 = 8;

/// What Gemini made of the texts.
#[derive(Default)]
pub(super) struct Outcome {
    /// One place for each distinct text; empty where Gemini was not asked at all.
    pub verdicts: Vec<Option<Verdict>>,
    pub cost: Cost,
    pub model_version: Option<String>,
    stopped: Option<Stop>,
}

/// Why Gemini is left alone.
enum Stop {
    Failed(UpstreamError),
    Useless,
    OutOfTime,
}

impl Outcome {
    /// Says why some comments are left.
    pub(super) fn degraded(&self, left: u64) -> Degraded {
        let why = match &self.stopped {
            Some(Stop::Failed(error)) => format!("Gemini failed ({error})"),
            Some(Stop::Useless) => format!("Gemini gave {USELESS_IN_A_ROW} useless answers in a row"),
            Some(Stop::OutOfTime) => "the time for Gemini was over".to_owned(),
            None => "Gemini gave no usable answer for them".to_owned(),
        };
        Degraded {
            reason: format!("{left} comments were judged locally: {why}"),
            may_pass: !matches!(self.stopped, Some(Stop::OutOfTime)),
        }
    }
}

/// Asks Gemini for a verdict on each text, until the deadline: the answers under way then, one for each of the concurrent
/// calls, are the most that is paid for and lost.
pub(super) async fn judge(
    gemini: &Gemini,
    distinct: &Distinct,
    progress: &Counter,
    deadline: Instant,
) -> Outcome {
    let shared = Shared {
        gemini,
        distinct,
        progress,
        state: Mutex::new(State { verdicts: vec![None; distinct.texts.len()], ..State::default() }),
    };
    let all: Vec<usize> = (0..distinct.texts.len()).collect();
    let batches: Vec<Vec<usize>> = all.chunks(BATCH).map(<[usize]>::to_vec).collect();
    let working =
        stream::iter(batches).for_each_concurrent(CONCURRENT_CALLS, |batch| shared.work_through(batch));
    if timeout_at(deadline, working).await.is_err() {
        shared.with_state(|state| {
            state.stopped.get_or_insert(Stop::OutOfTime);
        });
    }
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let cost = token_cost(&gemini.model, state.usage.input, state.usage.output);
    Outcome { verdicts: state.verdicts, cost, model_version: state.model_version, stopped: state.stopped }
}

struct Shared<'a> {
    gemini: &'a Gemini,
    distinct: &'a Distinct,
    progress: &'a Counter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    verdicts: Vec<Option<Verdict>>,
    usage: TokenUsage,
    model_version: Option<String>,
    useless_in_a_row: u32,
    stopped: Option<Stop>,
}

/// What to do with a batch after its answer.
enum Next {
    /// These texts have no verdict yet, though others of the batch have.
    Again(Vec<usize>),
    /// The answer was of no use.
    Halve,
}

impl Shared<'_> {
    /// No lock is held across an `.await`.
    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn work_through(&self, batch: Vec<usize>) {
        let mut stack = vec![batch];
        while let Some(batch) = stack.pop() {
            if batch.is_empty() || self.with_state(|state| state.stopped.is_some()) {
                continue;
            }
            match self.ask(&batch).await {
                Next::Again(left) if left.len() < batch.len() => stack.push(left),
                Next::Again(_) | Next::Halve if batch.len() > 1 => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    stack.push(second.to_vec());
                    stack.push(first.to_vec());
                }
                Next::Again(_) | Next::Halve => {}
            }
        }
    }

    async fn ask(&self, batch: &[usize]) -> Next {
        let texts: Vec<&str> = batch.iter().map(|index| self.distinct.texts[*index].as_str()).collect();
        let request = generate_request(prompt::verdict_request(&texts));
        let generated = match self.gemini.client.generate_json(&request).await {
            Ok(generated) => generated,
            Err(error) => {
                self.note_failure(&error);
                return Next::Halve;
            }
        };
        let verdicts = prompt::parse_verdicts(&generated.text, batch.len()).unwrap_or_default();
        let mut left = Vec::new();
        let mut judged = 0;
        self.with_state(|state| {
            add_usage(&mut state.usage, &generated.usage);
            state.model_version = Some(generated.model_version);
            for (position, index) in batch.iter().enumerate() {
                match verdicts.get(position).cloned().flatten() {
                    Some(verdict) => {
                        state.verdicts[*index] = Some(verdict);
                        judged += self.distinct.weight[*index];
                    }
                    None => left.push(*index),
                }
            }
            state.note_use(left.len() < batch.len());
        });
        if judged > 0 {
            self.progress.add(judged);
        }
        Next::Again(left)
    }

    fn note_failure(&self, error: &UpstreamError) {
        self.with_state(|state| match error {
            UpstreamError::Unusable { usage, .. } => {
                add_usage(&mut state.usage, usage);
                state.note_use(false);
            }
            // It may be too large for the model: halved like one with an unusable answer.
            UpstreamError::BadRequest { .. } => state.note_use(false),
            other => {
                state.stopped.get_or_insert_with(|| Stop::Failed(other.clone()));
            }
        });
    }
}

impl State {
    fn note_use(&mut self, useful: bool) {
        self.useless_in_a_row = if useful { 0 } else { self.useless_in_a_row + 1 };
        if self.useless_in_a_row >= USELESS_IN_A_ROW && self.stopped.is_none() {
            self.stopped = Some(Stop::Useless);
        }
    }
}

/// The prompt as Gemini's client takes it.
pub(crate) fn generate_request(prompt: prompt::Prompt) -> GenerateRequest {
    GenerateRequest {
        system: prompt.system,
        user: prompt.user,
        schema: prompt.schema,
        max_output_tokens: prompt.max_output_tokens,
    }
}

fn add_usage(sum: &mut TokenUsage, more: &TokenUsage) {
    sum.input += more.input;
    sum.output += more.output;
}
