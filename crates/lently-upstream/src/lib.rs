//! Where comments come from and who may judge them: clients of the YouTube Data API v3 and of Gemini, and readers of
//! the files that other tools write. Sorts errors into classes, counts what is spent, and caches nothing.

mod bucket;
mod clock;
pub mod dump;
mod error;
mod gemini;
mod html;
mod list_ref;
mod meter;
mod model;
mod pacific;
mod transport;
mod video_ref;
mod youtube;

pub use self::{
    bucket::{Bucket, Method},
    clock::WallClock,
    error::{Unusable, UpstreamError},
    gemini::{DEFAULT_MODEL, GeminiClient, GeminiConfig, GenerateRequest, Generated, TokenUsage},
    html::plain_text,
    list_ref::{ChannelRef, PlaylistId},
    meter::{Expense, Kept, Meter},
    model::{
        Call, CaptionTrack, Channel, Comment, CommentOrder, Page, PlaylistItem, Segment, Statistics,
        Transcript, Video,
    },
    pacific::{PacificDay, next_midnight},
    video_ref::{CommentId, RefError, VideoId, VideoRef},
    youtube::{
        Harvest, HarvestEnd, HarvestProgress, HarvestRequest, MAX_IDS, MAX_ITEMS, MAX_PAGE, Next, OpenThread,
        Place, ReadSoFar, Reading, Thread, YouTubeClient, YouTubeConfig, replies_missing,
    },
};
