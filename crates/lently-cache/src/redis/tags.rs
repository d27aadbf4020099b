//! The versions of tags, each under a key of its own. They lie beside no value: in a cluster, wherever their keys belong.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use jiff::Timestamp;

use super::{RedisClient, link::Lane, milliseconds};
use crate::{
    clock::later,
    error::CacheError,
    tags::{Record, Told, key_of},
};

/// Expires a tag: one more in the last four digits of its version. 0 where there is none, -1 where they are used up.
const EXPIRE: &str = "\
local record = redis.call('GET', KEYS[1])
if not record then return 0 end
local expiries = tonumber(string.sub(record, 13, 16), 16)
if not expiries or expiries >= 65535 then return -1 end
redis.call('SET', KEYS[1], string.sub(record, 1, 12) .. string.format('%04x', expiries + 1) .. '@' .. ARGV[1], 'KEEPTTL')
return 1";

impl RedisClient {
    /// The records of tags, in their order.
    pub(crate) async fn tags(&self, tags: &[Arc<str>], now: Timestamp) -> Result<Vec<Told>, CacheError> {
        try_join_all(tags.iter().map(|tag| self.tag(tag, now))).await
    }

    async fn tag(&self, tag: &str, now: Timestamp) -> Result<Told, CacheError> {
        let key = self.full(&key_of(tag));
        let mut both = redis::pipe();
        both.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
        let (record, ttl): (Option<Vec<u8>>, i64) = self.send(Lane::Any, (&both).into()).await?;
        let lasts_until = match u64::try_from(ttl) {
            Ok(ttl) => later(now, Duration::from_millis(ttl)),
            Err(_) => Timestamp::MAX,
        };
        Ok(record.and_then(|record| Record::parse(&record)).map(|record| (record, lasts_until)))
    }

    /// The same; where there is none, one is begun, and each lasts at least as long as an entry that is `retained`.
    pub(crate) async fn begin_tags(
        &self,
        tags: &[Arc<str>],
        retained: Duration,
        now: Timestamp,
    ) -> Result<Vec<Told>, CacheError> {
        try_join_all(tags.iter().map(|tag| self.begin_tag(tag, retained, now))).await
    }

    async fn begin_tag(&self, tag: &str, retained: Duration, now: Timestamp) -> Result<Told, CacheError> {
        let key = self.full(&key_of(tag));
        // Twice as long, so that it is prolonged once in that time and not with each fetch.
        let life = retained.saturating_mul(2);
        let found = match self.tag(tag, now).await? {
            None => {
                let (record, life) = (Record::new(), milliseconds(life));
                let mut set = redis::cmd("SET");
                set.arg(&key).arg(record.to_text()).arg("NX").arg("PX").arg(life);
                let begun: Option<String> = self.change(&set).await?;
                match begun {
                    Some(_) => Some((record, later(now, Duration::from_millis(life)))),
                    None => self.tag(tag, now).await?,
                }
            }
            found => found,
        };
        match found {
            Some((record, lasts_until)) if lasts_until < later(now, retained) => {
                self.change::<u8>(redis::cmd("PEXPIRE").arg(&key).arg(milliseconds(life))).await?;
                Ok(Some((record, later(now, life))))
            }
            found => Ok(found),
        }
    }

    /// Gives the tag under `key` another version. One that has none needs none: no entry can be of it.
    pub(crate) async fn change_tag(&self, key: &str, expire: bool, now: Timestamp) -> Result<(), CacheError> {
        let may_script = self.may_script(key);
        let key = self.full(key);
        if expire && may_script {
            let mut script = redis::cmd("EVAL");
            script.arg(EXPIRE).arg(1).arg(&key).arg(now.as_millisecond());
            if self.change::<i64>(&script).await? >= 0 {
                return Ok(());
            }
        }
        let mut set = redis::cmd("SET");
        set.arg(key).arg(Record::new().to_text()).arg("XX").arg("KEEPTTL");
        self.change::<Option<String>>(&set).await.map(drop)
    }
}
