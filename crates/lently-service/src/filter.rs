//! Searching and filtering the comments of an analysis. Pure: it reads no store and judges nothing.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use lently_analysis::{Category, Sentiment, folded};
use serde::{Deserialize, Serialize};

use crate::error::ServiceError;
use crate::judged::JudgedComment;

/// The most comments on a page.
pub const PAGE_MAX: u32 = 200;

/// Which comments are wanted: those of which all that is said holds; nothing said, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommentFilter {
    /// Each word of it is in the text, whatever its case and accents, also as a part of a longer word.
    pub text: Option<String>,
    /// How it feels.
    pub sentiment: Option<Sentiment>,
    /// What it is for.
    pub category: Option<Category>,
    /// Its language, as the verdict has it; `und` for what has none.
    pub language: Option<String>,
    /// Whether it insults or threatens somebody.
    pub toxic: Option<bool>,
    /// It has at least so many likes.
    pub min_likes: Option<u64>,
    /// It has at most so many likes.
    pub max_likes: Option<u64>,
    /// It was written at this time or later. What has no time is not wanted then.
    pub since: Option<Timestamp>,
    /// It was written before this time. What has no time is not wanted then.
    pub until: Option<Timestamp>,
    /// Whether it has replies.
    pub has_replies: Option<bool>,
    /// Its author's name or channel, exactly, or the name without its `@`.
    pub author: Option<String>,
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommentSort {
    /// The most likes.
    #[default]
    Likes,
    /// The latest; what has no time last.
    Newest,
    /// The earliest; what has no time last.
    Oldest,
    /// The most replies.
    Replies,
}

impl CommentSort {
    /// All, as they are named.
    pub const ALL: [Self; 4] = [Self::Likes, Self::Newest, Self::Oldest, Self::Replies];

    /// The name in queries and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Likes => "likes",
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Replies => "replies",
        }
    }
}

impl fmt::Display for CommentSort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for CommentSort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|sort| sort.name() == text);
        known.ok_or_else(|| "must be one of `likes`, `newest`, `oldest`, `replies`".to_owned())
    }
}

/// Which of the wanted comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// What comes first.
    pub sort: CommentSort,
    /// So many are passed over. What is paged does not change, so a number is all it takes to go on.
    pub offset: u64,
    /// At most so many, 1 to [`PAGE_MAX`].
    pub limit: u32,
}

/// Some of the comments that are wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommentPage {
    /// How many are wanted, on all pages.
    pub total: u64,
    /// Those of this page.
    pub comments: Vec<JudgedComment>,
    /// The offset of the next page; `None` on the last.
    pub next_offset: Option<u64>,
}

impl CommentFilter {
    /// Whether a comment is wanted. `words` are the filter's, folded.
    fn wants(&self, judged: &JudgedComment, words: &[String]) -> bool {
        let JudgedComment { comment, verdict } = judged;
        let is = |wanted: Option<bool>, has: bool| wanted.is_none_or(|wanted| wanted == has);
        let time = comment.published_at;
        self.sentiment.is_none_or(|wanted| verdict.sentiment == wanted)
            && self.category.is_none_or(|wanted| verdict.category == wanted)
            && self
                .language
                .as_deref()
                .is_none_or(|code| verdict.language.as_deref().unwrap_or("und") == code)
            && is(self.toxic, verdict.toxic)
            && self.min_likes.is_none_or(|least| comment.like_count >= least)
            && self.max_likes.is_none_or(|most| comment.like_count <= most)
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time.is_some_and(|time| time < until))
            && is(self.has_replies, comment.reply_count > 0)
            && self.author.as_deref().is_none_or(|author| wrote(judged, author))
            && says(&comment.text, words)
    }
}

fn wrote(judged: &JudgedComment, author: &str) -> bool {
    let comment = &judged.comment;
    comment.author == author
        || comment.author.strip_prefix('@') == Some(author)
        || comment.author_channel_id.as_deref() == Some(author)
}

fn says(text: &str, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let text = folded(text);
    words.iter().all(|word| text.contains(word.as_str()))
}

/// Picks a page of the wanted comments. Takes time in proportion to all comments' text, about 10 ms for 20,000.
///
/// # Errors
/// A limit of none or of more than [`PAGE_MAX`], or a range that begins behind its end.
pub fn select(
    comments: Vec<JudgedComment>,
    filter: &CommentFilter,
    page: PageRequest,
) -> Result<CommentPage, ServiceError> {
    check(filter, page)?;
    let said = filter.text.as_deref().map(folded).unwrap_or_default();
    let words: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    let mut wanted: Vec<JudgedComment> =
        comments.into_iter().filter(|judged| filter.wants(judged, &words)).collect();
    // Stable: of equal ones the first that was read is first.
    match page.sort {
        CommentSort::Likes => wanted.sort_by_key(|judged| Reverse(judged.comment.like_count)),
        CommentSort::Replies => wanted.sort_by_key(|judged| Reverse(judged.comment.reply_count)),
        CommentSort::Newest => wanted.sort_by_key(|judged| Reverse(judged.comment.published_at)),
        CommentSort::Oldest => {
            wanted.sort_by_key(|judged| (judged.comment.published_at.is_none(), judged.comment.published_at));
        }
    }
    let total = wanted.len() as u64;
    let skipped = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let comments: Vec<JudgedComment> = wanted.into_iter().skip(skipped).take(page.limit as usize).collect();
    let next = page.offset.saturating_add(comments.len() as u64);
    Ok(CommentPage { total, comments, next_offset: (next < total).then_some(next) })
}

