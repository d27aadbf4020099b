//! The lower bound: somebody who knows of every video what is new, and pays for nothing but what nobody has fetched yet. It pays for
//! whole pages and whole calls, as anybody must, and never for knowing whether to ask.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use lently_analysis::prompt;
use lently_emulator::{Counts, World, tokens_of};
use lently_upstream::{CommentOrder, VideoId};

use super::{
    Policy,
    outcome::{Answered, Outcome, Tally},
    workload::{Asked, Workload},
};
use crate::cli::CliError;

/// Comments on a page, and texts in a call.
const PAGE: usize = 100;
const BATCH: usize = 50;

/// What has been paid for.
struct Oracle {
    world: Arc<World>,
    /// How old an answer may be.
    within: Duration,
    videos: HashMap<VideoId, Fetched>,
    /// Every text that was judged.
    texts: HashSet<u64>,
}

/// What has been fetched of a video.
#[derive(Default)]
struct Fetched {
    comments: HashSet<u64>,
    /// Each choice of comments that was put into words.
    summaries: HashSet<u64>,
    /// Of each request that was made: when it was answered anew, and with which comments.
    answers: HashMap<(u32, CommentOrder), (Timestamp, u64)>,
}

pub(super) async fn replay(
    workload: Arc<Workload>,
    world: Arc<World>,
    within: Duration,
) -> Result<Outcome, CliError> {
    let playing = move || {
        let mut oracle = Oracle { world, within, videos: HashMap::new(), texts: HashSet::new() };
        let mut tally = Tally::default();
        for (number, asked) in workload.requests.iter().enumerate() {
            let answered = oracle.answer(asked);
            if number >= workload.first_counted {
                tally.add(asked.at, &answered);
            }
        }
        tally.outcome(Policy::Oracle)
    };
    tokio::task::spawn_blocking(playing).await.map_err(|error| CliError::of(&error))
}

impl Oracle {
    fn answer(&mut self, asked: &Asked) -> Answered {
        let (video, now) = (asked.video.as_str(), asked.at);
        let is_new = !self.videos.contains_key(&asked.video);
        let fetched = self.videos.entry(asked.video.clone()).or_default();
        let request = (asked.max_comments, asked.order);
        let nothing =
            Answered { hit: true, spent: Counts::default(), latency: Duration::ZERO, unseen: Duration::ZERO };
        let before = fetched.answers.get(&request).copied();
        let allowed = jiff::SignedDuration::try_from(self.within).unwrap_or(jiff::SignedDuration::MAX);
        if before.is_some_and(|(at, _)| now.duration_since(at) < allowed) {
            return nothing;
        }
        let wanted = wanted(&self.world, asked);
        let digest = digest(&wanted);
        fetched.answers.insert(request, (now, digest));
        if before.is_some_and(|(_, same)| same == digest) {
            return nothing;
        }
        let mut spent = Counts { units: u64::from(is_new), ..Counts::default() };
        let new = wanted.iter().filter(|number| fetched.comments.insert(**number)).count();
        spent.units += new.div_ceil(PAGE) as u64;
        let unjudged: Vec<String> = wanted
            .iter()
            .map(|number| self.world.text(video, *number))
            .filter(|text| self.texts.insert(hash(text)))
            .collect();
        for batch in unjudged.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(String::as_str).collect();
            let (tokens_in, tokens_out) = tokens_of(&prompt::verdict_request(&texts));
            spent.tokens_in += tokens_in;
            spent.tokens_out += tokens_out;
        }
        spent.summaries = u64::from(!wanted.is_empty() && fetched.summaries.insert(digest));
        Answered { hit: false, spent, ..nothing }
    }
}

/// The comments that a request is for, by number.
fn wanted(world: &World, asked: &Asked) -> Vec<u64> {
    let video = asked.video.as_str();
    let count = world.count_at(video, asked.at);
    let most = u64::from(asked.max_comments);
    if count <= most {
        return (0..count).collect();
    }
    match asked.order {
        CommentOrder::Time => (count - most..count).collect(),
        CommentOrder::Relevance => {
            let mut all: Vec<(u64, u64)> =
                (0..count).map(|number| (world.likes(video, number), number)).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let mut first: Vec<u64> = all.into_iter().take(most).map(|(_, number)| number).collect();
            first.sort_unstable();
            first
        }
    }
}

fn digest(numbers: &[u64]) -> u64 {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    short(blake3::hash(&bytes))
}

fn hash(text: &str) -> u64 {
    short(blake3::hash(text.as_bytes()))
}

fn short(hash: blake3::Hash) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
