//! VADER's word lists, as data from `data/vader`, read once.

use std::{collections::HashMap, sync::LazyLock};

static WORDS: LazyLock<HashMap<&'static str, f64>> =
    LazyLock::new(|| numbers(include_str!("../../data/vader/lexicon.tsv")));
static BOOSTERS: LazyLock<HashMap<&'static str, f64>> =
    LazyLock::new(|| numbers(include_str!("../../data/vader/boosters.tsv")));
static IDIOMS: LazyLock<HashMap<&'static str, f64>> =
    LazyLock::new(|| numbers(include_str!("../../data/vader/idioms.tsv")));
static NEGATIONS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("../../data/vader/negations.txt").lines().collect());
static EMOJI: LazyLock<HashMap<char, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../data/vader/emoji.tsv").lines();
    lines
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(c, text)| Some((c.chars().next()?, text)))
        .collect()
});

fn numbers(table: &'static str) -> HashMap<&'static str, f64> {
    let rows = table.lines().filter_map(|line| line.split_once('\t'));
    rows.filter_map(|(word, number)| Some((word, number.parse().ok()?))).collect()
}

/// The valence of a word in lower case.
pub(super) fn valence(word: &str) -> Option<f64> {
    WORDS.get(word).copied()
}

/// How much a word or two-word phrase raises or lowers what follows.
pub(super) fn booster(word: &str) -> Option<f64> {
    BOOSTERS.get(word).copied()
}

/// The valence of a whole idiom.
pub(super) fn idiom(phrase: &str) -> Option<f64> {
    IDIOMS.get(phrase).copied()
}

/// Whether a word turns what follows into its opposite.
pub(super) fn negates(word: &str) -> bool {
    NEGATIONS.contains(&word) || word.contains("n't")
}

/// Whether the lexicon knows the word, as evidence that a text is English.
pub(crate) fn knows(word: &str) -> bool {
    WORDS.contains_key(word) || BOOSTERS.contains_key(word)
}

/// Whether VADER knows this emoji.
pub(crate) fn is_emoji(c: char) -> bool {
    EMOJI.contains_key(&c)
}

/// Puts each emoji's name in its place, apart from what stands before it.
pub(super) fn describe_emoji(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_space = true;
    for c in text.chars() {
        if let Some(name) = EMOJI.get(&c) {
            if !after_space {
                out.push(' ');
            }
            out.push_str(name);
            after_space = false;
        } else {
            out.push(c);
            after_space = c == ' ';
        }
    }
    out.trim_matches(is_python_space).to_owned()
}

/// What Python's `str.strip` and `str.split` take for white space.
pub(super) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}
