//! Telling the remote tier late what it did not take in time.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::{
    clock::between,
    entry::Entry,
    envelope,
    error::CacheError,
    memory::Written,
    policy::Kind,
    remote::Remote,
    repair::{
        PATIENCE, Repairs,
        debt::{Debt, Next, TagDebt},
    },
    tags::{Verdict, key_of},
};

/// The pause before it is tried again; it doubles to [`LONGEST_PAUSE`] as long as that fails, and ends when the link is made
/// anew.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Makes good what is owed as soon as it can be, until the cache is closed or dropped.
pub(super) async fn repair_in_time(cache: Weak<Inner>, repairs: Arc<Repairs>, stop: CancellationToken) {
    let mut pause = PAUSE;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = repairs.owing() => {}
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = repairs.reachable() => pause = PAUSE,
            () = sleep(pause) => {}
        }
        let Some(inner) = cache.upgrade() else { return };
        pause = match inner.make_all_good().await {
            Ok(()) => PAUSE,
            Err(_) => (pause * 2).min(LONGEST_PAUSE),
        };
    }
}

impl Inner {
    /// Whether the remote tier may be believed of `key`: what it was not told of it is told first.
    ///
    /// # Errors
    /// It could not be told, and what it says is of the past.
    pub(super) async fn make_good(&self, key: &str) -> Result<(), CacheError> {
        if !self.repairs.owes(key) {
            return Ok(());
        }
        self.make_good_until_none(|repairs| repairs.next_for(key)).await
    }

    /// The same of all tags.
    pub(super) async fn make_tags_good(&self) -> Result<(), CacheError> {
        if !self.repairs.owes_tags() {
            return Ok(());
        }
        self.make_good_until_none(Repairs::next_tag).await
    }

    /// All who come within a moment have part in the failure of one, and none waits longer than [`PATIENCE`].
    async fn make_good_until_none(&self, next: impl Fn(&Repairs) -> Option<Next>) -> Result<(), CacheError> {
        let resting = || CacheError::Resting { reason: "it has not been told of all changes".to_owned() };
        let making = async {
            loop {
                let _working = self.repairs.work().await;
                if self.repairs.rests() {
                    return Err(resting());
                }
                match next(&self.repairs) {
                    Some(next) => self.make_good_one(next).await?,
                    None => return Ok(()),
                }
            }
        };
        timeout(PATIENCE, making).await.unwrap_or_else(|_| Err(resting()))
    }

    /// Goes over what is owed once: what one fails for need not be what the next fails for, except where nothing answers.
    async fn make_all_good(&self) -> Result<(), CacheError> {
        let mut made = Ok(());
        for _ in 0..self.repairs.stats().owed {
            let _working = self.repairs.work().await;
            let Some(next) = self.repairs.next() else { break };
            let is_value = next.is_value();
            match self.make_good_one(next).await {
                Ok(()) => {}
                Err(error) if is_value && !matches!(error, CacheError::Resting { .. }) => made = Err(error),
                Err(error) => return Err(error),
            }
        }
        made
    }

    /// An error is counted, and nothing is forgotten by it.
    async fn make_good_one(&self, next: Next) -> Result<(), CacheError> {
        let made = match &next {
            Next::Pattern(_, pattern, since) => {
                self.remote.delete_pattern(pattern, since.elapsed()).await.map(|_| true)
            }
            Next::Tag(_, tag, TagDebt { expire, at }) => {
                let changed = self.remote.change_tag(&key_of(tag), *expire, *at).await;
                self.tags.changed(tag);
                changed.map(|()| true)
            }
            Next::Key(_, key, Debt::Delete(since)) => {
                self.remote.delete(key, since.elapsed()).await.map(|_| true)
            }
            Next::Key(_, key, Debt::Expire(since, at)) => {
                self.remote.expire(key, *at, since.elapsed()).await.map(|_| true)
            }
            Next::Key(_, key, Debt::Value { kind, entry, since, token, over }) => {
                let stored = self.store_late(key, *kind, entry.clone(), *since, token.as_deref()).await;
                match stored {
                    Ok(false) => {
                        self.memory.remove(key);
                        if *over {
                            self.remote.delete(key, since.elapsed()).await.map(|_| false)
                        } else {
                            Ok(false)
                        }
                    }
                    stored => stored,
                }
            }
        };
        match self.swallow_count(made) {
            Ok(told) => {
                self.repairs.done(&next, !told);
                Ok(())
            }
            Err(error) => {
                self.repairs.put_off(&next);
                Err(error)
            }
        }
    }

    /// Stores what was paid for and not taken, unless there is something newer or the key was deleted since; whether it did.
    async fn store_late(
        &self,
        key: &Arc<str>,
        kind: Kind,
        entry: Entry,
        since: Instant,
        token: Option<&str>,
    ) -> Result<bool, CacheError> {
        let entry = match self.judge_tags_as_told(&entry.tagged).await? {
            Verdict::Valid(tagged) => entry.with_tagged(tagged),
            Verdict::Expired(tagged, at) => entry.expired(at).with_tagged(tagged),
            Verdict::Invalid => return Ok(false),
        };
        let Remote::Redis(redis) = &self.remote else { return Ok(false) };
        let now = self.clock.now();
        let ttl = between(now, entry.retain_until);
        if ttl.is_zero() {
            return Ok(false);
        }
        let writing = self.memory.write(key);
        let bytes = envelope::encode(kind, &entry);
        let stored = match token {
            Some(token) => redis.commit(key, token, &bytes, ttl).await?,
            None => false,
        };
        let stored = stored || redis.set_late(key, &bytes, ttl, entry.began_at(), since).await?;
        if !stored
            && let Some((held, _)) = redis.leased(key).await?
            && str::from_utf8(&held).is_ok_and(|token| self.tokens.drew(token))
        {
            // Of a claim whose answer did not come, and which is given back; or of a fetch whose value makes up for this one.
            return Err(CacheError::Resting { reason: "this process holds the lease".to_owned() });
        }
        if stored {
            self.memory.keep(key, &entry, &writing, Written::Remotely, now);
        }
        Ok(stored)
    }

    /// What the tier did not take of a value is owed to it.
    pub(super) fn owe_value(
        &self,
        key: &Arc<str>,
        kind: Kind,
        entry: &Entry,
        since: Instant,
        token: Option<String>,
    ) {
        if matches!(self.remote, Remote::Redis(_)) {
            let entry = entry.clone();
            self.repairs.owe(key, Debt::Value { kind, entry, since, token, over: false });
        }
    }

    /// A change of `key` that the tier was not told, or was: then it makes up for what was owed before.
    pub(super) fn account<T>(&self, key: &Arc<str>, told: &Result<T, CacheError>, debt: Debt) {
        match told {
            Ok(_) => self.repairs.settle(key),
            Err(_) if matches!(self.remote, Remote::Redis(_)) => self.repairs.owe(key, debt),
            Err(_) => {}
        }
    }
}
