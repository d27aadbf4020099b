//! Glob patterns over keys, in Redis' own language, so that a pattern means the same in every tier.
//! Nothing here knows of a prefix; the tiers put it in front.

use std::{fmt, str::FromStr};

/// A parsed glob: `*` any run, `?` any one byte, `[abc]`, `[a-z]`, `[^a]` classes, `\x` the character `x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Nothing in it.
    #[error("the pattern is empty; write for example `analysis:*`")]
    Empty,
    /// More than [`Pattern::MAX_BYTES`].
    #[error("the pattern is longer than {} bytes", Pattern::MAX_BYTES)]
    TooLong,
    /// A `[` without its `]`, which a range may have taken for its end, as in `[a-]`.
    #[error("the pattern has a `[` without `]`; write `\\[` for the character itself")]
    OpenClass,
    /// A character beyond ASCII in a class. Redis takes a class for single bytes, none of which is such a character, and
    /// orders them by the signedness of the machine's `char`.
    #[error(
        "the pattern has a character beyond ASCII between `[` and `]`, where only single bytes can be matched"
    )]
    NotAsciiInClass,
    /// A `\` at the very end.
    #[error("the pattern ends in a `\\` that escapes nothing")]
    DanglingEscape,
    /// A control character.
    #[error("the pattern has a control character in it")]
    Control,
    /// So many `*` that matching could take very long.
    #[error("the pattern has more than {} stars", Pattern::MAX_STARS)]
    TooManyStars,
}

impl Pattern {
    /// The longest pattern taken.
    pub const MAX_BYTES: usize = 512;
    /// The most `*` taken: matching backtracks, also in Redis, where it blocks everyone.
    pub const MAX_STARS: usize = 8;

    /// Checks a pattern.
    ///
    /// # Errors
    /// Whatever would match nothing by mistake, or take too long.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::Control);
        }
        let (bytes, mut at, mut stars) = (text.as_bytes(), 0, 0);
        while let Some(byte) = bytes.get(at) {
            at = match byte {
                b'\\' if at + 1 == bytes.len() => return Err(PatternError::DanglingEscape),
                b'\\' => at + 2,
                b'[' => end_of_class(bytes, at + 1)?,
                _ => at + 1,
            };
            stars += usize::from(*byte == b'*');
        }
        if stars > Self::MAX_STARS {
            return Err(PatternError::TooManyStars);
        }
        Ok(Self { text: text.to_owned() })
    }

    /// The pattern that matches every key.
    #[must_use]
    pub fn any() -> Self {
        Self { text: "*".to_owned() }
    }

    /// `text` with every character that a pattern would interpret escaped, so that it matches only itself.
    #[must_use]
    pub fn escape(text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 4);
        for c in text.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is made of `*` alone and so matches every key.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        self.text.bytes().all(|b| b == b'*')
    }

    /// Whether the whole of `key` matches.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        matches(self.text.as_bytes(), key.as_bytes())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where the class ends whose inside begins at `at`, as Redis reads it: a range takes any byte for its end, a bracket too.
fn end_of_class(pattern: &[u8], mut at: usize) -> Result<usize, PatternError> {
    if pattern.get(at) == Some(&b'^') {
        at += 1;
    }
    loop {
        let element = match pattern.get(at..).unwrap_or_default() {
            [] => return Err(PatternError::OpenClass),
            [b']', ..] => return Ok(at + 1),
            [b'\\', _, ..] => 2,
            [_, b'-', _, ..] => 3,
            [_, ..] => 1,
        };
        if !pattern[at..at + element].is_ascii() {
            return Err(PatternError::NotAsciiInClass);
        }
        at += element;
    }
}

/// Backtracks only to the last star, so the time is at most the product of the lengths.
fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut p, mut k) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p + 1, k));
            p += 1;
            continue;
        }
        if k == key.len() && p == pattern.len() {
            return true;
        }
        if k < key.len() && p < pattern.len() {
            let (hit, next) = match_one(pattern, p, key[k]);
            if hit {
                (p, k) = (next, k + 1);
                continue;
            }
        }
        match retry {
            Some((after_star, from)) if from < key.len() => {
                retry = Some((after_star, from + 1));
                (p, k) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Whether the element at `p` takes `byte`, and where the next element begins.
fn match_one(pattern: &[u8], p: usize, byte: u8) -> (bool, usize) {
    match pattern[p] {
        b'?' => (true, p + 1),
        b'[' => match_class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte, p + 2),
        other => (other == byte, p + 1),
    }
}

fn match_class(pattern: &[u8], mut p: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut hit = false;
    while p < pattern.len() && pattern[p] != b']' {
        if pattern[p] == b'\\' && p + 1 < pattern.len() {
            hit |= pattern[p + 1] == byte;
            p += 2;
        } else if p + 2 < pattern.len() && pattern[p + 1] == b'-' {
            let (low, high) = (pattern[p].min(pattern[p + 2]), pattern[p].max(pattern[p + 2]));
            hit |= (low..=high).contains(&byte);
            p += 3;
        } else {
            hit |= pattern[p] == byte;
            p += 1;
        }
    }
    (hit != negated, p + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(pattern: &str, key: &str) -> bool {
        Pattern::parse(pattern).expect("a pattern").matches(key)
    }

    #[test]
    fn globs_match_as_in_redis() {
        assert!(hit("analysis:*", "analysis:1"));
        assert!(!hit("analysis:*", "video:1"));
        assert!(hit("a?c", "abc") && !hit("a?c", "ac"));
        assert!(hit("[a-c]x", "bx") && !hit("[a-c]x", "dx"));
        assert!(hit("[^a]x", "bx") && !hit("[^a]x", "ax"));
        assert!(hit("*a*b*", "xxaxxbxx") && !hit("*a*b", "ba"));
        assert!(hit("a\\*", "a*") && !hit("a\\*", "ab"));
    }

    #[test]
    fn an_escaped_text_matches_only_itself() {
        for text in ["*", "a[b]", "x?y", "\\", "[^a-z]*"] {
            let pattern = Pattern::parse(&Pattern::escape(text)).expect("a pattern");
            assert!(pattern.matches(text));
            assert!(!pattern.matches("a"));
        }
    }

    #[test]
    fn what_would_surprise_is_refused() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse("a["), Err(PatternError::OpenClass));
        assert_eq!(Pattern::parse("[a-]"), Err(PatternError::OpenClass), "the bracket ends the range");
        assert_eq!(Pattern::parse("a\\"), Err(PatternError::DanglingEscape));
        assert_eq!(Pattern::parse("a\nb"), Err(PatternError::Control));
        for class in ["[é]", "[a-é]", "[^\\é]"] {
            assert_eq!(Pattern::parse(class), Err(PatternError::NotAsciiInClass), "{class}");
        }
        assert!(hit("é[a-c]?", "ébx"));
        assert_eq!(Pattern::parse(&"*a".repeat(9)), Err(PatternError::TooManyStars));
    }
}
