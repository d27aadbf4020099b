//! The report in words, out of its own numbers. Says nothing that is not counted.

use crate::{
    language::{MIXED_LANGUAGES, NO_LANGUAGE, TOO_SHORT},
    model::{Category, Claim, Report, SentimentSummary, Theme},
};

/// Sentence by sentence, with the comments that each rests on.
pub(crate) fn claims(report: &Report) -> Vec<Claim> {
    let counted = |text: String| Claim { text, comment_ids: Vec::new() };
    if report.coverage.read == 0 {
        return vec![counted("There are no comments to read.".to_owned())];
    }
    let mut claims = vec![counted(coverage(report)), counted(feeling(report))];
    claims.extend(themes(report));
    claims.extend(categories(report));
    claims.extend(languages(report).map(counted));
    claims
}

/// The sentences as one text.
#[must_use]
pub fn in_words(claims: &[Claim]) -> String {
    claims.iter().map(|claim| claim.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// `37 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `20,099`: thousands are parted by commas.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 asks`, `9,006 ask`: a number before a word that depends on it.
fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { more })
}

fn coverage(report: &Report) -> String {
    let read = report.coverage.read;
    match report.coverage.of {
        Some(of) if of > read => {
            let were = if read == 1 { "was" } else { "were" };
            format!("{} of {} comments {were} read.", grouped(read), grouped(of))
        }
        _ => format!("{} read.", counted(read, "comment was", "comments were")),
    }
}

/// The mood in a few words. Most is more than half, and nothing else is called most.
#[must_use]
pub fn mood(sentiment: &SentimentSummary) -> String {
    let (positive, neutral, negative) =
        (sentiment.positive.share, sentiment.neutral.share, sentiment.negative.share);
    let leaning = if positive > negative * 1.2 {
        ", more positive than negative"
    } else if negative > positive * 1.2 {
        ", more negative than positive"
    } else {
        ""
    };
    if positive > 0.5 {
        "mostly positive".to_owned()
    } else if negative > 0.5 {
        "mostly negative".to_owned()
    } else if neutral > 0.5 {
        format!("mostly neutral{leaning}")
    } else {
        format!("mixed{leaning}")
    }
}

fn feeling(report: &Report) -> String {
    let sentiment = &report.sentiment;
    format!(
        "The mood is {}: {} positive, {} neutral, {} negative.",
        mood(sentiment),
        percent(sentiment.positive.share),
        percent(sentiment.neutral.share),
        percent(sentiment.negative.share)
    )
}

fn themes(report: &Report) -> Option<Claim> {
    let first = &report.themes[..report.themes.len().min(3)];
    let named: Vec<String> =
        first.iter().map(|theme| format!("“{}” ({})", theme.label, grouped(theme.size))).collect();
    let comment_ids = first.iter().filter_map(evidence).collect();
    (!named.is_empty())
        .then(|| Claim { text: format!("They speak most of {}.", named.join(", ")), comment_ids })
}

/// The comment that stands for a theme.
fn evidence(theme: &Theme) -> Option<String> {
    theme.examples.first().map(|example| example.comment_id.clone())
}

fn categories(report: &Report) -> Option<Claim> {
    let count =
        |category| report.categories.iter().find(|entry| entry.category == category).map_or(0, |c| c.count);
    let (questions, wishes, spam) =
        (count(Category::Question), count(Category::Suggestion), count(Category::Spam));
    let mut parts = Vec::new();
    if questions > 0 {
        parts.push(format!("{} something", counted(questions, "asks", "ask")));
    }
    if wishes > 0 {
        parts.push(format!("{} something", counted(wishes, "wishes for or suggests", "wish for or suggest")));
    }
    if spam > 0 {
        parts.push(format!("{} like spam", counted(spam, "looks", "look")));
    }
    let asked = report.questions.first().into_iter().chain(report.suggestions.first());
    let comment_ids = asked.map(|asked| asked.comment_id.clone()).collect();
    (!parts.is_empty()).then(|| Claim { text: format!("{}.", parts.join(", ")), comment_ids })
}

fn languages(report: &Report) -> Option<String> {
    let told = |code: &str| !["und", NO_LANGUAGE, TOO_SHORT].contains(&code);
    let known: Vec<_> = report.languages.iter().filter(|entry| told(&entry.language)).collect();
    let main = known.first()?;
    (main.share < 0.9 && known.len() > 1).then(|| {
        let (named, others) = match main.language.as_str() {
            MIXED_LANGUAGES => ("mix two languages".to_owned(), "one"),
            code => (format!("are in {code}"), "other languages"),
        };
        format!("{} {named}, the rest in {others} or too short to tell.", percent(main.share))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CategoryCount, Coverage, Share};

    fn report(positive: u64, neutral: u64, negative: u64) -> Report {
        let read = positive + neutral + negative;
        let share = |count: u64| Share { count, share: count as f64 / read.max(1) as f64 };
        Report {
            derived: true,
            coverage: Coverage { read, of: Some(read), complete: true, basis: String::new() },
            sentiment: SentimentSummary {
                positive: share(positive),
                neutral: share(neutral),
                negative: share(negative),
                mean: 0.0,
            },
            ..Report::default()
        }
    }

    #[test]
    fn the_mood_is_named_after_what_most_comments_are() {
        for (positive, neutral, negative, expected) in [
            (23, 72, 5, "mostly neutral, more positive than negative: 23 % positive"),
            (5, 72, 23, "mostly neutral, more negative than positive"),
            (10, 80, 10, "mostly neutral: 10 %"),
            (60, 30, 10, "mostly positive:"),
            (10, 30, 60, "mostly negative:"),
            (44, 43, 13, "mixed, more positive than negative"),
            (13, 43, 44, "mixed, more negative than positive"),
            (40, 20, 40, "mixed: 40 %"),
        ] {
            let words = in_words(&claims(&report(positive, neutral, negative)));
            assert!(words.contains(&format!("The mood is {expected}")), "{words}");
        }
    }

    #[test]
    fn one_is_told_otherwise_than_many_and_thousands_are_parted() {
        let mut one = report(1, 0, 0);
        let count = |category, count| CategoryCount { category, count, share: 1.0 };
        one.categories = vec![count(Category::Question, 1), count(Category::Spam, 1)];
        one.categories.push(count(Category::Suggestion, 1));
        let words = in_words(&claims(&one));
        assert!(words.starts_with("1 comment was read. "), "{words}");
        assert!(words.ends_with("1 asks something, 1 wishes for or suggests something, 1 looks like spam."));
        one.coverage.of = Some(1_520);
        assert!(in_words(&claims(&one)).starts_with("1 of 1,520 comments was read. "));

        let mut many = report(20_099, 0, 0);
        many.categories = vec![count(Category::Question, 3_841)];
        let theme = |size| Theme { label: "sound".into(), size, share: 0.2, ..Theme::default() };
        many.themes = vec![theme(3_841)];
        let words = in_words(&claims(&many));
        assert!(words.starts_with("20,099 comments were read. "), "{words}");
        assert!(words.contains("“sound” (3,841). 3,841 ask something."), "{words}");
    }
}
