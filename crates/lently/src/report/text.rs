//! The small things of a terminal: color where it is wanted, bars, numbers, and text that is safe to print.

use lently_analysis::grouped;
use owo_colors::OwoColorize;

/// Colors, or not.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether escapes are written.
    pub color: bool,
}

macro_rules! paints {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("The text, ", stringify!($name), " where there are colors.")]
            #[must_use]
            pub fn $name(self, text: &str) -> String {
                if self.color { OwoColorize::$name(&text).to_string() } else { text.to_owned() }
            }
        )*
    };
}

impl Paint {
    /// The text, dim where there are colors.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        if self.color { OwoColorize::dimmed(&text).to_string() } else { text.to_owned() }
    }

    paints! { bold green red yellow cyan }
}

/// A text on one line without anything that steers a terminal or turns the direction of what follows.
#[must_use]
pub fn clean(text: &str) -> String {
    let harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let words = text.split_whitespace().map(|word| word.chars().filter(|c| harmless(*c)).collect::<String>());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Clean, and no longer than so many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let text = clean(text);
    match text.char_indices().nth(most) {
        None => text,
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

/// A bar of `width` cells, `share` of them full.
pub(super) fn bar(share: f64, width: usize) -> String {
    let full = ((share.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    format!("{}{}", "█".repeat(full), "·".repeat(width - full))
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `+0.31`.
pub(super) fn mood(score: f64) -> String {
    format!("{score:+.2}")
}

/// `1 like`, `20,099 likes`.
pub(super) fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Lines of at most `width` characters, broken between words, but not between a number and its `%`.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.replace(" %", "\u{a0}%").split(' ') {
        let line = lines.last_mut();
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter().map(|line| line.replace('\u{a0}', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        assert_eq!(clean("a\u{1b}[31mred\u{7}\n\u{202e}evil\u{9b}0m"), "a[31mred evil0m");
        assert_eq!(short("one two three", 7), "one two…");
    }

    #[test]
    fn bars_and_numbers_are_even() {
        assert_eq!(bar(0.5, 4), "██··");
        assert_eq!(bar(7.0, 2), "██");
        assert_eq!(
            (counted(0, "like"), counted(1, "like"), counted(1_234_567, "like")),
            ("0 likes".into(), "1 like".into(), "1,234,567 likes".into())
        );
        assert_eq!(wrapped("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrapped("aa 43 % bb", 5), ["aa", "43 %", "bb"]);
    }
}
