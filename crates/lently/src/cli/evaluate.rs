//! `lently evaluate`: how well an engine judges comments that people have labelled. It analyzes nothing, and no history has it.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, sync::Arc};

use clap::ValueEnum;
use csv::{ReaderBuilder, StringRecord};
use indicatif::{ProgressBar, ProgressStyle};
use lently_analysis::{Category, Evaluation, Sentiment, Verdict, evaluate, grouped};
use lently_service::{EngineChoice, JudgedTexts};
use lently_upstream::plain_text;
use serde::Serialize;

use super::{CliError, Terminal, configured, print, tell};
use crate::{
    app::App,
    report::{clean, cost_in_words},
};

const EXAMPLES: &str = "\
Examples:
  lently evaluate labelled.csv
  lently evaluate labelled.csv --label sentiment_for_video --engine gemini
  lently evaluate Youtube01.csv --of spam --json | jq .evaluation.classes

A label of sentiment is positive, neutral or negative, or 2, 1 or 0 (or 1, 0 or -1, where there is a -1);
one of spam is spam or ham, or 1 or 0. Rows with any other label, and without a text, are passed over and
counted. With Gemini each text costs tokens once, and is remembered as in an analysis.";

/// Where the text is looked for, unless it is said.
const TEXTS: [&str; 5] = ["text", "comment", "content", "textoriginal", "commenttext"];
/// Where labels of either sort are.
const SENTIMENTS: [&str; 4] = ["sentiment", "label", "sentimentforvideo", "polarity"];
const SPAM: [&str; 4] = ["spam", "class", "isspam", "label"];
/// Languages with fewer comments are not shown one by one.
const FEW: u64 = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A CSV or TSV file with a header, a column of texts and one of labels.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the labels are of.
    #[arg(long, value_enum, default_value_t = Task::Sentiment)]
    of: Task,
    /// The column of texts [default: `text`, `comment` or `content`].
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// The column of labels [default: `sentiment`, `label`; of spam `spam`, `class`].
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Who judges: auto (Gemini where a key is set, else local), gemini or local.
    #[arg(long, default_value_t = EngineChoice::Local)]
    engine: EngineChoice,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Task {
    /// How a comment feels.
    Sentiment,
    /// Whether it is spam.
    Spam,
}

impl Task {
    const fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Sentiment => &["positive", "neutral", "negative"],
            Self::Spam => &["spam", "ham"],
        }
    }

    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Sentiment => &SENTIMENTS,
            Self::Spam => &SPAM,
        }
    }

    /// The place of a label among the classes; `signed` where a column has a -1.
    fn class(self, label: &str, signed: bool) -> Option<usize> {
        let label = label.trim().to_lowercase();
        let named = self.classes().iter().position(|class| *class == label);
        named.or(match (self, label.as_str(), signed) {
            (Self::Sentiment, "2", false) | (Self::Sentiment, "1", true) | (Self::Spam, "1", _) => Some(0),
            (Self::Sentiment, "1", false) | (Self::Sentiment, "0", true) | (Self::Spam, "0", _) => Some(1),
            (Self::Sentiment, "0", false) | (Self::Sentiment, "-1", true) => Some(2),
            _ => None,
        })
    }

    fn of(self, verdict: &Verdict) -> usize {
        match (self, verdict.sentiment) {
            (Self::Spam, _) => usize::from(verdict.category != Category::Spam),
            (Self::Sentiment, Sentiment::Positive) => 0,
            (Self::Sentiment, Sentiment::Neutral) => 1,
            (Self::Sentiment, Sentiment::Negative) => 2,
        }
    }
}

/// The rows of a file that can be used.
#[derive(Debug, Default, PartialEq)]
struct Labelled {
    texts: Vec<String>,
    labels: Vec<usize>,
    passed_over: u64,
}

