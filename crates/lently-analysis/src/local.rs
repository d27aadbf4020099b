//! The local engine: a verdict on a comment without a key, a network or a bill. Deterministic.
//!
//! English is judged by VADER. Of other languages only emoji and emoticons are judged, for English rules say nothing
//! about them; such a score is seldom strong.

use crate::{
    category::categorize,
    confidence, language,
    model::{JudgedBy, Sentiment, Verdict},
    spam,
    tokens::words,
    toxicity,
    vader::{self, Vader},
};

/// Longer comments are judged by their beginning; YouTube takes 10,000 characters (as of 2026-11-23).
const MAX_CHARS: usize = 10_000;

/// The engine. Its models are loaded with the first text that needs them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalEngine;

impl LocalEngine {
    /// Raised whenever a verdict may change.
    pub const VERSION: u32 = 2;

    /// The engine; costs nothing.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Judges a comment.
    #[must_use]
    pub fn judge(&self, text: &str) -> Verdict {
        let text = beginning(text);
        let words = words(text);
        let language = language::detect(&words);
        let score = match language.as_deref() {
            Some("en") => Vader::polarity(text).compound,
            _ => Vader::polarity(&signs(text)).compound,
        };
        let sentiment = Sentiment::of_score(score);
        let spam = spam::probability(text, &words);
        Verdict {
            sentiment,
            score,
            category: categorize(text, &words, spam, sentiment),
            toxic: toxicity::is_toxic(text),
            confidence: Some(confidence::of(language.as_deref(), score, spam)),
            language,
            judged_by: JudgedBy::Local,
        }
    }

    /// Judges each of many, in order.
    #[must_use]
    pub fn judge_all(&self, texts: &[&str]) -> Vec<Verdict> {
        texts.iter().map(|text| self.judge(text)).collect()
    }
}

fn beginning(text: &str) -> &str {
    text.char_indices().nth(MAX_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// What of a text is understood whatever its language: emoji, and emoticons that VADER knows.
fn signs(text: &str) -> String {
    let mut out = String::new();
    for token in text.split_whitespace() {
        let wordless = token.chars().filter(|c| c.is_alphanumeric()).count() <= 1;
        if wordless && vader::is_english(&token.to_lowercase()) {
            out.push_str(token);
        } else {
            out.extend(token.chars().filter(|c| vader::is_emoji(*c)));
        }
        out.push(' ');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_judged_by_its_words_and_other_languages_by_their_emoji() {
        let engine = LocalEngine::new();
        assert_eq!(engine.judge("I really love the way this is edited").sentiment, Sentiment::Positive);
        let spanish = engine.judge("No me gusta nada la música de este video");
        assert_eq!((spanish.language.as_deref(), spanish.sentiment), (Some("es"), Sentiment::Neutral));
        assert_eq!(engine.judge("Me encanta este canal, gracias por todo 😍").sentiment, Sentiment::Positive);
    }

    #[test]
    fn a_comment_of_any_length_is_judged() {
        let verdict = LocalEngine::new().judge(&"good ".repeat(100_000));
        assert_eq!(verdict.sentiment, Sentiment::Positive);
    }
}
