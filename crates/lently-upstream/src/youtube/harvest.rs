//! Reading a video's comments page by page until they end, enough is read, or no more can be read for now, and saying
//! which of these it was, and from where it may go on.
//!
//! `pageInfo.totalResults` counts the page, not the video, and pages come short (recorded answers, 2019 to 2023): only
//! a missing `nextPageToken` is the end.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::{MAX_PAGE, YouTubeClient};
use crate::{
    error::UpstreamError,
    model::{Call, Comment, CommentOrder},
    video_ref::VideoId,
};

/// Which comments to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HarvestRequest {
    /// The video.
    pub video_id: VideoId,
    /// How many comments are enough, replies included. A page that holds more is paid for, and read to its end as far as that
    /// costs nothing more.
    pub max_comments: u32,
    /// Which come first.
    pub order: CommentOrder,
    /// Whether replies are read, too: inline ones where they are all there, else by `comments.list`.
    pub include_replies: bool,
    /// The most that all of it may take, pauses and retries included. What is read by then is the harvest.
    pub within: Duration,
}

/// How far a harvest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HarvestProgress {
    /// Comments read.
    pub read: u64,
    /// Pages read.
    pub pages: u64,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harvest {
    /// Each thread's first comment, followed by its replies if they were asked for.
    pub comments: Vec<Comment>,
    /// Why reading ended.
    pub end: HarvestEnd,
    /// Pages read, of threads and of replies.
    pub pages: u64,
    /// Replies that YouTube counts for the threads read and that are not among `comments`.
    pub replies_missing: u64,
}

/// Why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HarvestEnd {
    /// YouTube gave no further page.
    Complete,
    /// `max_comments` was reached and there was more.
    LimitReached,
    /// YouTube failed in a way that is likely gone later, or the day's quota was used up; there may be more.
    Failed,
    /// The time for it was over; there may be more.
    OutOfTime,
}

impl HarvestEnd {
    /// Whether the same request may read more when made again.
    #[must_use]
    pub const fn is_premature(self) -> bool {
        matches!(self, Self::Failed | Self::OutOfTime)
    }
}

/// Where reading stands. Whoever keeps it goes on from there later, also in another process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Threads that came on a page and are not in yet: their replies are still to be bought.
    pub open: VecDeque<OpenThread>,
    /// The page behind them.
    pub next: Next,
}

impl Place {
    /// Whether there is nothing more to read.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.open.is_empty() && self.next == Next::End
    }
}

/// Which page is to be read next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// The first one.
    #[default]
    First,
    /// The one with this token.
    Page(String),
    /// None: YouTube gave no token.
    End,
}

/// A thread whose replies are not all read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenThread {
    /// The comment that began it.
    pub top: Comment,
    /// The replies that came with it.
    pub inline: Vec<Comment>,
    /// Those that were read beside.
    pub read: Vec<Comment>,
    /// The page of replies to go on with, once one was read.
    pub token: Option<String>,
}

impl OpenThread {
    /// What there is of it: the comment, and with `replies` those that were read.
    pub fn into_comments(self, replies: bool) -> impl Iterator<Item = Comment> {
        let of_it = self.read.into_iter().chain(self.inline).filter(move |_| replies);
        std::iter::once(self.top).chain(of_it)
    }
}

/// How many replies YouTube counts for threads and are not there. Each thread's first comment is followed by its replies.
pub fn replies_missing(comments: impl IntoIterator<Item = (bool, u64)>) -> u64 {
    let (mut missing, mut open) = (0, 0_u64);
    for (is_reply, counted) in comments {
        if is_reply {
            open = open.saturating_sub(1);
        } else {
            missing += std::mem::replace(&mut open, counted);
        }
    }
    missing + open
}

impl YouTubeClient {
    /// Reads comments; 1 unit a page of up to 100 threads, and 1 a page of up to 100 replies of a thread whose
    /// replies are not all inline. `on_page` is called after each page.
    ///
    /// Pages are paid for: where YouTube fails or the time ends after some were read, they are the harvest, and its end
    /// says so.
    ///
    /// # Errors
    /// As [`comment_threads`](Self::comment_threads), where nothing was read by then, or where what was read is no longer
    /// to be had: the video was removed, its comments were disabled.
    pub async fn harvest(
        &self,
        request: &HarvestRequest,
        on_page: impl Fn(HarvestProgress) + Send + Sync,
    ) -> Result<Call<Harvest>, UpstreamError> {
        let mut reading = self.read_comments(request.clone(), Place::default());
        while reading.page().await? {
            on_page(HarvestProgress { read: reading.comments.len() as u64, pages: reading.pages });
        }
        let ReadSoFar { mut comments, place, pages, units, cut } = reading.end();
        let most = request.max_comments as usize;
        let ended = place.is_end() && comments.len() <= most;
        let open = place.open.into_iter().flat_map(|thread| thread.into_comments(request.include_replies));
        comments.extend(open);
        comments.truncate(most);
        let end = match cut {
            Some((end, _)) => end,
            None if ended => HarvestEnd::Complete,
            None => HarvestEnd::LimitReached,
        };
        let counted = comments.iter().map(|comment| (comment.parent_id.is_some(), comment.reply_count));
        let replies_missing = replies_missing(counted);
        Ok(Call { value: Harvest { comments, end, pages, replies_missing }, units })
    }

