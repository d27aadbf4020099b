//! What Lently knows of a video, a comment, a transcript: plain data, as it is cached and exported.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::video_ref::VideoId;

/// Which comments come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommentOrder {
    /// YouTube's own ranking.
    #[default]
    Relevance,
    /// Newest first.
    Time,
}

impl fmt::Display for CommentOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relevance => "relevance",
            Self::Time => "time",
        })
    }
}

impl FromStr for CommentOrder {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "relevance" => Ok(Self::Relevance),
            "time" => Ok(Self::Time),
            _ => Err("expected `relevance` or `time`"),
        }
    }
}

/// A comment or a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// YouTube's id, or one derived from the place in a file that has none.
    pub id: String,
    /// The comment this one replies to.
    pub parent_id: Option<String>,
    /// The name shown, usually an `@handle`.
    pub author: String,
    /// The author's channel.
    pub author_channel_id: Option<String>,
    /// Plain text.
    pub text: String,
    /// Likes.
    pub like_count: u64,
    /// Replies, as the platform counts them.
    pub reply_count: u64,
    /// When it was written, where that is known and not only estimated from "2 weeks ago".
    pub published_at: Option<Timestamp>,
    /// When it was last edited.
    pub updated_at: Option<Timestamp>,
}

/// What YouTube says of a video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Video {
    /// The id.
    pub id: VideoId,
    /// The title.
    pub title: String,
    /// The channel's id.
    pub channel_id: String,
    /// The channel's name.
    pub channel_title: String,
    /// The description.
    pub description: String,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Its length.
    pub duration_seconds: Option<u64>,
    /// Views.
    pub view_count: Option<u64>,
    /// Likes; absent where the owner hides them.
    pub like_count: Option<u64>,
    /// Comments and replies, as YouTube counts them; absent where they are disabled.
    pub comment_count: Option<u64>,
    /// The language of title and description.
    pub default_language: Option<String>,
    /// An image.
    pub thumbnail_url: Option<String>,
}

/// What changes about a video from hour to hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// The video.
    pub id: VideoId,
    /// Views.
    pub view_count: Option<u64>,
    /// Likes; absent where the owner hides them.
    pub like_count: Option<u64>,
    /// Comments and replies, as YouTube counts them; absent where they are disabled.
    pub comment_count: Option<u64>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The id, `UC…`.
    pub id: String,
    /// The name.
    pub title: String,
    /// Subscribers, rounded by YouTube; absent where hidden.
    pub subscriber_count: Option<u64>,
    /// Videos.
    pub video_count: Option<u64>,
    /// The playlist that holds all uploads.
    pub uploads_playlist_id: Option<String>,
}

/// A video's place in a playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaylistItem {
    /// The video.
    pub video_id: VideoId,
    /// When it was published; absent where it is private or removed by now.
    pub published_at: Option<Timestamp>,
}

/// A caption track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptionTrack {
    /// The id to download it by.
    pub id: String,
    /// Its language.
    pub language: String,
    /// Its name; often empty.
    pub name: String,
    /// Whether speech recognition made it.
    pub automatic: bool,
}

/// What is said in a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// The language.
    pub language: String,
    /// In order of time.
    pub segments: Vec<Segment>,
}

/// A piece of a transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// When it begins.
    pub start_seconds: f64,
    /// How long it lasts.
    pub duration_seconds: f64,
    /// What is said.
    pub text: String,
}

/// A result and the quota units it took, failed attempts included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<T> {
    /// The result.
    pub value: T,
    /// Quota units.
    pub units: u64,
}

impl<T> Call<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Call<U> {
        Call { value: change(self.value), units: self.units }
    }
}

/// A page of a longer list. Only a missing token means its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask the next page with.
    pub next_page_token: Option<String>,
}
