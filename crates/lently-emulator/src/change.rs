//! What happens to a video while the emulator runs: comments come, are edited, and go.

use jiff::Timestamp;
use lently_upstream::Comment;
use serde::{Deserialize, Serialize};

use crate::data::{Thread, Video};

/// Something that happens to a video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A comment is written, or a reply.
    Add(NewComment),
    /// A comment or reply is edited.
    Edit {
        /// Which.
        id: String,
        /// What it says from now on.
        text: String,
        /// When.
        #[serde(default)]
        updated_at: Option<Timestamp>,
    },
    /// A comment is deleted, with its replies; or a reply alone.
    Delete {
        /// Which.
        id: String,
    },
    /// A comment is liked: relevance goes by it.
    Like {
        /// Which.
        id: String,
        /// How many likes it has from now on.
        like_count: u64,
    },
    /// The counter counts so many that no list shows: held or removed comments.
    Hidden {
        /// How many.
        comments: u64,
    },
}

/// A comment that comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewComment {
    /// Its id.
    pub id: String,
    /// The comment it replies to.
    pub parent_id: Option<String>,
    /// The name shown.
    pub author: String,
    /// What it says.
    pub text: String,
    /// Likes.
    pub like_count: u64,
    /// When it was written.
    pub published_at: Option<Timestamp>,
}

impl Change {
    /// Whether what it is about was there.
    pub(crate) fn apply(self, video: &mut Video) -> bool {
        match self {
            Self::Add(new) => add(video, new),
            Self::Edit { id, text, updated_at } => with(video, &id, |comment| {
                comment.text = text;
                comment.updated_at = updated_at.or(comment.updated_at);
            }),
            Self::Like { id, like_count } => with(video, &id, |comment| comment.like_count = like_count),
            Self::Delete { id } => delete(video, &id),
            Self::Hidden { comments } => {
                video.hidden = comments;
                true
            }
        }
    }
}

fn add(video: &mut Video, new: NewComment) -> bool {
    let NewComment { id, parent_id, author, text, like_count, published_at } = new;
    let author_channel_id = Some(format!("UC{}", &blake3::hash(author.as_bytes()).to_hex()[..22]));
    let updated_at = published_at;
    let comment = Comment {
        id,
        parent_id: parent_id.clone(),
        author,
        author_channel_id,
        text,
        like_count,
        reply_count: 0,
        published_at,
        updated_at,
    };
    let Some(parent_id) = parent_id else {
        video.threads.push(Thread { top: comment, replies: Vec::new() });
        return true;
    };
    let Some(thread) = video.threads.iter_mut().find(|thread| thread.top.id == parent_id) else {
        return false;
    };
    thread.replies.push(comment);
    thread.replies.sort_by(|a, b| a.published_at.cmp(&b.published_at).then_with(|| a.id.cmp(&b.id)));
    thread.top.reply_count = thread.replies.len() as u64;
    true
}

fn with(video: &mut Video, id: &str, change: impl FnOnce(&mut Comment)) -> bool {
    let mut comments = video
        .threads
        .iter_mut()
        .flat_map(|thread| std::iter::once(&mut thread.top).chain(&mut thread.replies));
    comments.find(|comment| comment.id == id).map(change).is_some()
}

fn delete(video: &mut Video, id: &str) -> bool {
    let before = video.comment_count();
    video.threads.retain(|thread| thread.top.id != id);
    for thread in &mut video.threads {
        thread.replies.retain(|reply| reply.id != id);
        thread.top.reply_count = thread.replies.len() as u64;
    }
    video.comment_count() < before
}
