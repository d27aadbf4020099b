//! The versions of tags, among the entries and under keys that no caller's can be.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::Disk;
use crate::{
    error::CacheError,
    tags::{Record, Told, key_of},
};

impl Disk {
    /// The records of tags, in their order.
    pub(crate) async fn tags(&self, tags: &[Arc<str>]) -> Result<Vec<Told>, CacheError> {
        let tags = tags.to_vec();
        self.read(move |connection, now| tags.iter().map(|tag| find(connection, &key_of(tag), now)).collect())
            .await
    }

    /// The same; where there is none, one is begun, and each lasts at least as long as an entry that is `retained`.
    pub(crate) async fn begin_tags(
        &self,
        tags: &[Arc<str>],
        retained: Duration,
    ) -> Result<Vec<Told>, CacheError> {
        let tags = tags.to_vec();
        let retained = i64::try_from(retained.as_millis()).unwrap_or(i64::MAX);
        self.write(move |connection, now| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let lasts_until = now.saturating_add(retained.saturating_mul(2));
            let mut found = Vec::new();
            for tag in &tags {
                let key = key_of(tag);
                let record = match find(&transaction, &key, now)? {
                    None => {
                        let record = Record::new();
                        write(&transaction, &key, record, now, lasts_until)?;
                        record
                    }
                    Some((record, until)) => {
                        if until.as_millisecond() < now.saturating_add(retained) {
                            write(&transaction, &key, record, now, lasts_until)?;
                        }
                        record
                    }
                };
                found.push(Some((record, at(lasts_until))));
            }
            transaction.commit()?;
            Ok(found)
        })
        .await
    }

    /// Gives the tag under `key` another version. One that has none needs none: no entry can be of it.
    pub(crate) async fn change_tag(&self, key: &str, expire: bool, now: Timestamp) -> Result<(), CacheError> {
        let key = key.to_owned();
        self.write(move |connection, at| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let Some((record, until)) = find(&transaction, &key, at)? else { return Ok(()) };
            let expired = if expire { record.expired(now) } else { None };
            let record = expired.unwrap_or_else(Record::new);
            write(&transaction, &key, record, at, until.as_millisecond())?;
            transaction.commit()
        })
        .await
    }
}

fn find(connection: &Connection, key: &str, now: i64) -> rusqlite::Result<Told> {
    let found = connection
        .prepare_cached("SELECT stored, expires_at FROM entries WHERE key = ?1 AND expires_at > ?2")?
        .query_row(params![key, now], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    Ok(found.and_then(|(record, until)| Some((Record::parse(&record)?, at(until)))))
}

fn write(
    connection: &Connection,
    key: &str,
    record: Record,
    now: i64,
    expires_at: i64,
) -> rusqlite::Result<()> {
    let text = record.to_text();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO entries (key, stored, size, written_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![key, text.as_bytes(), text.len() as i64, now, expires_at])?;
    Ok(())
}

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}
