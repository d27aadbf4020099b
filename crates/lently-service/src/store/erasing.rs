//! Erasing by what it is about: a video, or an author. What was erased of analyses leaves tombstones, as with
//! [`erase`](Store::erase); histories stay, for they hold nothing of YouTube's.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use lently_upstream::{Comment, CommentOrder, VideoId};

use super::erased::bury;
use super::shelves::{digest_of, json, write};
use super::{Store, millis};
use crate::author::{Author, Traces};
use crate::error::ServiceError;
use crate::ids::AnalysisId;
use crate::judged;
use crate::keys::CacheKeys;
use crate::youtube::{Head, Shelf};

/// Bodies looked into between two looks at the store: each may have megabytes.
const BODIES_AT_ONCE: u32 = 8;

/// An analysis that is gone from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErasedAnalysis {
    /// The mark of its tombstone, in milliseconds.
    pub erased_at: i64,
    /// The keys under which tiers may have the summaries that were written for it.
    pub summaries: Vec<String>,
}

/// A list of comments out of which some were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErasedShelf {
    /// The key under which tiers may have it.
    pub key: String,
    /// How many were taken out.
    pub comments: u64,
}

impl Store {
    /// Removes an analysis, whoever has asked for it, and what was written for it.
    pub(crate) async fn erase_analysis(&self, id: &AnalysisId) -> Result<ErasedAnalysis, ServiceError> {
        let erased_at = millis(self.clock.now());
        let mut transaction = self.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
        let summaries = bury(&mut transaction, id, erased_at).await?;
        transaction.commit().await?;
        Ok(ErasedAnalysis { erased_at, summaries })
    }

