//! What an analysis that is being made is about, as far as it is known: whoever erases a video or an author has to know.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use lently_upstream::{Comment, VideoId};

use crate::author::Author;

/// What a run is about.
#[derive(Debug, Default)]
pub(crate) struct About {
    /// The video, where it is of one; `None` while that is not known.
    video_id: Option<Option<VideoId>>,
    /// Who wrote the comments, as hashes of their channels and names; `None` while they are being read.
    authors: Option<HashSet<u64>>,
}

impl About {
    pub(super) fn is_of_video(&mut self, video_id: Option<VideoId>) {
        self.video_id = Some(video_id);
    }

    pub(super) fn has_read(&mut self, comments: &[Comment]) {
        let channels = comments.iter().filter_map(|comment| comment.author_channel_id.as_deref());
        let names = comments.iter().map(|comment| comment.author.as_str());
        self.authors = Some(channels.chain(names).map(hash).collect());
    }

    /// Whether it may be about a video.
    pub(super) fn may_be_of(&self, video_id: &VideoId) -> bool {
        self.video_id.as_ref().is_none_or(|own| own.as_ref() == Some(video_id))
    }

    /// Whether comments of an author may be in it.
    pub(super) fn may_have(&self, author: &Author) -> bool {
        self.authors.as_ref().is_none_or(|authors| authors.contains(&hash(author.as_str())))
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
