//! What was read of a video's comments in one order, whoever asked for how many: a shelf. Less than it holds is taken from it,
//! more is put behind it, and what is new is merged in.
//!
//! It asks nobody and knows no clock: it is told what was read, and when.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use lently_upstream::{Comment, CommentOrder, HarvestEnd, Place, replies_missing};
use serde::{Deserialize, Serialize};

use super::PREMATURE_FRESH;
use crate::store::{between, later};

/// A page of comments, and as many as the front of a shelf has.
pub(super) const PAGE: usize = 100;
/// How long edits, and deletions among what is not read anew, may go unnoticed: after two weeks the comments are read in full.
pub const FULL_EVERY: Duration = Duration::from_secs(14 * 24 * 3_600);
/// How long YouTube's ranks are believed while what is new is merged in by its likes. After a day the first page is read anew for whoever
/// wants no more, which costs no more than a page by time; all of it is as soon as half of the comments have come since.
pub const RANKS_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// A comment may be on the list a while after the time that is written on it.
const LATE: Duration = Duration::from_secs(600);

/// The comments of a video in one order, as they are kept. A change of shape raises the kind's schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// What is known of them.
    pub head: Head,
    /// In order; each thread's first comment, followed by its replies where they were asked for.
    pub comments: Vec<Comment>,
}

/// What is known of the comments on a shelf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many comments it holds.
    pub held: usize,
    /// Where reading goes on.
    pub place: Place,
    /// Why it ended too early, the last time.
    pub cut: Option<HarvestEnd>,
    /// Pages that were bought for it.
    pub pages: u64,
    /// When its first page was read, of the reading that read all of it.
    pub read_at: Timestamp,
    /// When YouTube's ranks on the first page were read.
    pub ranked_at: Timestamp,
    /// When it was known last that nothing is missing in front.
    pub all: Check,
    /// The same for the first page alone, which of `relevance` may be read by itself.
    pub front: Check,
    /// Comments that came since, and were merged in.
    pub merged: u64,
    /// Whether the end may be none.
    pub doubt: Doubt,
}

/// A moment at which the comments were those that YouTube counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// When.
    pub at: Timestamp,
    /// YouTube's count, not read later than the comments; `None` where it was not to be had.
    pub count: Option<u64>,
}

/// Whether YouTube may have ended a list before its end: its tokens have been seen to vanish early.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// No reason to think so.
    #[default]
    None,
    /// It counts far more than it gave.
    Short,
    /// It did so twice, so that is what it gives.
    ShortTwice,
}

impl Head {
    /// Of comments that were read one page after the other, at the time of their check.
    pub(super) fn of_one_reading(held: usize, place: Place, check: Check) -> Self {
        Self {
            held,
            place,
            cut: None,
            pages: 0,
            read_at: check.at,
            ranked_at: check.at,
            all: check,
            front: check,
            merged: 0,
            doubt: Doubt::None,
        }
    }

    /// The check that matters to whoever wants so many.
    pub(super) fn check(&self, order: CommentOrder, wanted: usize) -> Check {
        if is_front(order, wanted) { self.front } else { self.all }
    }

    /// Whether it has so many, or all there are.
    pub(super) fn holds(&self, held: usize, wanted: usize) -> bool {
        held >= wanted || self.place.is_end()
    }

    /// Whether it has as many as can be had for now.
    pub(super) fn reaches(&self, held: usize, wanted: usize) -> bool {
        self.holds(held, wanted) || self.cut.is_some()
    }

    /// How a reading of so many ended, out of so many that are held.
    pub(super) fn end(&self, held: usize, wanted: usize) -> HarvestEnd {
        if held > wanted {
            HarvestEnd::LimitReached
        } else if self.place.is_end() {
            HarvestEnd::Complete
        } else if held == wanted {
            HarvestEnd::LimitReached
        } else {
            self.cut.unwrap_or(HarvestEnd::Failed)
        }
    }

    /// Nothing has changed.
    pub(super) fn unchanged(&mut self, order: CommentOrder, wanted: usize, check: Check) {
        if is_front(order, wanted) {
            self.front = check;
            // The count of the whole may be an older one: then something has come that the front does not show.
            if self.all.count != check.count {
                return;
            }
        }
        self.all = check;
        self.front = check;
    }

