//! The report in words, out of its own numbers. Says nothing that is not counted.

use crate::model::{Category, Report};

pub(crate) fn in_words(report: &Report) -> String {
    let read = report.coverage.read;
    if read == 0 {
        return "There are no comments to read.".to_owned();
    }
    let mut sentences = vec![coverage(report), feeling(report)];
    sentences.extend(themes(report));
    sentences.extend(categories(report));
    sentences.extend(languages(report));
    sentences.join(" ")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `1 comment`, `9,006 comments`.
fn comments(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} comment{}", if count == 1 { "" } else { "s" })
}

fn coverage(report: &Report) -> String {
    match report.coverage.of {
        Some(of) if of > report.coverage.read => {
            format!("{} of {} were read.", comments(report.coverage.read), comments(of))
        }
        _ => format!("{} were read.", comments(report.coverage.read)),
    }
}

fn feeling(report: &Report) -> String {
    let sentiment = &report.sentiment;
    let (positive, negative) = (sentiment.positive.share, sentiment.negative.share);
    let mood = if positive >= 2.0 * negative && positive > 0.2 {
        "The mood is clearly positive"
    } else if positive > negative * 1.2 {
        "The mood is rather positive"
    } else if negative >= 2.0 * positive && negative > 0.2 {
        "The mood is clearly negative"
    } else if negative > positive * 1.2 {
        "The mood is rather negative"
    } else {
        "The mood is mixed"
    };
    format!(
        "{mood}: {} positive, {} neutral, {} negative.",
        percent(positive),
        percent(sentiment.neutral.share),
        percent(negative)
    )
}

fn themes(report: &Report) -> Option<String> {
    let label =
        |index: usize| report.themes.get(index).map(|theme| format!("“{}” ({})", theme.label, theme.size));
    let named: Vec<String> = (0..3).filter_map(label).collect();
    (!named.is_empty()).then(|| format!("They speak most of {}.", named.join(", ")))
}

fn categories(report: &Report) -> Option<String> {
    let count =
        |category| report.categories.iter().find(|entry| entry.category == category).map_or(0, |c| c.count);
    let (questions, wishes, spam) =
        (count(Category::Question), count(Category::Suggestion), count(Category::Spam));
    let mut parts = Vec::new();
    if questions > 0 {
        parts.push(format!("{questions} ask something"));
    }
    if wishes > 0 {
        parts.push(format!("{wishes} wish for or suggest something"));
    }
    if spam > 0 {
        parts.push(format!("{spam} look like spam"));
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join(", ")))
}

fn languages(report: &Report) -> Option<String> {
    let known: Vec<_> = report.languages.iter().filter(|entry| entry.language != "und").collect();
    let main = known.first()?;
    (main.share < 0.9 && known.len() > 1).then(|| {
        format!(
            "{} are in {}, the rest in other languages or too short to tell.",
            percent(main.share),
            main.language
        )
    })
}
