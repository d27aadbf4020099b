//! VADER: sentiment of English social-media text by a lexicon and a handful of rules (Hutto & Gilbert, ICWSM 2014).
//! Reproduces the Python package `vaderSentiment` 3.3.2, its quirks included; says nothing about other languages.

mod context;
mod lexicon;

pub(crate) use self::lexicon::{is_emoji, knows as is_english};

use self::context::Context;

/// How much an exclamation mark adds, up to four of them.
const EXCLAMATION: f64 = 0.292;
/// How much a question mark adds where there are two or three.
const QUESTION: f64 = 0.18;
/// How much four question marks or more add in all.
const MANY_QUESTIONS: f64 = 0.96;
/// What is before a "but" counts half, what is behind it half again as much.
const BEFORE_BUT: f64 = 0.5;
const AFTER_BUT: f64 = 1.5;
/// Brings the sum of valences into -1 to 1.
const ALPHA: f64 = 15.0;

/// The sentiment of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Polarity {
    /// The share of the text that is negative; the three shares add up to 1, each to three decimals.
    pub neg: f64,
    /// The share that is neutral.
    pub neu: f64,
    /// The share that is positive.
    pub pos: f64,
    /// The whole: -1 most negative, 1 most positive, to four decimals.
    pub compound: f64,
}

/// The analyzer. Its word lists are read on first use and then shared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vader;

impl Vader {
    /// Judges a text; linear in its length. No text is refused: without words all is 0.
    #[must_use]
    pub fn polarity(text: &str) -> Polarity {
        let text = lexicon::describe_emoji(text);
        let context = Context::new(&text);
        let mut valences: Vec<f64> = (0..context.words.len()).map(|place| context.valence(place)).collect();
        if let Some(but) = context.words.iter().position(|word| word.lower == "but") {
            shift_at_but(&mut valences, but);
        }
        score(&valences, emphasis(&text))
    }
}

/// Weighs what stands before and behind a "but". The package looks each valence up by its value and so changes the
/// first one that equals it; so does this.
fn shift_at_but(valences: &mut [f64], but: usize) {
    for place in 0..valences.len() {
        let valence = valences[place];
        let Some(first) = valences.iter().position(|other| *other == valence) else { continue };
        match first.cmp(&but) {
            std::cmp::Ordering::Less => valences[first] = valence * BEFORE_BUT,
            std::cmp::Ordering::Greater => valences[first] = valence * AFTER_BUT,
            std::cmp::Ordering::Equal => {}
        }
    }
}

fn emphasis(text: &str) -> f64 {
    let exclamations = text.matches('!').count().min(4) as f64 * EXCLAMATION;
    let questions = match text.matches('?').count() {
        0 | 1 => 0.0,
        few @ 2..=3 => few as f64 * QUESTION,
        _ => MANY_QUESTIONS,
    };
    exclamations + questions
}

fn score(valences: &[f64], emphasis: f64) -> Polarity {
    if valences.is_empty() {
        return Polarity::default();
    }
    let mut sum: f64 = valences.iter().sum();
    if sum > 0.0 {
        sum += emphasis;
    } else if sum < 0.0 {
        sum -= emphasis;
    }
    let compound = (sum / (sum * sum + ALPHA).sqrt()).clamp(-1.0, 1.0);
    let mut pos: f64 = valences.iter().filter(|v| **v > 0.0).map(|v| v + 1.0).sum();
    let mut neg: f64 = valences.iter().filter(|v| **v < 0.0).map(|v| v - 1.0).sum();
    let neu = valences.iter().filter(|v| **v == 0.0).count() as f64;
    if pos > neg.abs() {
        pos += emphasis;
    } else if pos < neg.abs() {
        neg -= emphasis;
    }
    let total = pos + neg.abs() + neu;
    Polarity {
        neg: round((neg / total).abs(), 1e3),
        neu: round((neu / total).abs(), 1e3),
        pos: round((pos / total).abs(), 1e3),
        compound: round(compound, 1e4),
    }
}

fn round(value: f64, to: f64) -> f64 {
    (value * to).round() / to
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of the Python package 3.3.2 for sentences of ours; made by `scripts/check-vader --golden`.
    const GOLDEN: &str = include_str!("vader/golden.tsv");

    #[test]
    fn every_golden_sentence_scores_as_in_the_package() {
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [neg, neu, pos, compound, text] = fields[..] else { panic!("{line}") };
            let found = Vader::polarity(text);
            for (name, have, want) in [
                ("neg", found.neg, neg),
                ("neu", found.neu, neu),
                ("pos", found.pos, pos),
                ("compound", found.compound, compound),
            ] {
                let want: f64 = want.parse().expect("a number");
                assert!((have - want).abs() < 1e-3 + 1e-9, "{name} of {text:?}: {have}, not {want}");
            }
        }
    }

    #[test]
    fn a_text_without_words_is_nothing_at_all() {
        assert_eq!(Vader::polarity(" \n"), Polarity::default());
    }
}