fn check(filter: &CommentFilter, page: PageRequest) -> Result<(), ServiceError> {
    let refused = |field, message: &str| Err(ServiceError::Invalid { field, message: message.to_owned() });
    if !(1..=PAGE_MAX).contains(&page.limit) {
        return Err(ServiceError::Invalid { field: "limit", message: format!("must be 1 to {PAGE_MAX}") });
    }
    if let (Some(least), Some(most)) = (filter.min_likes, filter.max_likes)
        && least > most
    {
        return refused("min_likes", "must not be more than `max_likes`");
    }
    if let (Some(since), Some(until)) = (filter.since, filter.until)
        && since >= until
    {
        return refused("since", "must be before `until`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lently_analysis::JudgedBy;
    use lently_upstream::Comment;

    use super::*;
    use crate::body::BodyVerdict;

    fn judged(id: &str, text: &str, likes: u64, day: Option<u8>) -> JudgedComment {
        let published_at = day.map(|day| format!("2026-11-{day:02}T12:00:00Z").parse().expect("a time"));
        let comment = Comment {
            id: id.to_owned(),
            author: format!("@{id}"),
            author_channel_id: Some(format!("UC{id}")),
            text: text.to_owned(),
            like_count: likes,
            reply_count: likes % 2,
            published_at,
            ..Comment::default()
        };
        let verdict = BodyVerdict {
            id: id.to_owned(),
            sentiment: if likes > 5 { Sentiment::Positive } else { Sentiment::Negative },
            score: 0.0,
            category: Category::Praise,
            language: (likes != 3).then(|| "en".to_owned()),
            toxic: likes == 3,
            confidence: None,
            judged_by: JudgedBy::Local,
        };
        JudgedComment { comment, verdict }
    }

    fn all() -> Vec<JudgedComment> {
        vec![
            judged("a", "The Café is lovely", 9, Some(3)),
            judged("b", "lovely café, lovely", 3, Some(1)),
            judged("c", "sound is bad", 7, None),
            judged("d", "cafeteria", 3, Some(2)),
        ]
    }

    fn found(filter: &CommentFilter, sort: CommentSort) -> Vec<String> {
        let page = select(all(), filter, PageRequest { sort, offset: 0, limit: 200 }).expect("a page");
        page.comments.into_iter().map(|judged| judged.comment.id).collect()
    }

    #[test]
    fn each_thing_said_narrows_what_is_found() {
        let likes = |filter| found(&filter, CommentSort::Likes);
        let none = CommentFilter::default;
        let text = |text: &str| CommentFilter { text: Some(text.to_owned()), ..none() };
        assert_eq!(likes(none()), ["a", "c", "b", "d"]);
        assert_eq!(likes(text("CAFE")), ["a", "b", "d"]);
        assert_eq!(likes(text(" lovely  café ")), ["a", "b"]);
        assert_eq!(likes(CommentFilter { sentiment: Some(Sentiment::Positive), ..none() }), ["a", "c"]);
        assert_eq!(likes(CommentFilter { category: Some(Category::Spam), ..none() }), [""; 0]);
        assert_eq!(likes(CommentFilter { language: Some("und".to_owned()), ..none() }), ["b", "d"]);
        assert_eq!(likes(CommentFilter { toxic: Some(false), ..none() }), ["a", "c"]);
        assert_eq!(likes(CommentFilter { min_likes: Some(4), max_likes: Some(8), ..none() }), ["c"]);
        assert_eq!(likes(CommentFilter { has_replies: Some(false), ..none() }), [""; 0]);
        for author in ["@d", "d", "UCd"] {
            assert_eq!(likes(CommentFilter { author: Some(author.to_owned()), ..none() }), ["d"]);
        }
        let time = |text: &str| Some(text.parse().expect("a time"));
        let since = time("2026-11-02T12:00:00Z");
        assert_eq!(likes(CommentFilter { since, ..none() }), ["a", "d"]);
        assert_eq!(likes(CommentFilter { until: since, ..none() }), ["b"]);
        assert_eq!(likes(CommentFilter { min_likes: Some(4), ..text("cafe") }), ["a"]);
    }

    #[test]
    fn what_has_no_time_comes_last_by_time() {
        assert_eq!(found(&CommentFilter::default(), CommentSort::Newest), ["a", "d", "b", "c"]);
        assert_eq!(found(&CommentFilter::default(), CommentSort::Oldest), ["b", "d", "a", "c"]);
        assert_eq!(found(&CommentFilter::default(), CommentSort::Replies), ["a", "b", "c", "d"]);
    }

    #[test]
    fn pages_follow_one_another_and_end() {
        let page = |offset| {
            let page = PageRequest { sort: CommentSort::Likes, offset, limit: 3 };
            select(all(), &CommentFilter::default(), page).expect("a page")
        };
        let (first, second, beyond) = (page(0), page(3), page(u64::MAX));
        assert_eq!((first.total, first.comments.len(), first.next_offset), (4, 3, Some(3)));
        assert_eq!((second.comments.len(), second.next_offset), (1, None));
        assert_eq!((beyond.total, beyond.comments.len(), beyond.next_offset), (4, 0, None));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        let refused = |filter, limit| {
            let page = PageRequest { sort: CommentSort::Likes, offset: 0, limit };
            match select(all(), &filter, page) {
                Err(ServiceError::Invalid { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        let none = CommentFilter::default;
        assert_eq!((refused(none(), 0), refused(none(), 201)), ("limit", "limit"));
        assert_eq!(
            refused(CommentFilter { min_likes: Some(2), max_likes: Some(1), ..none() }, 1),
            "min_likes"
        );
        let now: Option<Timestamp> = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(refused(CommentFilter { since: now, until: now, ..none() }, 1), "since");
    }
}
