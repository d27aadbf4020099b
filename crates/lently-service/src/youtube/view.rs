//! What a request gets of a shelf, as it is served. The comments are copied from the stored bytes and never parsed but for the two
//! fields that are counted.

use bytes::Bytes;
use jiff::Timestamp;
use lently_upstream::{Comment, HarvestEnd, replies_missing};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::shelf::{Doubt, Head};

/// The comments of a video as they are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comments {
    /// Each thread's first comment, followed by its replies where they were asked for.
    pub comments: Vec<Comment>,
    /// Why there are no more.
    pub end: HarvestEnd,
    /// Pages that were bought for them, of threads and of replies.
    pub pages: u64,
    /// Replies that YouTube counts for the threads and that are not among `comments`.
    pub replies_missing: u64,
    /// When they were read in full.
    pub read_at: Timestamp,
    /// When nothing was missing in front, by YouTube's count or by what was read.
    pub checked_at: Timestamp,
    /// How many came since they were read in full, and were merged in.
    pub merged: u64,
    /// Whether YouTube may have ended the list before its end.
    pub doubt: Doubt,
}

#[derive(Serialize)]
struct Served<'a> {
    comments: &'a [&'a RawValue],
    end: HarvestEnd,
    pages: u64,
    replies_missing: u64,
    read_at: Timestamp,
    checked_at: Timestamp,
    merged: u64,
    doubt: Doubt,
}

/// A stored shelf, its comments as they lie there.
#[derive(Deserialize)]
pub(super) struct Glance<'a> {
    pub head: Head,
    #[serde(borrow)]
    comments: Vec<&'a RawValue>,
}

/// What is counted of a comment.
#[derive(Deserialize)]
struct Counted<'a> {
    #[serde(borrow)]
    parent_id: Option<&'a RawValue>,
    reply_count: u64,
}

/// What a request gets.
pub(super) struct View {
    pub body: Bytes,
    /// A hash of the comments and of how they end, without the times.
    pub etag: String,
}

/// What is known of a stored shelf. It stands in front, so that most questions are answered without a look at the comments.
pub(super) fn head_of(stored: &[u8]) -> Result<Head, serde_json::Error> {
    let Some(from) = stored.strip_prefix(b"{\"head\":") else {
        return Glance::of(stored).map(|glance| glance.head);
    };
    Head::deserialize(&mut serde_json::Deserializer::from_slice(from))
}

impl<'a> Glance<'a> {
    pub(super) fn of(stored: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(stored)
    }

    pub(super) fn held(&self) -> usize {
        self.comments.len()
    }

    /// The first so many, and how they end. Where more is wanted than is there, threads that are paid for come along,
    /// whose replies are not.
    pub(super) fn view(
        &self,
        wanted: usize,
        replies: bool,
        checked_at: Timestamp,
    ) -> Result<View, serde_json::Error> {
        let held = self.held();
        let mut open = Vec::new();
        if wanted > held {
            let threads = self.head.place.open.iter().cloned();
            for comment in threads.flat_map(|thread| thread.into_comments(replies)).take(wanted - held) {
                open.push(to_raw_value(&comment)?);
            }
        }
        let comments: Vec<&RawValue> =
            self.comments.iter().copied().take(wanted).chain(open.iter().map(AsRef::as_ref)).collect();
        let mut counted = Vec::with_capacity(comments.len());
        let mut hash = blake3::Hasher::new();
        for comment in &comments {
            let Counted { parent_id, reply_count } = serde_json::from_str(comment.get())?;
            counted.push((parent_id.is_some(), reply_count));
            hash.update(comment.get().as_bytes());
        }
        let Head { pages, read_at, merged, doubt, .. } = self.head;
        let end = self.head.end(held, wanted);
        hash.update(&serde_json::to_vec(&end)?);
        let replies_missing = replies_missing(counted);
        let served =
            Served { comments: &comments, end, pages, replies_missing, read_at, checked_at, merged, doubt };
        let body = Bytes::from(serde_json::to_vec(&served)?);
        Ok(View { body, etag: hash.finalize().to_hex()[..32].to_owned() })
    }
}
