//! How a shelf of comments is filled: what it needs is found out, and nothing beyond it is bought.
//!
//! First the statistics are asked, which cost nothing of the shared quota: with the same count of comments, nothing is read. Else it is
//! read by time back to what is known, and only where that would cost no less, or where ranks, edits or deletions are due, in full.
//! Asking for more goes on where reading stopped.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lently_cache::{Bulk, CacheService, Clock, Cost, Fetched, Lookup, Policy};
use lently_upstream::{
    Comment, CommentOrder, HarvestEnd, Place, ReadSoFar, Reading, UpstreamError, YouTubeClient,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::pages::{Paid, Read};
use super::shelf::{Check, Doubt, Head, PAGE, RANKS_EVERY, Shelf, is_front};
use super::statistics::Told;
use super::videos::{Asked, KnownVideo};
use super::view::head_of;
use super::{CommentsRequest, OnPage, PREMATURE_FRESH, written};
use crate::economy::Economy;
use crate::error::ServiceError;
use crate::keys::{CacheKeys, EntryKind};
use crate::ledger::Payer;
use crate::shape;
use crate::store::{Store, between, earlier};
use crate::ttl::RETENTION;

/// Pages are not kept waiting for a count any longer.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

/// What shelves are filled with. Cheap to clone.
#[derive(Clone)]
pub(super) struct CommentsSource {
    pub cache: CacheService,
    /// Metered for the payer, out of what a job has set aside for it: whoever asks brings its own.
    pub client: YouTubeClient,
    pub payer: Payer,
    pub statistics: Bulk<Asked>,
    pub store: Store,
    pub clock: Clock,
    pub policy: Policy,
    pub economy: Economy,
    /// Ends reading before its next page: whoever asked wants it no more.
    pub canceled: CancellationToken,
}

/// What is wanted of a shelf.
#[derive(Clone)]
pub(super) struct Wanted {
    pub request: CommentsRequest,
    pub key: String,
    /// Nothing will do that was read before.
    pub anew: bool,
    /// How old the last check may be.
    pub max_age: Duration,
    /// How long reading may take.
    pub within: Duration,
    pub on_page: OnPage,
}

/// One filling of a shelf.
pub(super) struct Errand<'a> {
    pub source: &'a CommentsSource,
    pub wanted: &'a Wanted,
    pub begun: tokio::time::Instant,
    pub now: Timestamp,
    units: u64,
    pages: u64,
}

impl CommentsSource {
    /// The shelf with all that is wanted of it, or as much as can be had.
    pub(super) async fn fill(&self, wanted: &Wanted) -> Result<Fetched, ServiceError> {
        let started = Instant::now();
        let (begun, now) = (tokio::time::Instant::now(), self.clock.now());
        let mut errand = Errand { source: self, wanted, begun, now, units: 0, pages: 0 };
        let removals = self.store.removals();
        let found = self.find(wanted).await;
        let mut shelf = match found {
            Some(shelf) if !wanted.anew => errand.renew(shelf).await?,
            before => errand.in_full(before).await?,
        };
        shelf.head.held = shelf.comments.len();
        if self.economy.supersets {
            self.keep(wanted, &shelf, removals).await;
        }
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let cost = Cost { quota_units: errand.units, milliseconds, ..Cost::default() };
        let fresh = self.policy.fresh.saturating_sub(between(shelf.head.front.at, now));
        let passing = shelf.head.cut.is_some() || shelf.head.doubt == Doubt::Short;
        Ok(Fetched {
            fresh: Some(if passing { fresh.min(PREMATURE_FRESH) } else { fresh }),
            retain: Some(RETENTION.saturating_sub(shelf.head.age(now))),
            ..written(&shelf)
                .map_err(|failure| ServiceError::internal("comments cannot be written", failure))?
        }
        .with_cost(cost))
    }

