//! Whether a text states only numbers that a report has counted: what a model writes is believed no further than that.
//!
//! It tells where a number comes from, not whether the sentence around it is true, and it reads English number words alone.

use std::collections::HashSet;

use crate::model::{Report, Share};

/// Fewer quoted words are not a quotation: a lone “99” would carry any number in.
const QUOTED_WORDS: usize = 3;
const MARKS: [char; 4] = ['"', '“', '”', '„'];
/// Without `one`, which is mostly a pronoun.
const SMALL: [&str; 20] = [
    "zero",
    "",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const LARGE: [&str; 10] = [
    "dozen",
    "dozens",
    "hundred",
    "hundreds",
    "thousand",
    "thousands",
    "million",
    "millions",
    "billion",
    "billions",
];
const FRACTIONS: [&str; 6] = ["half", "third", "thirds", "quarter", "quarters", "fifth"];

/// The numbers of a report in every form in which they may be written, and the texts that may be quoted from it.
pub(crate) struct Counted {
    numbers: HashSet<String>,
    labels: Vec<String>,
    quotations: Vec<String>,
}

impl Counted {
    pub(crate) fn of(report: &Report) -> Self {
        let Report { coverage, sentiment, categories, languages, themes, .. } = report;
        let mut counted = Self::quoted(report);
        counted.count(coverage.read);
        coverage.of.iter().for_each(|of| counted.count(*of));
        counted.numbers.extend(tokens(&coverage.basis).filter_map(|token| plain(&token)));
        for Share { count, share } in [sentiment.positive, sentiment.neutral, sentiment.negative] {
            counted.count(count);
            counted.share(share);
        }
        counted.score(sentiment.mean);
        for (count, share) in categories
            .iter()
            .map(|entry| (entry.count, entry.share))
            .chain(languages.iter().map(|entry| (entry.count, entry.share)))
        {
            counted.count(count);
            counted.share(share);
        }
        for theme in themes {
            counted.count(theme.size);
            counted.score(theme.mean_score);
        }
        counted
    }

    /// Without any number of its own: only what may be quoted, with the numbers that are in there.
    pub(crate) fn quoted(report: &Report) -> Self {
        let Report { themes, questions, suggestions, most_liked, .. } = report;
        let labels = themes.iter().map(|theme| theme.label.to_lowercase()).collect();
        let examples = themes.iter().flat_map(|theme| &theme.examples);
        let texts = examples.chain(most_liked).map(|quote| &quote.text);
        let texts = texts.chain(questions.iter().chain(suggestions).map(|asked| &asked.text));
        Self { numbers: HashSet::new(), labels, quotations: texts.map(|text| folded(text)).collect() }
    }

    fn count(&mut self, count: u64) {
        self.numbers.insert(count.to_string());
    }

    /// In percent or as a fraction, rounded or not.
    fn share(&mut self, share: f64) {
        self.numbers.extend((0..=2).map(|places| rounded(share * 100.0, places)));
        self.numbers.extend((2..=4).map(|places| rounded(share, places)));
    }

    /// The sign is not looked at: how it is written depends on the words around it.
    fn score(&mut self, score: f64) {
        self.numbers.extend((1..=4).map(|places| rounded(score.abs(), places)));
    }

    /// Whether every number in the text was counted, or stands in a theme's label or in a verbatim quotation.
    pub(crate) fn covers(&self, text: &str) -> bool {
        let mut text = self.without_quotations(text).to_lowercase();
        for label in &self.labels {
            text = without_whole(&text, label);
        }
        let tokens: Vec<String> = tokens(&text).collect();
        tokens.iter().enumerate().all(|(at, token)| {
            let next = tokens.get(at + 1).map(String::as_str);
            if token.chars().any(char::is_numeric) {
                plain(token).is_some_and(|number| self.numbers.contains(&number))
            } else if FRACTIONS.contains(&token.as_str()) {
                !matches!(next, Some("of" | "the"))
            } else if let Some(number) = in_words(token) {
                self.numbers.contains(&number)
            } else {
                !LARGE.contains(&token.as_str())
            }
        })
    }

    /// Whether whatever the text quotes is in the report.
    pub(crate) fn has_all_quotations_of(&self, text: &str) -> bool {
        // Every other piece stands between two marks.
        let mut quoted = text.split(MARKS).skip(1).step_by(2).map(folded);
        quoted.all(|quoted| quoted.split(' ').count() < QUOTED_WORDS || self.is_verbatim(&quoted))
    }

    fn without_quotations(&self, text: &str) -> String {
        let mut left = String::with_capacity(text.len());
        for (place, piece) in text.split(MARKS).enumerate() {
            let is_quotation = place % 2 == 1 && self.is_verbatim(&folded(piece));
            left.push_str(if is_quotation { "" } else { piece });
            left.push(' ');
        }
        left
    }

    fn is_verbatim(&self, quoted: &str) -> bool {
        quoted.split(' ').count() >= QUOTED_WORDS && self.quotations.iter().any(|text| text.contains(quoted))
    }
}

/// Lower case, with single spaces, and without the full stop or comma that a sentence puts inside its quotation marks.
fn folded(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches(['.', ',', '…']).to_lowercase()
}

/// The text without the places where `label` stands as a whole.
fn without_whole(text: &str, label: &str) -> String {
    if label.is_empty() {
        return text.to_owned();
    }
    let (mut left, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(label) {
        let (before, behind) = (&rest[..at], &rest[at + label.len()..]);
        let whole = !before.ends_with(char::is_alphanumeric) && !behind.starts_with(char::is_alphanumeric);
        left.push_str(before);
        left.push_str(if whole { " " } else { label });
        rest = behind;
    }
    left + rest
}

/// Runs of letters and digits; a point or comma between two digits belongs to them.
fn tokens(text: &str) -> impl Iterator<Item = String> {
    let chars: Vec<char> = text.chars().collect();
    let digit =
        |place: Option<usize>| place.and_then(|place| chars.get(place)).is_some_and(char::is_ascii_digit);
    let mut tokens = vec![String::new()];
    for (place, char) in chars.iter().enumerate() {
        let inner = matches!(char, '.' | ',') && digit(place.checked_sub(1)) && digit(Some(place + 1));
        match tokens.last_mut() {
            Some(token) if char.is_alphanumeric() || inner => token.push(*char),
            _ => tokens.push(String::new()),
        }
    }
    tokens.into_iter().filter(|token| !token.is_empty())
}

/// `9,006` as `9006`, `37.0` as `37`; `None` for what is not a number written in English.
fn plain(token: &str) -> Option<String> {
    let (whole, decimals) = token.split_once('.').unwrap_or((token, ""));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let grouped: Vec<&str> = groups.collect();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let well_grouped =
        grouped.is_empty() || (first.len() <= 3 && grouped.iter().all(|group| group.len() == 3));
    if first.is_empty() || !digits(first) || !grouped.iter().all(|group| digits(group)) || !digits(decimals) {
        return None;
    }
    let whole = first.to_owned() + &grouped.concat();
    well_grouped.then(|| without_zeros(format!("{whole}.{decimals}")))
}

fn rounded(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    if text.contains('.') { without_zeros(text) } else { text }
}

fn without_zeros(number: String) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn in_words(token: &str) -> Option<String> {
    let place = |words: &[&str]| words.iter().position(|word| *word == token);
    let small = place(&SMALL).map(|number| number.to_string());
    small.or_else(|| place(&TENS).map(|tens| ((tens + 2) * 10).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Category;
    use crate::model::{Asked, CategoryCount, Coverage, SentimentSummary, Theme};

    fn counted() -> Counted {
        let share = |count, share| Share { count, share };
        Counted::of(&Report {
            derived: true,
            coverage: Coverage {
                read: 9_006,
                of: Some(12_345),
                complete: false,
                basis: "the limit of 10000 comments was reached".to_owned(),
            },
            sentiment: SentimentSummary {
                positive: share(3_303, 3_303.0 / 9_006.0),
                neutral: share(5_703, 5_703.0 / 9_006.0),
                negative: share(0, 0.0),
                mean: -0.3672,
            },
            categories: vec![CategoryCount { category: Category::Question, count: 7, share: 0.0008 }],
            themes: vec![Theme {
                label: "iphone 15".to_owned(),
                size: 412,
                share: 0.046,
                mean_score: 0.25,
                ..Theme::default()
            }],
            questions: vec![Asked {
                comment_id: "q".to_owned(),
                author: "@a".to_owned(),
                text: "Why did  you sell it for 500 dollars? 99 % would not".to_owned(),
                like_count: 3,
                reply_count: 0,
                asked: 1,
            }],
            ..Report::default()
        })
    }

    #[test]
    fn a_number_may_be_written_in_any_form_of_a_counted_one() {
        for text in [
            "Of 9,006 comments read (12345 in all), 37 % are positive, 36.7% or 3303; 63.32 % neutral, 0 negative.",
            "The limit of 10,000 comments was reached. The mean is -0.37, the share of the good 0.3668.",
            "Seven ask something. The second most named is “iPhone 15” with 412 comments, felt at +0.25.",
            "One of them asks “why did you sell it for 500 dollars?” in the second half.",
            "No number at all, and no one minds.",
        ] {
            assert!(counted().covers(text), "{text}");
        }
    }

    #[test]
    fn a_quotation_of_somebody_who_is_not_there_any_more_is_found() {
        let quotes = |text: &str| counted().has_all_quotations_of(text);
        assert!(quotes("One asks “why did you sell it for”, “so” to speak, of the “iphone 15”."));
        assert!(!quotes("One asks “why did you buy it?”"));
    }

    #[test]
    fn a_number_that_nobody_counted_is_found() {
        for text in [
            "38 % are positive.",
            "Of 9006 comments, 3,304 are positive.",
            "9.006 comments were read.",
            "Some 90,06 comments.",
            "99 % would not.",
            "“99 %” would not.",
            "It is said that “99 % would buy it”.",
            "15 viewers speak of it.",
            "iphone 150 is named.",
            "It was liked 10/10.",
            "About 9k comments, the 412th among them.",
            "Ninety ask for more.",
            "Hundreds ask for more, and 7 million watch.",
            "Two thirds of them are glad.",
            "Half of the comments are glad.",
            "٣٧ of them, or ½.",
        ] {
            assert!(!counted().covers(text), "{text}");
        }
    }
}