    /// Whether it is read in full before it is of use again, whatever the statistics say.
    pub(super) fn is_due_in_full(&self, now: Timestamp) -> bool {
        let age = self.age(now);
        age >= FULL_EVERY || (self.doubt == Doubt::Short && age >= PREMATURE_FRESH)
    }

    /// How long it may still be kept: the oldest of it is as old as the last full reading.
    pub(super) fn age(&self, now: Timestamp) -> Duration {
        between(self.read_at, now)
    }
}

/// Whether a request is answered from the first page alone.
pub(super) fn is_front(order: CommentOrder, wanted: usize) -> bool {
    order == CommentOrder::Relevance && wanted <= PAGE
}

impl Shelf {
    /// Whether it has so many, or all there are.
    pub(super) fn holds(&self, wanted: usize) -> bool {
        self.head.holds(self.comments.len(), wanted)
    }

    /// Whether YouTube ended it, though it counts far more than it gave: a quarter, and fifty at least.
    pub(super) fn is_short(&self) -> bool {
        let Some(count) = self.head.all.count else { return false };
        let counted = self.comments.len() as u64 + missing(&self.comments);
        self.head.place.is_end() && count.saturating_sub(counted) > (count / 4).max(50)
    }

    /// Whether half of it has no rank of YouTube's.
    pub(super) fn is_half_unranked(&self) -> bool {
        self.head.merged.saturating_mul(2) >= self.comments.len() as u64
    }

    /// The replies of each thread, with the count that YouTube had for it.
    pub(super) fn replies(&self) -> HashMap<String, (u64, Vec<Comment>)> {
        let threads = self.comments.chunk_by(|_, next| next.parent_id.is_some());
        let one = |thread: &[Comment]| {
            let (top, replies) = thread.split_first()?;
            Some((top.id.clone(), (top.reply_count, replies.to_vec())))
        };
        threads.filter_map(one).collect()
    }

    /// Merges in what was read by time: everything from now back to the last of them. `reached`: since when everything that came is among
    /// them.
    ///
    /// What is known is replaced, for it may have been edited. What is known, falls into the time that was read, and was not there is
    /// deleted. In the order of time what is new lies in front. In the order of relevance it has no rank yet: it lies where its likes
    /// put it, in front of those that have no more.
    pub(super) fn merge(&mut self, order: CommentOrder, fresh: Vec<Comment>, reached: Timestamp) {
        let is_partial = !self.head.place.is_end();
        let oldest = fresh.iter().rev().find(|comment| comment.parent_id.is_none());
        let oldest = oldest.and_then(|comment| comment.published_at);
        let known: HashSet<String> = self.comments.iter().map(|comment| comment.id.clone()).collect();
        let mut came: Vec<Vec<Comment>> = threads(fresh);
        let is_known = |thread: &[Comment]| thread.first().is_some_and(|top| known.contains(&top.id));
        if order == CommentOrder::Relevance && is_partial {
            let since = reached.checked_sub(LATE).unwrap_or(Timestamp::MIN);
            came.retain(|thread| {
                is_known(thread) || thread.first().is_some_and(|top| top.published_at >= Some(since))
            });
        }
        self.head.merged +=
            came.iter().flatten().filter(|comment| !known.contains(&comment.id)).count() as u64;
        let ids: HashSet<String> =
            came.iter().filter_map(|thread| thread.first()).map(|top| top.id.clone()).collect();
        let mut kept: Vec<Vec<Comment>> = threads(std::mem::take(&mut self.comments));
        kept.retain(|thread| {
            let Some(top) = thread.first() else { return false };
            let is_in_time = oldest.is_some_and(|oldest| top.published_at.is_some_and(|at| at > oldest));
            ids.contains(&top.id) || !is_in_time
        });
        match order {
            CommentOrder::Time => {
                kept.retain(|thread| thread.first().is_none_or(|top| !ids.contains(&top.id)));
                came.append(&mut kept);
                kept = came;
            }
            CommentOrder::Relevance => {
                let (again, new): (Vec<_>, Vec<_>) = came.into_iter().partition(|thread| is_known(thread));
                let mut again: HashMap<String, Vec<Comment>> = again
                    .into_iter()
                    .filter_map(|thread| Some((thread.first()?.id.clone(), thread)))
                    .collect();
                for thread in &mut kept {
                    if let Some(anew) = thread.first().and_then(|top| again.remove(&top.id)) {
                        *thread = anew;
                    }
                }
                kept = by_likes(kept, new);
            }
        }
        self.comments = kept.into_iter().flatten().collect();
    }

