//! Words of a text in any script, and the lists of the smallest of them. Pure functions over text.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use unicode_segmentation::UnicodeSegmentation;

/// The words that hold a language's sentences together, by language.
pub(crate) static FUNCTION_WORDS: LazyLock<HashMap<&'static str, HashSet<&'static str>>> =
    LazyLock::new(|| {
        let lines = include_str!("../data/function_words.tsv").lines();
        lines
            .filter_map(|line| line.split_once('\t'))
            .map(|(code, words)| (code, words.split(' ').collect()))
            .collect()
    });

/// Words that are never a theme: every language's function words, and those that go with any subject.
static STOP_WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let common = include_str!("../data/common_words.txt").split_whitespace();
    let of_the_place =
        ["video", "videos", "vídeo", "youtube", "channel", "canal", "kanal", "lol", "haha", "bro", "dont"];
    FUNCTION_WORDS.values().flatten().copied().chain(common).chain(of_the_place).collect()
});

/// The words of a text in lower case. Addresses, mentions, hashtag signs, times like `2:34` and numbers are left out.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in text.split_whitespace() {
        if token.starts_with('@') || is_address(token) {
            continue;
        }
        for word in token.split(':').flat_map(UnicodeSegmentation::unicode_words) {
            if word.chars().any(char::is_alphabetic) {
                words.push(word.to_lowercase().replace('’', "'").replace(is_unseen, ""));
            }
        }
    }
    words
}

/// Marks without width that tell nothing: YouTube ends some comments with one, and spam hides words by them.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{2060}' | '\u{feff}')
}

/// Whether a token is an address of a page.
pub(crate) fn is_address(token: &str) -> bool {
    let token = token.trim_matches(|c: char| "()<>[]\"'".contains(c));
    if token.contains("://") || token.starts_with("www.") {
        return true;
    }
    let host = token.split('/').next().unwrap_or_default();
    token.contains('/')
        && host.rsplit_once('.').is_some_and(|(name, end)| {
            !name.is_empty() && (2..=6).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_lowercase())
        })
}

/// Whether a word can be the subject of comments.
pub(crate) fn is_content(word: &str) -> bool {
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    let ideographic = word.chars().any(|c| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'));
    (letters >= 3 || (ideographic && letters >= 2)) && !STOP_WORDS.contains(word) && !is_drawn_out(word)
}

/// `haaaaa`, `xoxoxo`: sounds, not words.
fn is_drawn_out(word: &str) -> bool {
    let chars: Vec<char> = word.chars().collect();
    let triple = chars.windows(3).any(|w| w[0] == w[1] && w[1] == w[2]);
    let distinct: HashSet<_> = chars.iter().collect();
    triple || (chars.len() >= 4 && distinct.len() <= 2)
}

/// What two near-duplicates have in common: their words, and nothing of case, punctuation and emoji. Empty for a text
/// without words.
pub(crate) fn fingerprint(text: &str) -> String {
    words(text).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_script_and_addresses_are_not_words() {
        assert_eq!(words("Don’t @you #like https://a.b/c 2:34 ÉL!"), ["don't", "like", "él"]);
        assert_eq!(words("sígueme en t.me/x"), ["sígueme", "en"]);
        assert_eq!(words("on YouTube:a so\u{ad}ng\u{feff}"), ["on", "youtube", "a", "song"]);
        assert!(is_address("bit.ly/3xyz") && !is_address("and/or"));
    }

    #[test]
    fn sounds_and_function_words_are_no_content() {
        for word in ["the", "und", "haaaaa", "haha", "xoxo", "ok"] {
            assert!(!is_content(word), "{word}");
        }
        assert!(is_content("camera") && is_content("sonido"));
    }
}
