//! Reading page after page, so that it can be done again: each page that another follows is kept by the token it was asked for
//! with, and whoever asks for it again takes it from the cache.

use std::time::Duration;

use jiff::Timestamp;
use lently_cache::{Cost, Lookup, Policy};
use lently_upstream::{
    Comment, CommentOrder, HarvestProgress, HarvestRequest, Next, Place, ReadSoFar, Reading,
};
use serde::{Deserialize, Serialize};

use super::comments::{Errand, Wanted};
use super::{CommentsRequest, written};
use crate::error::ServiceError;
use crate::keys::{CacheKeys, EntryKind};

/// How long a page that was bought is kept by itself, for whoever goes on where a reading was killed: a day. A used-up quota is
/// back by then. Only pages that another follows are kept so.
const PAGE_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// More pages are not taken in from the cache for one reading: as many as the largest request has.
const PAGES_TAKEN_IN: usize = 1_100;

/// A page that was bought, with the place behind it.
#[derive(Debug, Serialize, Deserialize)]
struct KeptPage {
    read_at: Timestamp,
    comments: Vec<Comment>,
    place: Place,
}

/// What a reading brought, and when the oldest of its pages was read.
pub(super) struct Read {
    pub read: ReadSoFar,
    pub at: Timestamp,
}

/// What came of a reading, with the units and the pages that it took all the same.
pub(super) type Paid = (Result<Read, ServiceError>, u64, u64);

impl Errand<'_> {
    /// Reads page after page. Those that were bought since `floor`, by whoever was killed or stopped before the end, are taken from the
    /// cache; each that another follows is put there.
    pub(super) async fn read(
        &self,
        order: CommentOrder,
        most: usize,
        place: Place,
        floor: Option<Timestamp>,
        prepare: impl FnOnce(&mut Reading),
        stop: impl Fn(&Reading) -> bool,
    ) -> Paid {
        let Wanted { request, within, on_page, .. } = self.wanted;
        let within = within.saturating_sub(self.begun.elapsed());
        let mut reading = self.source.client.read_comments(
            HarvestRequest {
                video_id: request.video_id.clone(),
                max_comments: u32::try_from(most).unwrap_or(u32::MAX),
                order,
                include_replies: request.include_replies,
                within,
            },
            place,
        );
        prepare(&mut reading);
        let mut at = self.now;
        let mut taken = 0;
        while !reading.is_over() {
            // Between two pages: what is bought is kept, and whoever asks again goes on behind it.
            if self.source.canceled.is_cancelled() {
                return (Err(ServiceError::Canceled), reading.units(), reading.pages());
            }
            let asked = reading.place().next.clone();
            let whole = reading.place().open.is_empty();
            if whole
                && taken < PAGES_TAKEN_IN
                && let Some(page) = self.kept_page(order, &asked, floor).await
            {
                taken += 1;
                at = at.min(page.read_at);
                reading.take_in(page.comments, page.place);
                if stop(&reading) {
                    break;
                }
                continue;
            }
            let from = reading.comments().len();
            match reading.page().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return (Err(error.into()), reading.units(), reading.pages()),
            }
            on_page(HarvestProgress { read: reading.comments().len() as u64, pages: reading.pages() });
            if stop(&reading) {
                break;
            }
            if whole && !reading.is_over() && reading.place().open.is_empty() {
                self.keep_page(order, &asked, &reading, from).await;
            }
        }
        let read = reading.end();
        let (units, pages) = (read.units, read.pages);
        (Ok(Read { read, at }), units, pages)
    }

    fn page_key(&self, order: CommentOrder, page: &Next) -> Option<String> {
        if !self.source.economy.supersets {
            return None;
        }
        let CommentsRequest { video_id, include_replies, .. } = &self.wanted.request;
        let token = match page {
            Next::First => None,
            Next::Page(token) => Some(token.as_str()),
            Next::End => return None,
        };
        Some(CacheKeys::comments_page(video_id, order, *include_replies, token))
    }

    async fn kept_page(
        &self,
        order: CommentOrder,
        page: &Next,
        floor: Option<Timestamp>,
    ) -> Option<KeptPage> {
        let (floor, key) = (floor?, self.page_key(order, page)?);
        let Lookup::Fresh(entry) = self.source.cache.peek(EntryKind::Comments.kind(), &key).await else {
            return None;
        };
        let page: KeptPage = serde_json::from_slice(&entry.value).ok()?;
        (page.read_at > floor).then_some(page)
    }

    async fn keep_page(&self, order: CommentOrder, page: &Next, reading: &Reading, from: usize) {
        let Some(key) = self.page_key(order, page) else { return };
        let comments = reading.comments()[from..].to_vec();
        let kept = KeptPage { read_at: self.now, comments, place: reading.place().clone() };
        let Ok(body) = written(&kept) else { return };
        let policy = Policy {
            fresh: PAGE_KEPT,
            stale: Duration::ZERO,
            retention: PAGE_KEPT,
            ..self.source.policy.clone()
        };
        if let Err(error) = self.source.cache.set(&key, &policy, body.value, Cost::default()).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a page of comments is not kept");
        }
    }
}
