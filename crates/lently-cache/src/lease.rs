//! Leading a fetch for the whole cluster: waiting for another process' fetch, or holding the lease while fetching. Whoever waits
//! is woken by a notice from Redis (the commit, the failure, the owner's death); the lease's own end is a second alarm.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    chance::{self, Hashing},
    coherence::Notice,
    envelope,
    error::CacheError,
    redis::{Claim, Over, RedisClient, Renewal},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

/// How often an owner gives a sign of life: twice may be missed.
const RENEW_EVERY: Duration = Duration::from_millis(500);
/// Waiting longer would only be a way to overflow a clock.
pub(crate) const LONGEST_PATIENCE: Duration = Duration::from_secs(86_400);
/// Redis drops an expired key when it is asked for it; so much later it is asked.
const AFTER_EXPIRY: Duration = Duration::from_millis(5);

/// Those of this process who wait for a fetch by another: a flight for each key, or two where the first was fenced.
#[derive(Default)]
pub(crate) struct Watchers {
    waiting: Mutex<HashMap<Arc<str>, Arc<News>, Hashing>>,
    /// How often everything was deleted at once.
    flushes: AtomicU64,
}

/// What is told to all who watch a key, in the order in which they began to wait.
#[derive(Default)]
struct News {
    /// How often something was told.
    told: AtomicU64,
    notify: Notify,
}

impl News {
    fn tell(&self) {
        self.told.fetch_add(1, SeqCst);
        self.notify.notify_waiters();
    }
}

impl Watchers {
    /// To be taken before the lease is claimed, so that no notice is missed.
    pub(crate) fn watch(self: &Arc<Self>, key: &Arc<str>) -> Watch {
        let news = self.lock().entry(key.clone()).or_default().clone();
        let heard = news.told.load(SeqCst);
        Watch { watchers: self.clone(), key: key.clone(), news: Some(news), heard }
    }

