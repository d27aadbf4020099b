//! Erasing by what it is about, for the operator: all that is held of a video, or of an author of comments. It is what Lently holds at
//! this moment; YouTube is not told, and what is read of it later is there again.

use std::collections::BTreeSet;

use lently_cache::{Lookup, Pattern};
use lently_upstream::VideoId;
use serde::{Deserialize, Serialize};

use super::Lently;
use crate::author::{Author, Traces};
use crate::error::ServiceError;
use crate::ids::AnalysisId;
use crate::jobs::Keeping;
use crate::keys::{CacheKeys, EntryKind};
use crate::youtube::comments_by;

/// What was erased, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// Whether nothing was erased, and this only tells what would be.
    pub dry_run: bool,
    /// Comments taken out of the store, in all lists in which they stood. The replies to an author's comment go with it.
    pub comments: u64,
    /// Entries removed from the tiers: lists and pages of comments, and of a video its metadata and transcripts.
    pub entries: u64,
    /// Analyses removed from the store and the tiers, with their summaries. The next request makes them anew.
    pub analyses: u64,
    /// Analyses that are being made and will go to those who wait for them, and be kept nowhere.
    pub running: u64,
}

/// As far as an analysis' source is looked into.
#[derive(Deserialize)]
struct Sourced {
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    video_id: Option<String>,
}

impl Lently {
    /// Erases all that is held of a video: comments, metadata, transcripts, and every analysis of it.
    ///
    /// # Errors
    /// A tier that cannot be reached: nothing is erased then.
    pub async fn erase_video(&self, video_id: &VideoId, dry_run: bool) -> Result<Erasure, ServiceError> {
        let analyses = self.keys_of(EntryKind::Analysis).await?;
        let running = self.abandon(dry_run, |run| run.may_be_of(video_id)).await;
        let comments = self.inner.store.comments_of_video(video_id).await?;
        let entries = if dry_run {
            self.inner.youtube.entries_of(video_id).await?
        } else {
            self.inner.youtube.invalidate_video(video_id).await?
        };
        let mut ids: BTreeSet<AnalysisId> =
            self.inner.store.analyses_of_video(video_id).await?.into_iter().collect();
        let is_of_it = |body: &[u8]| {
            let source = serde_json::from_slice::<Sourced>(body).map(|body| body.source);
            source.is_ok_and(|source| source.video_id.as_deref() == Some(video_id.as_str()))
        };
        ids.extend(self.analyses_in_tiers(analyses, is_of_it).await);
        self.erase_analyses(&ids, dry_run).await?;
        let erasure = Erasure { dry_run, comments, entries, analyses: ids.len() as u64, running };
        Ok(told("video", erasure))
    }

    /// Erases an author's comments from all that is held, and every analysis that judges, quotes or names them.
    ///
    /// # Errors
    /// As [`erase_video`](Self::erase_video).
    pub async fn erase_author(&self, author: &Author, dry_run: bool) -> Result<Erasure, ServiceError> {
        // Only to know that every tier can be asked: what there is is asked once more when nothing comes out of the store any more.
        self.keys_of(EntryKind::Comments).await?;
        let running = self.abandon(dry_run, |run| run.may_have(author)).await;
        let mut traces = Traces::of(author);
        let shelves = self.inner.store.erase_comments(author, &mut traces, dry_run).await?;
        let comments = shelves.iter().map(|shelf| shelf.comments).sum();
        let mut entries = 0;
        let mut lists: BTreeSet<String> = shelves.into_iter().map(|shelf| shelf.key).collect();
        let there = self.keys_of(EntryKind::Comments).await?;
        for key in &there {
            if lists.contains(key) {
                continue;
            }
            // One that cannot be read is of no use to anyone, and may have them.
            let theirs = match self.value_of(EntryKind::Comments, key).await {
                Some(stored) => comments_by(author, &stored),
                None => None,
            };
            theirs.iter().flatten().for_each(|comment| traces.note(comment));
            if theirs.is_none_or(|theirs| !theirs.is_empty()) {
                lists.insert(key.clone());
            }
        }
        for key in &lists {
            entries += if dry_run {
                u64::from(there.contains(key))
            } else {
                self.inner.cache.delete(key).await.map_err(ServiceError::cache)?
            };
        }
        let mut ids: BTreeSet<AnalysisId> =
            self.inner.store.analyses_with(author, &mut traces).await?.into_iter().collect();
        let analyses = self.keys_of(EntryKind::Analysis).await?;
        ids.extend(self.analyses_in_tiers(analyses, |body| traces.are_in(body)).await);
        self.erase_analyses(&ids, dry_run).await?;
        let erasure = Erasure { dry_run, comments, entries, analyses: ids.len() as u64, running };
        Ok(told("author", erasure))
    }

    /// Sees to it that what is being made is kept nowhere, and tells how many that are.
    async fn abandon(&self, dry_run: bool, concerns: impl Fn(&crate::jobs::Run) -> bool) -> u64 {
        let mut running = 0;
        for (_, run) in self.inner.runs.all() {
            if concerns(&run) {
                running += 1;
                if !dry_run {
                    run.keep_as(Keeping::Not).await;
                }
            }
        }
        running
    }

    async fn keys_of(&self, kind: EntryKind) -> Result<Vec<String>, ServiceError> {
        let pattern = Pattern::parse(&CacheKeys::kind_pattern(kind))
            .map_err(|error| ServiceError::internal("a pattern of ours is not one", error))?;
        self.inner.cache.keys(&pattern).await.map_err(ServiceError::cache)
    }

    async fn value_of(&self, kind: EntryKind, key: &str) -> Option<bytes::Bytes> {
        match self.inner.cache.peek(kind.kind(), key).await {
            Lookup::Fresh(entry) | Lookup::Stale(entry) => Some(entry.value.clone()),
            _ => None,
        }
    }

    /// Those of which a tier has a copy that is concerned. What is there and cannot be read is, too, for nobody can tell.
    async fn analyses_in_tiers(
        &self,
        keys: Vec<String>,
        concerns: impl Fn(&[u8]) -> bool,
    ) -> Vec<AnalysisId> {
        let mut found = Vec::new();
        for key in keys {
            let Some(id) = CacheKeys::analysis_of(&key) else { continue };
            if self.value_of(EntryKind::Analysis, &key).await.is_none_or(|body| concerns(&body)) {
                found.push(id);
            }
        }
        found
    }

    async fn erase_analyses(&self, ids: &BTreeSet<AnalysisId>, dry_run: bool) -> Result<(), ServiceError> {
        if dry_run {
            return Ok(());
        }
        for id in ids {
            let erased = self.inner.store.erase_analysis(id).await?;
            self.inner.runs.forget_failure(id);
            self.inner.analyses.forget(id, erased.erased_at).await;
            self.inner.analyses.forget_summaries(&erased.summaries).await;
        }
        self.inner.store.scrub().await;
        Ok(())
    }
}

/// Counted, and in the log: without a word of whom or what.
fn told(what: &'static str, erasure: Erasure) -> Erasure {
    let Erasure { dry_run, comments, entries, analyses, running } = erasure;
    if !dry_run {
        metrics::counter!("lently_erasures_total", "of" => what).increment(1);
        tracing::info!(what, comments, entries, analyses, running, "erased");
    }
    erasure
}
