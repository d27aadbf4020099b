//! Two reports side by side: what differs, and whether by more than chance would. It counts nothing anew.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    model::{Category, Report, Share, Theme},
    themes::rounded,
};

/// Beyond so many standard errors a difference is called one: by chance alone it would be seen in one comparison of twenty.
const STANDARD_ERRORS: f64 = 1.96;
/// Where fewer comments than this would be expected on a side, the normal approximation does not hold, and nothing is claimed.
const EXPECTED_LEAST: f64 = 5.0;
/// Fewer comments than this on a side are compared with a caution.
const FEW: u64 = 100;

/// What differs between two reports. A change is the second's share less the first's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How the comments feel: positive, neutral, negative.
    pub sentiment: Vec<ShareChange>,
    /// The second's mean score less the first's.
    pub mean_change: f64,
    /// What they are for.
    pub categories: Vec<ShareChange>,
    /// Their languages; those of less than a hundredth on both sides are left out.
    pub languages: Vec<ShareChange>,
    /// Insults and threats.
    pub toxic: ShareChange,
    /// What they speak of, by label, the largest change first.
    pub themes: Vec<ThemeChange>,
    /// What to be careful about.
    pub caution: Option<String>,
}

/// A share on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareChange {
    /// Of what: `positive`, `question`, `en`.
    pub name: String,
    /// In the first.
    pub before: Share,
    /// In the second.
    pub after: Share,
    /// `after` less `before`, -1 to 1.
    pub change: f64,
    /// Whether that is more than chance, by a two-proportion z-test at the level of 5 %, with both sides taken as samples.
    pub significant: bool,
}

/// A theme on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThemeChange {
    /// The label.
    pub label: String,
    /// In the first; `None` where it is none of its themes, which it may be all the same in few comments.
    pub before: Option<Share>,
    /// In the second; the same.
    pub after: Option<Share>,
    /// The second's share less the first's, none counted as zero.
    pub change: f64,
    /// As of a share; never where the theme is missing on a side.
    pub significant: bool,
}

/// Compares two reports.
#[must_use]
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let (first, second) = (before.coverage.read, after.coverage.read);
    let change = |name: &str, before: Share, after: Share| ShareChange {
        name: name.to_owned(),
        before,
        after,
        change: rounded(after.share - before.share),
        significant: is_significant((before.count, first), (after.count, second)),
    };
    let (was, is) = (&before.sentiment, &after.sentiment);
    let category = |report: &Report, category: Category| {
        let found = report.categories.iter().find(|entry| entry.category == category);
        found.map_or_else(Share::default, |entry| Share { count: entry.count, share: entry.share })
    };
    let language = |report: &Report, code: &str| {
        let found = report.languages.iter().find(|entry| entry.language == code);
        found.map_or_else(Share::default, |entry| Share { count: entry.count, share: entry.share })
    };
    let codes: BTreeSet<&str> = before
        .languages
        .iter()
        .chain(&after.languages)
        .filter(|entry| entry.share >= 0.01)
        .map(|entry| entry.language.as_str())
        .collect();
    Comparison {
        sentiment: vec![
            change("positive", was.positive, is.positive),
            change("neutral", was.neutral, is.neutral),
            change("negative", was.negative, is.negative),
        ],
        mean_change: rounded(is.mean - was.mean),
        categories: Category::ALL
            .into_iter()
            .map(|of| change(of.name(), category(before, of), category(after, of)))
            .collect(),
        languages: codes
            .into_iter()
            .map(|code| change(code, language(before, code), language(after, code)))
            .collect(),
        toxic: change("toxic", before.toxic, after.toxic),
        themes: themes(before, after),
        caution: caution(first, second),
    }
}

