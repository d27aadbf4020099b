//! Taking one author's comments out of what is kept of a video. It asks nobody and deletes nothing itself.

use lently_upstream::{Comment, Place};
use serde::Deserialize;

use super::shelf::Shelf;
use crate::author::Author;

/// What a stored list of comments has, a shelf or a page that is kept by itself.
#[derive(Deserialize)]
struct Listed {
    comments: Vec<Comment>,
    place: Option<Place>,
    head: Option<Headed>,
}

#[derive(Deserialize)]
struct Headed {
    place: Place,
}

/// An author's comments in a stored list; `None` where it is none that can be read.
pub(crate) fn comments_by(author: &Author, stored: &[u8]) -> Option<Vec<Comment>> {
    let Listed { mut comments, place, head } = serde_json::from_slice(stored).ok()?;
    for place in place.into_iter().chain(head.map(|head| head.place)) {
        comments.extend(place.open.into_iter().flat_map(|thread| thread.into_comments(true)));
    }
    comments.retain(|comment| author.wrote(comment));
    Some(comments)
}

impl Shelf {
    /// Takes an author's comments out and returns what is gone. As on YouTube, the replies to a comment go with it.
    pub(crate) fn take_out(&mut self, author: &Author) -> Vec<Comment> {
        let mut gone = Vec::new();
        let mut with_it = false;
        self.comments.retain(|comment| {
            let theirs = author.wrote(comment);
            if comment.parent_id.is_none() {
                with_it = theirs;
            }
            let goes = theirs || with_it;
            if goes {
                gone.push(comment.clone());
            }
            !goes
        });
        for mut thread in std::mem::take(&mut self.head.place.open) {
            if author.wrote(&thread.top) {
                gone.extend(thread.into_comments(true));
                continue;
            }
            for replies in [&mut thread.inline, &mut thread.read] {
                gone.extend(replies.extract_if(.., |reply| author.wrote(reply)));
            }
            self.head.place.open.push_back(thread);
        }
        self.head.held = self.comments.len();
        gone
    }
}
