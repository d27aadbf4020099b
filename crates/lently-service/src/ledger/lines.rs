//! Who spent what: the lines of the store, and those of all others as far as they can be heard. They are told behind the sums, in a tally of
//! their own: nobody waits for them, and nothing is decided by them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lently_cache::{Amounts, Holding, Part, Sums};
use lently_upstream::PacificDay;
use tokio::time::Instant;

use super::Ledger;
use super::book::HELD_FOR;
use super::report::SpenderReport;
use crate::error::ServiceError;
use crate::store::Line;

/// Lines of one store that others are told of; what came later is told as of nobody in particular.
const TOLD_MAX: usize = 2_000;
/// How old what a user is told may be.
const LATE: Duration = Duration::from_secs(1);
/// Lines that Redis may have lost are told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// Nobody in particular.
pub(super) const OTHERS: &str = "(others)";

/// Amounts by user, purpose and counter.
pub(super) type Spent = BTreeMap<(String, String, String), u64>;

impl Ledger {
    /// Tells sums that nothing is set aside of, and learns those of all. `None` where there is nobody to ask.
    pub(crate) async fn exchange_totals(&self, name: &str, totals: Amounts) -> Option<Sums> {
        let (part, holder) = self.names().await.ok()?;
        let tally = self.0.cache.tally(name).ok().filter(|tally| tally.is_shared())?;
        let part = Part { name: part.to_owned(), totals };
        let holder = format!("{holder}.lines");
        let holding = Holding { holder, version: 0, amounts: Amounts::new(), lasts: HELD_FOR };
        tally.exchange(&part, &holding, None).await.ok()
    }

    /// Who spent what of a day, on all nodes as far as they can be heard.
    pub(super) async fn lines(&self, day: PacificDay) -> Result<Spent, ServiceError> {
        let own = self.own_lines(day).await?;
        let names: Amounts = own.iter().map(|(spent, amount)| (spell(spent), *amount)).collect();
        let Some(sums) = self.exchange_totals(&format!("ledger-lines:{day}"), names).await else {
            return Ok(own);
        };
        Ok(sums.totals.iter().filter_map(|(name, amount)| Some((read(name)?, *amount))).collect())
    }

    /// The same, up to a second old: users ask for it as often as they like.
    pub(super) async fn late_lines(&self, day: PacificDay) -> Result<Arc<Spent>, ServiceError> {
        let mut heard = self.0.lines.lock().await;
        if let Some((of, at, lines)) = &*heard
            && *of == day
            && at.elapsed() < LATE
        {
            return Ok(Arc::clone(lines));
        }
        self.write().await;
        let lines = Arc::new(self.lines(day).await?);
        *heard = Some((day, Instant::now(), Arc::clone(&lines)));
        Ok(lines)
    }

    async fn own_lines(&self, day: PacificDay) -> Result<Spent, ServiceError> {
        let lines = self.0.store.ledger_lines(day, usize::MAX).await?;
        let mut spent = Spent::new();
        for (place, (Line { user, purpose, counter, .. }, amount)) in lines.into_iter().enumerate() {
            // Lines keep their places, so that a line is never told under two names.
            let user = if place < TOLD_MAX { user } else { OTHERS.to_owned() };
            *spent.entry((user, purpose, counter)).or_default() += amount;
        }
        Ok(spent)
    }

    /// Tells others of the lines, if something was spent since, and now and then in any case: Redis may have lost them.
    pub(super) async fn tell_lines(&self) {
        let (day, sums) = self.0.book.view();
        // Grows with whatever is spent.
        let spent = sums.totals.values().fold(0_u64, |sum, amount| sum.saturating_add(*amount));
        let mut told = self.0.told.lock().await;
        let recently = told.is_some_and(|(of, at)| of == spent && at.elapsed() < TOLD_AGAIN);
        if spent > 0 && !recently && self.lines(day).await.is_ok() {
            *told = Some((spent, Instant::now()));
        }
    }
}

/// Sums up by a name; beyond so many, those who spent least are one.
pub(super) fn by(
    lines: &Spent,
    name: impl Fn(&(String, String, String)) -> String,
    at_most: usize,
) -> Vec<SpenderReport> {
    let mut all: BTreeMap<String, SpenderReport> = BTreeMap::new();
    for (spent, amount) in lines {
        let name = name(spent);
        all.entry(name.clone()).or_insert_with(|| SpenderReport::named(&name)).add(&spent.2, *amount);
    }
    let mut all: Vec<SpenderReport> = all.into_values().collect();
    all.sort_by_key(|one| std::cmp::Reverse((one.shared_units, one.micro_dollars, one.stats_units)));
    if all.len() > at_most {
        let mut others = SpenderReport::named(OTHERS);
        for one in all.drain(at_most - 1..) {
            others.shared_units += one.shared_units;
            others.stats_units += one.stats_units;
            others.search_units += one.search_units;
            others.tokens_in += one.tokens_in;
            others.tokens_out += one.tokens_out;
            others.micro_dollars += one.micro_dollars;
        }
        all.push(others);
    }
    all
}

/// A user's text is spelled in hexadecimal digits: names in a tally are words.
fn spell((user, purpose, counter): &(String, String, String)) -> String {
    let user: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{user}/{purpose}/{counter}")
}

fn read(name: &str) -> Option<(String, String, String)> {
    let mut parts = name.splitn(3, '/');
    let (user, purpose, counter) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes =
        user.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let user = String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()?;
    Some((user, purpose.to_owned(), counter.to_owned()))
}
#[cfg(test)]
mod tests {
    use lently_upstream::Bucket;

    use super::super::counters;
    use super::*;

    #[test]
    fn a_users_name_comes_back_whatever_is_in_it() {
        for user in ["local", "a/b c{}", "ü\u{1F600}", &"x".repeat(256)] {
            let spent = (user.to_owned(), "warm".to_owned(), counters::units(Bucket::Shared));
            let name = spell(&spent);
            assert!(name.len() <= lently_cache::MAX_TALLY_NAME_BYTES && !name.contains([' ', '{']), "{name}");
            assert_eq!(read(&name), Some(spent));
        }
        assert_eq!(read("zz/a/b"), None);
    }

    #[test]
    fn beyond_so_many_the_least_are_one() {
        let line = |user: &str, amount| {
            ((user.to_owned(), "warm".to_owned(), counters::units(Bucket::Shared)), amount)
        };
        let lines = Spent::from([line("a", 1), line("b", 5), line("c", 2), line("d", 3)]);
        let users = by(&lines, |(user, _, _)| user.clone(), 3);
        let told: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.shared_units)).collect();
        assert_eq!(told, [("b", 5), ("d", 3), (OTHERS, 3)]);
    }
}
