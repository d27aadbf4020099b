//! Invalidation that removes nothing: by tag, and by making stale what is fresh.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{CacheService, Inner, check_key};
use crate::{
    clock::later,
    entry::Entry,
    error::CacheError,
    events::What,
    flight::Flight,
    policy::Policy,
    remote::Remote,
    repair::debt::{Debt, TagDebt},
    tags::{Tagged, Verdict, check_tag, key_of},
};

/// How often a snapshot is taken again because a tag changed while it was taken.
const SNAPSHOTS: usize = 3;

/// What becomes of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// They are not served any more.
    Invalidate,
    /// They are no longer fresh.
    Expire,
}

impl CacheService {
    /// Makes every entry with this tag invalid, on every node, in one step whatever their number: none is served any more, and
    /// what is being fetched with it goes to those who wait and is not served to others. Nothing is removed; what lies there is
    /// replaced when it is asked for, or goes at the end of its retention.
    ///
    /// # Errors
    /// A tag that cannot be used. The remote tier could not be asked: this process serves nothing with the tag, others still
    /// may.
    pub async fn invalidate_tag(&self, tag: &str) -> Result<(), CacheError> {
        self.change_tag(tag, Change::Invalidate).await
    }

    /// Makes every entry with this tag stale from now on: they are served as what is no longer fresh is, by their policies and
    /// the callers' [`Controls`](crate::Controls). Otherwise as [`invalidate_tag`](Self::invalidate_tag), also for what is being
    /// fetched; and where the user of Redis may not run scripts, it is that.
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag).
    pub async fn expire_tag(&self, tag: &str) -> Result<(), CacheError> {
        self.change_tag(tag, Change::Expire).await
    }

    async fn change_tag(&self, tag: &str, change: Change) -> Result<(), CacheError> {
        check_tag(tag).map_err(CacheError::BadKey)?;
        let (inner, tag) = (self.0.clone(), Arc::<str>::from(tag));
        self.to_its_end(async move {
            let now = inner.clock.now();
            let (key, expire) = (key_of(&tag), change == Change::Expire);
            let told = if expire { What::TagExpired } else { What::TagInvalidated };
            if inner.remote.tier().is_none() {
                inner.tags.change_alone(&tag, expire, now);
                inner.teller.tell_plainly(Some(&tag), told);
                return Ok(());
            }
            inner.tags.changed(&tag);
            let changed = inner.remote.change_tag(&key, expire, now).await;
            // What was learned while it was under way may be of the old version.
            inner.tags.changed(&tag);
            if changed.is_err() && matches!(inner.remote, Remote::Redis(_)) {
                inner.repairs.owe_tag(&tag, TagDebt { expire, at: now });
            }
            inner.swallow_count(changed)?;
            inner.teller.tell_plainly(Some(&tag), told);
            Ok(())
        })
        .await
    }

    /// Makes the value of `key` stale from now on: it is served as what is no longer fresh is, by its policy and the callers'
    /// [`Controls`](crate::Controls). Whether there was one. What is being fetched for it goes to those who wait and is not
    /// stored, as with [`delete`](Self::delete); and where the user of Redis may not run scripts, or the value was written without
    /// a header by another program, it is that.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn expire(&self, key: &str) -> Result<bool, CacheError> {
        check_key(key).map_err(CacheError::BadKey)?;
        let (inner, key) = (self.0.clone(), Arc::<str>::from(key));
        self.to_its_end(async move {
            let now = inner.clock.now();
            inner.flights.fence(&key).await;
            inner.failures.forget(&key);
            inner.resting.forget(&key);
            let since = tokio::time::Instant::now();
            let _turn = inner.repairs.turn(&key).await;
            let writing = inner.memory.write(&key);
            let in_memory = inner.memory.expire(&key, now);
            let remote = inner.swallow_count(inner.remote.expire(&key, now, Duration::ZERO).await);
            inner.account(&key, &remote, Debt::Expire(since, now));
            drop(writing);
            if inner.remote.tier().is_some() {
                // What is stale there is read from there.
                inner.memory.remove_written(&key);
            }
            inner.flights.part(&key);
            let expired = remote? || in_memory;
            inner.teller.tell(None, &key, || What::Expired);
            Ok(expired)
        })
        .await
    }
}

impl Inner {
    /// The versions of the policy's tags, to be taken before a fetch begins. Those that cannot be had are of no worth beyond this
    /// process.
    pub(super) async fn snapshot(&self, policy: &Policy) -> Tagged {
        if policy.tags.is_empty() {
            return Tagged::default();
        }
        let mut marks = Tagged::default();
        for _ in 0..SNAPSHOTS {
            // The entry is stored once it is fetched, and kept from then on.
            let lasts = policy.retention.saturating_add(policy.fetch_timeout);
            let until = later(self.clock.now(), lasts);
            let mut looked = self.tags.look(policy.tags.iter(), self.memory.believed_epoch(), until);
            let unknown = looked.unknown();
            if !unknown.is_empty() {
                let now = self.clock.now();
                if self.make_tags_good().await.is_ok()
                    && let Ok(answers) =
                        self.swallow_count(self.remote.begin_tags(&unknown, lasts, now).await)
                {
                    looked.learn(answers);
                }
            }
            marks = looked.marks();
            // Another node may have been the first to use a tag.
            if marks.is_unchanged() {
                break;
            }
        }
        marks
    }

    /// What the tags of an entry say of it now.
    pub(super) async fn judge_tags(&self, tagged: &Tagged) -> Result<Verdict, CacheError> {
        if !tagged.is_empty() {
            self.make_tags_good().await?;
        }
        self.judge_tags_as_told(tagged).await
    }

    /// The same, where the tier has been told of all changes.
    pub(super) async fn judge_tags_as_told(&self, tagged: &Tagged) -> Result<Verdict, CacheError> {
        if tagged.is_empty() {
            return Ok(Verdict::Valid(Tagged::default()));
        }
        let now = self.clock.now();
        let mut looked = self.tags.look(tagged.names(), self.memory.believed_epoch(), now);
        let unknown = looked.unknown();
        if !unknown.is_empty() {
            looked.learn(self.swallow_count(self.remote.tags(&unknown, now).await)?);
        }
        Ok(looked.judge(tagged))
    }

    /// Whether the tags of an entry say nothing of it; `None` where they are not known and would have to be asked.
    pub(super) fn is_known_valid(&self, tagged: &Tagged, now: Timestamp) -> Option<bool> {
        if tagged.is_empty() {
            return Some(true);
        }
        let looked = self.tags.look(tagged.names(), self.memory.believed_epoch(), now);
        looked.unknown().is_empty().then(|| matches!(looked.judge(tagged), Verdict::Valid(_)))
    }

    /// Whether a tag was changed since the flight's fetch began. Where that cannot be asked, it was.
    pub(super) async fn is_outdated(&self, flight: &Flight) -> bool {
        let Some(tagged) = flight.outdated() else { return false };
        !matches!(self.judge_tags(tagged).await, Ok(Verdict::Valid(_)))
    }

    /// An entry that was read, as its tags let it be served; `None` where they do not, or cannot be asked.
    pub(super) async fn admit(&self, entry: Entry) -> Option<Entry> {
        if entry.tagged.is_empty() {
            return Some(entry);
        }
        // Boxed, for most entries have none.
        Box::pin(self.judge_tags(&entry.tagged)).await.ok()?.apply(entry)
    }
}
