//! Ids of videos and comments, and the addresses people paste for them. Asks nobody whether the video exists.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

const EXPECTED: &str = "expected a YouTube address such as https://www.youtube.com/watch?v=dQw4w9WgXcQ, \
    https://youtu.be/dQw4w9WgXcQ, a shorts, live or embed address, or the 11 characters of a video id";

/// Why a text names no video or comment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {expected}")]
pub struct RefError {
    problem: &'static str,
    expected: &'static str,
}

impl RefError {
    pub(crate) const fn new(problem: &'static str, expected: &'static str) -> Self {
        Self { problem, expected }
    }

    const fn of_address(problem: &'static str) -> Self {
        Self { problem, expected: EXPECTED }
    }
}

/// A video's id: 11 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VideoId(String);

/// A comment's id: up to 128 of `A-Z a-z 0-9 _ - .`; a reply's has its thread's in front of the dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommentId(String);

/// A video, and the comment that an address points at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VideoRef {
    /// The video.
    pub video_id: VideoId,
    /// The comment in `&lc=`.
    pub comment_id: Option<CommentId>,
}

pub(crate) fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl VideoId {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CommentId {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VideoId {
    type Err = RefError;

    fn from_str(text: &str) -> Result<Self, RefError> {
        if text.len() == 11 && text.bytes().all(is_id_byte) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RefError {
                problem: "this is no video id",
                expected: "expected the 11 characters of one (A-Z a-z 0-9 _ -), such as dQw4w9WgXcQ",
            })
        }
    }
}

impl FromStr for CommentId {
    type Err = RefError;

    fn from_str(text: &str) -> Result<Self, RefError> {
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(|byte| is_id_byte(byte) || byte == b'.');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(RefError {
                problem: "this is no comment id",
                expected: "expected 1 to 128 characters of A-Z a-z 0-9 _ - and .",
            })
        }
    }
}

macro_rules! as_text {
    ($id:ty) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $id {
            type Error = RefError;

            fn try_from(text: String) -> Result<Self, RefError> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.0
            }
        }
    };
}
as_text!(VideoId);
as_text!(CommentId);

impl From<VideoId> for VideoRef {
    fn from(video_id: VideoId) -> Self {
        Self { video_id, comment_id: None }
    }
}

impl FromStr for VideoRef {
    type Err = RefError;

    /// Reads every form of address that YouTube hands out, with or without a scheme, or a bare id.
    fn from_str(text: &str) -> Result<Self, RefError> {
        let text = text.trim().trim_matches(|c| matches!(c, '<' | '>' | '"' | '\''));
        if let Ok(video_id) = text.parse::<VideoId>() {
            return Ok(video_id.into());
        }
        if text.is_empty() {
            return Err(RefError::of_address("nothing is given"));
        }
        if text.len() > 2048 {
            return Err(RefError::of_address("this is longer than any address of a video"));
        }
        let url = address(text).ok_or(RefError::of_address("this is no web address"))?;
        // What an address must be is said of the whole address, not of the id in it.
        let video_id = video_of(&url).map_err(|error| RefError::of_address(error.problem))?;
        let comment_id = parameter(&url, "lc").and_then(|lc| lc.parse().ok());
        Ok(Self { video_id, comment_id })
    }
}

