//! What comments speak of: words and pairs of words that many of them share, counted in comments, not in occurrences.
//! No model; the same comments in any order give the same themes.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    model::{Comment, Quote, Theme, Verdict},
    tokens,
};

/// The most themes shown.
const MOST: usize = 10;
/// A theme is spoken of in at least so many comments.
const SMALLEST: usize = 3;
/// And in at least this share of the candidates' comments.
const SMALLEST_SHARE: f64 = 0.004;
/// A pair of words is preferred to one of its words if it is found in at least this share of that word's comments.
const PAIR_SHARE: f64 = 0.4;
/// Two themes that share more than this of the smaller one's comments are one.
const OVERLAP: f64 = 0.5;
/// A word in more comments than this share says nothing of any of them.
const TOO_COMMON: f64 = 0.4;
/// Only so many of the most frequent candidates are compared with one another.
const CANDIDATES: usize = 200;
/// Examples of a theme.
const EXAMPLES: usize = 3;

/// Themes of the comments, largest first. `judged` is in an order that does not depend on the input's.
pub(crate) fn find(judged: &[(&Comment, &Verdict)]) -> Vec<Theme> {
    let words: Vec<Vec<String>> = judged.iter().map(|(comment, _)| tokens::words(&comment.text)).collect();
    let index = index(&words);
    let mut chosen: Vec<(String, Vec<u32>)> = Vec::new();
    for (label, places) in candidates(&index, judged.len()) {
        if chosen.len() == MOST {
            break;
        }
        if chosen.iter().all(|(_, others)| overlap(&places, others) <= OVERLAP) {
            chosen.push((label, places));
        }
    }
    chosen.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    chosen.into_iter().map(|(label, places)| theme(label, &places, judged)).collect()
}

/// For each word, and each pair of words side by side, the comments it is in.
fn index(words: &[Vec<String>]) -> BTreeMap<String, Vec<u32>> {
    let mut index: HashMap<String, Vec<u32>> = HashMap::new();
    // The same sentence pasted a hundred times is one voice.
    let mut voices = HashSet::new();
    for (place, words) in words.iter().enumerate() {
        if !voices.insert(words.as_slice()) {
            continue;
        }
        let mut terms = HashSet::new();
        for (at, word) in words.iter().enumerate() {
            if !tokens::is_content(word) {
                continue;
            }
            terms.insert(word.clone());
            if let Some(next) = words.get(at + 1).filter(|next| tokens::is_content(next) && *next != word) {
                terms.insert(format!("{word} {next}"));
            }
        }
        for term in terms {
            index.entry(term).or_default().push(u32::try_from(place).unwrap_or(u32::MAX));
        }
    }
    index.into_iter().filter(|(_, places)| places.len() >= SMALLEST).collect()
}

/// The terms worth being a theme, most frequent first; pairs stand in for the words that mostly occur in them.
fn candidates(index: &BTreeMap<String, Vec<u32>>, comments: usize) -> Vec<(String, Vec<u32>)> {
    let fewest = SMALLEST.max((comments as f64 * SMALLEST_SHARE).ceil() as usize);
    let most = ((comments as f64 * TOO_COMMON) as usize).max(SMALLEST);
    let mut replaced = HashSet::new();
    for (pair, places) in index.iter().filter(|(term, places)| term.contains(' ') && places.len() >= fewest) {
        for word in pair.split(' ') {
            let alone = index.get(word).map_or(0, Vec::len);
            if places.len() as f64 >= alone as f64 * PAIR_SHARE {
                replaced.insert(word.to_owned());
            }
        }
    }
    let mut terms: Vec<(&String, &Vec<u32>)> = index
        .iter()
        .filter(|(term, places)| (fewest..=most).contains(&places.len()) && !replaced.contains(*term))
        .collect();
    terms.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(b.0)));
    terms.into_iter().take(CANDIDATES).map(|(term, places)| (term.clone(), places.clone())).collect()
}

/// Which share of the smaller list is in the other; both ascend.
fn overlap(a: &[u32], b: &[u32]) -> f64 {
    let (small, large) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let common = small.iter().filter(|place| large.binary_search(place).is_ok()).count();
    common as f64 / small.len().max(1) as f64
}

fn theme(label: String, places: &[u32], judged: &[(&Comment, &Verdict)]) -> Theme {
    let members: Vec<_> = places.iter().filter_map(|place| judged.get(*place as usize)).copied().collect();
    let scores: f64 = members.iter().map(|(_, verdict)| verdict.score).sum();
    Theme {
        label,
        size: members.len() as u64,
        share: members.len() as f64 / judged.len().max(1) as f64,
        mean_score: rounded(scores / members.len().max(1) as f64),
        examples: best(&members, EXAMPLES),
    }
}

/// The most liked of some comments, near-duplicates once.
pub(crate) fn best(members: &[(&Comment, &Verdict)], most: usize) -> Vec<Quote> {
    let mut ranked = members.to_vec();
    ranked.sort_by(|(a, _), (b, _)| b.like_count.cmp(&a.like_count).then_with(|| a.id.cmp(&b.id)));
    let mut seen = HashSet::new();
    let distinct = ranked.into_iter().filter(|(comment, _)| {
        let fingerprint = tokens::fingerprint(&comment.text);
        fingerprint.is_empty() || seen.insert(fingerprint)
    });
    distinct.take(most).map(|(comment, verdict)| quote(comment, verdict)).collect()
}

pub(crate) fn quote(comment: &Comment, verdict: &Verdict) -> Quote {
    Quote {
        comment_id: comment.id.clone(),
        author: comment.author.clone(),
        text: comment.text.clone(),
        like_count: comment.like_count,
        sentiment: verdict.sentiment,
    }
}

/// To four decimals: sums of floats differ in their last digits by order.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
