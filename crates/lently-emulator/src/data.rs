//! The videos that the emulator knows: samples that ship with it, or comment files of any format that Lently reads.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use lently_upstream::{Comment, VideoId, dump};
use serde::Deserialize;

use crate::{gemini::Judges, world::World};

/// The largest file read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A video that ships with the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its id.
    pub video_id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What there is to see.
    pub what: &'static str,
}

/// The sample videos: made for this project by `samples/generate.py`.
pub const SAMPLES: &[Sample] = &[
    Sample {
        video_id: "LentlyEspr1",
        title: "I restored a 40-year-old espresso machine",
        what: "520 comments and replies in English, some in Spanish and German, spam",
    },
    Sample {
        video_id: "LentlyPanES",
        title: "Pan de masa madre en casa, paso a paso",
        what: "430 comments and replies in Spanish",
    },
    Sample {
        video_id: "LentlyZugDE",
        title: "Mit dem Nachtzug nach Lissabon: lohnt sich das?",
        what: "360 comments and replies in German",
    },
    Sample {
        video_id: "LentlyQuiet",
        title: "A walk through the old town at dawn (no comments)",
        what: "comments disabled",
    },
    Sample { video_id: "LentlyGone1", title: "", what: "a removed video" },
];

/// The playlist that has every video in it, in the order of their ids.
pub const EVERYTHING: &str = "PLLentlyEverything";

const FILES: [&str; 4] = [
    include_str!("../samples/en.json"),
    include_str!("../samples/es.json"),
    include_str!("../samples/de.json"),
    include_str!("../samples/disabled.json"),
];

/// Why there is nothing to emulate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file system refused.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that holds no comments.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A folder without a single file of comments.
    #[error("there is no file of comments in {path}", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// The videos that the emulator knows.
#[derive(Clone, Debug, Default)]
pub struct Data {
    pub(crate) videos: BTreeMap<String, Arc<Video>>,
    /// Where every other video is, as it is at a time.
    world: Option<(Arc<World>, Timestamp)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Video {
    pub id: String,
    pub title: String,
    pub channel: String,
    pub channel_id: String,
    pub description: String,
    pub published: Option<Timestamp>,
    pub duration_seconds: u64,
    pub views: u64,
    pub likes: u64,
    pub language: Option<String>,
    pub comments_disabled: bool,
    pub threads: Vec<Thread>,
    /// Counted, and on no list.
    pub hidden: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub top: Comment,
    /// Oldest first.
    pub replies: Vec<Comment>,
}

impl Video {
    /// Comments and replies, as YouTube counts them.
    pub(crate) fn comment_count(&self) -> usize {
        self.threads.iter().map(|thread| 1 + thread.replies.len()).sum()
    }
}

impl Data {
    /// The samples.
    #[must_use]
    pub fn samples() -> Self {
        let videos = FILES
            .iter()
            .filter_map(|file| parse_sample(file))
            .map(|video| (video.id.clone(), Arc::new(video)));
        Self { videos: videos.collect(), world: None }
    }

    /// Reads a file of comments, or every file of comments in a folder. A file that names no video gets an id made
    /// from its name.
    ///
    /// # Errors
    /// [`DataError`]; in a folder, files that hold no comments are passed over.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let mut videos = BTreeMap::new();
        if !fs::metadata(path).map_err(io)?.is_dir() {
            let video = read(path)?;
            return Ok(Self { videos: BTreeMap::from([(video.id.clone(), Arc::new(video))]), world: None });
        }
        let mut files: Vec<PathBuf> =
            fs::read_dir(path).map_err(io)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            match read(file) {
                Ok(video) => {
                    videos.insert(video.id.clone(), Arc::new(video));
                }
                Err(error) => tracing::warn!(%error, "passed over"),
            }
        }
        if videos.is_empty() {
            Err(DataError::Empty { path: path.to_owned() })
        } else {
            Ok(Self { videos, world: None })
        }
    }

    /// A made-up world as it is at a time.
    #[must_use]
    pub fn of_world(world: Arc<World>, now: Timestamp) -> Self {
        Self { videos: BTreeMap::new(), world: Some((world, now)) }
    }

    /// The video, if there is one.
    pub(crate) fn video(&self, id: &str) -> Option<Arc<Video>> {
        let known = self.videos.get(id).cloned();
        known.or_else(|| self.world.as_ref().map(|(world, now)| world.video(id, *now)))
    }

    /// Whether it is a made-up world.
    pub(crate) const fn is_world(&self) -> bool {
        self.world.is_some()
    }

    /// Who judges the comments.
    pub(crate) const fn judges(&self) -> Judges {
        if self.is_world() { Judges::Chance } else { Judges::LocalEngine }
    }

    /// Ids and titles, for people.
    #[must_use]
    pub fn list(&self) -> Vec<(String, String)> {
        self.videos.values().map(|video| (video.id.clone(), video.title.clone())).collect()
    }
}

