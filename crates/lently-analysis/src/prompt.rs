//! What Gemini is asked, and how its answers are read. Comments reach the model as data, one JSON line each, never as
//! part of an instruction; an answer is believed only where it fits the schema and an index or an id that was asked for.
//!
//! The instructions are the files of `prompts/`. A change there raises a version here.

mod summary;
mod verdicts;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::Value;

pub use self::{
    summary::{
        ThemeName, Words, is_summary_request, parse_earlier_summary, parse_summary, quoted_ids,
        summary_request,
    },
    verdicts::{encode_verdicts, parse_verdicts, read_items, verdict_request},
};

/// Raised whenever any answer may change; part of an analysis' identity.
pub const PROMPT_VERSION: u32 = 5;
/// The same of verdicts alone: those that were paid for outlast a change of the other prompt.
pub const VERDICT_PROMPT_VERSION: u32 = 4;
/// Longer comments are cut for the model; their feeling is clear by then.
const MAX_CHARS: usize = 1500;

/// What is asked of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// What it is to do.
    pub system: String,
    /// What it is to do it on.
    pub user: String,
    /// The JSON Schema of the answer.
    pub schema: Value,
    /// The most tokens the answer may have.
    pub max_output_tokens: u32,
}

/// Why an answer as a whole cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// Not JSON, or not of the promised shape.
    #[error("Gemini's answer does not follow the schema")]
    NotTheSchema,
    /// A number that is not among the facts. Asked again it may well do the same.
    #[error("Gemini's summary states a number that was not counted")]
    UncountedNumber,
}

/// A comment as a model is asked about it: what makes two comments one question. In Unicode's composed form (NFC), each run of
/// white space one blank, none at the ends, cut where a model's patience ends. Whatever may change the meaning stays: case,
/// punctuation, emoji.
#[must_use]
pub fn normalized(text: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    let mut normal = String::with_capacity(composed.len());
    for word in composed.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(word);
    }
    let beginning = beginning(&normal).trim_end().len();
    normal.truncate(beginning);
    normal
}

fn beginning(text: &str) -> &str {
    text.char_indices().nth(MAX_CHARS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_that_differ_in_spelling_alone_are_one_question_and_no_others() {
        let one = "Caf\u{e9} is great!";
        for same in ["Cafe\u{301} is great!", "  Caf\u{e9}\n\nis\u{a0}\tgreat! ", one] {
            assert_eq!(normalized(same), one, "{same:?}");
        }
        for other in
            ["caf\u{e9} is great!", "Caf\u{e9} is great", "Caf\u{e9} is great! \u{1f44d}", "Cafe is great!"]
        {
            assert_ne!(normalized(other), one);
        }
        // Emoji are sequences whose every part counts.
        for kept in ["\u{1f44d}\u{1f3fd}", "\u{2764}\u{fe0f}", "\u{1f468}\u{200d}\u{1f467}", ":-)"] {
            assert_eq!(normalized(kept), kept);
        }
        assert_eq!(normalized(" \n"), "");
    }

    #[test]
    fn equal_questions_have_equal_texts_however_long_they_are() {
        let long = |end: &str| format!("{} {end}", "a ".repeat(MAX_CHARS / 2));
        let cut = normalized(&long("one end"));
        assert_eq!(cut, normalized(&long("another")));
        assert_eq!(cut.chars().count(), MAX_CHARS - 1, "what the cut left at its end is trimmed");
        assert_eq!(normalized(&cut), cut);
        assert_eq!(
            verdict_request(&[&long("one end")]).user.matches("a a").count(),
            verdict_request(&[&cut]).user.matches("a a").count()
        );
    }
}