    /// The shelf as it is known, in the tiers or in the store; or one of other requests that has all that is wanted.
    async fn find(&self, wanted: &Wanted) -> Option<Shelf> {
        // Its own flight looks at this key, and removes what is not of its kind: a deletion here would part with the flight.
        if let Lookup::Fresh(entry) | Lookup::Stale(entry) =
            self.cache.peek(EntryKind::Comments.kind(), &wanted.key).await
            && let Ok(shelf) = serde_json::from_slice(&entry.value)
        {
            return Some(shelf);
        }
        if !self.economy.supersets {
            return None;
        }
        let CommentsRequest { video_id, order, include_replies, .. } = &wanted.request;
        match self.store.load_shelf(video_id, *order, *include_replies).await {
            Ok(Some(shelf)) => return Some(shelf),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "kept comments not readable");
            }
        }
        self.turned(wanted).await
    }

    /// What is known of the shelf that a filling would begin with.
    pub(super) async fn head(&self, wanted: &Wanted) -> Option<Head> {
        if let Some((entry, _)) = shape::peek(&self.cache, EntryKind::Comments, &wanted.key).await {
            return head_of(&entry.value).ok();
        }
        let shelf = self.find(wanted).await?;
        Some(Head { held: shelf.comments.len(), ..shelf.head })
    }

    async fn peek(&self, key: &str) -> Option<Shelf> {
        let (entry, _) = shape::peek(&self.cache, EntryKind::Comments, key).await?;
        serde_json::from_slice(&entry.value).ok()
    }

    /// A shelf of the other order, or with replies, that is fresh and has all that is wanted.
    async fn turned(&self, wanted: &Wanted) -> Option<Shelf> {
        let CommentsRequest { video_id, order, include_replies, max_comments } = &wanted.request;
        let by_time = *order == CommentOrder::Time;
        let others =
            [(*order, true), (CommentOrder::Relevance, *include_replies), (CommentOrder::Relevance, true)];
        for (other, replies) in others {
            let is_own = (other, replies) == (*order, *include_replies);
            if is_own || (replies != *include_replies && *include_replies) || (other != *order && !by_time) {
                continue;
            }
            let Some(shelf) = self.peek(&CacheKeys::comments(video_id, other, replies)).await else {
                continue;
            };
            let Some(shelf) = shelf.turned(*order, *include_replies, other != *order) else { continue };
            let check = shelf.head.check(*order, *max_comments as usize);
            let is_fresh = between(check.at, self.clock.now()) < wanted.max_age;
            if is_fresh && shelf.holds(*max_comments as usize) && shelf.head.doubt != Doubt::Short {
                return Some(shelf);
            }
        }
        None
    }

    /// A store that fails is no reason to throw away what was paid for.
    async fn keep(&self, wanted: &Wanted, shelf: &Shelf, removals: u64) {
        let CommentsRequest { video_id, order, include_replies, .. } = &wanted.request;
        let saving = self.store.save_shelf(video_id, *order, *include_replies, shelf, removals);
        if let Err(error) = saving.await {
            tracing::error!(error = &error as &dyn std::error::Error, "comments not kept in the store");
        }
    }
}

