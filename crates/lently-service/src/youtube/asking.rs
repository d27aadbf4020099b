//! A request for comments: answered from a shelf that has as many, fresh enough, or else by having it filled.
//!
//! Requests for other amounts share the shelf and so its flights: whoever gets less out of another's than it wants asks on.

use std::sync::Arc;
use std::time::Duration;

use lently_cache::{AcceptStale, Answer, Controls, Entry, FailureClass, FetchError, Outcome, StaleReason};
use lently_upstream::MAX_PAGE;

use super::comments::Wanted;
use super::view::{Comments, Glance, head_of};
use super::{CachedYouTubeService, CommentsRequest, OnPage, Purpose, READING_PART};
use crate::cached::Cached;
use crate::error::ServiceError;
use crate::keys::{CacheKeys, EntryKind};
use crate::request::{MAX_COMMENTS, check_max_comments};
use crate::shape;
use crate::store::between;

/// How often a caller takes part in the fillings of others that leave it with less than it wants, before it takes that.
const ASKED_AT_MOST: usize = 16;

/// What reading comments may take, the pages of replies that do not come with their threads left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lacking {
    /// Pages, of a unit each.
    pub pages: u64,
    /// Where their count is asked for: by the statistics, unless what is known of the video is younger than this.
    pub count: Option<Duration>,
}

impl CachedYouTubeService {
    pub(super) async fn comments_for(
        &self,
        purpose: Purpose,
        request: &CommentsRequest,
        controls: &Controls,
        on_page: OnPage,
    ) -> Result<Cached<Comments>, ServiceError> {
        check_max_comments(request.max_comments, MAX_COMMENTS)?;
        let policy = self.ttl.policy(EntryKind::Comments);
        let max_age = self.max_age(purpose, controls);
        let key = self.comments_key(request);
        let mut held = match controls.no_cache {
            true => None,
            false => self.too_little(&key, request, max_age).await,
        };
        for asked in 0..ASKED_AT_MOST {
            let wanted = Wanted {
                request: request.clone(),
                key: key.clone(),
                anew: controls.no_cache && asked == 0,
                max_age,
                within: self.ttl.comments_timeout.mul_f64(READING_PART),
                on_page: on_page.clone(),
            };
            // With the client of whoever asks: the fetch runs on a task of its own.
            let source = self.comments.clone();
            let fetch = move || async move { source.fill(&wanted).await.map_err(ServiceError::into_failure) };
            let fetch = self.placed(purpose, fetch);
            let no_cache = controls.no_cache && asked == 0;
            let newer_than = held.as_ref().map(|held: &Entry| held.fetched_at);
            let controls = Controls { no_cache, newer_than, ..*controls };
            let got =
                shape::get_or_set(&self.cache, EntryKind::Comments, &key, &policy, &controls, fetch).await;
            let answer = match got {
                Ok(answer) => answer,
                Err(error) => return self.in_its_place(request, &controls, held, error),
            };
            if asked + 1 == ASKED_AT_MOST || self.will_do(request, &answer, max_age)? {
                return self.answered(request, answer);
            }
            if controls.only_if_cached {
                return Err(ServiceError::NotCached);
            }
            held = Some(answer.entry);
        }
        Err(ServiceError::Interrupted)
    }

    /// What reading these comments may take, with nothing asked of anybody: nothing of what is there and fresh. `stated` is YouTube's count
    /// of them.
    pub(crate) async fn lacking(
        &self,
        request: &CommentsRequest,
        controls: &Controls,
        stated: Option<u64>,
    ) -> Lacking {
        let max_age = self.max_age(Purpose::Analysis, controls);
        let count = self.comments.economy.statistics_first.then_some(max_age);
        let most = u64::from(request.max_comments).min(stated.unwrap_or(u64::MAX));
        let in_full = Lacking { pages: pages(most).max(1), count };
        if controls.no_cache {
            return in_full;
        }
        let key = self.comments_key(request);
        if let Some((entry, true)) = shape::peek(&self.cache, EntryKind::Comments, &key).await {
            let answer = Answer { entry, outcome: Outcome::Hit };
            if self.will_do(request, &answer, max_age).unwrap_or(false) {
                return Lacking { pages: 0, count: None };
            }
        }
        let wanted = Wanted {
            request: request.clone(),
            key,
            anew: false,
            max_age,
            within: Duration::ZERO,
            on_page: Arc::new(|_| {}),
        };
        let now = self.clock.now();
        let Some(head) = self.comments.head(&wanted).await.filter(|head| !head.is_due_in_full(now)) else {
            return in_full;
        };
        let (held, wanted) = (head.held as u64, request.max_comments as usize);
        let behind = match head.holds(head.held, wanted) {
            true => 0,
            false => pages(most.saturating_sub(held)).max(1),
        };
        match between(head.check(request.order, wanted).at, now) < max_age {
            true => Lacking { pages: behind, count: None },
            false => Lacking { pages: pages(most.min(held)).max(1) + behind, count },
        }
    }

