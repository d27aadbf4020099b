//! The lease of a key: who fetches it for all nodes. It lies beside the value, in the same hash slot, and is changed by scripts
//! alone, so that taking, keeping, committing and forbidding are each one step that nobody else comes between.
//!
//! A script names the value only where it must be one step with the lease. While a cluster moves their slot, the one may be
//! there already and the other not: such a script waits for the end of the move, all others go on.
//!
//! | the lease key holds | meaning |
//! |---|---|
//! | nothing | nobody fetches |
//! | `L` and a token | the owner of the token fetches; it expires unless the owner renews it |
//! | `F` and a record | the last fetch failed, and is not to be tried again before the key expires |
//! | `X` | the key was changed while it was being fetched: that fetch may not commit; anyone may begin another |

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{RedisClient, Walk, gone::GONE_FOR, link::Lane, milliseconds, slots};
use crate::{envelope, error::CacheError, pattern::Pattern};

/// How long a lease lasts without a sign of life from its owner: a dead owner's is taken over within two seconds.
pub(crate) const LEASE: Duration = Duration::from_millis(1500);
/// How long a fetch that may not commit is remembered; longer than any fetch should take.
const FORBIDDEN_FOR: Duration = Duration::from_secs(3600);
/// First word of lease keys, after the prefix. No key of a caller's begins with it: kinds are lower-case words.
const WORD: &str = "~lease:";

const CLAIM: &str = "\
local lease = redis.call('GET', KEYS[1])
local state = lease and string.sub(lease, 1, 1)
if state == 'F' and ARGV[3] ~= '1' then return {2, string.sub(lease, 2), 0} end
if state == 'L' and ARGV[3] ~= '2' and lease ~= ARGV[4] then return {0, lease, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, false, 0}";

const READ: &str = "\
local seen = #ARGV[1]
if seen > 0 and redis.pcall('GETRANGE', KEYS[1], 0, seen - 1) == ARGV[1] then return false end
local stored = redis.pcall('GET', KEYS[1])
return type(stored) == 'string' and stored";

const RENEW: &str = "\
local lease = redis.call('GET', KEYS[1])
if lease == ARGV[1] then redis.call('SET', KEYS[1], lease, 'PX', ARGV[2]) return 1 end
if lease then return 2 end
if not KEYS[2] then return 0 end
local seen = #ARGV[3]
local same = redis.call('EXISTS', KEYS[2]) == 0 or seen > 0 and redis.call('GETRANGE', KEYS[2], 0, seen - 1) == ARGV[3]
if same then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1 end
return 2";

const COMMIT: &str = "\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('UNLINK', KEYS[2])
return 1";

const FAIL: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if KEYS[2] then redis.call('UNLINK', KEYS[2]) end
redis.call('SET', KEYS[1], 'F' .. ARGV[2], 'PX', ARGV[3])
return 1";

const SET_IF_SAME: &str = "\
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('PTTL', KEYS[3]) > tonumber(ARGV[4]) then return 0 end
local seen = #ARGV[3]
local same = redis.call('EXISTS', KEYS[1]) == 0 or seen > 0 and redis.call('GETRANGE', KEYS[1], 0, seen - 1) == ARGV[3]
if not same then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end return 0";

const EXPIRE: &str = "\
local seen = #ARGV[1]
local stored = redis.pcall('GET', KEYS[1])
if seen == 0 or type(stored) ~= 'string' or string.sub(stored, 1, seen) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2] .. string.sub(stored, seen + 1), 'KEEPTTL')
return 1";

const FORBID: &str = "\
local lease = redis.call('GET', KEYS[1])
local state = lease and string.sub(lease, 1, 1)
local full = state == 'L' and redis.pcall('SET', KEYS[1], 'X', 'PX', ARGV[1]).err
if state == 'F' or full then redis.call('UNLINK', KEYS[1]) end
return 0";

/// What a script found, if anything.
type Found = Option<Vec<u8>>;

/// What a claim does not mind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over<'a> {
    /// It minds a lease and a remembered failure.
    Nothing,
    /// It minds no failure.
    Failure,
    /// It minds no lease of this owner's token: that fetch may no longer commit.
    Owner(&'a [u8]),
    /// It minds nobody's lease.
    Lease,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It is held on.
    Held,
    /// It ended by itself, and nobody has it.
    Ended,
    /// The key was changed, or another one fetches it.
    Taken,
}