    /// The same page by page, from where an earlier reading stopped. Nothing is asked yet.
    #[must_use]
    pub fn read_comments(&self, request: HarvestRequest, from: Place) -> Reading {
        let until = Instant::now() + request.within;
        Reading {
            client: self.clone(),
            until,
            enough: request.max_comments as usize,
            request,
            place: from,
            comments: Vec::new(),
            seen: HashSet::new(),
            tokens: HashSet::new(),
            replies: HashMap::new(),
            pages: 0,
            units: AtomicU64::new(0),
            cut: None,
        }
    }
}

/// Comments being read. May be dropped, and kept, between two pages.
pub struct Reading {
    client: YouTubeClient,
    request: HarvestRequest,
    until: Instant,
    /// How many comments of its own are enough.
    enough: usize,
    place: Place,
    comments: Vec<Comment>,
    /// Each comment once: pages of a moving list overlap.
    seen: HashSet<String>,
    tokens: HashSet<String>,
    /// Replies that are known, by thread, with the count that YouTube had for it.
    replies: HashMap<String, (u64, Vec<Comment>)>,
    pages: u64,
    units: AtomicU64,
    cut: Option<(HarvestEnd, UpstreamError)>,
}

/// What was read by the end.
#[derive(Debug)]
pub struct ReadSoFar {
    /// In order; each thread's first comment, followed by its replies.
    pub comments: Vec<Comment>,
    /// From where to go on.
    pub place: Place,
    /// Pages read, of threads and of replies.
    pub pages: u64,
    /// Quota units, those of failed attempts included.
    pub units: u64,
    /// What ended it too early.
    pub cut: Option<(HarvestEnd, UpstreamError)>,
}

