//! Text as it is searched: without case and accents. Changes nothing that is shown.

use icu_normalizer::DecomposingNormalizerBorrowed;

/// Lower case, compatibility forms as their plain ones (`ﬁ` as `fi`, `Ａ` as `a`), without marks on Latin, Greek and Cyrillic letters, and with single
/// spaces. Marks of other scripts stay: there they are vowels.
#[must_use]
pub fn folded(text: &str) -> String {
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(text);
    let mut out = String::with_capacity(decomposed.len());
    for c in decomposed.chars() {
        match c {
            // Combining diacritical marks, which these three scripts share.
            '\u{300}'..='\u{36f}' => {}
            c if c.is_whitespace() => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => out.extend(c.to_lowercase()),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_takes_for_the_same_is_the_same() {
        for (text, expected) in [
            ("  CAFÉ\n\tñandú ", "cafe nandu"),
            ("Cafe\u{301}", "cafe"),
            ("ＦＵＬＬ ﬁne", "full fine"),
            ("ΆΛΦΑ Ёлка", "αλφα елка"),
            ("நல்ல படம்", "நல்ல படம்"),
            ("", ""),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }
}