/// A web address, with or without its scheme.
pub(crate) fn address(text: &str) -> Option<Url> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    Url::parse(&with_scheme).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// The host of an address without what YouTube puts in front of its own.
pub(crate) fn bare_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let without = ["www.", "m.", "music.", "gaming."].iter().find_map(|sub| host.strip_prefix(sub));
    without.map(str::to_owned).unwrap_or(host)
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn video_of(url: &Url) -> Result<VideoId, RefError> {
    let host = bare_host(url);
    let mut path = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty());
    let wrong_id = RefError::of_address("this address names no video");
    match host.as_str() {
        "youtu.be" => path.next().ok_or(wrong_id)?.parse(),
        "youtube.com" | "youtube-nocookie.com" => match path.next().unwrap_or_default() {
            "watch" | "" => match parameter(url, "v") {
                Some(id) => id.parse(),
                // https://www.youtube.com/watch/ID is understood by YouTube, too.
                None => path.next().ok_or(wrong_id)?.parse(),
            },
            "shorts" | "live" | "embed" | "v" | "e" => path.next().ok_or(wrong_id)?.parse(),
            "attribution_link" => {
                let inner = parameter(url, "u").ok_or(wrong_id.clone())?;
                let inner = url.join(&inner).map_err(|_| wrong_id.clone())?;
                parameter(&inner, "v").ok_or(wrong_id)?.parse()
            }
            "playlist" => Err(RefError::of_address("this is the address of a playlist, not of a video")),
            first if first.starts_with('@') || matches!(first, "channel" | "c" | "user") => {
                Err(RefError::of_address("this is the address of a channel, not of a video"))
            }
            _ => Err(wrong_id),
        },
        _ => Err(RefError::of_address("this is no address at YouTube")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_people_paste_is_understood() {
        for text in [
            "dQw4w9WgXcQ",
            " dQw4w9WgXcQ\n",
            "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
            "http://youtube.com/watch?feature=share&v=dQw4w9WgXcQ&t=42s",
            "https://m.youtube.com/watch?v=dQw4w9WgXcQ&list=PL1234567890",
            "https://music.youtube.com/watch?v=dQw4w9WgXcQ",
            "www.youtube.com/watch?v=dQw4w9WgXcQ",
            "youtu.be/dQw4w9WgXcQ",
            "https://youtu.be/dQw4w9WgXcQ?si=AbCdEf&t=10",
            "https://www.youtube.com/shorts/dQw4w9WgXcQ",
            "https://www.youtube.com/live/dQw4w9WgXcQ?feature=share",
            "https://www.youtube.com/embed/dQw4w9WgXcQ?start=3",
            "https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ",
            "https://www.youtube.com/v/dQw4w9WgXcQ",
            "<https://WWW.YouTube.com/watch?v=dQw4w9WgXcQ>",
            "https://www.youtube.com/attribution_link?a=x&u=%2Fwatch%3Fv%3DdQw4w9WgXcQ%26feature%3Dshare",
        ] {
            let video: VideoRef = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(video.video_id.as_str(), "dQw4w9WgXcQ", "{text}");
        }
    }

    #[test]
    fn a_linked_comment_is_kept() {
        let link = "https://www.youtube.com/watch?v=dQw4w9WgXcQ&lc=UgxKREWxIgDrw8w2e_Z4AaABAg.91zT3cYb5B2";
        let video: VideoRef = link.parse().expect("a video");
        assert_eq!(video.comment_id.expect("a comment").as_str(), "UgxKREWxIgDrw8w2e_Z4AaABAg.91zT3cYb5B2");
    }

    #[test]
    fn anything_else_is_told_what_was_expected() {
        for text in [
            "",
            "hello world",
            "https://vimeo.com/123456789",
            "https://youtube.com.evil.example/watch?v=dQw4w9WgXcQ",
            "https://www.youtube.com/watch?v=short",
            "https://www.youtube.com/playlist?list=PL123",
            "https://www.youtube.com/@someone",
            "ftp://youtube.com/watch?v=dQw4w9WgXcQ",
            "dQw4w9WgXc*",
        ] {
            let told = text.parse::<VideoRef>().expect_err(text).to_string();
            assert!(told.contains("expected a YouTube address"), "{told}");
        }
        assert!("".parse::<VideoRef>().expect_err("nothing").to_string().starts_with("nothing is given"));
    }

    #[test]
    fn where_an_id_must_stand_no_address_is_asked_for() {
        let told = "bad".parse::<VideoId>().expect_err("no id").to_string();
        assert!(told.contains("11 characters") && !told.contains("http"), "{told}");
        let told = "a b".parse::<CommentId>().expect_err("no id").to_string();
        assert!(told.contains("1 to 128 characters"), "{told}");
    }
}