impl Errand<'_> {
    fn most(&self) -> usize {
        self.wanted.request.max_comments as usize
    }

    fn order(&self) -> CommentOrder {
        self.wanted.request.order
    }

    /// Brings a shelf up to date as far as it is due, and puts behind it what is wanted and not there.
    async fn renew(&mut self, mut shelf: Shelf) -> Result<Shelf, ServiceError> {
        if shelf.head.is_due_in_full(self.now) {
            return self.in_full(Some(shelf)).await;
        }
        let check = shelf.head.check(self.order(), self.most());
        let mut has_changed = false;
        if between(check.at, self.now) >= self.wanted.max_age {
            let economy = self.source.economy;
            let counted = if economy.statistics_first { self.count().await } else { None };
            match counted {
                Some(counted) if counted.count == check.count => {
                    shelf.head.unchanged(self.order(), self.most(), counted);
                }
                _ => shelf = self.read_what_is_new(shelf, counted).await?,
            }
            has_changed = true;
        }
        if shelf.holds(self.most()) {
            return Ok(shelf);
        }
        self.go_on(shelf, has_changed).await
    }

    /// YouTube's count of comments, and as of when: by the video's own entry where that is young enough, else by its statistics. `None`
    /// where it is not to be had: then it is as if it had changed.
    async fn count(&self) -> Option<Check> {
        let source = self.source;
        let video_id = &self.wanted.request.video_id;
        let entry = shape::peek(&source.cache, EntryKind::Video, &CacheKeys::video(video_id)).await;
        if let Some((entry, _)) = entry
            && let Ok(known) = serde_json::from_slice::<KnownVideo>(&entry.value)
        {
            let at = known.counted_at.unwrap_or(entry.fetched_at).min(self.now);
            if between(at, self.now) < self.wanted.max_age {
                return Some(Check { at, count: Some(known.video.comment_count?) });
            }
        }
        let max_age = if self.wanted.anew { Duration::ZERO } else { self.wanted.max_age };
        let asked = Asked { id: video_id.clone(), payer: source.payer.clone(), max_age: Some(max_age) };
        let asking = timeout(COUNTED_WITHIN, source.statistics.fetch(asked));
        let told = asking.await.ok()?.ok()?;
        let told = serde_json::from_slice::<Told>(&told.value).ok()?;
        Some(Check { at: told.at, count: Some(told.statistics.comment_count?) })
    }

    /// Reads as many as are wanted from the first page on. What there was `before` stays where that ends too early.
    async fn in_full(&mut self, before: Option<Shelf>) -> Result<Shelf, ServiceError> {
        let counting = async { if self.source.economy.statistics_first { self.count().await } else { None } };
        let floor = match &before {
            _ if self.wanted.anew => None,
            Some(before) => Some(before.head.read_at.max(self.oldest())),
            None => Some(self.oldest()),
        };
        let reading = self.read(self.order(), self.most(), Place::default(), floor, |_| {}, |_| false);
        // Beside the first page: what is a second apart, YouTube does not count apart either.
        let (counted, read) = tokio::join!(counting, reading);
        let Read { read, at } = self.paid(read)?;
        let ReadSoFar { comments, place, cut, .. } = read;
        if let (Some(before), Some((_, error))) = (&before, &cut)
            && !self.wanted.anew
            && before.comments.len() > comments.len()
        {
            return Err(error.clone().into());
        }
        let check = self.checked(at, counted, &comments);
        let cut = cut.map(|(end, _)| end);
        let head = Head { cut, pages: self.pages, ..Head::of_one_reading(comments.len(), place, check) };
        Ok(doubted(Shelf { head, comments }, before.map(|before| before.head.doubt).unwrap_or_default()))
    }

    /// Reads what came since the last check.
    async fn read_what_is_new(
        &mut self,
        shelf: Shelf,
        counted: Option<Check>,
    ) -> Result<Shelf, ServiceError> {
        let (held, is_front) = (shelf.comments.len(), is_front(self.order(), self.most()));
        let count = counted.and_then(|counted| counted.count);
        let came = count.zip(shelf.head.all.count).map(|(now, then)| now.saturating_sub(then));
        // As far as can be told before: a page by time has a hundred of what came, and one more may be needed to meet what is known.
        let by_time = came.map_or(1, |came| usize::try_from(came).map_or(usize::MAX, |came| pages(came + 1)));
        let there_are = count.map_or(held, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let in_full = pages(self.most().max(held).min(there_are)).max(1);
        let are_ranks_old =
            self.order() == CommentOrder::Relevance && between(shelf.head.ranked_at, self.now) >= RANKS_EVERY;
        if is_front && held > PAGE && self.source.economy.increments {
            // Either is one page, but for replies, which are bought for what is wanted alone. What is not looked for beyond it is for
            // whoever wants it.
            return match are_ranks_old || by_time > 1 || self.wanted.request.include_replies {
                true => self.read_front(shelf, counted).await,
                false => self.read_by_time(shelf, counted).await,
            };
        }
        // For the same price, in full: but replies that are complete are only paid for again where all is read again.
        let is_dearer = by_time > in_full || (by_time == in_full && !self.wanted.request.include_replies);
        if !self.source.economy.increments || is_dearer || (are_ranks_old && shelf.is_half_unranked()) {
            return self.in_full(Some(shelf)).await;
        }
        self.read_by_time(shelf, counted).await
    }

    /// Where no more than the first page is wanted, its ranks may be read anew for what a page by time costs.
    async fn read_front(&mut self, mut shelf: Shelf, counted: Option<Check>) -> Result<Shelf, ServiceError> {
        let replies = shelf.replies();
        let floor = Some(shelf.head.front.at.max(self.oldest()));
        let reading = self.read(
            self.order(),
            self.most(),
            Place::default(),
            floor,
            |reading| reading.knowing(replies),
            |_| false,
        );
        let Read { read, at } = self.paid(reading.await)?;
        if let Some((_, error)) = read.cut {
            return Err(error.into());
        }
        let ReadSoFar { comments: mut front, place, .. } = read;
        let is_all = place.is_end();
        // Threads whose replies nobody wants yet stay where they were.
        let known: HashSet<&str> = shelf.comments.iter().map(|comment| comment.id.as_str()).collect();
        let open = place.open.into_iter().filter(|thread| !known.contains(thread.top.id.as_str()));
        front.extend(open.flat_map(|thread| thread.into_comments(self.wanted.request.include_replies)));
        let check = self.checked(at, counted, &front);
        if is_all {
            shelf.head.all = check;
        }
        shelf.put_in_front(front, is_all);
        shelf.head.ranked_at = at;
        shelf.head.front = check;
        shelf.head.pages += self.pages;
        Ok(shelf)
    }

    /// Reads by time until a page ends in what is known.
    async fn read_by_time(
        &mut self,
        mut shelf: Shelf,
        counted: Option<Check>,
    ) -> Result<Shelf, ServiceError> {
        let known: HashSet<String> = shelf.comments.iter().map(|comment| comment.id.clone()).collect();
        let replies = shelf.replies();
        let order = self.order();
        let most = self.most();
        let floor = Some(shelf.head.all.at.max(self.oldest()));
        let is_met = |read: &[Comment]| {
            let last = read.iter().rev().find(|comment| comment.parent_id.is_none());
            last.is_some_and(|last| shelf.is_met_by(last, &known))
        };
        // By time, what is wanted may be there before what is known is met: then that is the shelf.
        let has_enough = |read: &[Comment]| order == CommentOrder::Time && read.len() >= most;
        let stop = |reading: &Reading| is_met(reading.comments()) || has_enough(reading.comments());
        let reading = self.read(
            CommentOrder::Time,
            usize::MAX,
            Place::default(),
            floor,
            |reading| reading.knowing(replies),
            stop,
        );
        let Read { read, at } = self.paid(reading.await)?;
        if let Some((_, error)) = read.cut {
            // Its pages are kept: the next who asks goes on behind them.
            return Err(error.into());
        }
        let check = self.checked(at, counted, &read.comments);
        if has_enough(&read.comments) && !is_met(&read.comments) && !read.place.is_end() {
            let head = Head::of_one_reading(read.comments.len(), read.place, check);
            return Ok(Shelf { head: Head { pages: self.pages, ..head }, comments: read.comments });
        }
        let reached = shelf.since();
        shelf.merge(order, read.comments, reached);
        shelf.head.all = check;
        shelf.head.front = check;
        shelf.head.pages += self.pages;
        Ok(shelf)
    }

    /// Puts behind the shelf what is wanted and not there.
    async fn go_on(&mut self, mut shelf: Shelf, has_changed: bool) -> Result<Shelf, ServiceError> {
        let before = self.pages;
        let known: Vec<String> = shelf.comments.iter().map(|comment| comment.id.clone()).collect();
        let reading = self.read(
            self.order(),
            self.most(),
            shelf.head.place.clone(),
            Some(earlier(shelf.head.read_at, Duration::from_nanos(1))),
            |reading| reading.behind(known.iter().map(String::as_str)),
            |_| false,
        );
        let read = match self.paid(reading.await) {
            Ok(Read { read, .. }) => read,
            // Whoever begins again at the first page reads all of it again: then it may as well be as of now.
            Err(ServiceError::Upstream(error)) if error.refuses_page_token() => {
                return self.in_full(Some(shelf)).await;
            }
            Err(error) => return Err(error),
        };
        let ReadSoFar { comments, place, cut, .. } = read;
        if let Some((_, error)) = &cut
            && place == shelf.head.place
            && !has_changed
        {
            return Err(error.clone().into());
        }
        shelf.comments.extend(comments);
        shelf.head.place = place;
        shelf.head.cut = cut.map(|(end, _): (HarvestEnd, UpstreamError)| end);
        shelf.head.pages += self.pages - before;
        let doubt = shelf.head.doubt;
        Ok(doubted(shelf, doubt))
    }

    /// A check by what was read. A first page that was bought before now is older than the count: what came between is not on it, and must
    /// not be taken for known. Where the count is the older one, what was written since is counted with it.
    fn checked(&self, at: Timestamp, counted: Option<Check>, read: &[Comment]) -> Check {
        let counted = counted.filter(|_| at >= self.now);
        let count = counted.and_then(|counted| {
            let later = read.iter().filter(|comment| comment.published_at > Some(counted.at)).count();
            Some(counted.count? + later as u64)
        });
        Check { at, count }
    }

    /// Pages read before are of no use for what must be as young as this.
    fn oldest(&self) -> Timestamp {
        earlier(self.now, self.wanted.max_age)
    }

    /// Counts what a reading took, also where it came to nothing.
    fn paid(&mut self, (read, units, pages): Paid) -> Result<Read, ServiceError> {
        self.units += units;
        self.pages += pages;
        read
    }
}

fn pages(comments: usize) -> usize {
    comments.div_ceil(PAGE)
}

/// The shelf with the doubt that its end deserves, after what was thought of it before.
fn doubted(mut shelf: Shelf, before: Doubt) -> Shelf {
    shelf.head.doubt = match before {
        _ if !shelf.is_short() => Doubt::None,
        Doubt::None => Doubt::Short,
        Doubt::Short | Doubt::ShortTwice => Doubt::ShortTwice,
    };
    shelf
}