#[derive(Serialize)]
struct Outcome<'a> {
    of: Task,
    evaluation: &'a Evaluation,
    languages: &'a [(String, Evaluation)],
    passed_over_rows: u64,
    #[serde(flatten)]
    judged: &'a JudgedTexts,
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    let labelled = read(&args)?;
    let app = App::open_for_command(configured(true)?).await.map_err(|error| CliError::of(&error))?;
    let bar = progress(terminal, labelled.texts.len() as u64);
    let moved = bar.clone();
    let on_judged = Arc::new(move |done: u64| moved.set_position(done));
    let judged = app.lently.judge(&app.user(), args.engine, &labelled.texts, on_judged).await;
    bar.finish_and_clear();
    app.close().await;
    let judged = judged.map_err(|error| CliError::of(&error))?;
    let predictions: Vec<usize> = judged.verdicts.iter().map(|verdict| args.of.of(verdict)).collect();
    let evaluation = evaluate(args.of.classes(), &labelled.labels, &predictions);
    let languages = by_language(args.of, &labelled.labels, &predictions, &judged.verdicts);
    let outcome = Outcome {
        of: args.of,
        evaluation: &evaluation,
        languages: &languages,
        passed_over_rows: labelled.passed_over,
        judged: &judged,
    };
    if args.json {
        let line = serde_json::to_string(&outcome).map_err(|error| CliError::of(&error))?;
        return print(&format!("{line}\n"));
    }
    if let Some(degraded) = &judged.degraded {
        tell(&clean(&format!("lently: {degraded}")));
    }
    print(&in_words(&outcome))
}