/// What came of the wish to fetch.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is this caller's to fetch. `stored` is what lies there.
    Led {
        /// The stored bytes.
        stored: Option<Bytes>,
    },
    /// Somebody else fetches.
    Followed {
        /// The stored bytes.
        stored: Option<Bytes>,
        /// Its token.
        owner: Bytes,
        /// So long the lease lasts if its owner is dead.
        lasts: Duration,
    },
    /// Somebody fetched in vain; the record of it.
    Failed(Bytes),
    /// The user may not run scripts: there are no leases.
    Unavailable,
}

impl RedisClient {
    /// Takes the lease of `key` for the owner of `token`, if nobody has it, or over what `over` says. What is stored is told
    /// only if it does not begin with what was `seen` (its [head](envelope::head)).
    pub(crate) async fn claim(
        &self,
        key: &str,
        token: &str,
        over: Over<'_>,
        seen: &[u8],
    ) -> Result<Claim, CacheError> {
        let (over, owner) = match over {
            Over::Nothing => (0_u8, &[][..]),
            Over::Failure => (1, &[][..]),
            Over::Owner(owner) => (0, owner),
            Over::Lease => (2, &[][..]),
        };
        if !self.may_script(key) {
            return Ok(Claim::Unavailable);
        }
        // First the lease and then the value: what is committed between the two is seen.
        let mut both = redis::pipe();
        both.cmd("EVAL").arg(CLAIM).arg(1).arg(self.lease(key));
        both.arg(token).arg(milliseconds(LEASE)).arg(over).arg(owner);
        both.cmd("EVAL").arg(READ).arg(1).arg(self.full(key)).arg(seen);
        let ((state, told, lasts), stored): ((u8, Found, i64), Found) =
            self.send(Lane::Tracked, (&both).into()).await?;
        let stored = stored.map(Bytes::from);
        let told = Bytes::from(told.unwrap_or_default());
        Ok(match state {
            0 => {
                let lasts = Duration::from_millis(u64::try_from(lasts).unwrap_or(0));
                Claim::Followed { stored, owner: told, lasts }
            }
            1 => Claim::Led { stored },
            _ => Claim::Failed(told),
        })
    }

    /// Prolongs the lease, if it still is this owner's. With `revive`, after a restart of the server, it is taken
    /// again where it is gone and there is no value, or the one that was `seen`.
    pub(crate) async fn renew(
        &self,
        key: &str,
        token: &str,
        revive: bool,
        seen: &[u8],
    ) -> Result<Renewal, CacheError> {
        let mut script = redis::cmd("EVAL");
        script.arg(RENEW).arg(1 + u8::from(revive)).arg(self.lease(key));
        script.arg(revive.then(|| self.full(key))).arg(token).arg(milliseconds(LEASE)).arg(seen);
        Ok(match self.change::<u8>(&script).await? {
            1 => Renewal::Held,
            0 => Renewal::Ended,
            _ => Renewal::Taken,
        })
    }

    /// What the lease key holds, and for how long; `None` for nothing, and where leases are not used.
    pub(crate) async fn leased(&self, key: &str) -> Result<Option<(Bytes, Duration)>, CacheError> {
        if !self.may_script(key) {
            return Ok(None);
        }
        let lease = self.lease(key);
        let mut both = redis::pipe();
        both.cmd("GET").arg(&lease).cmd("PTTL").arg(&lease);
        let (held, left): (Found, i64) = self.send(Lane::Any, (&both).into()).await?;
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        Ok(held.map(|held| (held.into(), left)))
    }

    /// A number that is another after the key's server was restarted, or is another one; 0 where it is not known.
    pub(crate) fn server_run(&self, key: &str) -> u64 {
        self.node_of(key).map_or(0, |node| node.link.server_run())
    }

    /// Whether our user may run scripts; yes where nobody can be asked, for then nothing is run.
    pub(crate) fn may_script(&self, key: &str) -> bool {
        self.node_of(key).is_none_or(|node| node.link.may_script())
    }

    /// Stores the value and gives the lease back, if it is still this owner's; whether it was.
    pub(crate) async fn commit(
        &self,
        key: &str,
        token: &str,
        stored: &[u8],
        ttl: Duration,
    ) -> Result<bool, CacheError> {
        let mut script = redis::cmd("EVAL");
        script.arg(COMMIT).arg(2).arg(self.full(key)).arg(self.lease(key));
        script.arg(token).arg(stored).arg(milliseconds(ttl));
        self.change(&script).await
    }