fn themes(before: &Report, after: &Report) -> Vec<ThemeChange> {
    let share = |theme: &Theme| Share { count: theme.size, share: theme.share };
    let of =
        |report: &Report, label: &str| report.themes.iter().find(|theme| theme.label == label).map(share);
    let labels: BTreeSet<&str> =
        before.themes.iter().chain(&after.themes).map(|theme| theme.label.as_str()).collect();
    let mut changes: Vec<ThemeChange> = labels
        .into_iter()
        .map(|label| {
            let (was, is) = (of(before, label), of(after, label));
            let part = |share: Option<Share>| share.map_or(0.0, |share| share.share);
            let counted = |share: Share, report: &Report| (share.count, report.coverage.read);
            let significant =
                was.zip(is).is_some_and(|(was, is)| is_significant(counted(was, before), counted(is, after)));
            ThemeChange {
                label: label.to_owned(),
                before: was,
                after: is,
                change: rounded(part(is) - part(was)),
                significant,
            }
        })
        .collect();
    changes.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()).then_with(|| a.label.cmp(&b.label)));
    changes
}

/// Whether two shares, each a count of so many, differ by more than chance.
fn is_significant((first, of_first): (u64, u64), (second, of_second): (u64, u64)) -> bool {
    if of_first == 0 || of_second == 0 {
        return false;
    }
    let (n, m) = (of_first as f64, of_second as f64);
    let pooled = (first + second) as f64 / (n + m);
    let expected = n.min(m) * pooled.min(1.0 - pooled);
    if expected < EXPECTED_LEAST {
        return false;
    }
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    ((second as f64 / m - first as f64 / n) / error).abs() > STANDARD_ERRORS
}

fn caution(first: u64, second: u64) -> Option<String> {
    (first.min(second) < FEW).then(|| {
        format!("One side has {} comments: differences between so few are mostly chance.", first.min(second))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CategoryCount, Coverage, LanguageCount, SentimentSummary};

    fn report(positive: u64, negative: u64, themes: &[(&str, u64)]) -> Report {
        let read = positive + negative;
        let share = |count: u64| Share { count, share: count as f64 / read.max(1) as f64 };
        let theme = |(label, size): &(&str, u64)| Theme {
            label: (*label).to_owned(),
            size: *size,
            share: share(*size).share,
            ..Theme::default()
        };
        Report {
            coverage: Coverage { read, ..Coverage::default() },
            sentiment: SentimentSummary {
                positive: share(positive),
                negative: share(negative),
                mean: share(positive).share,
                ..SentimentSummary::default()
            },
            categories: vec![CategoryCount {
                category: Category::Praise,
                count: positive,
                share: share(positive).share,
            }],
            languages: vec![LanguageCount { language: "en".to_owned(), count: read, share: 1.0 }],
            themes: themes.iter().map(theme).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_difference_is_told_from_chance_by_the_numbers_behind_it() {
        // 60 % against 50 %: of a thousand it is a change, of forty it is not.
        let of = |times: u64| compare(&report(5 * times, 5 * times, &[]), &report(6 * times, 4 * times, &[]));
        let (many, few) = (of(100), of(4));
        assert_eq!((many.sentiment[0].change, many.sentiment[0].significant), (0.1, true));
        assert_eq!((few.sentiment[0].change, few.sentiment[0].significant), (0.1, false));
        assert_eq!((many.mean_change, many.categories[1].significant), (0.1, true));
        assert_eq!(many.caution, None);
        assert!(few.caution.is_some_and(|told| told.starts_with("One side has 40 comments")));
        assert_eq!((many.languages.len(), many.languages[0].significant), (1, false));
    }

    #[test]
    fn themes_come_go_and_change() {
        let (before, after) = (
            report(500, 500, &[("sound", 100), ("light", 50), ("gone", 20)]),
            report(500, 500, &[("sound", 300), ("light", 52), ("new", 90)]),
        );
        let changes = compare(&before, &after).themes;
        let told: Vec<_> = changes
            .iter()
            .map(|theme| {
                (theme.label.as_str(), theme.before.is_some(), theme.after.is_some(), theme.significant)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("sound", true, true, true),
                ("new", false, true, false),
                ("gone", true, false, false),
                ("light", true, true, false)
            ]
        );
    }

    #[test]
    fn nothing_is_compared_with_nothing_without_a_word() {
        let none = report(0, 0, &[]);
        let told = compare(&none, &none);
        assert!(told.sentiment.iter().all(|share| !share.significant && share.change == 0.0));
        assert!(told.caution.is_some() && told.themes.is_empty());
    }
}
