//! The scripts of a text, and what their letters tell of its language. Knows no word.

/// What words are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// No words.
    None,
    /// Two scripts, a good part each.
    Mixed,
    /// One that belongs to one language, as far as comments go.
    Of(&'static str),
    Latin,
    Cyrillic,
    Arabic,
}

/// The other script has so many words at least, and this share of all, where two carry a text: one name in another
/// script is no mixture.
const MIXED_WORDS: usize = 2;
const MIXED_SHARE: f64 = 0.25;

const CODES: [&str; 20] = [
    "ja", "ko", "zh", "th", "ta", "ml", "te", "kn", "bn", "gu", "pa", "hi", "el", "he", "hy", "ka", "si",
    "km", "my", "lo",
];
/// Those that put no spaces between words, which come as single letters; so many letters make a word here.
const UNSPACED: [usize; 6] = [0, 2, 3, 17, 18, 19];
const UNSPACED_LETTERS: usize = 3;
const LATIN: usize = CODES.len();
const CYRILLIC: usize = LATIN + 1;
const ARABIC: usize = CYRILLIC + 1;

/// `ps4`, `TV`: written so in any language.
fn is_a_name(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_digit()) || word.chars().count() < 3
}

/// By the script that most words are of.
pub(super) fn of(words: &[String]) -> Script {
    let mut counts = [0usize; ARABIC + 1];
    let mut names = 0;
    for word in words {
        if let Some(letter) = word.chars().find(|c| c.is_alphabetic()) {
            counts[place(letter)] += 1;
            names += usize::from(place(letter) == LATIN && is_a_name(word));
        }
    }
    for place in UNSPACED {
        counts[place] = counts[place].div_ceil(UNSPACED_LETTERS);
    }
    // Japanese is written with Chinese characters, too; a few kana settle it. So is Korean, seldom.
    if counts[0] > 0 {
        counts[0] += std::mem::take(&mut counts[2]);
    }
    let mut ranked: Vec<(usize, usize)> = counts.iter().copied().enumerate().collect();
    ranked.sort_by_key(|(place, count)| (std::cmp::Reverse(*count), *place));
    let ((first, most), (second, fewer)) = (ranked[0], ranked[1]);
    if most == 0 {
        return Script::None;
    }
    let words = |place, count: usize| if place == LATIN { count - names } else { count };
    let (less, more) = (words(second, fewer), words(first, most));
    if less.min(more) >= MIXED_WORDS && less.min(more) as f64 >= MIXED_SHARE * (less + more) as f64 {
        return Script::Mixed;
    }
    match first {
        LATIN => Script::Latin,
        CYRILLIC => Script::Cyrillic,
        ARABIC => Script::Arabic,
        place => Script::Of(CODES[place]),
    }
}

fn place(letter: char) -> usize {
    match letter {
        '\u{3040}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9f}' => 0,
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
        '\u{0e80}'..='\u{0eff}' => 19,
        '\u{0400}'..='\u{052f}' => CYRILLIC,
        '\u{0600}'..='\u{06ff}' | '\u{0750}'..='\u{077f}' => ARABIC,
        _ => LATIN,
    }
}

/// Letters that one language of the script has alone.
pub(super) fn cyrillic(words: &[String]) -> Option<&'static str> {
    only(
        words,
        &[("ru", "ыэё"), ("uk", "їєґ"), ("be", "ў"), ("sr", "ђјљњћџ"), ("mk", "ѓќѕ"), ("kk", "әғқңөұһ")],
    )
}

/// Letters that one language of the script has alone.
pub(super) fn arabic(words: &[String]) -> Option<&'static str> {
    only(words, &[("ur", "ٹڈڑےںھہ"), ("fa", "پچژگیک"), ("ar", "ةىأإيك")])
}

/// The first language whose letters are there; none where another's are, too, except that Urdu has Persian's.
fn only(words: &[String], letters: &[(&'static str, &str)]) -> Option<&'static str> {
    let mut found = letters
        .iter()
        .filter(|(_, letters)| words.iter().any(|word| word.contains(|c| letters.contains(c))))
        .map(|(code, _)| *code);
    let first = found.next()?;
    match found.next() {
        None => Some(first),
        Some("fa") if first == "ur" => Some(first),
        Some(_) => None,
    }
}
