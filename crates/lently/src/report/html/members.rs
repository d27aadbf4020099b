//! Which comments speak of a theme: those that have its words, spam and repetitions left out, as when it was counted.

use std::collections::HashSet;

use lently_analysis::Category;
use lently_service::JudgedComment;
use unicode_segmentation::UnicodeSegmentation as _;

/// The words of every comment, taken apart once for all themes.
pub(super) struct Spoken {
    /// Of each comment that counts: its place, its words, its text in lower case.
    comments: Vec<(usize, Vec<String>, String)>,
}

impl Spoken {
    pub(super) fn of(comments: &[&JudgedComment]) -> Self {
        let mut places: Vec<usize> = (0..comments.len()).collect();
        places.sort_by_key(|place| &comments[*place].comment.id);
        // The same sentence pasted a hundred times is one voice.
        let mut voices = HashSet::new();
        let mut spoken = Vec::new();
        for place in places {
            let one = comments[place];
            let words = words(&one.comment.text);
            if one.verdict.category != Category::Spam && voices.insert(words.clone()) {
                spoken.push((place, words, one.comment.text.to_lowercase()));
            }
        }
        Self { comments: spoken }
    }

    /// The places of the comments that have the words of `label` side by side, in ascending order.
    pub(super) fn about(&self, label: &str) -> Vec<usize> {
        let wanted = words(label);
        // Where words are not set apart by spaces, they cannot be found one by one.
        let unspaced = label.chars().any(|c| matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{3040}'..='\u{9fff}'));
        let speaks = |words: &[String], text: &str| {
            if unspaced {
                return text.contains(label);
            }
            !wanted.is_empty()
                && words
                    .windows(wanted.len())
                    .any(|window| window.iter().zip(&wanted).all(|(word, wanted)| same(word, wanted)))
        };
        let mut places: Vec<usize> = self
            .comments
            .iter()
            .filter(|(_, words, text)| speaks(words, text))
            .map(|(place, _, _)| *place)
            .collect();
        places.sort_unstable();
        places
    }
}

/// In lower case; mentions and addresses are left out.
fn words(text: &str) -> Vec<String> {
    let tokens = text.split_whitespace().filter(|token| !token.starts_with('@') && !is_address(token));
    let words = tokens.flat_map(|token| token.unicode_words());
    words
        .filter(|word| word.chars().any(char::is_alphabetic))
        .map(|word| word.to_lowercase().replace('’', "'"))
        .collect()
}

fn is_address(token: &str) -> bool {
    let token = token.trim_matches(|c: char| "()<>[]\"'".contains(c));
    let is_ending = |end: &str| (2..=6).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_lowercase());
    token.contains("://")
        || token.starts_with("www.")
        || token.split_once('/').is_some_and(|(host, _)| {
            host.rsplit_once('.').is_some_and(|(name, end)| !name.is_empty() && is_ending(end))
        })
}

/// One and many of a thing are the same.
fn same(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let Some(stem) = long.strip_suffix('s').filter(|_| a != b) else { return a == b };
    let by = |stem: Option<&str>| stem == Some(short);
    by(Some(stem))
        || by(stem.strip_suffix('e'))
        || stem.strip_suffix("ie").zip(short.strip_suffix('y')).is_some_and(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::judged;

    #[test]
    fn comments_speak_of_a_theme_in_any_form_of_its_words() {
        let texts = [
            "The Sound design!",
            "sound  designs, hm",
            "sound and design",
            "@sound design",
            "the sound design",
            "the SOUND design",
            "batteries",
            "a battery’s end",
        ];
        let comments: Vec<_> = (0..).zip(texts).map(|(id, text)| judged(&format!("{id}"), text)).collect();
        let spoken = Spoken::of(&comments.iter().collect::<Vec<_>>());
        assert_eq!(spoken.about("sound design"), [0, 1], "4 and 5 repeat 0");
        assert_eq!(spoken.about("battery"), [6]);
        assert_eq!(spoken.about(""), Vec::<usize>::new());
    }
}
