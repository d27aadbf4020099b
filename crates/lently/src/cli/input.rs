//! What a user gives to be analyzed: a file of comments, or a video. A file is hashed before it is read in earnest, so
//! that a file already analyzed is never parsed again.

use std::{fs, path::Path, sync::Arc};

use lently_analysis::grouped;
use lently_service::AnalysisSource;
use lently_upstream::{
    VideoRef,
    dump::{Dump, DumpFormat, parse_dump},
};

/// A larger file is refused; the comments of the most commented video would fit many times.
const MAX_FILE_BYTES: u64 = 2 << 30;

pub(super) enum Input {
    Video(VideoRef),
    File(File),
}

pub(super) struct File {
    name: String,
    digest: String,
    bytes: Vec<u8>,
}

/// Whether a text is meant as a file: by an ending that such files have, in no address.
pub(super) fn looks_like_a_file(text: &str) -> bool {
    let ending = Path::new(text).extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let of_files = ["json", "jsonl", "ndjson", "csv", "tsv", "txt"];
    !text.contains("://") && ending.is_some_and(|ending| of_files.contains(&ending.as_str()))
}

impl Input {
    /// A path that exists is a file; all else must name a video. Errors do not name the text: who asked knows it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        if path.is_dir() {
            return Err("this is a folder; name the files in it".to_owned());
        }
        if path.exists() {
            return File::read(path).map(Self::File);
        }
        match text.parse() {
            Ok(video) => Ok(Self::Video(video)),
            Err(_) if looks_like_a_file(text) => Err("there is no such file".to_owned()),
            Err(error) if text.trim().is_empty() => Err(error.to_string()),
            Err(error) => Err(format!("there is no such file, and as a video: {error}")),
        }
    }

    /// The source as far as it can be told without reading the comments: enough for the identity of the analysis.
    pub(super) fn identity(&self) -> AnalysisSource {
        match self {
            Self::Video(video) => AnalysisSource::Video(video.clone()),
            Self::File(file) => file.source(Dump {
                format: DumpFormat::Csv,
                title: None,
                video_id: None,
                stated_total: None,
                comments: Vec::new(),
                skipped_rows: 0,
                notes: Vec::new(),
            }),
        }
    }

    /// The source with its comments.
    pub(super) fn source(&self) -> Result<AnalysisSource, String> {
        match self {
            Self::Video(video) => Ok(AnalysisSource::Video(video.clone())),
            Self::File(file) => parse_dump(&file.name, &file.bytes)
                .map(|dump| file.source(dump))
                .map_err(|error| error.to_string()),
        }
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("cannot be read: {error}");
        let size = fs::metadata(path).map_err(told)?.len();
        if size > MAX_FILE_BYTES {
            let (size, most) = (grouped(size), grouped(MAX_FILE_BYTES));
            return Err(format!("this file has {size} bytes; at most {most} are read"));
        }
        let bytes = fs::read(path).map_err(told)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, digest: blake3::hash(&bytes).to_hex().to_string(), bytes })
    }

    fn source(&self, dump: Dump) -> AnalysisSource {
        AnalysisSource::Dump {
            dump: Arc::new(dump),
            digest: self.digest.clone(),
            file_name: self.name.clone(),
        }
    }
}
