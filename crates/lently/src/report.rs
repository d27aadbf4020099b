//! An analysis for a terminal: bars, themes with examples, questions, a summary, what it cost. Text of strangers is
//! stripped of everything that could steer a terminal.

mod text;

use std::fmt::Write as _;

use lently_analysis::{Bucket, Quote, Report, Share};
use lently_cache::Cost;
use lently_service::{AnalysisBody, BodySource};

pub use self::text::{Paint, clean};
use self::text::{bar, grouped, mood, percent, short};

/// The width of a bar.
const BAR: usize = 24;
/// The longest quotation, in characters.
const QUOTED: usize = 100;
/// As many buckets of time are shown; more are joined.
const BUCKETS: usize = 14;

/// How the answer came.
#[derive(Clone, Debug)]
pub struct Served {
    /// Whether it was there already.
    pub cached: bool,
    /// Where it was: `memory`, `redis`, `disk`, `store`, `fetched`.
    pub source: String,
    /// How old it is.
    pub age_seconds: u64,
    /// How long this call took.
    pub took: std::time::Duration,
}

/// Renders an analysis; ends with a line break.
#[must_use]
pub fn render(body: &AnalysisBody, served: &Served, paint: Paint) -> String {
    let mut out = String::new();
    head(&mut out, body, paint);
    let report = &body.report;
    sentiment(&mut out, report, paint);
    over_time(&mut out, report, paint);
    categories(&mut out, report, paint);
    languages(&mut out, report, paint);
    themes(&mut out, report, paint);
    questions(&mut out, report, paint);
    quotes(&mut out, "Most liked", &report.most_liked, paint);
    section(&mut out, "Summary", paint);
    for line in text::wrapped(&clean(&report.summary), 96) {
        line_of(&mut out, &line);
    }
    foot(&mut out, body, served, paint);
    out
}

/// Writing to a String cannot fail.
fn line_of(out: &mut String, line: &str) {
    let _ = writeln!(out, "  {line}");
}

fn section(out: &mut String, title: &str, paint: Paint) {
    let _ = writeln!(out, "\n{}", paint.bold(title));
}

fn head(out: &mut String, body: &AnalysisBody, paint: Paint) {
    let _ = writeln!(out, "{}", paint.bold(&clean(body.source.title())));
    let line = match &body.source {
        BodySource::Video { video_id, channel_title, view_count, .. } => {
            let views = view_count.map(|views| format!(", {} views", grouped(views))).unwrap_or_default();
            format!("{} ({video_id}{views})", clean(channel_title))
        }
        BodySource::File { file_name, format, .. } => format!("{} ({format})", clean(file_name)),
    };
    let _ = writeln!(out, "{}", paint.dim(&line));
    if let Some(caution) = &body.report.caution {
        let _ = writeln!(out, "{}", paint.yellow(&format!("! {}", clean(caution))));
    }
}

fn share_line(out: &mut String, name: &str, share: Share, colored: &str) {
    line_of(out, &format!("{name:<11} {colored} {:>5}  {:>7}", percent(share.share), grouped(share.count)));
}

fn sentiment(out: &mut String, report: &Report, paint: Paint) {
    let sentiment = &report.sentiment;
    section(out, &format!("Sentiment (mean {})", mood(sentiment.mean)), paint);
    let rows = [
        ("positive", sentiment.positive, paint.green(&bar(sentiment.positive.share, BAR))),
        ("neutral", sentiment.neutral, paint.dim(&bar(sentiment.neutral.share, BAR))),
        ("negative", sentiment.negative, paint.red(&bar(sentiment.negative.share, BAR))),
    ];
    for (name, share, colored) in rows {
        share_line(out, name, share, &colored);
    }
}

fn over_time(out: &mut String, report: &Report, paint: Paint) {
    let Some(first) = report.sentiment_over_time.first().filter(|_| report.sentiment_over_time.len() > 1)
    else {
        return;
    };
    section(out, &format!("Over time (by {})", first.unit), paint);
    let per_line = report.sentiment_over_time.len().div_ceil(BUCKETS);
    let lines: Vec<(String, u64, f64)> = report.sentiment_over_time.chunks(per_line).map(joined).collect();
    let most = lines.iter().map(|(_, count, _)| *count).max().unwrap_or(1).max(1);
    for (start, count, mean) in lines {
        let length = bar(count as f64 / most as f64, BAR);
        let colored = if mean > 0.05 {
            paint.green(&length)
        } else if mean < -0.05 {
            paint.red(&length)
        } else {
            paint.dim(&length)
        };
        line_of(out, &format!("{start:<11} {colored} {:>5}  {:>7}", mood(mean), grouped(count)));
    }
}

/// Several buckets as one: its start, how many comments, their mean score.
fn joined(buckets: &[Bucket]) -> (String, u64, f64) {
    let count = |bucket: &Bucket| bucket.positive + bucket.neutral + bucket.negative;
    let total: u64 = buckets.iter().map(count).sum();
    let sum: f64 = buckets.iter().map(|bucket| bucket.mean * count(bucket) as f64).sum();
    (buckets[0].start.clone(), total, sum / total.max(1) as f64)
}