impl Reading {
    /// Comments that are there already: they are not read again, and are among those that are enough.
    pub fn behind<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        let before = self.seen.len();
        self.seen.extend(ids.into_iter().map(str::to_owned));
        self.enough = self.enough.saturating_sub(self.seen.len() - before);
    }

    /// Replies that are known: they are not bought again for a thread whose count of them is the same as it was.
    pub fn knowing(&mut self, replies: HashMap<String, (u64, Vec<Comment>)>) {
        self.replies = replies;
    }

    /// Takes in a page that was bought before, instead of reading it: what it brought, and the place behind it.
    pub fn take_in(&mut self, comments: Vec<Comment>, behind: Place) {
        for comment in comments {
            if self.seen.insert(comment.id.clone()) {
                self.comments.push(comment);
            }
        }
        self.place = behind;
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What was read.
    #[must_use]
    pub fn comments(&self) -> &[Comment] {
        &self.comments
    }

    /// Pages read, of threads and of replies.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether enough is read, or all there is.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.cut.is_some() || self.place.is_end() || self.room() == 0
    }

    /// Reads the threads that are open, or else the next page; false once it is over. What ends it too early, after something
    /// was read, is told at its [`end`](Self::end).
    ///
    /// # Errors
    /// As [`YouTubeClient::harvest`].
    pub async fn page(&mut self) -> Result<bool, UpstreamError> {
        if self.is_over() {
            return Ok(false);
        }
        let until = self.until;
        let (end, error) = match timeout_at(until, self.step()).await {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(error)) => (HarvestEnd::Failed, error),
            Err(_) => (HarvestEnd::OutOfTime, UpstreamError::TimedOut),
        };
        let nothing = self.seen.is_empty() && self.place.open.is_empty();
        if nothing || !may_go_on_later(&error) {
            return Err(error);
        }
        tracing::warn!(video_id = %self.request.video_id, pages = self.pages, %error, "harvest cut short");
        self.cut = Some((end, error));
        Ok(false)
    }

    /// What was read.
    #[must_use]
    pub fn end(self) -> ReadSoFar {
        let Self { comments, place, pages, units, cut, .. } = self;
        ReadSoFar { comments, place, pages, units: units.into_inner(), cut }
    }

    /// What it has cost so far.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// How many more are wanted. Those of a thread that is half read count as there.
    fn room(&self) -> usize {
        let half_read = self.place.open.front().filter(|thread| thread.token.is_some());
        let held = half_read.map_or(0, |thread| 1 + thread.read.len());
        self.enough.saturating_sub(self.comments.len() + held)
    }

    /// May be dropped at any `.await`: what is read stands in the place.
    async fn step(&mut self) -> Result<(), UpstreamError> {
        if self.place.open.is_empty() {
            let token = match &self.place.next {
                Next::First => None,
                Next::Page(token) => Some(token.clone()),
                Next::End => return Ok(()),
            };
            let HarvestRequest { video_id, order, .. } = &self.request;
            // A full page costs no more than a small one.
            let page =
                self.client.threads_page(video_id, *order, MAX_PAGE, token.as_deref(), &self.units).await?;
            self.pages += 1;
            let next = match page.next_page_token {
                Some(next) if self.tokens.insert(next.clone()) => Ok(Next::Page(next)),
                Some(_) => Err(circle()),
                None => Ok(Next::End),
            };
            let open = |thread: super::Thread| OpenThread {
                top: thread.top,
                inline: thread.inline_replies,
                read: Vec::new(),
                token: None,
            };
            self.place.open.extend(page.items.into_iter().map(open));
            match next {
                Ok(next) => self.place.next = next,
                Err(error) => {
                    self.gather().await?;
                    return Err(error);
                }
            }
        }
        self.gather().await
    }

    /// Takes open threads in, and buys their replies, as long as there is room; from then on only what costs nothing.
    async fn gather(&mut self) -> Result<(), UpstreamError> {
        loop {
            let Some(thread) = self.place.open.front() else { return Ok(()) };
            let wants_more = self.request.include_replies && self.wants_more(thread);
            if !wants_more {
                if let Some(thread) = self.place.open.pop_front() {
                    self.take(thread);
                }
            } else if self.room() == 0 {
                return Ok(());
            } else {
                self.buy_replies().await?;
            }
        }
    }

    fn wants_more(&self, thread: &OpenThread) -> bool {
        let counted = thread.top.reply_count;
        let known = self.replies.get(&thread.top.id).is_some_and(|(count, _)| *count == counted);
        !known && (thread.inline.len() as u64) < counted && !self.seen.contains(&thread.top.id)
    }

    fn take(&mut self, thread: OpenThread) {
        if !self.seen.insert(thread.top.id.clone()) {
            return;
        }
        let OpenThread { top, mut inline, read, .. } = thread;
        if let Some((count, known)) = self.replies.remove(&top.id)
            && count == top.reply_count
            && known.len() > inline.len()
        {
            inline = known;
        }
        self.comments.push(top);
        if self.request.include_replies {
            for reply in read.into_iter().chain(inline) {
                if self.seen.insert(reply.id.clone()) {
                    self.comments.push(reply);
                }
            }
        }
    }

    /// Reads what is left of the replies of the first open thread.
    async fn buy_replies(&mut self) -> Result<(), UpstreamError> {
        let mut tokens = HashSet::new();
        loop {
            let Some(thread) = self.place.open.front() else { return Ok(()) };
            let (id, token) = (thread.top.id.clone(), thread.token.clone());
            let page = match self.client.replies_page(&id, token.as_deref(), &self.units).await {
                Ok(page) => Some(page),
                // Deleted since its thread was read: its replies are missing, and the video's other comments are not.
                Err(UpstreamError::CommentNotFound) => None,
                Err(error) => return Err(error),
            };
            let Some(mut thread) = self.place.open.pop_front() else { return Ok(()) };
            let Some(page) = page else {
                self.take(thread);
                return Ok(());
            };
            self.pages += 1;
            thread.read.extend(page.items);
            match page.next_page_token {
                Some(next) if tokens.insert(next.clone()) => {
                    thread.token = Some(next);
                    self.place.open.push_front(thread);
                    // Whoever has enough leaves the rest of a long thread open.
                    if self.room() == 0 {
                        return Ok(());
                    }
                }
                Some(_) => {
                    self.place.open.push_front(thread);
                    return Err(circle());
                }
                None => {
                    self.take(thread);
                    return Ok(());
                }
            }
        }
    }
}

/// Whether what was read by then is worth keeping. A used-up quota is a reason more: its pages cannot be bought again today.
fn may_go_on_later(error: &UpstreamError) -> bool {
    let no_quota =
        matches!(error, UpstreamError::QuotaExhausted { .. } | UpstreamError::QuotaSetAside { .. });
    error.is_retryable() || no_quota
}

fn circle() -> UpstreamError {
    UpstreamError::Transient { reason: "its pages go round in a circle".to_owned(), retry_after: None }
}
