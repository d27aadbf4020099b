//! Phrases that tell what a comment is for, in several languages. Only looks them up.

use std::sync::LazyLock;

use crate::tokens::words;

/// Each with a space before and behind it.
struct Phrases {
    suggestion: Vec<String>,
    question: Vec<String>,
    spam: Vec<String>,
}

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| {
    let of = |wanted: &str| {
        let rows =
            include_str!("../data/phrases.tsv").lines().map(|line| line.splitn(3, '\t').collect::<Vec<_>>());
        rows.filter(|row| row.len() == 3 && row[0] == wanted)
            .flat_map(|row| {
                row[2].split('|').map(|phrase| format!(" {} ", words(phrase).join(" "))).collect::<Vec<_>>()
            })
            .filter(|phrase| phrase.len() > 2)
            .collect()
    };
    Phrases { suggestion: of("suggestion"), question: of("question"), spam: of("spam") }
});

/// Whether words, each with a space before and behind it, wish for something or propose it.
pub(crate) fn suggestion(said: &str) -> bool {
    PHRASES.suggestion.iter().any(|phrase| said.contains(phrase.as_str()))
}

/// Whether they begin as a question does.
pub(crate) fn question(said: &str) -> bool {
    PHRASES.question.iter().any(|phrase| said.starts_with(phrase.as_str()))
}

/// Whether they advertise or beg in words that nothing else is said in.
pub(crate) fn spam(said: &str) -> bool {
    PHRASES.spam.iter().any(|phrase| said.contains(phrase.as_str()))
}