    /// Leaves a record of a failure in the lease's place for so long, and drops the value if it is `gone`; whether the lease was
    /// still this owner's.
    pub(crate) async fn record_failure(
        &self,
        key: &str,
        token: &str,
        record: &str,
        lasts: Duration,
        gone: bool,
    ) -> Result<bool, CacheError> {
        let mut script = redis::cmd("EVAL");
        script.arg(FAIL).arg(1 + u8::from(gone)).arg(self.lease(key)).arg(gone.then(|| self.full(key)));
        script.arg(token).arg(record).arg(milliseconds(lasts));
        self.change(&script).await
    }

    /// Gives the lease back without a value.
    pub(crate) async fn release(&self, key: &str, token: &str) -> Result<(), CacheError> {
        let mut script = redis::cmd("EVAL");
        script.arg(RELEASE).arg(1).arg(self.lease(key)).arg(token);
        self.change(&script).await
    }

    /// Stores a value, after forbidding whoever fetches the key to overwrite it.
    ///
    /// Two commands one behind the other on one wire, and no script: what a script writes comes back as a notice, and would
    /// take the writer's own copy out of its memory. A fetch that begins between the two is as new as this value.
    pub(crate) async fn set_over(&self, key: &str, stored: &[u8], ttl: Duration) -> Result<(), CacheError> {
        if !self.may_script(key) {
            return self.set(key, stored, ttl).await;
        }
        let mut both = redis::pipe();
        both.add_command(self.forbidding(self.lease(key)));
        both.cmd("SET").arg(self.full(key)).arg(stored).arg("PX").arg(milliseconds(ttl));
        self.send(Lane::Tracked, (&both).into()).await
    }

    /// As [`set_unless_newer`](Self::set_unless_newer), of a value that was to be stored before; and not where the user may not
    /// run scripts: then nobody can say whether the key was deleted meanwhile.
    pub(crate) async fn set_late(
        &self,
        key: &str,
        stored: &[u8],
        ttl: Duration,
        began_at: Timestamp,
        since: Instant,
    ) -> Result<bool, CacheError> {
        if !self.may_script(key) {
            return Ok(false);
        }
        self.set_unless_newer(key, stored, ttl, began_at, since).await
    }

    /// Stores a value whose fetch began at that time, unless one is there that was fetched since, or a lease or what forbids one,
    /// or another process deleted the key `since` its fetch began; whether it is there.
    pub(crate) async fn set_unless_newer(
        &self,
        key: &str,
        stored: &[u8],
        ttl: Duration,
        began_at: Timestamp,
        since: Instant,
    ) -> Result<bool, CacheError> {
        if !self.may_script(key) {
            return self.set(key, stored, ttl).await.map(|()| true);
        }
        let there = self.head(key).await?.map(|head| envelope::head(&head.bytes)).unwrap_or_default();
        if !there.is_empty() && stored.starts_with(&there) {
            // It was told, and its answer was lost.
            return Ok(true);
        }
        if envelope::times(&there).is_some_and(|times| times.fetched_at >= began_at) {
            return Ok(false);
        }
        self.set_over_seen(key, stored, ttl, &there, since).await
    }

    /// Stores a value if what was `seen` (its [head](envelope::head)) or nothing is there, and neither a lease nor what forbids
    /// one, and no other process deleted the key `since` its fetch began; whether it did.
    pub(crate) async fn set_over_seen(
        &self,
        key: &str,
        stored: &[u8],
        ttl: Duration,
        seen: &[u8],
        since: Instant,
    ) -> Result<bool, CacheError> {
        if since.elapsed() >= GONE_FOR || self.is_gone_by_pattern(key, since).await? {
            return Ok(false);
        }
        let Some(mark) = self.mark_before(key, since).await? else { return Ok(false) };
        let mut script = redis::cmd("EVAL");
        script.arg(SET_IF_SAME).arg(3).arg(self.full(key)).arg(self.lease(key)).arg(self.gone(key));
        script.arg(stored).arg(milliseconds(ttl)).arg(seen).arg(mark);
        let stored = self.change(&script).await?;
        // Whoever deleted a pattern after it was looked for may not have seen this key.
        if stored && self.is_gone_by_pattern(key, since).await? {
            return self.delete_over(key, Duration::ZERO).await.map(|_| false);
        }
        Ok(stored)
    }

    /// Whether another value is there than what was `seen`, or another process deleted the key `since` then. That there is none
    /// any more says nothing: it may have been its time.
    pub(crate) async fn is_changed(
        &self,
        key: &str,
        seen: &[u8],
        since: Instant,
    ) -> Result<bool, CacheError> {
        let another = self.head(key).await?.is_some_and(|head| envelope::head(&head.bytes) != seen);
        Ok(another
            || self.is_gone_by_pattern(key, since).await?
            || self.mark_before(key, since).await?.is_none())
    }

