//! Reading a video's comments page by page until they end or a limit is reached, and saying which of the two it was.
//!
//! `pageInfo.totalResults` counts the page, not the video, and pages come short (recorded answers, 2019 to 2023): only
//! a missing `nextPageToken` is the end.

use std::{collections::HashSet, sync::atomic::AtomicU64};

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
}

impl YouTubeClient {
    /// Reads comments; 1 unit a page of up to 100 threads, and 1 a page of up to 100 replies of a thread whose
    /// replies are not all inline. `on_page` is called after each page.
    ///
    /// # Errors
    /// As [`comment_threads`](Self::comment_threads); what was read by then is lost, its units are counted.
    pub async fn harvest(
        &self,
        request: &HarvestRequest,
        on_page: impl Fn(HarvestProgress) + Send + Sync,
    ) -> Result<Call<Harvest>, UpstreamError> {
        let mut basket = Basket::new(request.max_comments);
        let mut tokens = HashSet::new();
        let mut token: Option<String> = None;
        let end = loop {
            let wanted = u32::try_from(basket.room()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
            let page = self
                .threads_page(&request.video_id, request.order, wanted, token.as_deref(), &basket.units)
                .await?;
            basket.pages += 1;
            for thread in page.items {
                if basket.room() == 0 {
                    basket.overflowed = true;
                    break;
                }
                self.gather(thread, request.include_replies, &mut basket).await?;
            }
            on_page(HarvestProgress { read: basket.comments.len() as u64, pages: basket.pages });
            let Some(next) = page.next_page_token else {
                break if basket.overflowed { HarvestEnd::LimitReached } else { HarvestEnd::Complete };
            };
            if basket.room() == 0 {
                break HarvestEnd::LimitReached;
            }
            if !tokens.insert(next.clone()) {
                return Err(circle());
            }
            token = Some(next);
        };
        let Basket { comments, pages, units, missing, .. } = basket;
        Ok(Call {
            value: Harvest { comments, end, pages, replies_missing: missing },
            units: units.into_inner(),
        })
    }

    async fn gather(
        &self,
        thread: Thread,
        with_replies: bool,
        basket: &mut Basket,
    ) -> Result<(), UpstreamError> {
        let Thread { top, inline_replies } = thread;
        let (id, counted) = (top.id.clone(), top.reply_count);
        if !basket.add(top) {
            return Ok(());
        }
        let before = basket.comments.len();
        if with_replies && counted > 0 {
            if inline_replies.len() as u64 >= counted {
                basket.add_all(inline_replies);
            } else {
                self.gather_replies(&id, basket).await?;
            }
        }
        basket.missing += counted.saturating_sub((basket.comments.len() - before) as u64);
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
            basket.add_all(page.items);
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

    fn add_all(&mut self, comments: Vec<Comment>) {
        for comment in comments {
            if self.room() == 0 {
                self.overflowed = true;
                return;
            }
            self.add(comment);
        }
    }
}
