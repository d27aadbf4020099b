//! What nearly matched: keys that somebody may have meant who found nothing. All of memory is looked through, and the remote tier is
//! asked for a handful of names; it is never searched.

use futures::future::join_all;
use jiff::Timestamp;

use super::Inner;
use crate::explain::{Difference, NearReport};

/// So many are told at most.
const MOST: usize = 8;

impl Inner {
    pub(super) async fn near(&self, key: &str, now: Timestamp) -> Vec<NearReport> {
        let mut near = self.memory.near(MOST, now, |other| difference(key, other));
        if let Some(tier) = self.remote.tier() {
            let names = self.names(key);
            let asked = names.iter().map(|name| async move {
                // Beside what is told of the tier itself, that it cannot be asked is no news.
                let is_there = matches!(self.remote.head(name).await, Ok(Some(_)));
                let difference = difference(key, name).filter(|_| is_there)?;
                Some(NearReport { key: name.clone(), tier, difference })
            });
            near.extend(join_all(asked).await.into_iter().flatten());
        }
        near.sort_by(|a, b| (a.difference, &a.key).cmp(&(b.difference, &b.key)));
        near.truncate(MOST);
        near
    }

    /// Names that the remote tier is asked for: in lower case, of another kind, with one part less.
    fn names(&self, key: &str) -> Vec<String> {
        let (kind, rest) = key.split_once(':').unwrap_or((key, ""));
        let kinds = self.kinds.iter().filter(|other| other.name != kind);
        let mut names: Vec<_> = kinds.map(|other| format!("{}:{rest}", other.name)).take(MOST).collect();
        names.push(key.to_ascii_lowercase());
        names.extend(key.rsplit_once(':').map(|(less, _)| less.to_owned()));
        names.retain(|name| difference(key, name).is_some());
        names
    }
}

/// In what two keys differ, if that is little enough to be a mistake.
fn difference(key: &str, other: &str) -> Option<Difference> {
    if key == other {
        return None;
    }
    if key.len() == other.len() {
        let differ = key.bytes().zip(other.bytes()).filter(|(a, b)| !a.eq_ignore_ascii_case(b));
        if differ.take(2).count() <= 1 {
            return Some(Difference::Spelling);
        }
    }
    let (kind, rest) = key.split_once(':')?;
    let (other_kind, other_rest) = other.split_once(':')?;
    if rest == other_rest {
        return Some(Difference::Kind);
    }
    // Behind the kind stands what it is of; beyond that, how it was asked for.
    let parts = rest.split(':').zip(other_rest.split(':'));
    let mut parts = parts.map(|(a, b)| a == b);
    let same_thing = kind == other_kind && parts.next()?;
    let (count, other_count) = (rest.split(':').count(), other_rest.split(':').count());
    let differ = parts.filter(|same| !same).count() + count.abs_diff(other_count);
    (same_thing && differ == 1).then_some(Difference::Part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_little_is_near_and_what_is_of_something_else_is_not() {
        let near = [
            ("thing:AbC", "thing:aBc", Difference::Spelling),
            ("thing:Il", "thing:ll", Difference::Spelling),
            ("thing:a", "other:a", Difference::Kind),
            ("thing:a:max_1:by_age", "thing:a:max_20:by_age", Difference::Part),
            ("thing:a", "thing:a:de", Difference::Part),
            ("thing:a:de", "thing:a", Difference::Part),
        ];
        for (key, other, told) in near {
            assert_eq!(difference(key, other), Some(told), "{key} {other}");
        }
        for (key, other) in [
            ("thing:a", "thing:a"),
            ("thing:abc", "thing:xyz"),
            ("thing:abc:de", "thing:xyz:de"),
            ("thing:abc:max_1:by_age", "thing:abc:max_20:by_name"),
            ("thing:abc", "other:xyz"),
            ("thing", "other"),
        ] {
            assert_eq!(difference(key, other), None, "{key} {other}");
        }
    }
}