fn categories(out: &mut String, report: &Report, paint: Paint) {
    section(out, "Categories", paint);
    for entry in report.categories.iter().filter(|entry| entry.count > 0) {
        let share = Share { count: entry.count, share: entry.share };
        share_line(out, entry.category.name(), share, &paint.cyan(&bar(entry.share, BAR)));
    }
}

fn languages(out: &mut String, report: &Report, paint: Paint) {
    section(out, "Languages", paint);
    let named = |code: &str| if code == "und" { "cannot be told".to_owned() } else { clean(code) };
    let shown: Vec<String> = report
        .languages
        .iter()
        .take(8)
        .map(|entry| format!("{} {}", named(&entry.language), percent(entry.share)))
        .collect();
    line_of(out, &shown.join(", "));
}

fn themes(out: &mut String, report: &Report, paint: Paint) {
    if report.themes.is_empty() {
        return;
    }
    section(out, "Themes", paint);
    for theme in &report.themes {
        let head = format!(
            "{:<24} {:>5} comments  {:>4}  mood {}",
            clean(&theme.label),
            grouped(theme.size),
            percent(theme.share),
            mood(theme.mean_score)
        );
        line_of(out, &paint.cyan(&head));
        for example in theme.examples.iter().take(2) {
            line_of(out, &quoted(example, paint));
        }
    }
}

fn quoted(quote: &Quote, paint: Paint) -> String {
    format!(
        "   “{}” {}",
        short(&quote.text, QUOTED),
        paint.dim(&format!("{}, {} likes", clean(&quote.author), grouped(quote.like_count)))
    )
}

fn quotes(out: &mut String, title: &str, quotes: &[Quote], paint: Paint) {
    if quotes.is_empty() {
        return;
    }
    section(out, title, paint);
    for quote in quotes {
        line_of(out, quoted(quote, paint).trim_start());
    }
}

fn questions(out: &mut String, report: &Report, paint: Paint) {
    if report.questions.is_empty() {
        return;
    }
    section(out, "Questions worth answering", paint);
    for question in report.questions.iter().take(7) {
        let asked =
            if question.asked > 1 { format!(", asked {} times", question.asked) } else { String::new() };
        let told = format!("{} likes{asked}", grouped(question.like_count));
        line_of(out, &format!("“{}” {}", short(&question.text, QUOTED), paint.dim(&told)));
    }
}

fn foot(out: &mut String, body: &AnalysisBody, served: &Served, paint: Paint) {
    let coverage = &body.report.coverage;
    let of = coverage.of.map(|of| format!(" of {}", grouped(of))).unwrap_or_default();
    let basis =
        if coverage.basis.is_empty() { String::new() } else { format!(" ({})", clean(&coverage.basis)) };
    section(out, "Coverage", paint);
    line_of(out, &format!("{}{of} comments read{basis}", grouped(coverage.read)));
    let engine = &body.engine;
    let model = engine.model.as_deref().map(|model| format!(" {model}")).unwrap_or_default();
    let by = match (engine.judged.gemini, engine.judged.local) {
        (0, local) => format!("{} by the local engine", grouped(local)),
        (gemini, 0) => format!("{} by Gemini{model}", grouped(gemini)),
        (gemini, local) => {
            format!("{} by Gemini{model}, {} by the local engine", grouped(gemini), grouped(local))
        }
    };
    line_of(out, &format!("judged: {by}"));
    if let Some(degraded) = &engine.degraded {
        line_of(out, &paint.yellow(&format!("! {}", clean(degraded))));
    }
    section(out, "Cost", paint);
    line_of(out, &cost_line(&body.cost, served, paint));
}

fn cost_line(cost: &Cost, served: &Served, paint: Paint) -> String {
    let what = cost_in_words(cost);
    let took = format!("{:.3} s", served.took.as_secs_f64());
    if !served.cached {
        return format!("{what}; {took}");
    }
    let source = match served.source.as_str() {
        "store" => "the store".to_owned(),
        "redis" => "Redis".to_owned(),
        other => format!("the cache ({other})"),
    };
    paint.green(&format!("nothing: from {source}, {} s old, in {took}; saved {what}", served.age_seconds))
}

/// `12 quota units, 3,400 tokens ($0.0021), 4.2 s of work`.
#[must_use]
pub fn cost_in_words(cost: &Cost) -> String {
    let mut words = format!("{} quota units", grouped(cost.quota_units));
    let tokens = cost.tokens_in + cost.tokens_out;
    if tokens > 0 {
        let _ = write!(words, ", {} tokens (${:.4})", grouped(tokens), cost.micro_dollars as f64 / 1e6);
    }
    let _ = write!(words, ", {:.1} s of work", cost.milliseconds as f64 / 1e3);
    words
}
