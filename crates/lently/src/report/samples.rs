//! Comments and analyses for the tests of this folder.

use lently_analysis::{Category, JudgedBy, Sentiment};
use lently_service::{BodyVerdict, JudgedComment};
use lently_upstream::Comment;

/// A comment that was judged somehow.
pub(super) fn judged(id: &str, text: &str) -> JudgedComment {
    JudgedComment {
        comment: Comment {
            id: id.to_owned(),
            author: "@someone".to_owned(),
            text: text.to_owned(),
            ..Comment::default()
        },
        verdict: BodyVerdict {
            id: id.to_owned(),
            sentiment: Sentiment::Negative,
            score: -0.5,
            category: Category::Other,
            language: Some("en".to_owned()),
            toxic: false,
            confidence: Some(0.8),
            judged_by: JudgedBy::Local,
        },
    }
}

/// A reply to another.
pub(super) fn reply(id: &str, parent: &str) -> JudgedComment {
    let mut reply = judged(id, "");
    reply.comment.parent_id = Some(parent.to_owned());
    reply
}
