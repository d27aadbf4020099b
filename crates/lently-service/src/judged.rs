//! The comments of an analysis beside the verdicts on them: how the store keeps them, and how they are given. They are kept apart
//! from the analysis itself, which is read much more often. It judges nothing.

use std::io::Read as _;

use lently_upstream::Comment;
use serde::{Deserialize, Serialize};

use crate::body::BodyVerdict;

/// Fast, and a third as large as what comes in.
const LEVEL: i32 = 3;
/// What is larger when packed is not kept: the most comments that are read of a video take a tenth of it.
const PACKED_MAX: usize = 256 << 20;
/// What is larger when unpacked is not read: no file of comments that is taken in is as large.
const UNPACKED_MAX: u64 = 4 << 30;

/// A comment with the verdict on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedComment {
    /// What was written.
    #[serde(flatten)]
    pub comment: Comment,
    /// What was made of it.
    pub verdict: BodyVerdict,
}

/// Comments as the store keeps them: JSON, compressed; `None` where that is too large to keep.
pub(crate) fn pack(comments: &[Comment]) -> Option<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL).ok()?;
    serde_json::to_writer(&mut encoder, comments).ok()?;
    encoder.finish().ok().filter(|packed| packed.len() <= PACKED_MAX)
}

/// The way back; `None` for what [`pack`] did not make.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<Comment>> {
    let mut json = Vec::new();
    zstd::stream::Decoder::new(packed).ok()?.take(UNPACKED_MAX).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Each comment with its verdict; `None` where they are not of one another.
pub(crate) fn join(comments: Vec<Comment>, verdicts: Vec<BodyVerdict>) -> Option<Vec<JudgedComment>> {
    let belong = comments.len() == verdicts.len()
        && comments.iter().zip(&verdicts).all(|(comment, verdict)| comment.id == verdict.id);
    let pairs = comments.into_iter().zip(verdicts);
    belong.then(|| pairs.map(|(comment, verdict)| JudgedComment { comment, verdict }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_come_out_as_they_went_in_and_anything_else_does_not() {
        let comments: Vec<Comment> = ["a", "b"]
            .map(|id| Comment { id: id.to_owned(), text: "größe 😀".repeat(100), ..Comment::default() })
            .to_vec();
        let packed = pack(&comments).expect("packed");
        assert!(packed.len() < 300, "{}", packed.len());
        assert_eq!(unpack(&packed), Some(comments));
        assert_eq!(unpack(&packed[..packed.len() / 2]), None);
        assert_eq!(unpack(b"[]"), None);
    }
}
