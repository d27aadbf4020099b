//! What a comment is for, by stated rules over phrases in several languages. No model and no randomness: the first rule
//! that fits decides, in the order spam, suggestion, question, then praise and criticism by sentiment.

use crate::{
    model::{Category, Sentiment},
    phrases, spam,
    tokens::{is_address, words},
};

/// Phrases that open a question count only at the beginning of a sentence; there they need no question mark.
const OPENING_WORDS: usize = 2;

/// What a text is for; `words` are the text's, `spam` the probability that it is spam.
pub(crate) fn categorize(text: &str, words: &[String], spam: f64, sentiment: Sentiment) -> Category {
    if spam >= spam::FROM {
        Category::Spam
    } else if phrases::suggestion(&format!(" {} ", words.join(" "))) {
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
    phrases::question(&opening)
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
            let words = words(text);
            let found = categorize(text, &words, spam::probability(text, &words), sentiment);
            assert_eq!(found, expected, "{text}");
        }
    }
}
