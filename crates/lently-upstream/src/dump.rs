//! Files of comments that other tools write: which tool it was is told from the content, not the name.
//! Reads bytes and asks nobody; what cannot be read is counted, never guessed.

mod csv_rows;
mod fields;
mod json;

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{model::Comment, video_ref::VideoId};

/// The comments of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Which tool wrote it.
    pub format: DumpFormat,
    /// The video's title, where the file tells it and is of one video.
    pub title: Option<String>,
    /// The video, where the file tells it and is of one.
    pub video_id: Option<VideoId>,
    /// How many comments the platform counted when the file was made.
    pub stated_total: Option<u64>,
    /// In the order of the file, each id once.
    pub comments: Vec<Comment>,
    /// Rows that held no comment: without text, unreadable, or with an id that was there before.
    pub skipped_rows: u64,
    /// What a reader of the comments should know of the file.
    pub notes: Vec<DumpNote>,
}

/// Something about a file that was read, and that may not be as its owner believes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpNote {
    /// The comments are of several videos.
    SeveralVideos {
        /// How many.
        videos: u64,
    },
    /// A quote in a table is never closed, so all that follows it became one field.
    UnclosedQuote {
        /// The line with the quote, from 1.
        line: u64,
    },
}

impl fmt::Display for DumpNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralVideos { videos } => write!(f, "the file holds comments of {videos} videos"),
            Self::UnclosedQuote { line } => {
                write!(
                    f,
                    "a quote opened in line {line} of the file is never closed: what follows it was read as one field"
                )
            }
        }
    }
}

/// Which tool wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DumpFormat {
    /// yt-dlp's `.info.json`, made with `--write-comments`.
    YtDlp,
    /// youtube-comment-downloader: JSON lines, JSON or CSV.
    CommentDownloader,
    /// An export of one of Apify's YouTube comment scrapers.
    Apify,
    /// Recorded answers of `commentThreads.list` and `comments.list`.
    CommentThreads,
    /// A table with common column names.
    Csv,
}

impl fmt::Display for DumpFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::YtDlp => "yt-dlp",
            Self::CommentDownloader => "youtube-comment-downloader",
            Self::Apify => "apify",
            Self::CommentThreads => "comment-threads",
            Self::Csv => "csv",
        })
    }
}

impl DumpFormat {
    /// What people call it.
    const fn tool(self) -> &'static str {
        match self {
            Self::YtDlp => "yt-dlp",
            Self::CommentDownloader => "youtube-comment-downloader",
            Self::Apify => "Apify",
            Self::CommentThreads => "commentThreads.list",
            Self::Csv => "CSV",
        }
    }
}

/// Why a file gave no comments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Neither JSON nor a table.
    #[error("the file is no comment file that Lently knows: {problem}; expected {EXPECTED}")]
    Unknown {
        /// What was seen.
        problem: String,
    },
    /// A known format without a single comment.
    #[error("there is no comment in this {} file{remedy}", format.tool())]
    NoComments {
        /// Which tool wrote it.
        format: DumpFormat,
        /// What helps.
        remedy: &'static str,
    },
}

const EXPECTED: &str = "yt-dlp's .info.json (--write-comments), youtube-comment-downloader's JSON or CSV, an Apify \
    export, recorded commentThreads.list answers, or a CSV with a column `text` or `comment`";

/// Reads a file of comments. `file_name` only helps where the content leaves a doubt.
///
/// Takes memory of several times the file's size; bound that size before. Times that a tool only estimated from "2 weeks
/// ago" are left out.
///
/// # Errors
/// [`DumpError`], which says what was expected.
pub fn parse_dump(file_name: &str, bytes: &[u8]) -> Result<Dump, DumpError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim();
    let Some(first) = text.chars().next() else { return Err(DumpError::Empty) };
    let looks_like_json = matches!(first, '{' | '[');
    let found = if looks_like_json && !file_name.to_ascii_lowercase().ends_with(".csv") {
        json::parse(text)?
    } else {
        csv_rows::parse(text)?
    };
    finish(found)
}

/// Settles what every format has in common: ids once, replies counted, one video or none.
fn finish(mut dump: Dump) -> Result<Dump, DumpError> {
    let mut seen = HashSet::with_capacity(dump.comments.len());
    let before = dump.comments.len();
    dump.comments.retain(|comment| seen.insert(comment.id.clone()));
    dump.skipped_rows += (before - dump.comments.len()) as u64;
    if dump.comments.is_empty() {
        let remedy = match dump.format {
            DumpFormat::YtDlp => "; make it with `yt-dlp --write-comments --write-info-json --skip-download`",
            _ => "",
        };
        return Err(DumpError::NoComments { format: dump.format, remedy });
    }
    let mut replies = std::collections::HashMap::<&str, u64>::new();
    for parent in dump.comments.iter().filter_map(|comment| comment.parent_id.as_deref()) {
        *replies.entry(parent).or_default() += 1;
    }
    let counts: Vec<_> = dump.comments.iter().map(|comment| replies.get(&*comment.id).copied()).collect();
    for (comment, count) in dump.comments.iter_mut().zip(counts) {
        comment.reply_count = comment.reply_count.max(count.unwrap_or_default());
    }
    Ok(dump)
}

/// A piece of a file as it may stand in a message: short, and without anything that could steer a terminal.
fn quotable(text: &str) -> String {
    let steers = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(|c| !steers(c)).take(40).collect()
}

/// An id for a comment whose file gives none: from its place and text, so that a second reading gives the same.
fn made_up_id(place: usize, author: &str, text: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(author.as_bytes()).update(&[0]).update(text.as_bytes());
    format!("row{place}-{}", &hasher.finalize().to_hex()[..16])
}

/// A parent that is one: tables write "no parent" in many ways.
fn real_parent(parent: &str) -> bool {
    !matches!(
        parent.to_ascii_lowercase().as_str(),
        "" | "root" | "none" | "null" | "nan" | "na" | "n/a" | "0"
    )
}

/// What the rows of a file say of videos: one, if they agree.
#[derive(Default)]
struct Videos {
    ids: HashSet<String>,
    titles: HashSet<String>,
}

impl Videos {
    fn note(&mut self, id: Option<&str>, title: Option<&str>) {
        if let Some(id) = id.filter(|id| !id.is_empty() && !self.ids.contains(*id)) {
            self.ids.insert(id.to_owned());
        }
        // Two are as many as need be known.
        if self.titles.len() < 2 {
            self.titles.extend(title.filter(|title| !title.is_empty()).map(str::to_owned));
        }
    }

    /// What is to be said of more videos than one.
    fn several(&self) -> Option<DumpNote> {
        (self.ids.len() > 1).then_some(DumpNote::SeveralVideos { videos: self.ids.len() as u64 })
    }

    fn only_id(&self) -> Option<VideoId> {
        if self.ids.len() == 1 { self.ids.iter().next()?.parse().ok() } else { None }
    }

    fn only_title(&self) -> Option<String> {
        if self.ids.len() <= 1 && self.titles.len() == 1 { self.titles.iter().next().cloned() } else { None }
    }
}
