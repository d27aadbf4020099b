//! Reading a video's comments page by page until they end, a limit is reached, or no more can be read for now, and saying
//! which of these it was.
//!
//! `pageInfo.totalResults` counts the page, not the video, and pages come short (recorded answers, 2019 to 2023): only
//! a missing `nextPageToken` is the end.

use std::{
    collections::{HashSet, VecDeque},
    sync::atomic::AtomicU64,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{MAX_PAGE, Thread, YouTubeClient};
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
    /// At most so many comments, replies included.
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
        let mut basket = Basket::new(request.max_comments);
        let filled = tokio::time::timeout(request.within, self.fill(request, &on_page, &mut basket)).await;
        if !matches!(filled, Ok(Ok(_))) {
            basket.take_rest_of_page(request.include_replies);
        }
        let end = match filled {
            Ok(Ok(end)) => end,
            Ok(Err(error)) if basket.comments.is_empty() || !may_go_on_later(&error) => return Err(error),
            Ok(Err(error)) => {
                tracing::warn!(video_id = %request.video_id, pages = basket.pages, %error, "harvest cut short");
                HarvestEnd::Failed
            }
            Err(_) if basket.comments.is_empty() => return Err(UpstreamError::TimedOut),
            Err(_) => {
                tracing::warn!(video_id = %request.video_id, pages = basket.pages, "harvest out of time");
                HarvestEnd::OutOfTime
            }
        };
        let Basket { comments, pages, units, missing, .. } = basket;
        Ok(Call {
            value: Harvest { comments, end, pages, replies_missing: missing },
            units: units.into_inner(),
        })
    }

    /// May be dropped at any `.await`: what is read stands in the basket.
    async fn fill(
        &self,
        request: &HarvestRequest,
        on_page: &(impl Fn(HarvestProgress) + Send + Sync),
        basket: &mut Basket,
    ) -> Result<HarvestEnd, UpstreamError> {
        let mut tokens = HashSet::new();
        let mut token: Option<String> = None;
        loop {
            let wanted = u32::try_from(basket.room()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
            let page = self
                .threads_page(&request.video_id, request.order, wanted, token.as_deref(), &basket.units)
                .await?;
            basket.pages += 1;
            basket.rest_of_page = page.items.into();
            while let Some(thread) = basket.rest_of_page.pop_front() {
                if basket.room() == 0 {
                    basket.overflowed = true;
                    break;
                }
                self.gather(thread, request.include_replies, basket).await?;
            }
            on_page(HarvestProgress { read: basket.comments.len() as u64, pages: basket.pages });
            let Some(next) = page.next_page_token else {
                let end = if basket.overflowed { HarvestEnd::LimitReached } else { HarvestEnd::Complete };
                return Ok(end);
            };
            if basket.room() == 0 {
                return Ok(HarvestEnd::LimitReached);
            }
            if !tokens.insert(next.clone()) {
                return Err(circle());
            }
            token = Some(next);
        }
    }

    async fn gather(
        &self,
        thread: Thread,
        with_replies: bool,
        basket: &mut Basket,
    ) -> Result<(), UpstreamError> {
        let Thread { top, inline_replies } = thread;
        let (id, counted) = (top.id.clone(), top.reply_count);
        if !basket.begin_thread(top) {
            return Ok(());
        }
        if with_replies && counted > 0 {
            if inline_replies.len() as u64 >= counted {
                basket.add_replies(inline_replies);
            } else {
                self.gather_replies(&id, basket).await?;
            }
        }
        basket.end_thread();
        Ok(())
    }

    async fn gather_replies(&self, parent_id: &str, basket: &mut Basket) -> Result<(), UpstreamError> {
        let mut tokens = HashSet::new();
        let mut token: Option<String> = None;
        while basket.room() > 0 {
            let page = match self.replies_page(parent_id, token.as_deref(), &basket.units).await {
                Ok(page) => page,
                // Deleted since its thread was read: its replies are missing, and the video's other comments are not.
                Err(UpstreamError::CommentNotFound) => return Ok(()),
                Err(error) => return Err(error),
            };
            basket.pages += 1;
            basket.add_replies(page.items);
            match page.next_page_token {
                Some(next) if tokens.insert(next.clone()) => token = Some(next),
                Some(_) => return Err(circle()),
                None => return Ok(()),
            }
        }
        basket.overflowed = true;
        Ok(())
    }
}

/// Whether what was read by then is worth keeping. A used-up quota is a reason more: its pages cannot be bought again today.
fn may_go_on_later(error: &UpstreamError) -> bool {
    error.is_retryable() || matches!(error, UpstreamError::QuotaExhausted { .. })
}

fn circle() -> UpstreamError {
    UpstreamError::Transient { reason: "its pages go round in a circle".to_owned(), retry_after: None }
}

/// What has been read, each comment once: pages of a moving list overlap.
struct Basket {
    comments: Vec<Comment>,
    seen: HashSet<String>,
    limit: usize,
    pages: u64,
    units: AtomicU64,
    /// Threads of the page last read that are not yet in.
    rest_of_page: VecDeque<Thread>,
    /// Replies counted for the thread being read and not yet in.
    open: u64,
    missing: u64,
    overflowed: bool,
}

impl Basket {
    fn new(limit: u32) -> Self {
        Self {
            comments: Vec::new(),
            seen: HashSet::new(),
            limit: limit as usize,
            pages: 0,
            units: AtomicU64::new(0),
            rest_of_page: VecDeque::new(),
            open: 0,
            missing: 0,
            overflowed: false,
        }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.comments.len())
    }

    /// False if the comment is known already.
    fn add(&mut self, comment: Comment) -> bool {
        if !self.seen.insert(comment.id.clone()) {
            return false;
        }
        self.comments.push(comment);
        true
    }

    /// False if the thread is known already.
    fn begin_thread(&mut self, top: Comment) -> bool {
        let counted = top.reply_count;
        let new = self.add(top);
        if new {
            self.open = counted;
        }
        new
    }

    fn add_replies(&mut self, replies: Vec<Comment>) {
        for reply in replies {
            if self.room() == 0 {
                self.overflowed = true;
                return;
            }
            if self.add(reply) {
                self.open = self.open.saturating_sub(1);
            }
        }
    }

    fn end_thread(&mut self) {
        self.missing += std::mem::take(&mut self.open);
    }

    /// Takes in what is paid for when no further call will be made: the threads that came along, with their inline replies.
    fn take_rest_of_page(&mut self, with_replies: bool) {
        self.end_thread();
        while self.room() > 0
            && let Some(Thread { top, inline_replies }) = self.rest_of_page.pop_front()
        {
            if self.begin_thread(top) && with_replies {
                self.add_replies(inline_replies);
            }
            self.end_thread();
        }
    }
}
