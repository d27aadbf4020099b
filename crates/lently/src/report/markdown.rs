//! The report for a document. Texts of strangers stay on their line and are text alone: no link, no picture, no markup, no mention.

use std::fmt::Write as _;

use lently_analysis::{Asked, Quote, Report, Share, grouped};
use lently_service::{AnalysisBody, BodySource};

use super::{
    over_time::{Rows, rows},
    since,
    text::{clean, counted, mood, percent, short},
    told,
};

/// The longest quotation, in characters.
const QUOTED: usize = 300;
const ROWS: u8 = 14;
const LANGUAGES: usize = 12;

/// The whole document; ends with a line break.
pub(super) fn document(body: &AnalysisBody) -> String {
    let (mut out, report) = (String::new(), &body.report);
    head(&mut out, body);
    if let Some(since) = &body.since {
        paragraph(&mut out, "## Since it was analyzed last");
        list(&mut out, since::lines(since).iter().map(|line| escaped(line)));
    }
    paragraph(&mut out, "## Summary");
    paragraph(&mut out, &escaped(&report.summary));
    sentiment(&mut out, report);
    over_time(&mut out, report);
    section(&mut out, "Categories", &["Category", "Share", "Comments"]);
    for entry in report.categories.iter().filter(|entry| entry.count > 0) {
        let share = Share { count: entry.count, share: entry.share };
        row_of(&mut out, entry.category.name(), share);
    }
    themes(&mut out, report);
    asked(&mut out, "Questions worth answering", &report.questions);
    asked(&mut out, "Suggestions", &report.suggestions);
    quotes(&mut out, "Most liked", &report.most_liked);
    quotes(&mut out, "Most replied to", &report.most_replied);
    section(&mut out, "Languages", &["Language", "Share", "Comments"]);
    for entry in report.languages.iter().take(LANGUAGES) {
        let share = Share { count: entry.count, share: entry.share };
        row_of(&mut out, told::language(&entry.language), share);
    }
    commenters(&mut out, report);
    foot(&mut out, body);
    out
}

/// Writing to a String cannot fail.
fn paragraph(out: &mut String, text: &str) {
    let gap = if out.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{gap}{text}");
}

/// A heading with a table under it, whose rows follow.
fn section(out: &mut String, title: &str, columns: &[&str]) {
    paragraph(out, &format!("## {title}"));
    let rule: Vec<&str> =
        columns.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
    paragraph(out, &format!("| {} |\n| {} |", columns.join(" | "), rule.join(" | ")));
}

