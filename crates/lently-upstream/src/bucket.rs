//! What a call of YouTube takes, and out of which of its quotas. It counts nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of YouTube's daily quotas. Each is counted by itself, for the whole project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// What most methods take from.
    Shared,
    /// `search.list` alone.
    Search,
    /// `videos.batchGetStats` alone.
    Stats,
}

impl Bucket {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shared, Self::Search, Self::Stats];

    /// Its name in reports and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Search => "search",
            Self::Stats => "stats",
        }
    }

    /// What YouTube gives a project a day unless more was granted (quota calculator and revision history of 2026-06-03, as of
    /// 2026-11-23).
    #[must_use]
    pub const fn units_per_day(self) -> u64 {
        match self {
            Self::Shared | Self::Stats => 10_000,
            Self::Search => 100,
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A method of the YouTube Data API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `videos.list`.
    Videos,
    /// `videos.batchGetStats`.
    VideoStats,
    /// `channels.list`.
    Channels,
    /// `playlistItems.list`.
    PlaylistItems,
    /// `commentThreads.list`.
    CommentThreads,
    /// `comments.list`.
    Comments,
    /// `captions.list`.
    Captions,
    /// `captions.download`.
    CaptionDownload,
    /// `search.list`.
    Search,
}

impl Method {
    /// Its bucket, its units and its path. Units and buckets are those of the quota calculator, the method pages and the revision history
    /// of 2026-06-03 (YouTube Data API, as of 2026-11-23). A call costs them however it ends.
    const fn row(self) -> (Bucket, u64, &'static str) {
        match self {
            Self::Videos => (Bucket::Shared, 1, "videos"),
            Self::VideoStats => (Bucket::Stats, 1, "videos:batchGetStats"),
            Self::Channels => (Bucket::Shared, 1, "channels"),
            Self::PlaylistItems => (Bucket::Shared, 1, "playlistItems"),
            Self::CommentThreads => (Bucket::Shared, 1, "commentThreads"),
            Self::Comments => (Bucket::Shared, 1, "comments"),
            Self::Captions => (Bucket::Shared, 50, "captions"),
            Self::CaptionDownload => (Bucket::Shared, 200, "captions"),
            Self::Search => (Bucket::Search, 1, "search"),
        }
    }

    /// Which quota it takes from.
    #[must_use]
    pub const fn bucket(self) -> Bucket {
        self.row().0
    }

    /// The units of one call.
    #[must_use]
    pub const fn units(self) -> u64 {
        self.row().1
    }

    /// Where it is, below `youtube/v3/`.
    pub(crate) const fn path(self) -> &'static str {
        self.row().2
    }
}
