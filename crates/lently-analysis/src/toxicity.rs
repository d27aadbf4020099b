//! Whether a comment insults or threatens somebody, by a small list of words in several languages. Precision first: rough
//! words that hit nobody do not count, and what is not in the list is not found.

use std::{collections::HashSet, sync::LazyLock};

use crate::tokens::is_address;

/// Words and phrases by how they count.
struct Listed {
    /// Wherever they are said.
    always: HashSet<&'static str>,
    /// Said to somebody: behind "you".
    to_you: HashSet<&'static str>,
    /// In writing without spaces.
    inside: Vec<&'static str>,
    /// Words of the longest phrase.
    longest: usize,
}

static LISTED: LazyLock<Listed> = LazyLock::new(|| {
    let rows = include_str!("../data/toxic.tsv").lines().map(|line| line.splitn(3, '\t').collect::<Vec<_>>());
    let rows: Vec<_> = rows.filter(|row| row.len() == 3).collect();
    let of = |kind: &'static str| {
        rows.iter().filter(move |row| row[0] == kind).flat_map(|row| row[2].split('|')).collect::<Vec<_>>()
    };
    let always: HashSet<_> = of("always").into_iter().collect();
    let longest = always.iter().map(|phrase| phrase.split(' ').count()).max().unwrap_or_default();
    Listed { always, to_you: of("you").into_iter().collect(), inside: of("inside"), longest }
});

/// How many words may stand between "you" and what one is called: "you are such a …".
const BETWEEN: usize = 4;

pub(crate) fn is_toxic(text: &str) -> bool {
    let words = spoken(text);
    LISTED.inside.iter().any(|phrase| text.contains(phrase))
        || (0..words.len()).any(|at| begins_a_listed_phrase(&words[at..]) || calls_you(&words[..=at]))
}

fn begins_a_listed_phrase(words: &[String]) -> bool {
    let mut phrase = String::new();
    words.iter().take(LISTED.longest).any(|word| {
        if !phrase.is_empty() {
            phrase.push(' ');
        }
        phrase.push_str(word);
        LISTED.always.contains(phrase.as_str())
    })
}

/// "You idiot", "you are all such morons"; not "you are no idiot", nor what "you" only watch.
fn calls_you(words: &[String]) -> bool {
    let Some((last, before)) = words.split_last() else { return false };
    if !LISTED.to_you.contains(last.as_str()) {
        return false;
    }
    let filling = |word: &str| {
        [
            "are", "a", "an", "such", "all", "just", "so", "really", "fucking", "absolute", "complete",
            "little", "the",
        ]
        .contains(&word)
    };
    for (place, word) in before.iter().enumerate().rev().take(BETWEEN) {
        if ["you", "you're", "youre", "ur", "u"].contains(&word.as_str()) {
            return place == 0 || !["thank", "love"].contains(&before[place - 1].as_str());
        }
        if !filling(word) {
            return false;
        }
    }
    false
}

/// The words as they would be said: `a$$h0le` and `idiooooot` as the words they stand for. Mentions and addresses are left out.
fn spoken(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in text.split_whitespace().filter(|token| !token.starts_with('@') && !is_address(token)) {
        let lower = token.to_lowercase().replace('’', "'").replace("f**k", "fuck").replace("f*ck", "fuck");
        let letters = if lower.chars().any(char::is_alphabetic) { unmasked(&lower) } else { lower };
        let parts = letters.split(|c: char| !c.is_alphanumeric() && c != '\'' && !is_mark(c));
        words.extend(parts.filter(|part| !part.is_empty()).map(undrawn));
    }
    words
}

/// Vowel signs of Indic scripts are no letters to Unicode, and break no word.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}')
}

/// Digits and signs as the letters that they are drawn for.
fn unmasked(token: &str) -> String {
    let letter = |c| match c {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    };
    token.chars().map(letter).collect()
}

/// A letter three times or more in a row is meant once, or twice where the list has it so.
fn undrawn(word: &str) -> String {
    let at_most = |most: usize| {
        let mut out = String::with_capacity(word.len());
        let (mut last, mut run) = (None, 0);
        for c in word.chars() {
            run = if last == Some(c) { run + 1 } else { 1 };
            last = Some(c);
            if run <= most {
                out.push(c);
            }
        }
        out
    };
    let twice = at_most(2);
    if twice == word {
        return twice;
    }
    let known = |word: &str| LISTED.always.contains(word) || LISTED.to_you.contains(word);
    if known(&twice) { twice } else { at_most(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insults_and_threats_are_told_however_they_are_written() {
        for text in [
            "you are such an idiot",
            "You fucking moron",
            "what an A$$H0LE!!!",
            "you idiooooot",
            "f*ck you and your channel",
            "kill yourself",
            "Du Hurensohn",
            "vete a la mierda",
            "ta gueule",
            "иди нахуй",
            "お前死ねよ",
            "you're pathetic",
            "u stupid",
        ] {
            assert!(is_toxic(text), "{text}");
        }
    }

    #[test]
    fn rough_words_that_hit_nobody_are_no_insult() {
        for text in [
            "this is fucking awesome",
            "I'm such an idiot, I forgot to save",
            "holy shit that was good",
            "you are no idiot",
            "you killed it in this one",
            "The idiot in the film made me laugh",
            "Thank you, stupid mistake of mine",
            "Scunthorpe and assassins",
            "the therapist said so",
            "damn, the wait is killing me",
            "you sound sick in this one",
            "@asshole123 thanks for the link https://example.org/asshole",
            "",
        ] {
            assert!(!is_toxic(text), "{text}");
        }
    }
}
