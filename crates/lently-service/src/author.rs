//! An author of comments, as an operator names one whose comments are to go, and how their comments are told from others'.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use lently_upstream::Comment;
use serde::Deserialize;

use crate::error::ServiceError;

/// The longest name accepted, in bytes; YouTube's are shorter.
const NAME_MAX_BYTES: usize = 400;

/// Who wrote comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// By the channel, `UC` and 22 more characters. Nobody else has it.
    Channel(String),
    /// By the name that is shown, exactly: usually a handle, `@name`, which nobody else has; the names of old comments may be
    /// several people's.
    Name(String),
}

impl Author {
    /// The channel or the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Channel(text) | Self::Name(text) => text,
        }
    }

    /// Whether a comment is theirs.
    pub(crate) fn wrote(&self, comment: &Comment) -> bool {
        match self {
            Self::Channel(channel) => comment.author_channel_id.as_ref() == Some(channel),
            Self::Name(name) => comment.author == *name,
        }
    }
}

impl FromStr for Author {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() || text.len() > NAME_MAX_BYTES || text.chars().any(char::is_control) {
            return Err(ServiceError::Invalid {
                field: "author",
                message: format!(
                    "must be a channel's id or a name as it is shown, of 1 to {NAME_MAX_BYTES} bytes without control characters"
                ),
            });
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_channel = text.len() == 24 && text.starts_with("UC") && text.bytes().all(plain);
        Ok(if is_channel { Self::Channel(text.to_owned()) } else { Self::Name(text.to_owned()) })
    }
}

impl fmt::Display for Author {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What is known of an author's comments: by it they are found where no channel stands beside them.
#[derive(Debug)]
pub(crate) struct Traces {
    ids: HashSet<String>,
    names: HashSet<String>,
}

/// The parts of an analysis in which somebody may stand.
#[derive(Deserialize)]
struct Outline {
    report: Told,
    verdicts: Vec<Judged>,
}

#[derive(Deserialize)]
struct Told {
    themes: Vec<Theme>,
    questions: Vec<Quoted>,
    suggestions: Vec<Quoted>,
    most_liked: Vec<Quoted>,
    most_replied: Vec<Quoted>,
    commenters: Vec<Named>,
    summary: String,
}

#[derive(Deserialize)]
struct Theme {
    examples: Vec<Quoted>,
}

#[derive(Deserialize)]
struct Quoted {
    comment_id: String,
    author: String,
}

#[derive(Deserialize)]
struct Named {
    author: String,
}

#[derive(Deserialize)]
struct Judged {
    id: String,
}

impl Traces {
    pub(crate) fn of(author: &Author) -> Self {
        let names = match author {
            Author::Channel(_) => HashSet::new(),
            Author::Name(name) => HashSet::from([name.clone()]),
        };
        Self { ids: HashSet::new(), names }
    }

    /// Remembers a comment of theirs.
    pub(crate) fn note(&mut self, comment: &Comment) {
        self.ids.insert(comment.id.clone());
        if !comment.author.trim().is_empty() {
            self.names.insert(comment.author.clone());
        }
    }

    /// Whether an analysis judges or quotes a comment of theirs, or names them in its summary. One that cannot be looked into may.
    pub(crate) fn are_in(&self, analysis: &[u8]) -> bool {
        let Ok(Outline { report, verdicts }) = serde_json::from_slice::<Outline>(analysis) else {
            return true;
        };
        let Told { themes, questions, suggestions, most_liked, most_replied, commenters, summary } = report;
        let examples = themes.iter().flat_map(|theme| &theme.examples);
        let asked = questions.iter().chain(&suggestions);
        let mut quoted = examples.chain(asked).chain(&most_liked).chain(&most_replied);
        verdicts.iter().any(|judged| self.ids.contains(&judged.id))
            || quoted.any(|quote| self.ids.contains(&quote.comment_id) || self.names.contains(&quote.author))
            || commenters.iter().any(|commenter| self.names.contains(&commenter.author))
            || self.names.iter().any(|name| name.starts_with('@') && summary.contains(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_told_from_a_name() {
        let of = |text: &str| text.parse::<Author>();
        let channel = format!("UC{}", "a".repeat(22));
        assert_eq!(of(&channel).expect("an author"), Author::Channel(channel));
        for name in ["@ann", "Ann Doe", "UCshort", "ein Name, länger als andere"] {
            assert_eq!(of(name).expect("an author"), Author::Name(name.to_owned()));
        }
        for wrong in ["", "  ", "a\nb", &"x".repeat(401)] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_analysis_that_cannot_be_looked_into_is_not_passed_over() {
        let traces = Traces::of(&Author::Name("@ann".to_owned()));
        assert!(traces.are_in(b"{}"));
        let body = |author: &str, summary: &str| {
            let quote = serde_json::json!({ "comment_id": "a", "author": author, "text": "" });
            let report = serde_json::json!({
                "themes": [{ "examples": [quote] }], "questions": [], "suggestions": [], "most_liked": [],
                "most_replied": [], "commenters": [], "summary": summary,
            });
            serde_json::json!({ "report": report, "verdicts": [{ "id": "a" }] }).to_string()
        };
        assert!(traces.are_in(body("@ann", "").as_bytes()));
        assert!(traces.are_in(body("@bob", "as @ann puts it").as_bytes()));
        assert!(!traces.are_in(body("@bob", "as somebody puts it").as_bytes()));
    }
}