    /// How long ago comments may have been checked. What an analysis is made of is checked again sooner where that costs nothing of the
    /// quota that pages are paid with, unless what is found may not be bought.
    fn max_age(&self, purpose: Purpose, controls: &Controls) -> Duration {
        let mut fresh = self.ttl.policy(EntryKind::Comments).fresh;
        let spares = self.ledger.spared_for(EntryKind::Comments).is_some();
        if purpose == Purpose::Analysis && self.checks_for_nothing() && !spares {
            fresh = fresh.min(self.ttl.unchecked());
        }
        controls.max_age.map_or(fresh, |age| age.min(fresh))
    }

    fn comments_key(&self, request: &CommentsRequest) -> String {
        let CommentsRequest { video_id, max_comments, order, include_replies } = request;
        if self.comments.economy.supersets {
            CacheKeys::comments(video_id, *order, *include_replies)
        } else {
            CacheKeys::comments_of_amount(video_id, *max_comments, *order, *include_replies)
        }
    }

    /// What a tier has, where that is not enough: then it is not asked for again.
    async fn too_little(&self, key: &str, request: &CommentsRequest, max_age: Duration) -> Option<Entry> {
        let (entry, is_fresh) = shape::peek(&self.cache, EntryKind::Comments, key).await?;
        let outcome = if is_fresh { Outcome::Hit } else { Outcome::Stale(StaleReason::Refreshing) };
        let answer = Answer { entry, outcome };
        let will_do = self.will_do(request, &answer, max_age).unwrap_or(true);
        (!will_do).then_some(answer.entry)
    }

    /// Whether an answer has as many as are wanted, or as can be had for now, and as fresh as it says.
    fn will_do(
        &self,
        request: &CommentsRequest,
        answer: &Answer,
        max_age: Duration,
    ) -> Result<bool, ServiceError> {
        let head = head_of(&answer.entry.value)
            .map_err(|error| ServiceError::internal("kept comments are not of their kind", error))?;
        let wanted = request.max_comments as usize;
        let reaches = head.reaches(head.held, wanted);
        let check = head.check(request.order, wanted);
        let is_fresh = between(check.at, self.clock.now()) < max_age;
        Ok(match answer.outcome {
            Outcome::Hit | Outcome::Collapsed => reaches && is_fresh,
            Outcome::Stale(StaleReason::Failed(_)) => true,
            Outcome::Stale(_) => reaches,
            _ => true,
        })
    }

    /// Where no more can be had, what there is will do, unless the caller wants nothing old.
    fn in_its_place(
        &self,
        request: &CommentsRequest,
        controls: &Controls,
        held: Option<Entry>,
        error: FetchError,
    ) -> Result<Cached<Comments>, ServiceError> {
        let class = error.class();
        let passes = matches!(
            class,
            FailureClass::QuotaExhausted { .. } | FailureClass::RateLimited { .. } | FailureClass::Transient
        );
        let takes_old = controls.max_age.is_none()
            && !matches!(controls.stale, AcceptStale::Within(_))
            && !controls.only_if_cached;
        match held {
            Some(entry) if passes && takes_old => {
                let outcome = Outcome::Stale(StaleReason::Failed(class));
                self.answered(request, Answer { entry, outcome })
            }
            _ => Err(error.into()),
        }
    }

    fn answered(&self, request: &CommentsRequest, answer: Answer) -> Result<Cached<Comments>, ServiceError> {
        let unreadable = |error| ServiceError::internal("kept comments are not of their kind", error);
        let stored = answer.entry.value.clone();
        let glance = Glance::of(&stored).map_err(unreadable)?;
        let wanted = request.max_comments as usize;
        let checked_at = glance.head.check(request.order, wanted).at;
        let view = glance.view(wanted, request.include_replies, checked_at).map_err(unreadable)?;
        let made = (view.body, view.etag);
        let fresh = self.ttl.fresh(EntryKind::Comments);
        Ok(Cached::made_of(answer, self.clock.now(), made, (checked_at, fresh)))
    }
}

pub(crate) fn pages(comments: u64) -> u64 {
    comments.div_ceil(u64::from(MAX_PAGE))
}
