//! The lower bound: somebody who knows of every video what is new, and pays for nothing but what nobody has fetched yet. It pays for
//! whole pages and whole calls, as anybody must, and never for knowing whether to ask.
//!
//! Beside it the same without foresight: who has to read what has come to know whether it belongs to what is wanted, but knows for
//! nothing whether anything has. What lies between the two nobody can save.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use lently_analysis::prompt;
use lently_emulator::{Counts, World, tokens_of};
use lently_service::CacheTtl;
use lently_upstream::{CommentOrder, VideoId};

use super::{
    Policy,
    outcome::{Answered, Outcome, Tally},
    workload::{Asked, Workload},
};

/// Comments on a page, and texts in a call.
const PAGE: usize = 100;
const BATCH: usize = 50;

/// What has been paid for.
struct Oracle {
    world: Arc<World>,
    /// How old an answer may be, and what it is made of.
    within: Duration,
    comments_within: Duration,
    foresees: bool,
    videos: HashMap<VideoId, Fetched>,
    /// Every text that was judged.
    texts: HashSet<u64>,
}

/// What has been fetched of a video.
#[derive(Default)]
struct Fetched {
    comments: HashSet<u64>,
    /// Without foresight: how many comments there were at the last look, when that was, and how many have been read.
    looked: Option<(u64, Timestamp)>,
    held: u64,
    /// Each choice of comments that was put into words.
    summaries: Vec<HashSet<u64>>,
    /// Of each request that was made: when it was answered anew, and with which comments.
    answers: HashMap<(u32, CommentOrder), (Timestamp, u64)>,
}

pub(super) fn replay(policy: Policy, workload: &Workload, world: Arc<World>, ttl: &CacheTtl) -> Outcome {
    let mut oracle = Oracle {
        world,
        within: ttl.analysis,
        comments_within: ttl.comments,
        foresees: policy == Policy::Oracle,
        videos: HashMap::new(),
        texts: HashSet::new(),
    };
    let mut tally = Tally::default();
    for (number, asked) in workload.requests.iter().enumerate() {
        let answered = oracle.answer(asked);
        if number >= workload.first_counted {
            tally.add(asked.at, &answered);
        }
    }
    tally.outcome(policy)
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
        let looked_for = (!self.foresees).then(|| {
            let there_are = self.world.count_at(video, now);
            fetched.look(there_are, now, u64::from(asked.max_comments), self.comments_within)
        });
        let wanted = wanted(&self.world, asked);
        let digest = digest(&wanted);
        fetched.answers.insert(request, (now, digest));
        if before.is_some_and(|(_, same)| same == digest) {
            let comment_threads = looked_for.unwrap_or_default();
            let spent = Counts { units: comment_threads, comment_threads, ..Counts::default() };
            return Answered { spent, ..nothing };
        }
        let new = wanted.iter().filter(|number| fetched.comments.insert(**number)).count();
        let videos = u64::from(is_new);
        let comment_threads = match looked_for {
            Some(pages) => pages,
            None => new.div_ceil(PAGE) as u64,
        };
        let units = videos + comment_threads;
        let mut spent = Counts { units, videos, comment_threads, ..Counts::default() };
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
        let wanted: HashSet<u64> = wanted.into_iter().collect();
        if !wanted.is_empty()
            && !fetched.summaries.iter().any(|earlier| are_nearly_the_same(earlier, &wanted))
        {
            fetched.summaries.push(wanted);
            spent.summaries = 1;
        }
        Answered { hit: false, spent, ..nothing }
    }
}

impl Fetched {
    /// The pages that it takes to have the wanted ones among what was read: by time those that have come, or all of them where that takes
    /// no more; and what is behind those that were read before.
    fn look(&mut self, there_are: u64, now: Timestamp, most: u64, within: Duration) -> u64 {
        let pages = |comments: u64| comments.div_ceil(PAGE as u64);
        let wanted = most.min(there_are);
        let Some((counted, at)) = self.looked else {
            (self.looked, self.held) = (Some((there_are, now)), wanted);
            return pages(wanted).max(1);
        };
        let mut paid = 0;
        if now.duration_since(at)
            >= jiff::SignedDuration::try_from(within).unwrap_or(jiff::SignedDuration::MAX)
        {
            self.looked = Some((there_are, now));
            let came = there_are - counted;
            let in_full = pages(wanted.max(self.held).min(there_are)).max(1);
            if came > 0 {
                paid += pages(came).min(in_full);
                self.held += came;
            }
        }
        let behind = wanted.saturating_sub(self.held);
        self.held = self.held.max(wanted);
        paid + pages(behind)
    }
}

/// Whether words on the one choice will do for the other, as they do in the service: a tenth has come or gone at most.
fn are_nearly_the_same(earlier: &HashSet<u64>, now: &HashSet<u64>) -> bool {
    let common = earlier.intersection(now).count();
    let changed = earlier.len() + now.len() - 2 * common;
    changed * 10 <= earlier.len().min(now.len())
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
