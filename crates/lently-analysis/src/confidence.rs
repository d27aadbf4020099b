//! How sure the local engine is of its judgment on a comment: numbers read off labelled comments (docs/quality.md), lower where
//! less was understood. Judges nothing itself.

use crate::{
    language::{NO_LANGUAGE, TOO_SHORT},
    model::Sentiment,
    spam,
};

/// Of English without a word of feeling, that it is neutral; and with some that cancel each other out.
const NEUTRAL: f64 = 0.85;
const BALANCED: f64 = 0.6;
/// Of emoji without words, that nothing is left unread.
const WORDLESS: f64 = 0.9;
/// Of emoji beside words that nobody judged.
const BY_EMOJI: f64 = 0.8;
/// Of a comment that says nothing in emoji and whose words nobody judged: too short, in another language, in several or none known.
const UNREAD_SHORT: f64 = 0.5;
const UNREAD: f64 = 0.4;
const UNREAD_UNKNOWN: f64 = 0.35;

/// 0 to 1, in hundredths. `spam` is the probability that it is spam: near the bound, the category is as unsure.
pub(crate) fn of(language: Option<&str>, score: f64, spam: f64) -> f64 {
    let strength = score.abs();
    let felt = match Sentiment::of_score(score) {
        // Word lists see more feeling than people do, most of all bad feeling.
        Sentiment::Positive => 0.25 + 0.6 * strength,
        Sentiment::Negative => 0.1 + 0.55 * strength,
        Sentiment::Neutral if strength == 0.0 => NEUTRAL,
        Sentiment::Neutral => BALANCED,
    };
    let says_nothing = strength == 0.0;
    let understood = match language {
        Some("en") => felt,
        Some(NO_LANGUAGE) => felt * WORDLESS,
        Some(TOO_SHORT) if says_nothing => UNREAD_SHORT,
        Some(code) if says_nothing && code.len() == 2 => UNREAD,
        _ if says_nothing => UNREAD_UNKNOWN,
        _ => felt * BY_EMOJI,
    };
    // A spam probability of the middle halves what is left; one at either end takes nothing away.
    let apart = (spam - spam::FROM).abs() / if spam >= spam::FROM { 1.0 - spam::FROM } else { spam::FROM };
    let sure = understood * (0.5 + 0.5 * (2.0 * apart).min(1.0));
    (sure * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_strong_and_understood_is_surer() {
        let ordinary = 0.1;
        assert!(of(Some("en"), 0.9, ordinary) > of(Some("en"), 0.2, ordinary), "near the bound");
        assert!(of(Some("en"), 0.0, ordinary) > of(Some("en"), 0.03, ordinary), "feelings that cancel out");
        assert!(of(Some("en"), 0.6, ordinary) > of(Some("es"), 0.6, ordinary), "emoji alone");
        assert!(of(Some("es"), 0.6, ordinary) > of(Some("es"), 0.0, ordinary), "words that nobody judged");
        assert!(of(Some("es"), 0.0, ordinary) > of(Some("mul"), 0.0, ordinary), "in two languages");
        assert!(of(Some("mul"), 0.0, ordinary) >= of(None, 0.0, ordinary), "unknown");
        assert!(of(Some("en"), 0.9, 0.99) > of(Some("en"), 0.9, 0.71), "hardly spam");
        for score in [-1.0, -0.5, 0.0, 0.5, 1.0] {
            for spam in [0.0, 0.5, 0.7, 1.0] {
                assert!((0.0..=1.0).contains(&of(None, score, spam)));
            }
        }
    }
}