    pub(crate) fn hear(&self, notice: Notice<'_>) {
        if matches!(notice, Notice::Flushed) {
            self.flushes.fetch_add(1, Relaxed);
        }
        match notice {
            Notice::Leased(key) | Notice::Changed(key) => {
                if let Some(news) = self.lock().get(key) {
                    news.tell();
                }
            }
            // What was missed may have been the end of a wait.
            Notice::Armed | Notice::Flushed | Notice::Lost => {
                self.lock().values().for_each(|news| news.tell());
            }
            Notice::Confirmed(_) | Notice::Reachable => {}
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<News>, Hashing>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Watch {
    watchers: Arc<Watchers>,
    key: Arc<str>,
    news: Option<Arc<News>>,
    /// How much of it was heard.
    heard: u64,
}

impl Watch {
    /// Returns once there was news since the last call, or since the watch began.
    pub(crate) async fn news(&mut self) {
        while let Some(news) = &self.news {
            let notified = news.notify.notified();
            let told = news.told.load(SeqCst);
            if told != self.heard {
                self.heard = told;
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.watchers.lock();
        drop(self.news.take());
        if waiting.get(&self.key).is_some_and(|news| Arc::strong_count(news) == 1) {
            waiting.remove(&self.key);
        }
    }
}

/// Tokens for leases: unique among processes by 64 random bits, within one by counting.
pub(crate) struct Tokens {
    process: u64,
    next: AtomicU64,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self { process: chance::draw(), next: AtomicU64::new(0) }
    }

    /// Whether a token is of this process.
    pub(crate) fn drew(&self, token: &str) -> bool {
        token.starts_with(&format!("L{:016x}-", self.process))
    }

    fn draw(&self) -> String {
        format!("L{:016x}-{}", self.process, self.next.fetch_add(1, Relaxed))
    }
}

/// Who fetches.
pub(crate) enum Lead {
    /// This process, for the cluster.
    Cluster(Lease),
    /// This process, for itself: Redis cannot be asked, or was waited for in vain.
    Alone,
    /// Nobody need: the stored value will do. The second tells whether it was waited for.
    Found(Bytes, bool),
    /// Nobody: somebody fetched in vain, and it is not to be tried again yet. The record of that.
    Failed(Bytes),
    /// Another process, and its fetch was waited for as long as one may take; the lease is not to be taken over.
    Patience,
}

/// What a flight needs to lead or to wait.
pub(crate) struct Leading<'a> {
    pub redis: &'a RedisClient,
    pub watchers: &'a Arc<Watchers>,
    pub tokens: &'a Tokens,
    pub upkeep: &'a TaskTracker,
    /// How long an owner is waited for, and until when all of them together.
    pub patience: Duration,
    pub until: Instant,
    /// Whether a remembered failure is no reason not to fetch.
    pub anew: bool,
}

impl Leading<'_> {
    /// Leads, or waits for whoever does. `will_do` tells whether a stored value spares the fetch; it is told whether it was
    /// waited for.
    ///
    /// An owner is waited for as long as `patience` says, from when it was first seen on. Then one of those who wait takes the lease
    /// from it, where `take_over` says so, and the others wait for that one: not each takes it from the one before.
    pub(crate) async fn lead(
        &self,
        key: &Arc<str>,
        take_over: bool,
        mut will_do: impl FnMut(&Bytes, bool) -> bool,
    ) -> Result<Lead, CacheError> {
        let mut watch = self.watchers.watch(key);
        let token = self.tokens.draw();
        let (patience, last) = (self.patience.min(LONGEST_PATIENCE), self.until);
        let (mut owner, mut until) = (Bytes::new(), last);
        let (mut waited, mut seen) = (false, Bytes::new());
        loop {
            let now = Instant::now();
            let over = match (now >= until, now >= last) {
                (false, _) if self.anew && !waited => Over::Failure,
                (false, _) => Over::Nothing,
                (true, _) if !take_over => return Ok(Lead::Patience),
                (true, false) => Over::Owner(&owner),
                (true, true) => Over::Lease,
            };
            let (stored, followed, lasts) = match self.claim(key, &token, over, &seen).await? {
                Claim::Unavailable => return Ok(Lead::Alone),
                Claim::Led { stored } => {
                    if let Some(stored) = &stored {
                        seen = envelope::head(stored);
                    }
                    let lease = Lease::hold(self, key, token, seen);
                    return Ok(match stored {
                        Some(stored) if will_do(&stored, waited) => {
                            lease.release().await;
                            Lead::Found(stored, waited)
                        }
                        _ => Lead::Cluster(lease),
                    });
                }
                Claim::Failed(record) => return Ok(Lead::Failed(record)),
                Claim::Followed { stored, owner, lasts } => (stored, owner, lasts),
            };
            if let Some(stored) = stored {
                if will_do(&stored, waited) {
                    return Ok(Lead::Found(stored, waited));
                }
                // Not told again as long as it is the same.
                seen = envelope::head(&stored);
            }
            waited = true;
            let now = Instant::now();
            if followed != owner {
                (owner, until) = (followed, (now + patience).min(last));
            }
            let expiry = now + lasts + AFTER_EXPIRY;
            tokio::select! {
                biased;
                () = watch.news() => {}
                () = sleep_until(expiry.min(until)) => {}
            }
        }
    }

    /// A claim whose answer did not come may have been granted: then it is given back, behind it on the same wire.
    async fn claim(
        &self,
        key: &Arc<str>,
        token: &str,
        over: Over<'_>,
        seen: &[u8],
    ) -> Result<Claim, CacheError> {
        let claim = self.redis.claim(key, token, over, seen).await;
        if let Err(CacheError::Remote(_)) = &claim {
            let (redis, key, token) = (self.redis.clone(), key.clone(), token.to_owned());
            self.upkeep.spawn(async move { redis.release(&key, &token).await });
        }
        claim
    }
}

/// A lease that is held. Dropped, it is given back, so that whoever waits need not wait for its end.
pub(crate) struct Lease {
    redis: RedisClient,
    watchers: Arc<Watchers>,
    key: Arc<str>,
    token: String,
    standing: Arc<Standing>,
    renewing: AbortHandle,
    upkeep: TaskTracker,
    ended: bool,
}

impl Lease {
    /// `seen` is the head of the value that lay there when it was taken.
    fn hold(by: &Leading<'_>, key: &Arc<str>, token: String, seen: Bytes) -> Self {
        let Leading { redis, watchers, upkeep, .. } = *by;
        let standing = Arc::new(Standing {
            lost: AtomicBool::new(false),
            taken: CancellationToken::new(),
            seen,
            server_run: AtomicU64::new(redis.server_run(key)),
            flushes: watchers.flushes.load(Relaxed),
            since: Instant::now(),
        });
        let renewing =
            upkeep.spawn(renew_now_and_then(redis.clone(), key.clone(), token.clone(), standing.clone()));
        Self {
            redis: redis.clone(),
            watchers: watchers.clone(),
            key: key.clone(),
            token,
            standing,
            renewing: renewing.abort_handle(),
            upkeep: upkeep.clone(),
            ended: false,
        }
    }

    /// Stores the value, unless the lease was lost to somebody: whoever invalidated the key, or another process that fetched while
    /// this one was silent. Where it ended by itself and nobody came between, the value is stored all the same. `since` is when
    /// it began to be fetched.
    pub(crate) async fn commit(
        mut self,
        stored: &[u8],
        ttl: Duration,
        since: Instant,
    ) -> Result<bool, CacheError> {
        self.renewing.abort();
        let standing = self.standing.clone();
        // A restarted Redis has lost the lease.
        if self.redis.server_run(&self.key) != standing.server_run.load(Relaxed) {
            standing.renew(&self.redis, &self.key, &self.token).await?;
        }
        if !standing.lost.load(Relaxed) {
            let committed = self.redis.commit(&self.key, &self.token, stored, ttl).await;
            // After an error the lease may still be there; dropping gives it back.
            self.ended = committed.is_ok();
            if committed? {
                return Ok(true);
            }
        }
        self.ended = true;
        self.commit_without(stored, ttl, since).await
    }

    /// Where the lease is gone. `FLUSHDB` takes it away too, and every sign of other deletions: whether that was told by now is known
    /// once the server's answer is here, which comes behind what it tells.
    async fn commit_without(&self, stored: &[u8], ttl: Duration, since: Instant) -> Result<bool, CacheError> {
        let (redis, key, standing) = (&self.redis, &self.key, &self.standing);
        let emptied = || self.watchers.flushes.load(Relaxed) != standing.flushes;
        if emptied() || !redis.set_over_seen(key, stored, ttl, &standing.seen, since).await? {
            return Ok(false);
        }
        if emptied() {
            return redis.delete_over(key, Duration::ZERO).await.map(|_| false);
        }
        Ok(true)
    }

    /// Leaves a record of the failure in its place, for so long, and drops the value if it is `gone`.
    pub(crate) async fn fail(
        mut self,
        record: &str,
        lasts: Duration,
        gone: bool,
    ) -> Result<bool, CacheError> {
        self.renewing.abort();
        let recorded = self.redis.record_failure(&self.key, &self.token, record, lasts, gone).await;
        self.ended = recorded.is_ok();
        recorded
    }

    /// Is cancelled once it is known that somebody changed the key, or fetches it: what is brought is of the past.
    pub(crate) fn taken(&self) -> CancellationToken {
        self.standing.taken.clone()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Gives it back without a value.
    async fn release(mut self) {
        self.renewing.abort();
        self.ended = self.redis.release(&self.key, &self.token).await.is_ok();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
        if self.ended {
            return;
        }
        let (redis, key, token) = (self.redis.clone(), self.key.clone(), std::mem::take(&mut self.token));
        // Without a runtime the process ends, and the lease with it, by its own time.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.upkeep.spawn(async move { redis.release(&key, &token).await });
        }
    }
}

/// What is known of a lease that is held.
struct Standing {
    lost: AtomicBool,
    /// Lost to somebody, who changed the key or fetches it.
    taken: CancellationToken,
    seen: Bytes,
    /// The run of the server that has it.
    server_run: AtomicU64,
    /// How often everything had been deleted at once when it was taken, and when that was.
    flushes: u64,
    since: Instant,
}

impl Standing {
    /// Gives a sign of life. After a restart of Redis, which has lost the lease, it is taken again if nobody else has it and
    /// no other value is there than before: a paid fetch would be lost with it. Whoever invalidates after the restart and before that finds
    /// nothing to forbid; that is the price, and it lasts for as long as a reconnect.
    async fn renew(&self, redis: &RedisClient, key: &str, token: &str) -> Result<(), CacheError> {
        let (before, run) = (self.server_run.load(Relaxed), redis.server_run(key));
        let restarted = before != run && before != 0 && run != 0;
        match redis.renew(key, token, restarted, &self.seen).await? {
            Renewal::Held => self.server_run.store(run, Relaxed),
            Renewal::Ended => {
                self.lost.store(true, Relaxed);
                // Whoever changed the key leaves what forbids to commit; who came to look may have taken that away.
                self.look(redis, key).await?;
            }
            Renewal::Taken => {
                self.lost.store(true, Relaxed);
                self.taken.cancel();
            }
        }
        Ok(())
    }

    /// Whether the key was changed, once nobody has the lease that forbids it.
    async fn look(&self, redis: &RedisClient, key: &str) -> Result<(), CacheError> {
        if redis.is_changed(key, &self.seen, self.since).await? {
            self.taken.cancel();
        }
        Ok(())
    }
}

async fn renew_now_and_then(redis: RedisClient, key: Arc<str>, token: String, standing: Arc<Standing>) {
    while !standing.taken.is_cancelled() {
        sleep(RENEW_EVERY).await;
        // An error is counted where it came from; while Redis cannot be asked nothing is known.
        let _ = if standing.lost.load(Relaxed) {
            standing.look(&redis, &key).await
        } else {
            standing.renew(&redis, &key, &token).await
        };
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::model::once;

    #[test]
    fn everyone_who_watches_a_key_hears_of_it_and_nobody_is_left_behind() {
        once(|| {
            let (watchers, key) = (Arc::new(Watchers::default()), Arc::from("a"));
            // A flight that was fenced goes on waiting while the next one begins.
            let (mut first, mut second) = (watchers.watch(&key), watchers.watch(&key));
            assert!(first.news().now_or_never().is_none());
            watchers.hear(Notice::Leased("a"));
            assert!(first.news().now_or_never().is_some() && second.news().now_or_never().is_some());
            assert!(first.news().now_or_never().is_none(), "told once");
            drop(first);
            watchers.hear(Notice::Lost);
            assert!(second.news().now_or_never().is_some());
            drop(second);
            assert!(watchers.is_empty());
        });
    }
}
