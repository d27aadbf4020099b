//! What a comment is for, by stated rules over phrases in several languages. No model and no randomness: the first rule
//! that fits decides, in the order spam, suggestion, question, then praise and criticism by sentiment.

use std::sync::LazyLock;

use crate::{
    model::{Category, Sentiment},
    tokens::{is_address, words},
};

/// Phrases, each with a space before and behind it.
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

/// Phrases that open a question count only at the beginning of a sentence; there they need no question mark.
const OPENING_WORDS: usize = 2;

pub(crate) fn categorize(text: &str, sentiment: Sentiment) -> Category {
    let said = format!(" {} ", words(text).join(" "));
    let says = |phrases: &[String]| phrases.iter().any(|phrase| said.contains(phrase.as_str()));
    if is_spam(text, says(&PHRASES.spam)) {
        Category::Spam
    } else if says(&PHRASES.suggestion) {
        Category::Suggestion
    } else if asks(text) {
        Category::Question
    } else {
        match sentiment {
            Sentiment::Positive => Category::Praise,
            Sentiment::Negative => Category::Criticism,
            Sentiment::Neutral => Category::Other,
        }
    }
}

/// Begging phrases; or an address with nearly nothing said about it.
fn is_spam(text: &str, begs: bool) -> bool {
    let addresses = text.split_whitespace().filter(|token| is_address(token)).count();
    begs || (addresses > 0 && (words(text).len() < 4 || addresses >= 3))
}

fn asks(text: &str) -> bool {
    // A question mark inside an address asks nothing.
    let marked = text.split_whitespace().any(|token| !is_address(token) && has_question_mark(token));
    marked || text.split(['.', '!', '\n', ',']).any(opens_as_question)
}

/// The Greek question mark U+037E counts, the semicolon that looks like it does not.
fn has_question_mark(token: &str) -> bool {
    token.contains(['?', '？', '؟', '¿', '\u{37e}'])
}

fn opens_as_question(sentence: &str) -> bool {
    let said = words(sentence);
    // A lone "why" or "how to" is as much an exclamation as a question.
    if said.len() < OPENING_WORDS + 2 {
        return false;
    }
    let opening = format!(" {} ", said.join(" "));
    PHRASES.question.iter().any(|phrase| opening.starts_with(phrase.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_category_is_told_in_several_languages() {
        use Category::{Criticism, Other, Praise, Question, Spam, Suggestion};
        for (text, sentiment, expected) in [
            ("What camera do you use?", Sentiment::Neutral, Question),
            ("how did you do the intro in the first minute", Sentiment::Neutral, Question),
            ("¿Cuánto cuesta la cámara?", Sentiment::Neutral, Question),
            ("Weiß jemand wo man das kaufen kann", Sentiment::Neutral, Question),
            ("You should do a part two", Sentiment::Positive, Suggestion),
            ("Könntest du mal etwas zu Mikrofonen machen?", Sentiment::Neutral, Suggestion),
            ("Me gustaría ver más recetas", Sentiment::Positive, Suggestion),
            ("Check out my channel for free gift cards", Sentiment::Positive, Spam),
            ("https://bit.ly/abc wow", Sentiment::Positive, Spam),
            ("Love the sound", Sentiment::Positive, Praise),
            ("The sound is awful", Sentiment::Negative, Criticism),
            ("first", Sentiment::Neutral, Other),
            (
                "The source is https://example.org/a?b=c and it explains all of this",
                Sentiment::Neutral,
                Other,
            ),
        ] {
            assert_eq!(categorize(text, sentiment), expected, "{text}");
        }
    }
}
