//! Comments beyond the cache: a cache that is lost does not buy them again. One row a comment, so that an author's can be erased
//! by an index, and asking for more writes no more than what came.

use std::sync::atomic::Ordering;

use lently_cache::Pattern;
use lently_upstream::{Comment, CommentOrder, VideoId};
use sqlx::SqliteConnection;

use super::{Store, later, millis};
use crate::error::ServiceError;
use crate::keys::CacheKeys;
use crate::ttl::RETENTION;
use crate::youtube::{Head, Shelf};

/// Written by one statement each; what SQLite is given at once stays small.
const WRITTEN_AT_ONCE: usize = 1_000;

impl Store {
    /// How often comments were removed: to be asked before they are read, and told when they are kept.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::SeqCst)
    }

    /// Keeps a shelf, unless comments were removed since. What stands there already stays, where the new one only goes on behind it.
    pub(crate) async fn save_shelf(
        &self,
        video_id: &VideoId,
        order: CommentOrder,
        replies: bool,
        shelf: &Shelf,
        removals: u64,
    ) -> Result<(), ServiceError> {
        let head = json(&shelf.head)?;
        let bodies = shelf.comments.iter().map(json).collect::<Result<Vec<String>, _>>()?;
        let retain_until = millis(later(shelf.head.read_at, RETENTION));
        let mut transaction = self.write().await?;
        // Whoever removes counts first: what is not counted by now comes after this, and finds it.
        if self.removals() != removals {
            return Ok(());
        }
        let stands: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT id, held, digest FROM shelves WHERE video_id = ?1 AND ranked_by = ?2 AND replies = ?3",
        )
        .bind(video_id.as_str())
        .bind(order.to_string())
        .bind(replies)
        .fetch_optional(&mut *transaction)
        .await?;
        let kept = stands.as_ref().and_then(|(_, held, digest)| {
            let held = usize::try_from(*held).ok()?;
            (digest_of(bodies.get(..held)?) == digest.as_slice()).then_some(held)
        });
        let digest = digest_of(&bodies);
        let (id,): (i64,) = sqlx::query_as(
            "INSERT INTO shelves (video_id, ranked_by, replies, head, held, digest, retain_until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (video_id, ranked_by, replies) DO UPDATE SET \
             head = excluded.head, held = excluded.held, digest = excluded.digest, \
             retain_until = excluded.retain_until RETURNING id",
        )
        .bind(video_id.as_str())
        .bind(order.to_string())
        .bind(replies)
        .bind(head)
        .bind(i64::try_from(bodies.len()).unwrap_or(i64::MAX))
        .bind(&digest[..])
        .bind(retain_until)
        .fetch_one(&mut *transaction)
        .await?;
        if kept.is_none() {
            sqlx::query("DELETE FROM shelf_comments WHERE shelf_id = ?1")
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        write(&mut transaction, id, kept.unwrap_or(0), &bodies).await?;
        Ok(transaction.commit().await?)
    }

    /// A shelf within its retention.
    pub(crate) async fn load_shelf(
        &self,
        video_id: &VideoId,
        order: CommentOrder,
        replies: bool,
    ) -> Result<Option<Shelf>, ServiceError> {
        let mut transaction = self.pool().await?.begin().await?;
        let row: Option<(i64, String)> = sqlx::query_as(
            "SELECT id, head FROM shelves \
             WHERE video_id = ?1 AND ranked_by = ?2 AND replies = ?3 AND retain_until > ?4",
        )
        .bind(video_id.as_str())
        .bind(order.to_string())
        .bind(replies)
        .bind(millis(self.clock.now()))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((id, head)) = row else { return Ok(None) };
        // One of another version is none.
        let Ok(head) = serde_json::from_str::<Head>(&head) else { return Ok(None) };
        // As one row: each travels between two threads.
        let (comments,): (String,) = sqlx::query_as(
            "SELECT '[' || coalesce(group_concat(body, ',' ORDER BY place), '') || ']' \
             FROM shelf_comments WHERE shelf_id = ?1",
        )
        .bind(id)
        .fetch_one(&mut *transaction)
        .await?;
        let comments: Option<Vec<Comment>> = serde_json::from_str(&comments).ok();
        Ok(comments.map(|comments| Shelf { head, comments }))
    }

    /// Removes the comments of a video.
    pub(crate) async fn remove_shelves(&self, video_id: &VideoId) -> Result<(), ServiceError> {
        self.removals.fetch_add(1, Ordering::SeqCst);
        sqlx::query("DELETE FROM shelves WHERE video_id = ?1")
            .bind(video_id.as_str())
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Removes the comments whose cache keys match.
    pub(crate) async fn remove_shelves_matching(&self, pattern: &Pattern) -> Result<(), ServiceError> {
        self.removals.fetch_add(1, Ordering::SeqCst);
        let pool = self.pool().await?;
        let rows: Vec<(i64, String, String, bool)> =
            sqlx::query_as("SELECT id, video_id, ranked_by, replies FROM shelves").fetch_all(pool).await?;
        for (id, video_id, order, replies) in rows {
            let (Ok(video_id), Ok(order)) = (video_id.parse::<VideoId>(), order.parse()) else { continue };
            if pattern.matches(&CacheKeys::comments(&video_id, order, replies)) {
                sqlx::query("DELETE FROM shelves WHERE id = ?1").bind(id).execute(pool).await?;
            }
        }
        Ok(())
    }
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    shelf_id: i64,
    from: usize,
    bodies: &[String],
) -> Result<(), sqlx::Error> {
    let mut place = i64::try_from(from).unwrap_or(i64::MAX);
    for bodies in bodies.get(from..).unwrap_or_default().chunks(WRITTEN_AT_ONCE) {
        sqlx::query(
            "INSERT INTO shelf_comments (shelf_id, place, author_channel_id, body) \
             SELECT ?1, ?2 + key, json_extract(value, '$.author_channel_id'), value FROM json_each(?3)",
        )
        .bind(shelf_id)
        .bind(place)
        .bind(format!("[{}]", bodies.join(",")))
        .execute(&mut *connection)
        .await?;
        place += i64::try_from(bodies.len()).unwrap_or(i64::MAX);
    }
    Ok(())
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, ServiceError> {
    serde_json::to_string(value).map_err(|error| ServiceError::internal("comments cannot be written", error))
}

pub(super) fn digest_of(bodies: &[String]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    for body in bodies {
        hash.update(&(body.len() as u64).to_le_bytes());
        hash.update(body.as_bytes());
    }
    *hash.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
