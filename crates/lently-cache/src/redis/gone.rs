//! What was deleted lately: so that a value that was paid for while Redis could not be told is not stored late over an
//! invalidation that its holder did not hear of.
//!
//! A mark lies beside each key that was deleted or made stale, in its hash slot, and one list has the patterns. Their age is
//! compared with the age of the value, each measured by one clock alone: marks by how much of their life is left, values by
//! their holder's monotonic clock. No two clocks are compared, only how fast they go. What a process itself marked it need not mind: whoever deletes
//! a key forgets what was still to be stored of it.

use std::time::Duration;

use tokio::time::Instant;

use super::{RedisClient, link::Lane, milliseconds, slots};
use crate::{error::CacheError, pattern::Pattern};

/// How long a mark lasts. A value that was not stored for as long is not stored any more.
pub(super) const GONE_FOR: Duration = Duration::from_secs(24 * 3600);
/// First word of the marks' keys; and, without what follows it, the list of patterns.
const WORD: &str = "~gone";
/// More patterns are one that matches everything.
const MAX_PATTERNS: usize = 1000;

/// The mark holds who made it. A younger one stays. Where Redis is full there is none; with a third argument that is told with a 1,
/// else it is an error.
const MARK: &str = "\
if redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
local set = ARGV[3] and redis.pcall or redis.call
return set('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]).err and 1 or 0";

/// The list has a line for each pattern: its age in milliseconds when the list was written, who deleted it, the pattern.
const MARK_PATTERN: &str = "\
local lasts, new, left = tonumber(ARGV[3]), tonumber(ARGV[5]), redis.call('PTTL', KEYS[1])
local since = left >= 0 and lasts - left or 0
local lines, known = {}, false
for age, by, pattern in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%d+) (%w+) ([^\\n]*)\\n') do
  local age = age + since
  local same = pattern == ARGV[1]
  known = known or same and age <= new
  if age < lasts and (not same or age <= new) then
    lines[#lines + 1] = string.format('%.0f %s %s\\n', age, by, pattern)
  end
end
if not known and #lines < tonumber(ARGV[4]) then
  lines[#lines + 1] = string.format('%.0f %s %s\\n', new, ARGV[2], ARGV[1])
elseif not known then
  lines = {'0 0 *\\n'}
end
redis.call('SET', KEYS[1], table.concat(lines), 'PX', lasts)
return 0";

impl RedisClient {
    /// Marks `key` as deleted so long ago. Where Redis has no room for the mark it is an error: a value that could not be stored
    /// meanwhile might come back, so the deletion is to be made good.
    pub(super) fn marking(&self, key: &str, age: Duration) -> redis::Cmd {
        let mut script = redis::cmd("EVAL");
        script.arg(MARK).arg(1).arg(self.gone(key)).arg(self.name());
        script.arg(milliseconds(GONE_FOR.saturating_sub(age)));
        script
    }

    /// The same, which answers 1 where there is no room.
    pub(super) fn marking_if_there_is_room(&self, key: &str, age: Duration) -> redis::Cmd {
        let mut script = self.marking(key, age);
        script.arg("try");
        script
    }

    /// Marks all keys that match as deleted so long ago.
    pub(super) async fn mark_matching(&self, pattern: &Pattern, age: Duration) -> Result<(), CacheError> {
        let mut script = redis::cmd("EVAL");
        script.arg(MARK_PATTERN).arg(1).arg(self.full(WORD)).arg(pattern.as_str()).arg(self.name());
        script.arg(milliseconds(GONE_FOR)).arg(MAX_PATTERNS).arg(GONE_FOR.min(age).as_millis().to_string());
        self.change::<u8>(&script).await.map(|_| ())
    }

    /// Whether somebody else deleted `key` after that time, or may have. Else what is left of the mark that is there, as
    /// `PTTL` tells it: a younger one has more.
    pub(super) async fn mark_before(&self, key: &str, since: Instant) -> Result<Option<i64>, CacheError> {
        let mark = self.gone(key);
        let mut both = redis::pipe();
        both.cmd("GET").arg(&mark).cmd("PTTL").arg(&mark);
        let (by, left): (Option<String>, i64) = self.send(Lane::Any, (&both).into()).await?;
        let gone = by.is_some_and(|by| by != self.name() && age(left) <= at_most(since.elapsed()));
        Ok((!gone).then_some(left))
    }

    /// Whether somebody else deleted a pattern that matches `key` after that time, or may have.
    pub(super) async fn is_gone_by_pattern(&self, key: &str, since: Instant) -> Result<bool, CacheError> {
        let list = self.full(WORD);
        let mut both = redis::pipe();
        both.cmd("GET").arg(&list).cmd("PTTL").arg(&list);
        let (list, left): (Option<String>, i64) = self.send(Lane::Any, (&both).into()).await?;
        Ok(matches_lately(&list.unwrap_or_default(), age(left), &self.name(), key, since.elapsed()))
    }

    /// The key of the mark of `key`.
    pub(super) fn gone(&self, key: &str) -> String {
        let number = slots::number_beside(self.full(key).as_bytes());
        format!("{}{WORD}:{{{number}}}{key}", self.prefix())
    }

    fn name(&self) -> String {
        format!("{:016x}", self.0.name)
    }
}

/// Whether a key (without prefix) is a mark or the list of patterns.
pub(super) fn is_mark(key: &str) -> bool {
    key.starts_with(WORD)
}

/// How old a mark is of which so much is left.
fn age(left: i64) -> Duration {
    GONE_FOR.saturating_sub(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// How much time may have passed by Redis' clock, which counts milliseconds and may be set faster or slower by a thousandth, twice what
/// NTP does at most. In doubt a value counts as older than the mark, and is fetched again.
fn at_most(since: Duration) -> Duration {
    since + since / 1000 + Duration::from_millis(10)
}

/// What cannot be read counts as a match.
fn matches_lately(list: &str, age: Duration, me: &str, key: &str, since: Duration) -> bool {
    list.lines().any(|line| {
        let mut words = line.splitn(3, ' ');
        let (Some(written), Some(by), Some(pattern)) = (words.next(), words.next(), words.next()) else {
            return true;
        };
        let (Ok(written), Ok(pattern)) = (written.parse(), Pattern::parse(pattern)) else { return true };
        by != me
            && age.saturating_add(Duration::from_millis(written)) <= at_most(since)
            && pattern.matches(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_somebody_elses_counts_for_what_is_older_than_it() {
        let second = Duration::from_secs(1);
        let list = "5000 aa thing:*\n0 bb other:1\n";
        let by_another = |key, since| matches_lately(list, second, "cc", key, since);
        assert!(by_another("thing:1", 6 * second));
        assert!(!by_another("thing:1", 5 * second), "begun after it");
        assert!(!by_another("another:1", 6 * second));
        assert!(by_another("other:1", second));
        assert!(by_another("other:1", second - Duration::from_millis(1)), "clocks count milliseconds");
        assert!(!matches_lately(list, second, "aa", "thing:1", 6 * second), "its own");
        assert!(!matches_lately("", second, "cc", "thing:1", 6 * second));
        assert!(matches_lately("what another version wrote\n", second, "cc", "thing:1", second));
    }
}