    /// The analyses of a video.
    pub(crate) async fn analyses_of_video(
        &self,
        video_id: &VideoId,
    ) -> Result<Vec<AnalysisId>, ServiceError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT id FROM analyses WHERE video_id = ?1")
            .bind(video_id.as_str())
            .fetch_all(self.pool().await?)
            .await?;
        rows.into_iter().map(|(id,)| id.parse()).collect()
    }

    /// The analyses in which an author is, or may be; their comments there are remembered.
    pub(crate) async fn analyses_with(
        &self,
        author: &Author,
        traces: &mut Traces,
    ) -> Result<Vec<AnalysisId>, ServiceError> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let rows: Vec<(String, Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
                "SELECT id, body, packed FROM analyses LEFT JOIN analysis_comments ON analysis_id = id \
                 WHERE id > ?1 ORDER BY id LIMIT ?2",
            )
            .bind(&after)
            .bind(BODIES_AT_ONCE)
            .fetch_all(self.pool().await?)
            .await?;
            let Some((last, _, _)) = rows.last() else { break };
            after.clone_from(last);
            for (id, body, packed) in &rows {
                let comments = packed.as_deref().map(judged::unpack);
                let unreadable = comments.as_ref().is_some_and(Option::is_none);
                let theirs: Vec<_> =
                    comments.iter().flatten().flatten().filter(|one| author.wrote(one)).collect();
                theirs.iter().for_each(|comment| traces.note(comment));
                if unreadable || !theirs.is_empty() || traces.are_in(body) {
                    found.push(id.parse()?);
                }
                tokio::task::yield_now().await;
            }
        }
        // Their comments are known by now, and an earlier version has no list of its own.
        let (mut found, mut after) = (BTreeSet::from_iter(found), String::new());
        loop {
            let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
                "SELECT analysis_id || ' ' || day AS place, body FROM earlier_analyses WHERE place > ?1 \
                 ORDER BY place LIMIT ?2",
            )
            .bind(&after)
            .bind(BODIES_AT_ONCE)
            .fetch_all(self.pool().await?)
            .await?;
            let Some((last, _)) = rows.last() else { return Ok(found.into_iter().collect()) };
            after.clone_from(last);
            for (place, body) in &rows {
                if traces.are_in(body) {
                    found.insert(place.split(' ').next().unwrap_or_default().parse()?);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// How many comments of a video there are.
    pub(crate) async fn comments_of_video(&self, video_id: &VideoId) -> Result<u64, ServiceError> {
        let (comments,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM shelf_comments WHERE shelf_id IN (SELECT id FROM shelves WHERE video_id = ?1)",
        )
        .bind(video_id.as_str())
        .fetch_one(self.pool().await?)
        .await?;
        Ok(u64::try_from(comments).unwrap_or_default())
    }

    /// Takes an author's comments out of every list and remembers them; in a `rehearsal` it only remembers them. What is being read
    /// meanwhile is not kept.
    pub(crate) async fn erase_comments(
        &self,
        author: &Author,
        traces: &mut Traces,
        rehearsal: bool,
    ) -> Result<Vec<ErasedShelf>, ServiceError> {
        if !rehearsal {
            self.removals.fetch_add(1, Ordering::SeqCst);
        }
        let mut erased = Vec::new();
        for id in self.shelves_with(author).await? {
            erased.extend(self.erase_from_shelf(id, author, traces, rehearsal).await?);
        }
        Ok(erased)
    }

    /// The lists in which an author is, or may be.
    async fn shelves_with(&self, author: &Author) -> Result<Vec<i64>, ServiceError> {
        let question = match author {
            Author::Channel(_) => {
                "SELECT id FROM shelves WHERE instr(head, ?2) > 0 \
                 OR id IN (SELECT shelf_id FROM shelf_comments WHERE author_channel_id = ?1)"
            }
            Author::Name(_) => {
                "SELECT id FROM shelves WHERE instr(head, ?2) > 0 \
                 OR id IN (SELECT shelf_id FROM shelf_comments WHERE json_extract(body, '$.author') = ?1)"
            }
        };
        // As it stands in JSON, with its quotes.
        let written = json(&author.as_str())?;
        let rows: Vec<(i64,)> = sqlx::query_as(question)
            .bind(author.as_str())
            .bind(written)
            .fetch_all(self.pool().await?)
            .await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    async fn erase_from_shelf(
        &self,
        id: i64,
        author: &Author,
        traces: &mut Traces,
        rehearsal: bool,
    ) -> Result<Option<ErasedShelf>, ServiceError> {
        let mut transaction = self.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
        let row: Option<(String, String, bool, String)> =
            sqlx::query_as("SELECT video_id, ranked_by, replies, head FROM shelves WHERE id = ?1")
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some((video_id, order, replies, head)) = row else { return Ok(None) };
        let (Ok(video_id), Ok(order)) = (video_id.parse::<VideoId>(), order.parse::<CommentOrder>()) else {
            return Ok(None);
        };
        let key = CacheKeys::comments(&video_id, order, replies);
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT body FROM shelf_comments WHERE shelf_id = ?1 ORDER BY place")
                .bind(id)
                .fetch_all(&mut *transaction)
                .await?;
        let comments: Result<Vec<Comment>, _> =
            rows.iter().map(|(body,)| serde_json::from_str(body)).collect();
        let (Ok(head), Ok(comments)) = (serde_json::from_str::<Head>(&head), comments) else {
            // One of another version, which nobody reads: all of it goes.
            if !rehearsal {
                sqlx::query("DELETE FROM shelves WHERE id = ?1").bind(id).execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
            return Ok(Some(ErasedShelf { key, comments: rows.len() as u64 }));
        };
        let mut shelf = Shelf { head, comments };
        let gone = shelf.take_out(author);
        if gone.is_empty() {
            return Ok(None);
        }
        gone.iter().filter(|comment| author.wrote(comment)).for_each(|comment| traces.note(comment));
        if !rehearsal {
            let bodies = shelf.comments.iter().map(json).collect::<Result<Vec<String>, _>>()?;
            sqlx::query("UPDATE shelves SET head = ?2, held = ?3, digest = ?4 WHERE id = ?1")
                .bind(id)
                .bind(json(&shelf.head)?)
                .bind(i64::try_from(bodies.len()).unwrap_or(i64::MAX))
                .bind(&digest_of(&bodies)[..])
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM shelf_comments WHERE shelf_id = ?1")
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            write(&mut transaction, id, 0, &bodies).await?;
            transaction.commit().await?;
        }
        Ok(Some(ErasedShelf { key, comments: gone.len() as u64 }))
    }
}
