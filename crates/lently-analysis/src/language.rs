//! Which language a comment is in: by its script where that is enough, by its function words where they tell, and by
//! lingua's models otherwise. A text too short to tell has none.

use std::sync::LazyLock;

use lingua::{LanguageDetector, LanguageDetectorBuilder};

use crate::{
    tokens::{FUNCTION_WORDS, words},
    vader,
};

/// Fewer words than this are not put before the models: they always answer something.
const MODEL_FROM_WORDS: usize = 3;
/// How much likelier the models must find the first language than the second.
const MODEL_DISTANCE: f64 = 0.05;

/// Loaded with the first text that needs it; each language's model only when it is a candidate.
static MODELS: LazyLock<LanguageDetector> = LazyLock::new(|| {
    LanguageDetectorBuilder::from_all_languages().with_minimum_relative_distance(MODEL_DISTANCE).build()
});

/// ISO 639-1, or `None` where the text is too short or of no one language.
pub(crate) fn detect(text: &str) -> Option<String> {
    match script(text) {
        Script::None => None,
        Script::Of(code) => Some(code.to_owned()),
        Script::Latin => latin(&words(text)),
        Script::Shared => model(&words(text).join(" ")),
    }
}

enum Script {
    /// No letters.
    None,
    /// One that belongs to one language, as far as comments go.
    Of(&'static str),
    Latin,
    /// Cyrillic, Arabic: several languages.
    Shared,
}

/// By the script that most letters are of.
fn script(text: &str) -> Script {
    const CODES: [&str; 19] = [
        "ja", "ko", "zh", "th", "ta", "ml", "te", "kn", "bn", "gu", "pa", "hi", "el", "he", "hy", "ka", "si",
        "km", "my",
    ];
    let (mut own, mut latin, mut shared) = ([0usize; CODES.len()], 0usize, 0usize);
    let tokens = text.split_whitespace().filter(|token| !token.starts_with('@') && !token.contains("://"));
    for c in tokens.flat_map(str::chars).filter(|c| c.is_alphabetic()) {
        let place = match c {
            '\u{3040}'..='\u{30ff}' => 0,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}' => 1,
            '\u{3400}'..='\u{9fff}' => 2,
            '\u{0e00}'..='\u{0e7f}' => 3,
            '\u{0b80}'..='\u{0bff}' => 4,
            '\u{0d00}'..='\u{0d7f}' => 5,
            '\u{0c00}'..='\u{0c7f}' => 6,
            '\u{0c80}'..='\u{0cff}' => 7,
            '\u{0980}'..='\u{09ff}' => 8,
            '\u{0a80}'..='\u{0aff}' => 9,
            '\u{0a00}'..='\u{0a7f}' => 10,
            '\u{0900}'..='\u{097f}' => 11,
            '\u{0370}'..='\u{03ff}' => 12,
            '\u{0590}'..='\u{05ff}' => 13,
            '\u{0530}'..='\u{058f}' => 14,
            '\u{10a0}'..='\u{10ff}' => 15,
            '\u{0d80}'..='\u{0dff}' => 16,
            '\u{1780}'..='\u{17ff}' => 17,
            '\u{1000}'..='\u{109f}' => 18,
            '\u{0400}'..='\u{052f}' | '\u{0600}'..='\u{06ff}' | '\u{0750}'..='\u{077f}' => {
                shared += 1;
                continue;
            }
            _ => {
                latin += 1;
                continue;
            }
        };
        own[place] += 1;
    }
    // Japanese is written with Chinese characters, too; a few kana settle it.
    if own[0] > 0 {
        own[0] += std::mem::take(&mut own[2]);
    }
    let (place, most) = own.into_iter().enumerate().max_by_key(|(_, count)| *count).unwrap_or_default();
    match most.max(latin).max(shared) {
        0 => Script::None,
        n if n == most => Script::Of(CODES[place]),
        n if n == latin => Script::Latin,
        _ => Script::Shared,
    }
}

fn latin(words: &[String]) -> Option<String> {
    let mut hits: Vec<(usize, &str)> = FUNCTION_WORDS
        .iter()
        .map(|(code, list)| (words.iter().filter(|word| list.contains(word.as_str())).count(), *code))
        .collect();
    hits.sort_unstable_by_key(|(count, code)| (std::cmp::Reverse(*count), *code));
    let ((first, code), (second, _)) = (hits[0], hits[1]);
    if (first >= 2 && first >= 2 * second) || (first >= 4 && first >= second + 3) {
        return Some(code.to_owned());
    }
    if is_likely_english(words) {
        return Some("en".to_owned());
    }
    if words.len() < MODEL_FROM_WORDS { None } else { model(&words.join(" ")) }
}

/// "Great video", "love it": too short for a model, and made of words that VADER or the function words know.
fn is_likely_english(words: &[String]) -> bool {
    let english = &FUNCTION_WORDS["en"];
    // They are words of many languages.
    let shared = [
        "no", "me", "a", "so", "super", "fan", "an", "in", "on", "die", "war", "was", "hat", "do", "as", "i",
    ];
    let known = words
        .iter()
        .filter(|word| !shared.contains(&word.as_str()))
        .filter(|word| english.contains(word.as_str()) || vader::is_english(word))
        .count();
    known > 0 && known * 2 >= words.len() && words.iter().all(|word| word.is_ascii())
}

fn model(text: &str) -> Option<String> {
    let language = MODELS.detect_language_of(text)?;
    Some(language.iso_code_639_1().to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_by_script_by_function_words_and_by_model() {
        for (text, expected) in [
            ("I really like what you did with the sound in this one", "en"),
            ("great video", "en"),
            ("love it", "en"),
            ("Me encanta este canal, gracias por todo lo que haces", "es"),
            ("Das ist wirklich ein sehr gutes Video, danke dir", "de"),
            ("C'est vraiment une très bonne vidéo, merci à vous", "fr"),
            ("진짜 맛있겠다", "ko"),
            ("すごい動画ですね", "ja"),
            ("நல்ல படம்", "ta"),
            ("Очень хорошее видео, спасибо большое", "ru"),
            ("ดีมากครับ", "th"),
        ] {
            assert_eq!(detect(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_has_no_language() {
        for text in ["", "😂😂", "2:34", "@someone", "https://example.org/great"] {
            assert_eq!(detect(text), None, "{text}");
        }
    }
}