    /// Puts the first page of `relevance`, read anew, in front; what was there and is not on it lies behind it, or is deleted
    /// where the page is all there is.
    pub(super) fn put_in_front(&mut self, front: Vec<Comment>, is_all: bool) {
        let known: HashSet<&String> = self.comments.iter().map(|comment| &comment.id).collect();
        self.head.merged += front.iter().filter(|comment| !known.contains(&comment.id)).count() as u64;
        let ids: HashSet<String> = front.iter().map(|comment| comment.id.clone()).collect();
        let kept = threads(std::mem::take(&mut self.comments)).into_iter();
        let kept = kept.filter(|thread| !is_all && thread.first().is_some_and(|top| !ids.contains(&top.id)));
        self.comments = front.into_iter().chain(kept.flatten()).collect();
    }

    /// The same comments for another request: without the replies, or by time, which takes all of them.
    pub(super) fn turned(mut self, order: CommentOrder, replies: bool, sort: bool) -> Option<Self> {
        if sort && !self.head.place.is_end() {
            return None;
        }
        if !replies {
            self.comments.retain(|comment| comment.parent_id.is_none());
            for thread in &mut self.head.place.open {
                thread.inline.clear();
                thread.read.clear();
            }
        }
        if sort {
            let mut threads = threads(self.comments);
            threads.sort_by_key(|thread| Reverse(thread.first().and_then(|top| top.published_at)));
            self.comments = threads.into_iter().flatten().collect();
        }
        // What the front alone was checked by is of the order of relevance.
        if order == CommentOrder::Time {
            self.head.front = self.head.all;
        }
        Some(self)
    }

    /// Since when everything that came must be among what is read by time.
    pub(super) fn since(&self) -> Timestamp {
        self.head.all.at
    }

    /// Whether a comment that closes a page by time lies where everything is known already.
    pub(super) fn is_met_by(&self, last: &Comment, known: &HashSet<String>) -> bool {
        let late = last.published_at.is_some_and(|at| later(at, LATE) < self.since());
        known.contains(&last.id) || late
    }
}

/// Puts new threads among those that are there, each behind as many as have more likes.
fn by_likes(kept: Vec<Vec<Comment>>, mut new: Vec<Vec<Comment>>) -> Vec<Vec<Comment>> {
    let likes = |thread: &Vec<Comment>| thread.first().map_or(0, |top| top.like_count);
    let mut ranks: Vec<u64> = kept.iter().map(likes).collect();
    ranks.sort_unstable_by_key(|likes| Reverse(*likes));
    // By likes, and of as many the latest first, as they came.
    new.sort_by_key(|thread| Reverse(likes(thread)));
    let mut all = Vec::with_capacity(kept.len() + new.len());
    let mut kept = kept.into_iter();
    let mut taken = 0;
    for thread in new {
        let place = ranks.partition_point(|others| *others > likes(&thread));
        all.extend(kept.by_ref().take(place - taken));
        taken = place;
        all.push(thread);
    }
    all.extend(kept);
    all
}

/// Each thread's first comment with its replies.
fn threads(comments: Vec<Comment>) -> Vec<Vec<Comment>> {
    let mut threads: Vec<Vec<Comment>> = Vec::new();
    for comment in comments {
        match threads.last_mut() {
            Some(thread) if comment.parent_id.is_some() => thread.push(comment),
            _ => threads.push(vec![comment]),
        }
    }
    threads
}

fn missing(comments: &[Comment]) -> u64 {
    replies_missing(comments.iter().map(|comment| (comment.parent_id.is_some(), comment.reply_count)))
}