fn progress(terminal: Terminal, texts: u64) -> ProgressBar {
    if !terminal.lively {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(texts);
    if let Ok(style) = ProgressStyle::with_template("judging comments: {human_pos} of {human_len}") {
        bar.set_style(style);
    }
    bar
}

fn read(args: &Args) -> Result<Labelled, CliError> {
    let told = |what: String| CliError::Failed(clean(&format!("{}: {what}", args.file.display())));
    let bytes = std::fs::read(&args.file).map_err(|error| told(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| told("is not text in UTF-8".to_owned()))?;
    parse(text.trim_start_matches('\u{feff}'), args).map_err(told)
}

fn parse(file: &str, args: &Args) -> Result<Labelled, String> {
    let tabs = file.lines().next().is_some_and(|header| header.contains('\t'));
    let delimiter = if tabs { b'\t' } else { b',' };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(file.as_bytes());
    let header = reader.headers().cloned().map_err(|error| format!("cannot be read: {error}"))?;
    let text = column(&header, "texts", "--text", args.text.as_deref(), &TEXTS)?;
    let label = column(&header, "labels", "--label", args.label.as_deref(), args.of.columns())?;
    let records: Vec<StringRecord> = reader.records().filter_map(Result::ok).collect();
    let signed = records.iter().any(|record| record.get(label).is_some_and(|label| label.trim() == "-1"));
    let mut labelled = Labelled::default();
    for record in records {
        let class = record.get(label).and_then(|label| args.of.class(label, signed));
        match (record.get(text).filter(|text| !text.trim().is_empty()), class) {
            (Some(text), Some(class)) => {
                labelled.texts.push(plain_text(text));
                labelled.labels.push(class);
            }
            _ => labelled.passed_over += 1,
        }
    }
    if labelled.texts.is_empty() {
        let classes = args.of.classes().join(", ");
        return Err(format!("no row has a text and a label that is one of {classes}"));
    }
    Ok(labelled)
}

/// Where a column is: the one that was named, or the first with one of the usual names.
fn column(
    header: &StringRecord,
    what: &str,
    option: &str,
    named: Option<&str>,
    usual: &[&str],
) -> Result<usize, String> {
    let normal = |name: &str| {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<String>()
    };
    let names: Vec<String> = header.iter().map(normal).collect();
    let found = match named {
        Some(named) => header.iter().position(|have| have == named),
        None => usual.iter().find_map(|name| names.iter().position(|have| have == name)),
    };
    found.ok_or_else(|| {
        let there: Vec<String> = header.iter().take(12).map(|name| format!("`{name}`")).collect();
        format!("has no column of {what} that is known; name it with {option}, of {}", there.join(", "))
    })
}

/// The same for each language by itself, most comments first.
fn by_language(
    task: Task,
    labels: &[usize],
    predictions: &[usize],
    verdicts: &[Verdict],
) -> Vec<(String, Evaluation)> {
    let mut of: BTreeMap<&str, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for ((label, prediction), verdict) in labels.iter().zip(predictions).zip(verdicts) {
        let (labels, predictions) = of.entry(verdict.language.as_deref().unwrap_or("und")).or_default();
        labels.push(*label);
        predictions.push(*prediction);
    }
    let mut languages: Vec<(String, Evaluation)> = of
        .into_iter()
        .map(|(code, (labels, predictions))| {
            (code.to_owned(), evaluate(task.classes(), &labels, &predictions))
        })
        .collect();
    languages.sort_by_key(|(_, evaluation)| std::cmp::Reverse(evaluation.count));
    languages
}

/// Writing to a String cannot fail.
fn in_words(outcome: &Outcome<'_>) -> String {
    let Outcome { evaluation, languages, judged, passed_over_rows, .. } = outcome;
    let mut out = String::new();
    let by = judged.model.as_deref().map_or_else(String::new, |model| format!(" ({model})"));
    let _ = writeln!(
        out,
        "{} comments, judged by {}{}: {} by Gemini, {} locally",
        grouped(evaluation.count),
        judged.engine,
        clean(&by),
        grouped(judged.judged.gemini),
        grouped(judged.judged.local)
    );
    if *passed_over_rows > 0 {
        let _ = writeln!(out, "{} rows were passed over", grouped(*passed_over_rows));
    }
    let _ = writeln!(
        out,
        "accuracy {:.3} (always the largest class: {:.3}), macro-F1 {:.3}\n",
        evaluation.accuracy, evaluation.largest_class, evaluation.macro_f1
    );
    let _ = writeln!(out, "{:<10} {:>9} {:>9} {:>9} {:>9}", "class", "labelled", "precision", "recall", "F1");
    for score in &evaluation.classes {
        let _ = writeln!(
            out,
            "{:<10} {:>9} {:>9.3} {:>9.3} {:>9.3}",
            score.class,
            grouped(score.labelled),
            score.precision,
            score.recall,
            score.f1
        );
    }
    let _ = write!(out, "\n{:<10}", "label");
    for score in &evaluation.classes {
        let _ = write!(out, " {:>9}", score.class);
    }
    out.push_str("   (as predicted)\n");
    for (score, row) in evaluation.classes.iter().zip(&evaluation.confusion) {
        let _ = write!(out, "{:<10}", score.class);
        for count in row {
            let _ = write!(out, " {:>9}", grouped(*count));
        }
        out.push('\n');
    }
    let _ = writeln!(out, "\n{:<12} {:>8} {:>9} {:>9}", "language", "comments", "accuracy", "macro-F1");
    for (language, of) in languages.iter().filter(|(_, of)| of.count >= FEW) {
        let count = grouped(of.count);
        let _ = writeln!(out, "{:<12} {count:>8} {:>9.3} {:>9.3}", clean(language), of.accuracy, of.macro_f1);
    }
    let cost = &judged.cost;
    if cost.tokens_in + cost.tokens_out > 0 || judged.reused > 0 {
        let _ =
            writeln!(out, "\n{}; {} had been paid for before", cost_in_words(cost), grouped(judged.reused));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(of: Task, label: Option<&str>) -> Args {
        Args {
            file: PathBuf::new(),
            of,
            text: None,
            label: label.map(str::to_owned),
            engine: EngineChoice::Local,
            json: false,
        }
    }

    #[test]
    fn labels_are_read_by_name_and_by_number() {
        let labels = |of, file: &str| parse(file, &args(of, None)).map(|labelled| labelled.labels);
        assert_eq!(labels(Task::Sentiment, "Text,Sentiment\na,Positive\nb,0\nc,1\n"), Ok(vec![0, 2, 1]));
        assert_eq!(labels(Task::Sentiment, "text\tlabel\na\t-1\nb\t0\nc\t1\n"), Ok(vec![2, 1, 0]));
        assert_eq!(labels(Task::Spam, "ID,CONTENT,CLASS\n1,a,1\n2,b,0\n3,c,ham\n"), Ok(vec![0, 1, 1]));
    }

    #[test]
    fn rows_of_no_use_are_counted_and_a_file_of_none_is_refused() {
        let file = "text,sentiment\n&lt;3 it<br>yes,positive\n,positive\nx,splendid\n";
        let labelled = parse(file, &args(Task::Sentiment, None)).expect("rows");
        assert_eq!((labelled.texts, labelled.passed_over), (vec!["<3 it\nyes".to_owned()], 2));
        let told = parse("text,mood\na,positive\n", &args(Task::Sentiment, None)).expect_err("no label");
        assert!(told.contains("--label, of `text`, `mood`"), "{told}");
        assert!(parse("text,mood\na,positive\n", &args(Task::Sentiment, Some("mood"))).is_ok());
        assert!(parse("text,label\na,great\n", &args(Task::Sentiment, None)).is_err());
    }
}
