//! How far an analysis is. Never more than the latest state: a slow reader skips, it does not queue.

use serde::{Deserialize, Serialize};

/// What an analysis is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waiting for a place among the running ones.
    Queued,
    /// Asking what the video is.
    Metadata,
    /// Reading comments.
    Comments,
    /// Judging comments.
    Judging,
    /// Counting, finding themes, writing the summary.
    Summarizing,
    /// Finished, well or badly.
    Done,
}

/// A stage and how much of it is done, in comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Comments read or judged so far.
    pub done: u64,
    /// Of how many, where that is known.
    pub total: Option<u64>,
}

impl Progress {
    /// The beginning of a stage that counts nothing.
    pub const fn at(stage: Stage) -> Self {
        Self { stage, done: 0, total: None }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::at(Stage::Queued)
    }
}