fn row(out: &mut String, cells: &[String]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn row_of(out: &mut String, name: &str, Share { count, share }: Share) {
    row(out, &[escaped(name), percent(share), grouped(count)]);
}

fn head(out: &mut String, body: &AnalysisBody) {
    paragraph(out, &format!("# {}", escaped(body.source.title())));
    let source = escaped(&told::source(&body.source));
    paragraph(out, &told::address(body).map_or(source.clone(), |address| format!("[{source}]({address})")));
    if let Some(caution) = &body.report.caution {
        paragraph(out, &format!("> **Caution.** {}", escaped(caution)));
    }
}

fn sentiment(out: &mut String, report: &Report) {
    let sentiment = &report.sentiment;
    section(out, "Sentiment", &["Sentiment", "Share", "Comments"]);
    row_of(out, "positive", sentiment.positive);
    row_of(out, "neutral", sentiment.neutral);
    row_of(out, "negative", sentiment.negative);
    let mean = format!("The mean is {}, on a scale from -1 to +1.", mood(sentiment.mean));
    let toxic = match report.toxic {
        Share { count: 0, .. } => String::new(),
        Share { count: 1, share } => {
            format!(" 1 comment ({}) insults or threatens somebody.", percent(share))
        }
        Share { count, share } => {
            format!(" {} comments ({}) insult or threaten somebody.", grouped(count), percent(share))
        }
    };
    paragraph(out, &format!("{mean}{toxic}"));
}

fn over_time(out: &mut String, report: &Report) {
    let Some(Rows { width, rows }) = rows(&report.sentiment_over_time, ROWS) else {
        return;
    };
    let columns = ["From", "Positive", "Neutral", "Negative", "Mean"];
    section(out, &format!("Over time (by {width})"), &columns);
    for one in rows {
        let mean = one.mean.map(mood).unwrap_or_default();
        let counts = [one.positive, one.neutral, one.negative].map(grouped);
        row(out, &[vec![one.start], counts.to_vec(), vec![mean]].concat());
    }
}

fn themes(out: &mut String, report: &Report) {
    if report.themes.is_empty() {
        return;
    }
    section(out, "Themes", &["Theme", "Share", "Comments", "Mean"]);
    for theme in &report.themes {
        let name = escaped(theme.name.as_ref().unwrap_or(&theme.label));
        row(out, &[name, percent(theme.share), grouped(theme.size), mood(theme.mean_score)]);
    }
    for theme in &report.themes {
        paragraph(out, &format!("**{}**", escaped(theme.name.as_ref().unwrap_or(&theme.label))));
        list(out, theme.examples.iter().take(2).map(quoted));
    }
}

/// Items after an empty line.
fn list(out: &mut String, items: impl Iterator<Item = String>) {
    out.push('\n');
    for item in items {
        let _ = writeln!(out, "- {item}");
    }
}

fn quoted(quote: &Quote) -> String {
    let mut told = counted(quote.like_count, "like");
    if quote.reply_count > 0 {
        let replies = if quote.reply_count == 1 { "reply" } else { "replies" };
        let _ = write!(told, ", {} {replies}", grouped(quote.reply_count));
    }
    said(&quote.text, &quote.author, &told)
}

fn said(text: &str, author: &str, told: &str) -> String {
    let author = escaped(author);
    let by = if author.is_empty() { String::new() } else { format!("{author}, ") };
    format!("“{}” ({by}{told})", escaped(&short(text, QUOTED)))
}

fn quotes(out: &mut String, title: &str, quotes: &[Quote]) {
    if !quotes.is_empty() {
        paragraph(out, &format!("## {title}"));
        list(out, quotes.iter().map(quoted));
    }
}

fn asked(out: &mut String, title: &str, all: &[Asked]) {
    if all.is_empty() {
        return;
    }
    paragraph(out, &format!("## {title}"));
    list(
        out,
        all.iter().map(|asked| {
            let times = match asked.asked {
                0 | 1 => String::new(),
                times => format!(", asked {} times", grouped(times)),
            };
            said(&asked.text, &asked.author, &format!("{}{times}", counted(asked.like_count, "like")))
        }),
    );
}

fn commenters(out: &mut String, report: &Report) {
    if report.commenters.is_empty() {
        return;
    }
    section(out, "Most active", &["Commenter", "Comments", "Likes", "Mean"]);
    for one in &report.commenters {
        let numbers = [grouped(one.comments), grouped(one.like_count), mood(one.mean_score)];
        row(out, &[vec![escaped(&one.author)], numbers.to_vec()].concat());
    }
}

fn foot(out: &mut String, body: &AnalysisBody) {
    paragraph(out, "## How this was made");
    let mut lines = vec![
        told::coverage(&body.report.coverage),
        format!("judged: {}", told::judged(&body.engine)),
        format!("made on {}", body.created_at.strftime("%Y-%m-%d")),
    ];
    lines.extend(body.engine.degraded.clone());
    if matches!(body.source, BodySource::Video { .. }) {
        lines.push(told::DERIVED.to_owned());
    }
    list(out, lines.iter().map(|line| escaped(line)));
}

/// A text on one line that every reader of Markdown shows as it was written.
fn escaped(text: &str) -> String {
    let text = clean(text);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '{' | '}' => out.extend(['\\', c]),
            // What GitHub and its kin make a link of without being asked: addresses.
            ':' if rest.starts_with("://") => out.push_str("\\:"),
            '.' if follows_www(&text[..at]) => out.push_str("\\."),
            // A mention would call somebody, and an address of mail is a link: a joiner nobody sees keeps it a text.
            '@' => out.push_str("@\u{2060}"),
            // Where a line begins, a number or a sign would make a list of it.
            '-' | '+' if at == 0 => out.extend(['\\', c]),
            '.' | ')' if at > 0 && text[..at].bytes().all(|b| b.is_ascii_digit()) => out.extend(['\\', c]),
            '!' if rest.starts_with("![") => out.push_str("\\!"),
            _ => out.push(c),
        }
    }
    out
}

fn follows_www(before: &str) -> bool {
    before.len() >= 3 && before.as_bytes()[before.len() - 3..].eq_ignore_ascii_case(b"www")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_break_out_of_its_line() {
        for (text, expected) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("a | b\n| --- |", "a \\| b \\| --- \\|"),
            ("`rm -rf` ```", "\\`rm -rf\\` \\`\\`\\`"),
            ("![x](http://a.b/c.png)", "\\!\\[x\\](http\\://a.b/c.png)"),
            ("# heading", "\\# heading"),
            ("1. first", "1\\. first"),
            ("- item", "\\- item"),
            ("ask @octocat or a@b.c", "ask @\u{2060}octocat or a@\u{2060}b.c"),
            ("see WWW.example.org", "see WWW\\.example.org"),
            ("&lt;b&gt; \\", "&amp;lt;b&amp;gt; \\\\"),
            ("\u{202e}evil\u{2066}", "evil"),
            ("well-known, 3.5 stars: 👍", "well-known, 3.5 stars: 👍"),
        ] {
            assert_eq!(escaped(text), expected, "{text}");
        }
    }
}