    /// Deletes a value, after forbidding whoever fetches the key to bring it back; how many there were, 0 or 1. A fetch that
    /// begins between the two is as new as this. `age` is how long ago the deletion was decided.
    pub(crate) async fn delete_over(&self, key: &str, age: Duration) -> Result<u64, CacheError> {
        if !self.may_script(key) {
            return self.delete(key).await;
        }
        let mut all = redis::pipe();
        all.add_command(self.forbidding(self.lease(key)));
        all.add_command(self.marking_if_there_is_room(key, age));
        all.cmd("UNLINK").arg(self.full(key));
        let (_, no_room, deleted): (u8, u8, u64) = self.send(Lane::Tracked, (&all).into()).await?;
        if no_room == 0 {
            return Ok(deleted);
        }
        // What was deleted may have made room. Once more it goes after the mark: somebody may have stored late between the two.
        let mut both = redis::pipe();
        both.add_command(self.marking(key, age)).cmd("UNLINK").arg(self.full(key));
        let (_, late): (u8, u64) = self.send(Lane::Tracked, (&both).into()).await?;
        Ok(deleted.max(late))
    }

    /// Makes a value stale from `now` on, after forbidding whoever fetches the key to replace it; whether there was one.
    /// A value without a header is deleted, and so is any where scripts may not be run.
    pub(crate) async fn expire_over(
        &self,
        key: &str,
        now: Timestamp,
        age: Duration,
    ) -> Result<bool, CacheError> {
        if !self.may_script(key) {
            return self.delete(key).await.map(|deleted| deleted > 0);
        }
        // The second time nothing that was under way the first time can have come between.
        for _ in 0..2 {
            let seen = match self.head(key).await? {
                Some(head) if envelope::times(&head.bytes).is_none() => {
                    return self.delete_over(key, age).await.map(|deleted| deleted > 0);
                }
                head => head.map(|head| envelope::head(&head.bytes)).unwrap_or_default(),
            };
            let stale = envelope::expired(&seen, now).unwrap_or_default();
            let mut all = redis::pipe();
            all.add_command(self.forbidding(self.lease(key))).add_command(self.marking(key, age));
            all.cmd("EVAL").arg(EXPIRE).arg(1).arg(self.full(key)).arg(&seen[..]).arg(&stale[..]);
            let (_, _, expired): (u8, u8, bool) = self.send(Lane::Tracked, (&all).into()).await?;
            if expired {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forbids everyone who fetches a key that matches to commit what they get, and to store late what they have.
    pub(super) async fn forbid_matching(&self, pattern: &Pattern, age: Duration) -> Result<(), CacheError> {
        if !self.may_script("") {
            return Ok(());
        }
        let marked = self.mark_matching(pattern, age).await;
        let prefix = Pattern::escape(self.prefix());
        let mut walk = Walk::over_leases(self, format!("{prefix}{WORD}{{*}}{pattern}"));
        while let Some((_, leases)) = walk.next().await? {
            for lease in leases {
                let key = lease.strip_prefix(self.prefix()).and_then(leased_key);
                // The star may have gone beyond the tag.
                if !key.is_some_and(|key| pattern.matches(key)) {
                    continue;
                }
                self.change::<u8>(&self.forbidding(lease)).await?;
            }
        }
        marked
    }

    fn forbidding(&self, lease: String) -> redis::Cmd {
        let mut script = redis::cmd("EVAL");
        script.arg(FORBID).arg(1).arg(lease).arg(milliseconds(FORBIDDEN_FOR));
        script
    }

    /// With a hash tag of its own, so that a cluster keeps the lease where the value is, whatever braces the key has.
    fn lease(&self, key: &str) -> String {
        let number = slots::number_beside(self.full(key).as_bytes());
        format!("{}{WORD}{{{number}}}{key}", self.prefix())
    }
}

/// The key (without prefix) whose lease a key (without prefix) is.
pub(super) fn leased_key(key: &str) -> Option<&str> {
    key.strip_prefix(WORD)?.strip_prefix('{')?.split_once('}').map(|(_, key)| key)
}

/// Whether a key (without prefix) is ours alone and no caller's.
pub(super) fn is_internal(key: &str) -> bool {
    key.starts_with('~')
}

/// What is tracked beside the kinds where there is no prefix.
pub(super) const INTERNAL: &str = "~";
