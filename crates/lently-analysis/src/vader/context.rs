//! VADER's rules for one word among its neighbors: capitals, boosters, negations, idioms.

use super::lexicon;

/// What writing one word in capitals adds where others are not.
const CAPITALS: f64 = 0.733;
/// What a negation multiplies by.
const NEGATED: f64 = -0.74;
/// "Never so …" strengthens.
const NEVER_SO: f64 = 1.25;
/// A booster counts a little less, the farther it stands away.
const BY_DISTANCE: [f64; 3] = [1.0, 0.95, 0.9];

pub(super) struct Word<'a> {
    text: &'a str,
    pub(super) lower: String,
}

pub(super) struct Context<'a> {
    pub(super) words: Vec<Word<'a>>,
    /// Some words are in capitals and some are not.
    capitals_differ: bool,
}

impl<'a> Context<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let words: Vec<Word<'a>> = text
            .split(lexicon::is_python_space)
            .filter(|token| !token.is_empty())
            .map(without_punctuation)
            .map(|text| Word { text, lower: text.to_lowercase() })
            .collect();
        let capitals = words.iter().filter(|word| is_upper(word.text)).count();
        Self { capitals_differ: capitals > 0 && capitals < words.len(), words }
    }

    /// The valence of the word at `place`, as its neighbors make it.
    pub(super) fn valence(&self, place: usize) -> f64 {
        let word = &self.words[place];
        let kind_of = word.lower == "kind" && self.lower(place + 1) == Some("of");
        if kind_of || lexicon::booster(&word.lower).is_some() {
            return 0.0;
        }
        let Some(own) = lexicon::valence(&word.lower) else { return 0.0 };
        let mut valence = self.under_no(place, own);
        if self.capitals_differ && is_upper(word.text) {
            valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        for (distance, weight) in BY_DISTANCE.into_iter().enumerate() {
            let Some(before) = place.checked_sub(distance + 1) else { break };
            if lexicon::valence(&self.words[before].lower).is_some() {
                continue;
            }
            valence += self.boost(before, valence) * weight;
            valence = self.negate(valence, distance, place);
            if distance == 2 {
                valence = self.idioms(valence, place);
            }
        }
        self.least(valence, place)
    }

    fn lower(&self, place: usize) -> Option<&str> {
        self.words.get(place).map(|word| word.lower.as_str())
    }

    /// The word `back` places before `place`.
    fn behind(&self, place: usize, back: usize) -> Option<&str> {
        self.lower(place.checked_sub(back)?)
    }

    /// "No" is an answer of its own before a known word, and a negation of what it stands before.
    fn under_no(&self, place: usize, own: f64) -> f64 {
        let is_no = |back| self.behind(place, back) == Some("no");
        let or_nor = || matches!(self.behind(place, 1), Some("or" | "nor"));
        if is_no(1) || is_no(2) || (is_no(3) && or_nor()) {
            return own * NEGATED;
        }
        let before_known = self.lower(place + 1).is_some_and(|next| lexicon::valence(next).is_some());
        if self.words[place].lower == "no" && before_known { 0.0 } else { own }
    }

    fn boost(&self, before: usize, valence: f64) -> f64 {
        let word = &self.words[before];
        let Some(boost) = lexicon::booster(&word.lower) else { return 0.0 };
        let mut boost = if valence < 0.0 { -boost } else { boost };
        if self.capitals_differ && is_upper(word.text) {
            boost += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        boost
    }

    fn negate(&self, valence: f64, distance: usize, place: usize) -> f64 {
        let at = |back: usize| self.behind(place, back).unwrap_or_default();
        let so_or_this = |word: &str| matches!(word, "so" | "this");
        let (never_so, without_doubt) = match distance {
            0 => (false, false),
            1 => (at(2) == "never" && so_or_this(at(1)), at(2) == "without" && at(1) == "doubt"),
            // The second half stands alone in the package: "so" or "this" just before is enough.
            _ => (
                (at(3) == "never" && so_or_this(at(2))) || so_or_this(at(1)),
                at(3) == "without" && (at(2) == "doubt" || at(1) == "doubt"),
            ),
        };
        if never_so {
            valence * NEVER_SO
        } else if without_doubt || !lexicon::negates(at(distance + 1)) {
            valence
        } else {
            valence * NEGATED
        }
    }

    /// Phrases around the word that mean something of their own.
    fn idioms(&self, valence: f64, place: usize) -> f64 {
        let phrase = |from: usize, to: usize| -> String {
            // From `from` words before the word to `to` before it.
            let words: Vec<&str> = (to..=from).rev().filter_map(|back| self.behind(place, back)).collect();
            words.join(" ")
        };
        let mut valence = [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2)]
            .into_iter()
            .find_map(|(from, to)| lexicon::idiom(&phrase(from, to)))
            .unwrap_or(valence);
        let own = &self.words[place].lower;
        if let Some(next) = self.lower(place + 1) {
            valence = lexicon::idiom(&format!("{own} {next}")).unwrap_or(valence);
            if let Some(after) = self.lower(place + 2) {
                valence = lexicon::idiom(&format!("{own} {next} {after}")).unwrap_or(valence);
            }
        }
        let boosts =
            [(3, 1), (3, 2), (2, 1)].into_iter().filter_map(|(from, to)| lexicon::booster(&phrase(from, to)));
        valence + boosts.sum::<f64>()
    }

    /// "Least" negates, but "at least" and "very least" do not.
    fn least(&self, valence: f64, place: usize) -> f64 {
        let is_least = self.behind(place, 1) == Some("least") && lexicon::valence("least").is_none();
        let harmless = matches!(self.behind(place, 2), Some("at" | "very"));
        if is_least && !harmless { valence * NEGATED } else { valence }
    }
}

/// Punctuation around a word goes; what would leave two characters or fewer is likely an emoticon and stays.
fn without_punctuation(token: &str) -> &str {
    let stripped = token.trim_matches(|c: char| c.is_ascii_punctuation());
    if stripped.chars().count() <= 2 { token } else { stripped }
}

/// As in Python: at least one letter has a case, and none is small.
fn is_upper(word: &str) -> bool {
    let mut any = false;
    for c in word.chars() {
        if c.is_lowercase() || is_titlecase(c) {
            return false;
        }
        any |= c.is_uppercase();
    }
    any
}

/// The few letters that are neither upper nor lower case but have one: U+01C5 and its like.
fn is_titlecase(c: char) -> bool {
    matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}'
        | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}
