//! What a summary rests on, and whether it still stands on other comments: while few of them have come or gone, and the mood is the
//! same, the words are as true as they were, for the numbers in them are put in anew each time.

use serde::{Deserialize, Serialize};

/// The words on some comments are used for others as long as these differ in no more than a tenth: what came and what went,
/// together, out of all. A theme, a question or a quotation that is spoken of is then still there, or hardly missed.
const CHANGED_AT_MOST: f64 = 0.1;
/// So many comments are remembered as they are. Of more, a sample is: the share that changed is then told to half a percentage point.
const SAMPLE: usize = 2_048;

/// Which comments some words are about, and in which language they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Basis {
    read: u64,
    mood: String,
    language: String,
    /// Of the ids' hashes those whose last so many bits are zero: the same ids are left out of every sample.
    bits: u32,
    /// Ascending.
    sample: Vec<u32>,
}

impl Basis {
    pub(crate) fn of<'a>(ids: impl Iterator<Item = &'a str>, mood: String, language: &str) -> Self {
        let mut sample: Vec<u32> = ids.map(hash).collect();
        let read = sample.len() as u64;
        let mut bits = 0;
        while sample.len() > SAMPLE && bits < u32::BITS {
            bits += 1;
            sample.retain(|hash| hash.trailing_zeros() >= bits);
        }
        sample.sort_unstable();
        Self { read, mood, language: language.to_owned(), bits, sample }
    }

    /// How many comments came or went since `earlier`, if that is few enough and mood and language are the same.
    pub(crate) fn changed_since(&self, earlier: &Self) -> Option<u64> {
        let bits = self.bits.max(earlier.bits);
        let (now, then) = (self.sampled(bits), earlier.sampled(bits));
        let common = now.iter().filter(|hash| then.binary_search(hash).is_ok()).count();
        let changed = ((now.len() + then.len() - 2 * common) as u64) << bits;
        let few = changed as f64 <= self.read.min(earlier.read) as f64 * CHANGED_AT_MOST;
        (few && self.mood == earlier.mood && self.language == earlier.language).then_some(changed)
    }

    fn sampled(&self, bits: u32) -> Vec<u32> {
        self.sample.iter().copied().filter(|hash| hash.trailing_zeros() >= bits).collect()
    }
}

fn hash(id: &str) -> u32 {
    let [a, b, c, d, ..] = *blake3::hash(id.as_bytes()).as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(ids: std::ops::Range<u32>, mood: &str) -> Basis {
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        Basis::of(ids.iter().map(String::as_str), mood.to_owned(), "en")
    }

    #[test]
    fn words_stand_while_a_tenth_has_changed_at_most() {
        let then = basis(0..100, "mixed");
        assert_eq!(basis(0..100, "mixed").changed_since(&then), Some(0));
        assert_eq!(basis(0..110, "mixed").changed_since(&then), Some(10));
        assert_eq!(basis(5..105, "mixed").changed_since(&then), Some(10), "five came, five went");
        assert_eq!(basis(0..111, "mixed").changed_since(&then), None);
        assert_eq!(basis(0..89, "mixed").changed_since(&then), None);
        assert_eq!(
            basis(0..9, "mixed").changed_since(&basis(0..10, "mixed")),
            None,
            "one of ten, but not of nine"
        );
        assert_eq!(basis(0..0, "mixed").changed_since(&basis(0..1, "mixed")), None);
    }

    #[test]
    fn words_do_not_stand_where_the_mood_has_turned() {
        assert_eq!(basis(0..100, "mostly positive").changed_since(&basis(0..100, "mixed")), None);
    }

    #[test]
    fn words_stand_in_their_own_language_alone() {
        let german = Basis { language: "de".to_owned(), ..basis(0..100, "mixed") };
        assert_eq!(german.changed_since(&basis(0..100, "mixed")), None);
    }

    #[test]
    fn of_many_comments_a_sample_tells() {
        let then = basis(0..50_000, "mixed");
        assert!(then.sample.len() <= SAMPLE);
        let told = basis(0..52_000, "mixed").changed_since(&then).expect("a twenty-fifth");
        assert!((1_000..3_200).contains(&told), "{told}");
        assert_eq!(basis(0..60_000, "mixed").changed_since(&then), None, "a fifth");
    }
}
