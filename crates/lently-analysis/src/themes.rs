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
    let mut words: Vec<Vec<String>> =
        judged.iter().map(|(comment, _)| tokens::words(&comment.text)).collect();
    join_plurals(&mut words);
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

/// Writes an English plural as its singular, or the other way round where the plural is the more frequent, if both are in
/// the comments: `ideas` and `idea` are one theme. A word whose other form nobody wrote stays as it is.
fn join_plurals(words: &mut [Vec<String>]) {
    // In order, so that the same words always give the same forms.
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words.iter().flatten().filter(|word| tokens::is_content(word)) {
        *times.entry(word).or_default() += 1;
    }
    let mut rarer: HashMap<String, String> = HashMap::new();
    for (plural, often) in &times {
        let known = |singular: &String| times.contains_key(singular.as_str());
        if let Some(singular) = singulars(plural).into_iter().find(known) {
            let (from, to) = if *often > times[singular.as_str()] {
                (singular, (*plural).to_owned())
            } else {
                ((*plural).to_owned(), singular)
            };
            rarer.insert(from, to);
        }
    }
    for word in words.iter_mut().flatten() {
        if let Some(other) = rarer.get(word) {
            word.clone_from(other);
        }
    }
}

/// What a word may be the plural of, the likeliest first; nothing for `glass` and `bus`.
fn singulars(word: &str) -> Vec<String> {
    let Some(without) = word.strip_suffix('s').filter(|rest| rest.len() >= 3 && !rest.ends_with('s')) else {
        return Vec::new();
    };
    let mut singulars = vec![without.to_owned()];
    singulars.extend(without.strip_suffix("ie").map(|stem| format!("{stem}y")));
    singulars.extend(without.strip_suffix('e').map(str::to_owned));
    singulars
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
        name: None,
        size: members.len() as u64,
        share: members.len() as f64 / judged.len().max(1) as f64,
        mean_score: rounded(scores / members.len().max(1) as f64),
        examples: best(&members, EXAMPLES),
    }
}

/// The most liked of some comments, near-duplicates once.
pub(crate) fn best(members: &[(&Comment, &Verdict)], most: usize) -> Vec<Quote> {
    first_by(members, most, |comment| comment.like_count)
}

/// Those of some comments with the most of something, near-duplicates once.
pub(crate) fn first_by(
    members: &[(&Comment, &Verdict)],
    most: usize,
    worth: impl Fn(&Comment) -> u64,
) -> Vec<Quote> {
    let mut ranked = members.to_vec();
    ranked.sort_by(|(a, _), (b, _)| worth(b).cmp(&worth(a)).then_with(|| a.id.cmp(&b.id)));
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
        reply_count: comment.reply_count,
        sentiment: verdict.sentiment,
    }
}

/// To four decimals: sums of floats differ in their last digits by order.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalEngine;

    fn labels(texts: &[&str]) -> Vec<(String, u64)> {
        let comments: Vec<Comment> = (0u8..)
            .zip(texts)
            .map(|(id, text)| Comment { id: id.to_string(), text: (*text).to_owned(), ..Comment::default() })
            .collect();
        let verdicts = LocalEngine::new().judge_all(texts);
        let judged: Vec<_> = comments.iter().zip(&verdicts).collect();
        find(&judged).into_iter().map(|theme| (theme.label, theme.size)).collect()
    }

    #[test]
    fn one_and_many_of_a_thing_are_one_theme() {
        let texts = [
            "this idea was lovely",
            "an idea of mine",
            "your ideas rock",
            "so few ideas there",
            "idea of the century",
            "more batteries though",
            "charged batteries only",
            "which battery was that",
            "drinking glass",
            "plain glass indeed",
            "glass everywhere",
            "rain",
            "sun",
            "snow",
            "hail",
            "fog",
        ];
        assert_eq!(
            labels(&texts),
            [("idea".to_owned(), 5), ("batteries".to_owned(), 3), ("glass".to_owned(), 3)]
        );
    }

    #[test]
    fn words_that_fill_are_no_themes() {
        let texts = [
            "now absolutely gonna go back",
            "now she is absolutely gonna be back",
            "back now, absolutely gonna",
            "schade, spannend dafür",
            "dafür sehr spannend, schade",
            "spannend, schade dafür auch",
            "creo que algo etc",
            "algo así creo, etc",
            "etc, algo creo yo",
        ];
        assert_eq!(labels(&texts), []);
    }
}