fn read(path: &Path) -> Result<Video, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let refuse = |reason: String| DataError::File { path: path.to_owned(), reason };
    if fs::metadata(path).map_err(io)?.len() > MAX_FILE_BYTES {
        return Err(refuse("the file is larger than 256 MiB".to_owned()));
    }
    let bytes = fs::read(path).map_err(io)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(video) = std::str::from_utf8(&bytes).ok().and_then(parse_sample) {
        return Ok(video);
    }
    let dump = dump::parse_dump(&name, &bytes).map_err(|error| refuse(error.to_string()))?;
    let hash = blake3::hash(name.as_bytes()).to_hex();
    let id = dump.video_id.as_ref().map_or_else(|| hash[..11].to_owned(), VideoId::to_string);
    Ok(Video {
        title: dump.title.unwrap_or(name),
        channel: "Emulated channel".to_owned(),
        channel_id: format!("UC{}", &hash[..22]),
        description: String::new(),
        published: dump.comments.iter().filter_map(|comment| comment.published_at).min(),
        duration_seconds: 600,
        views: 100_000,
        likes: 4_000,
        language: None,
        comments_disabled: false,
        hidden: 0,
        threads: into_threads(dump.comments),
        id,
    })
}

/// Puts replies below the comments they reply to; one whose thread is missing stands for itself.
fn into_threads(comments: Vec<Comment>) -> Vec<Thread> {
    let (tops, replies): (Vec<_>, Vec<_>) =
        comments.into_iter().partition(|comment| comment.parent_id.is_none());
    let mut threads: Vec<Thread> = tops.into_iter().map(|top| Thread { top, replies: Vec::new() }).collect();
    let places: BTreeMap<String, usize> =
        threads.iter().enumerate().map(|(place, thread)| (thread.top.id.clone(), place)).collect();
    for mut reply in replies {
        match reply.parent_id.as_ref().and_then(|parent| places.get(parent)) {
            Some(place) => threads[*place].replies.push(reply),
            None => {
                reply.parent_id = None;
                threads.push(Thread { top: reply, replies: Vec::new() });
            }
        }
    }
    for thread in &mut threads {
        thread.replies.sort_by(|a, b| a.published_at.cmp(&b.published_at).then_with(|| a.id.cmp(&b.id)));
        thread.top.reply_count = thread.replies.len() as u64;
    }
    threads
}

#[derive(Deserialize)]
struct SampleFile {
    video: SampleVideo,
    comments_disabled: bool,
    comments: Vec<SampleComment>,
}

#[derive(Deserialize)]
struct SampleVideo {
    id: String,
    title: String,
    channel: String,
    channel_id: String,
    description: String,
    published: i64,
    duration: u64,
    views: u64,
    likes: u64,
    language: String,
}

#[derive(Deserialize)]
struct SampleComment {
    id: String,
    r: Option<String>,
    a: String,
    t: String,
    l: u64,
    p: i64,
}

fn parse_sample(text: &str) -> Option<Video> {
    let SampleFile { video, comments_disabled, comments } = serde_json::from_str(text).ok()?;
    let comments = comments.into_iter().map(|comment| {
        let written = Timestamp::from_second(comment.p).ok();
        Comment {
            author_channel_id: Some(format!("UC{}", &blake3::hash(comment.a.as_bytes()).to_hex()[..22])),
            id: comment.id,
            parent_id: comment.r,
            author: comment.a,
            text: comment.t,
            like_count: comment.l,
            reply_count: 0,
            published_at: written,
            updated_at: written,
        }
    });
    Some(Video {
        threads: into_threads(comments.collect()),
        id: video.id,
        title: video.title,
        channel: video.channel,
        channel_id: video.channel_id,
        description: video.description,
        published: Timestamp::from_second(video.published).ok(),
        duration_seconds: video.duration,
        views: video.views,
        likes: video.likes,
        language: Some(video.language),
        comments_disabled,
        hidden: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_what_their_descriptions_say() {
        let data = Data::samples();
        for (sample, comments) in SAMPLES.iter().zip([Some(520), Some(430), Some(360), Some(0), None]) {
            let video = data.videos.get(sample.video_id);
            assert_eq!(video.map(|video| video.comment_count()), comments, "{}", sample.what);
            assert_eq!(video.map(|video| video.title.as_str()).unwrap_or_default(), sample.title);
        }
        let longest = data.videos["LentlyEspr1"].threads.iter().map(|thread| thread.replies.len()).max();
        assert!(longest > Some(100), "one thread needs more than a page of replies");
        assert!(data.videos["LentlyQuiet"].comments_disabled);
    }
}
