//! Asks Gemini for verdicts, up to 50 texts to a call, whoever wants them; a batch whose answer cannot be used is halved and asked
//! again. It knows no tier: what it brings is kept in the store here, and in the tiers by whoever asked.
//!
//! Every loop ends: halving stops at one text, and Gemini is left alone after a few useless answers in a row, at the first failure
//! that its client's own retries did not cure, at the deadline of those who asked, or when the process stops.

use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lently_analysis::prompt;
use lently_cache::{Batching, Bulk, Cost, FailureClass, FetchFailure, Fetched};
use lently_upstream::{GeminiClient, Generated, TokenUsage, Unusable, UpstreamError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::verdicts::StoredVerdict;
use super::{Ground, Unanswered, generate_request};
use crate::ids::TextHash;
use crate::ledger::Ledger;
use crate::price::split;
use crate::purse::Purse;
use crate::store::{Origin, PaidAnswer, Store};

/// Texts per call: the instructions' tokens are spread over many, and an answer lost is not many verdicts lost.
pub(crate) const BATCH: usize = 50;
/// A batch that is not full waits so long for others: more than it takes a group of texts that is handed in at once to come through
/// its flights, and hardly felt beside a call of seconds.
const WINDOW: Duration = Duration::from_millis(100);
/// The same where nobody else comes: long enough for the group alone, on a machine with nothing else to do.
const LONE_WINDOW: Duration = Duration::from_millis(1);
/// After so many useless answers in a row, the rest would be useless too. One text that poisons its batch of fifty costs six
/// halvings, but there every other answer is good.
pub(super) const USELESS_IN_A_ROW: u32 = 8;
/// So long after that, Gemini may be of use again.
const REST: Duration = Duration::from_secs(60);

/// A text to be judged, and who pays. Two with the same text are the same question.
#[derive(Clone)]
pub(super) struct Question {
    /// Normalized.
    pub text: Arc<str>,
    pub payer: Payer,
}

/// For whom Gemini is asked.
#[derive(Clone)]
pub(crate) struct Payer {
    /// Whose it is in the ledger: of a call for several, the first one's.
    pub by: crate::ledger::Payer,
    pub purse: Purse,
    /// No call begins for it any more from then on.
    pub deadline: Instant,
    /// Until when what the question is made of may be kept, and so what quotes it.
    pub retain_until: Timestamp,
}

/// What became of each, in whatever order.
type Answers = Vec<(Question, Result<Fetched, FetchFailure>)>;

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// A loader of verdicts, for flights. A call that runs when the process stops has the grace to end in.
pub(super) fn loader(ground: &Arc<Ground>, asker: &Arc<Asker>) -> Bulk<Question> {
    let (asker, on) = (Arc::clone(asker), Arc::clone(ground));
    let window = if ground.gathering { WINDOW } else { LONE_WINDOW };
    ground.cache.bulk(Batching { max_ids: BATCH, window }, move |questions| {
        let (asker, ground) = (Arc::clone(&asker), Arc::clone(&on));
        async move {
            tokio::select! {
                biased;
                answers = asker.ask(questions) => Ok(answers.into_iter().collect()),
                () = ground.given_up() => Err(Unanswered::interrupted().failure(FailureClass::Transient)),
            }
        }
    })
}

/// Puts questions to Gemini.
pub(super) struct Asker {
    client: GeminiClient,
    ledger: Ledger,
    model: String,
    /// Where what is paid for is kept, if it is, and as what.
    kept: Option<(Store, Origin)>,
    stop: CancellationToken,
    patience: Mutex<Patience>,
}

/// With Gemini, of all batches.
#[derive(Default)]
struct Patience {
    useless_in_a_row: u32,
    /// When it was at its end last.
    ended: Option<Instant>,
}

impl Patience {
    /// For a new batch: whole again after a rest, because what is wrong with one text of it is found only by halving. Before that
    /// the batch asks once, and goes on if the answer is of use.
    fn renew(&mut self) {
        if self.ended.is_some_and(|ended| ended.elapsed() >= REST) {
            *self = Self::default();
        }
    }

    /// Counts an answer; whether Gemini is to be left alone.
    fn note(&mut self, useful: bool) -> bool {
        if useful {
            *self = Self::default();
            return false;
        }
        self.useless_in_a_row += 1;
        let is_at_its_end = self.useless_in_a_row >= USELESS_IN_A_ROW;
        if is_at_its_end {
            self.ended = Some(Instant::now());
        }
        is_at_its_end
    }
}

/// What has become of a batch so far.
#[derive(Default)]
struct Asked {
    answers: Answers,
    /// Paid for answers of no use since the last useful one, which bears it.
    in_vain: Cost,
    /// Whether any answer was of use.
    useful: bool,
    /// Texts that had no usable answer where they stood alone.
    suspects: Vec<(Question, Unanswered)>,
}

impl Asker {
    pub(super) fn new(
        client: GeminiClient,
        ledger: Ledger,
        model: String,
        kept: Option<(Store, Origin)>,
        stop: CancellationToken,
    ) -> Self {
        Self { client, ledger, model, kept, stop, patience: Mutex::default() }
    }

    /// Asks for a verdict on each, at most [`BATCH`]; every one has an answer or the reason why not.
    pub(super) async fn ask(&self, questions: Vec<Question>) -> Answers {
        self.patience().renew();
        let mut asked = Asked::default();
        let alone = questions.len() == 1;
        let mut parts = vec![questions];
        while let Some(part) = parts.pop() {
            let now = Instant::now();
            let (part, late): (Vec<_>, Vec<_>) =
                part.into_iter().partition(|question| now < question.payer.deadline);
            asked.leave(late, &Unanswered::OutOfTime);
            if part.is_empty() {
                continue;
            }
            let next = if self.stop.is_cancelled() {
                ControlFlow::Break((part, Unanswered::interrupted()))
            } else {
                self.step(&mut asked, part).await
            };
            match next {
                ControlFlow::Continue(more) => parts.extend(more),
                ControlFlow::Break((part, why)) => {
                    asked.leave(parts.drain(..).flatten().chain(part), &why);
                }
            }
        }
        asked.end(alone)
    }

    /// One call. What is to be asked next of these, or, where Gemini is to be left alone, those that have no answer, and why.
    async fn step(
        &self,
        asked: &mut Asked,
        mut part: Vec<Question>,
    ) -> ControlFlow<(Vec<Question>, Unanswered), Vec<Vec<Question>>> {
        let count = part.len();
        let why = match self.put(asked, &mut part).await {
            Ok(why) => why,
            Err(error) => return ControlFlow::Break((part, error)),
        };
        let useful = part.len() < count;
        let gives_up = self.patience().note(useful);
        ControlFlow::Continue(if part.is_empty() {
            Vec::new()
        } else if gives_up {
            return ControlFlow::Break((part, Unanswered::Useless));
        } else if useful {
            vec![part]
        } else if count > 1 {
            let half = part.split_off(count / 2);
            vec![half, part]
        } else {
            asked.suspects.extend(part.into_iter().map(|question| (question, why.clone())));
            Vec::new()
        })
    }

    /// Puts one call's questions, and takes those out that have their answer. Gives what an answer that a question does not get
    /// means for it.
    ///
    /// # Errors
    /// Gemini cannot be had.
    async fn put(&self, asked: &mut Asked, part: &mut Vec<Question>) -> Result<Unanswered, Unanswered> {
        let texts: Vec<&str> = part.iter().map(|question| &*question.text).collect();
        let request = generate_request(prompt::verdict_request(&texts));
        let client = match part.first() {
            Some(first) => self.client.metered(self.ledger.meter(first.payer.by.clone(), None)),
            None => self.client.clone(),
        };
        match client.generate_json(&request).await {
            Ok(generated) => {
                let cost = self.charge(part, generated.usage);
                self.take(asked, part, &generated, cost).await;
                Ok(Unanswered::Unusable)
            }
            Err(UpstreamError::Unusable { reason, usage }) => {
                asked.in_vain = asked.in_vain + self.charge(part, usage);
                let blocked = reason == Unusable::Blocked;
                Ok(if blocked { Unanswered::Blocked } else { Unanswered::Unusable })
            }
            // It may be too large for the model: halved like one with an unusable answer.
            Err(UpstreamError::BadRequest { .. }) => Ok(Unanswered::Unusable),
            Err(error) => Err(Unanswered::Failed(error.to_string())),
        }
    }

    /// Each bears its share of a call, whatever came of it.
    fn charge(&self, part: &[Question], usage: TokenUsage) -> Cost {
        let cost = self.ledger.token_cost(&self.model, usage);
        for (question, share) in part.iter().zip(split(cost, part.len())) {
            question.payer.purse.charge(share);
        }
        cost
    }

    /// Keeps the verdicts of an answer, each with its share of what was paid for them, and leaves the questions that it passed over.
    async fn take(&self, asked: &mut Asked, part: &mut Vec<Question>, generated: &Generated, cost: Cost) {
        let mut verdicts = prompt::parse_verdicts(&generated.text, part.len()).unwrap_or_default();
        verdicts.resize(part.len(), None);
        let (mut judged, mut left) = (Vec::new(), Vec::new());
        for (question, verdict) in part.drain(..).zip(verdicts) {
            match verdict.and_then(|verdict| StoredVerdict::new(verdict, &generated.model_version).to_json())
            {
                Some(json) => judged.push((question, json)),
                None => left.push(question),
            }
        }
        *part = left;
        let cost = asked.in_vain + cost;
        if judged.is_empty() {
            asked.in_vain = cost;
            return;
        }
        asked.in_vain = Cost::default();
        asked.useful = true;
        let shares = split(cost, judged.len());
        let paid: Vec<PaidAnswer> = judged
            .iter()
            .zip(shares)
            .map(|((question, json), cost)| PaidAnswer {
                hash: TextHash::of(&question.text),
                json: json.clone(),
                cost,
            })
            .collect();
        self.keep(&paid).await;
        for ((question, _), PaidAnswer { json, cost, .. }) in judged.into_iter().zip(paid) {
            asked.answers.push((question, Ok(Fetched::new(json).with_cost(cost))));
        }
    }

    /// Before anyone hears of it. A store that fails is no reason to throw away what was paid for.
    async fn keep(&self, paid: &[PaidAnswer]) {
        let Some((store, origin)) = &self.kept else { return };
        if let Err(error) = store.save_answers(origin, paid).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "verdicts not kept in the store");
        }
    }

    fn patience(&self) -> MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn leave(&mut self, questions: impl IntoIterator<Item = Question>, why: &Unanswered) {
        for question in questions {
            self.answers.push((question, Err(why.clone().failure(FailureClass::Transient))));
        }
    }

    /// What stood alone and had no answer is at fault itself where others of its batch had one; else Gemini may be. A text that
    /// nobody accompanied and that is blocked is believed to be at fault, too.
    fn end(mut self, alone: bool) -> Answers {
        for (question, why) in self.suspects {
            let class = match why {
                Unanswered::Blocked if self.useful || alone => FailureClass::Forbidden,
                _ if self.useful => FailureClass::Permanent,
                _ => FailureClass::Transient,
            };
            self.answers.push((question, Err(why.failure(class))));
        }
        self.answers
    }
}
