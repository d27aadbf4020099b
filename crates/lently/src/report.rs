//! An analysis for people: here for a terminal, with bars, themes with examples, questions, a summary, what it cost; below as files.
//! Text of strangers is stripped of everything that could steer a terminal.

mod csv;
mod export;
mod html;
mod markdown;

mod over_time;
mod since;
mod text;
mod told;

#[cfg(test)]
mod samples;

use std::fmt::Write as _;

use lently_analysis::{Asked, MIXED_LANGUAGES, NO_LANGUAGE, Quote, Report, Share, TOO_SHORT, grouped};
use lently_cache::Cost;
use lently_service::{AnalysisBody, BodySource};

use self::text::{bar, counted, mood, percent, short};
pub use self::{
    export::{ExportError, Format, export},
    html::POLICY,
    text::{Paint, clean},
};

/// The longest line of prose, in characters.
const WIDTH: usize = 96;
/// The width of a bar.
const BAR: usize = 24;
/// The most rows of sentiment over time.
const ROWS: u8 = 14;
/// The longest quotation, in characters.
const QUOTED: usize = 100;

/// How the answer came.
#[derive(Clone, Debug)]
pub struct Served {
    /// Whether it was there already.
    pub cached: bool,
    /// Where it was: `memory`, `redis`, `disk`, `store`, `fetched`.
    pub source: String,
    /// How old it is.
    pub age_seconds: u64,
    /// Why it is given though it is no longer fresh, where it is not.
    pub stale: Option<&'static str>,
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
    asked(&mut out, "Questions worth answering", &report.questions, paint);
    asked(&mut out, "Suggestions", &report.suggestions, paint);
    quotes(&mut out, "Most liked", &report.most_liked, paint);
    quotes(&mut out, "Most replied to", &report.most_replied, paint);
    commenters(&mut out, report, paint);
    section(&mut out, "Summary", paint);
    for line in text::wrapped(&clean(&report.summary), WIDTH) {
        line_of(&mut out, &line);
    }
    if let Some(since) = &body.since {
        section(&mut out, "Since it was analyzed last", paint);
        since::lines(since).iter().for_each(|line| line_of(&mut out, line));
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
    let _ = writeln!(out, "{}", paint.dim(&clean(&told::source(&body.source))));
    if let Some(caution) = &body.report.caution {
        for (place, line) in text::wrapped(&clean(caution), WIDTH).iter().enumerate() {
            let mark = if place == 0 { "!" } else { " " };
            let _ = writeln!(out, "{}", paint.yellow(&format!("{mark} {line}")));
        }
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
    let Some(over_time::Rows { width, rows }) = over_time::rows(&report.sentiment_over_time, ROWS) else {
        return;
    };
    section(out, &format!("Over time (by {width})"), paint);
    let most = rows.iter().map(over_time::Row::count).max().unwrap_or(1).max(1);
    for row in rows {
        let (start, count, mean) = (&row.start, row.count(), row.mean);
        let length = bar(count as f64 / most as f64, BAR);
        let (colored, felt) = match mean {
            None => (paint.dim(&length), String::new()),
            Some(mean) if mean > 0.05 => (paint.green(&length), mood(mean)),
            Some(mean) if mean < -0.05 => (paint.red(&length), mood(mean)),
            Some(mean) => (paint.dim(&length), mood(mean)),
        };
        line_of(out, &format!("{start:<11} {colored} {felt:>5}  {:>7}", grouped(count)));
    }
}

fn categories(out: &mut String, report: &Report, paint: Paint) {
    section(out, "Categories", paint);
    for entry in report.categories.iter().filter(|entry| entry.count > 0) {
        let share = Share { count: entry.count, share: entry.share };
        share_line(out, entry.category.name(), share, &paint.cyan(&bar(entry.share, BAR)));
    }
}

fn languages(out: &mut String, report: &Report, paint: Paint) {
    if report.toxic.count > 0 {
        let Share { count, share } = report.toxic;
        let insult = if count == 1 { "insults or threatens" } else { "insult or threaten" };
        line_of(out, &paint.red(&format!("{} ({}) {insult} somebody", grouped(count), percent(share))));
    }
    section(out, "Languages", paint);
    // Codes are what the terminal has room for; what is no language has a name.
    let named = |code: &str| match code {
        "und" | MIXED_LANGUAGES | NO_LANGUAGE | TOO_SHORT => told::language(code).to_owned(),
        code => clean(code),
    };
    let shown: Vec<String> = report
        .languages
        .iter()
        .take(8)
        .map(|entry| (named(&entry.language), percent(entry.share)))
        .filter(|(_, share)| share != "0 %")
        .map(|(language, share)| format!("{language} {share}"))
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
    let (author, mut told) = (clean(&quote.author), counted(quote.like_count, "like"));
    if quote.reply_count > 0 {
        let replies = if quote.reply_count == 1 { "reply" } else { "replies" };
        let _ = write!(told, ", {} {replies}", grouped(quote.reply_count));
    }
    let told = if author.is_empty() { told } else { format!("{author}, {told}") };
    format!("   “{}” {}", short(&quote.text, QUOTED), paint.dim(&told))
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

fn asked(out: &mut String, title: &str, all: &[Asked], paint: Paint) {
    if all.is_empty() {
        return;
    }
    section(out, title, paint);
    for asked in all.iter().take(7) {
        let times = match asked.asked {
            0 | 1 => String::new(),
            times => format!(", asked {} times", grouped(times)),
        };
        let told = format!("{}{times}", counted(asked.like_count, "like"));
        line_of(out, &format!("“{}” {}", short(&asked.text, QUOTED), paint.dim(&told)));
    }
}

fn commenters(out: &mut String, report: &Report, paint: Paint) {
    if report.commenters.is_empty() {
        return;
    }
    section(out, "Most active", paint);
    for commenter in report.commenters.iter().take(5) {
        let told = format!(
            "{}, {}, mood {}",
            counted(commenter.comments, "comment"),
            counted(commenter.like_count, "like"),
            mood(commenter.mean_score)
        );
        line_of(out, &format!("{:<24} {}", short(&commenter.author, 24), paint.dim(&told)));
    }
}

fn foot(out: &mut String, body: &AnalysisBody, served: &Served, paint: Paint) {
    section(out, "Coverage", paint);
    line_of(out, &clean(&told::coverage(&body.report.coverage)));
    line_of(out, &format!("judged: {}", clean(&told::judged(&body.engine))));
    if matches!(body.source, BodySource::Video { .. }) {
        line_of(out, &paint.dim(told::DERIVED));
    }
    if let Some(degraded) = &body.engine.degraded {
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
    let told =
        format!("nothing: from {source}, {} s old, in {took}; saved {what}", grouped(served.age_seconds));
    match served.stale {
        Some(why) => paint.yellow(&format!("{told}; no longer fresh ({why})")),
        None => paint.green(&told),
    }
}

/// `12 quota units, 3,400 tokens ($0.0021), 4.2 s of work`.
#[must_use]
pub fn cost_in_words(cost: &Cost) -> String {
    let mut words = counted(cost.quota_units, "quota unit");
    let tokens = cost.tokens_in + cost.tokens_out;
    if tokens > 0 {
        let _ = write!(words, ", {} (${:.4})", counted(tokens, "token"), cost.micro_dollars as f64 / 1e6);
    }
    let _ = write!(words, ", {:.1} s of work", cost.milliseconds as f64 / 1e3);
    words
}
