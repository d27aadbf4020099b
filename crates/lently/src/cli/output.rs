//! `--output`: which files an analysis is written to, and writing them so that nobody ever finds half a file.

use std::{
    collections::HashSet,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use lently_service::{AnalysisAnswer, AnalysisBody, JudgedComment};

use super::{CliError, chain, tell};
use crate::{
    app::App,
    report::{ExportError, Format, clean, export},
};

/// What stands for the input in a name.
const PLACE: &str = "{}";

/// A file that is asked for; its format goes by its ending.
#[derive(Clone, Debug)]
pub(super) struct Output {
    name: String,
    format: Format,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
        let format = ending.and_then(Format::of_ending);
        let expected = || "expected a name that ends in .html, .json, .csv or .md".to_owned();
        format.map(|format| Self { name: name.to_owned(), format }).ok_or_else(expected)
    }
}

/// The files of one command, and those that it has written by now.
pub(super) struct Outputs<'a> {
    wanted: &'a [Output],
    written: HashSet<PathBuf>,
}

impl<'a> Outputs<'a> {
    /// With more than one input every name needs a place for it, or all would be written to one file.
    pub(super) fn new(wanted: &'a [Output], inputs: usize) -> Result<Self, CliError> {
        match wanted.iter().find(|output| inputs > 1 && !output.name.contains(PLACE)) {
            Some(Output { name, .. }) => Err(CliError::Usage(format!(
                "--output `{name}` is one file for {inputs} inputs; put {PLACE} where the video's id or the file's name is to stand"
            ))),
            None => Ok(Self { wanted, written: HashSet::new() }),
        }
    }

    /// Writes the files of one analysis, and tells of each on standard error.
    pub(super) async fn write(&mut self, app: &App, answer: &AnalysisAnswer) -> Result<(), CliError> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let comments = app.lently.judged_comments(answer).await.map_err(|error| CliError::of(&error))?;
        let name = self.name_of(answer)?;
        for output in self.wanted {
            let path = PathBuf::from(output.name.replace(PLACE, &name));
            self.write_one(output.format, path, answer, comments.as_deref())?;
        }
        Ok(())
    }

    fn write_one(
        &mut self,
        format: Format,
        path: PathBuf,
        answer: &AnalysisAnswer,
        comments: Option<&[JudgedComment]>,
    ) -> Result<(), CliError> {
        let failed =
            |why: &str| CliError::Failed(clean(&format!("cannot write `{}`: {why}", path.display())));
        if self.written.contains(&path) {
            return Err(failed(&format!("it was written for another input; put {PLACE} into its name")));
        }
        let bytes = export(format, &answer.body, comments).map_err(|error| failed(&told(&error)))?;
        replace(&path, &bytes).map_err(|error| failed(&error.to_string()))?;
        tell(&clean(&format!("lently: wrote `{}`", path.display())));
        self.written.insert(path);
        Ok(())
    }

    /// What stands in the place: the video's id, else the name of its file without the ending.
    fn name_of(&self, answer: &AnalysisAnswer) -> Result<String, CliError> {
        if self.wanted.iter().all(|output| !output.name.contains(PLACE)) {
            return Ok(String::new());
        }
        let body: AnalysisBody = serde_json::from_slice(&answer.body)
            .map_err(|error| CliError::Failed(told(&ExportError::Unreadable(error))))?;
        Ok(match &body.source {
            lently_service::BodySource::Video { video_id, .. } => video_id.to_string(),
            lently_service::BodySource::File { file_name, .. } => {
                let stem = Path::new(file_name).file_stem().unwrap_or_default();
                stem.to_string_lossy().into_owned()
            }
        })
    }
}

fn told(error: &ExportError) -> String {
    let remedy = match error {
        ExportError::Unreadable(_) | ExportError::CommentsNotKept => ", with --no-cache",
        ExportError::Defect(_) => "",
    };
    format!("{}{remedy}", if remedy.is_empty() { chain(error) } else { error.to_string() })
}

/// Writes beside the file and renames: whoever reads it meanwhile has the old one or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(io::Error::other(format!("there is no folder `{}`", folder.display())));
    }
    if path.exists() && !path.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    let mut beside = beside(folder)?;
    beside.write_all(bytes)?;
    beside.as_file().sync_all()?;
    beside.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A temporary file that may be read by whoever may read others that this user makes, and not by its owner alone.
fn beside(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lently-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(names: &[&str]) -> Vec<Output> {
        names.iter().map(|name| name.parse().expect("a format")).collect()
    }

    #[test]
    fn the_ending_says_which_format() {
        let of = |name: &str| name.parse::<Output>().map(|output| output.format).ok();
        assert_eq!(of("a/b.HTML"), Some(Format::Html));
        assert_eq!(of("report.md"), Some(Format::Markdown));
        assert_eq!(of("x.{}.csv"), Some(Format::Csv));
        for name in ["report", "report.pdf", ".html", "", "html"] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn several_inputs_need_a_place_in_every_name() {
        assert!(Outputs::new(&outputs(&["a.html"]), 1).is_ok());
        assert!(Outputs::new(&outputs(&["{}.html", "x/{}.csv"]), 2).is_ok());
        let refused = Outputs::new(&outputs(&["{}.html", "a.csv"]), 2).err().expect("refused").to_string();
        assert!(refused.starts_with("--output `a.csv` is one file for 2 inputs"), "{refused}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.md");
        for bytes in [b"first".as_slice(), b"second"] {
            replace(&path, bytes).expect("written");
            assert_eq!(std::fs::read(&path).expect("read"), bytes);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let told = |path: &Path| replace(path, b"").expect_err("refused").to_string();
        assert!(told(&folder.path().join("not/there.md")).starts_with("there is no folder `"));
        assert_eq!(told(folder.path()), "this is no file");
    }
}
