//! A sum that many add to and nobody can add to twice: each part holds what it has counted, absolute and only growing, and the sum is over
//! the parts. So a lost answer, a repeated write and a writer that comes late change nothing, and whoever lost the sum is
//! told the parts again. It knows nothing of what is counted.
//!
//! A part is whoever keeps its numbers safe: a process, or those that share a file. Beside what is counted, holders set amounts aside for a
//! while; a holder that is silent longer than that has set nothing aside.

use std::{collections::BTreeMap, time::Duration};

use crate::{error::CacheError, redis::RedisClient, remote::Remote, service::CacheService};

/// The longest name of a tally, part, holder or counter, in bytes.
pub const MAX_TALLY_NAME_BYTES: usize = 1024;

/// Amounts by counter.
pub type Amounts = BTreeMap<String, u64>;

/// A sum over all who share the remote tier; where that is no Redis, of what is told here alone. Cheap to clone.
#[derive(Clone)]
pub struct Tally {
    cache: CacheService,
    name: String,
}

/// What one part has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Who counted.
    pub name: String,
    /// By counter, since the tally began; a counter that is told of once may never be less afterwards.
    pub totals: Amounts,
}

/// What one holder has set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Who holds it: a process, by a name that no other has had.
    pub holder: String,
    /// Greater with each exchange of this holder; of two, the greater one counts, whichever comes first.
    pub version: u64,
    /// By counter. Nothing, where nothing is held.
    pub amounts: Amounts,
    /// How long it lasts unless it is told again.
    pub lasts: Duration,
}

/// More to be set aside, of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyWanted {
    /// The counter.
    pub counter: String,
    /// So much, if there is as much left below the limit.
    pub amount: u64,
    /// Else what is left, if it is no less than this.
    pub least: u64,
    /// What is counted and set aside by all may not exceed it for this.
    pub limit: u64,
}

/// What all have counted and set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What was wanted and is now held; it is among `held`.
    pub granted: u64,
    /// What all parts have counted.
    pub totals: Amounts,
    /// What this part has counted, as far as anyone told: those who share it may be further.
    pub part: Amounts,
    /// What all holders have set aside.
    pub held: Amounts,
}

impl CacheService {
    /// The tally of that name.
    ///
    /// # Errors
    /// [`CacheError::BadKey`] for an empty or too long name, or one with a space, a brace or a control character in it.
    pub fn tally(&self, name: &str) -> Result<Tally, CacheError> {
        check(name)?;
        Ok(Tally { cache: self.clone(), name: name.to_owned() })
    }
}

impl Tally {
    /// Tells what a part has counted and a holder has set aside, sets more aside if that is `wanted` and possible, and returns the
    /// sums, all in one step that nobody comes between.
    ///
    /// Where the answer is lost nobody knows whether more was set aside; the holder's next exchange says what is.
    ///
    /// # Errors
    /// Redis cannot be asked, or refuses; a name that cannot be used; a tally that has as much in it as it may have.
    pub async fn exchange(
        &self,
        part: &Part,
        holding: &Holding,
        wanted: Option<&TallyWanted>,
    ) -> Result<Sums, CacheError> {
        let names = [&part.name, &holding.holder];
        let counters = part.totals.keys().chain(holding.amounts.keys());
        names
            .into_iter()
            .chain(counters)
            .chain(wanted.map(|wanted| &wanted.counter))
            .try_for_each(|name| check(name))?;
        match self.redis() {
            Some(redis) => redis.exchange(&self.name, part, holding, wanted).await,
            None => Ok(alone(part, holding, wanted)),
        }
    }

    /// Whether there is a Redis that sums up for all. Else the sums are of what is told.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.redis().is_some()
    }

    fn redis(&self) -> Option<&RedisClient> {
        match self.cache.remote() {
            // Without scripts nothing is one step.
            Remote::Redis(redis) if redis.may_tally(&self.name) => Some(redis),
            Remote::Redis(_) | Remote::None | Remote::Disk(_) => None,
        }
    }
}

/// The sums where there is nobody else.
fn alone(part: &Part, holding: &Holding, wanted: Option<&TallyWanted>) -> Sums {
    let mut sums = Sums {
        granted: 0,
        totals: part.totals.clone(),
        part: part.totals.clone(),
        held: holding.amounts.clone(),
    };
    if let Some(TallyWanted { counter, amount, least, limit }) = wanted {
        let taken = |amounts: &Amounts| amounts.get(counter).copied().unwrap_or_default();
        let left = limit.saturating_sub(taken(&sums.totals).saturating_add(taken(&sums.held)));
        let granted = left.min(*amount);
        if granted > 0 && granted >= *least {
            sums.granted = granted;
            *sums.held.entry(counter.clone()).or_default() += granted;
        }
    }
    sums
}

/// Names stand in lines, between spaces; and a brace would choose the slot of a cluster's key.
fn check(name: &str) -> Result<(), CacheError> {
    if name.is_empty() || name.len() > MAX_TALLY_NAME_BYTES {
        return Err(CacheError::BadKey("the name of a tally, or in one, is empty or too long"));
    }
    if name.bytes().any(|byte| byte <= b' ' || byte == 0x7f || matches!(byte, b'{' | b'}')) {
        return Err(CacheError::BadKey(
            "the name of a tally, or in one, has a space, brace or control character in it",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(amount: u64) -> Amounts {
        Amounts::from([("units".to_owned(), amount)])
    }

    #[test]
    fn alone_as_much_is_granted_as_is_left_and_no_less_than_the_least() {
        let part = Part { name: "a".to_owned(), totals: amounts(6) };
        let holding = Holding {
            holder: "a1".to_owned(),
            version: 1,
            amounts: amounts(2),
            lasts: Duration::from_secs(60),
        };
        let granted = |amount, least| {
            let wanted = TallyWanted { counter: "units".to_owned(), amount, least, limit: 10 };
            let sums = alone(&part, &holding, Some(&wanted));
            assert_eq!(sums.held, amounts(2 + sums.granted));
            sums.granted
        };
        assert_eq!(
            (granted(1, 1), granted(2, 2), granted(5, 1), granted(5, 3), granted(0, 0)),
            (1, 2, 2, 0, 0)
        );
    }

    #[test]
    fn a_name_is_one_word() {
        for wrong in ["", "a b", "a\nb", "{a}", &"a".repeat(MAX_TALLY_NAME_BYTES + 1)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert!(check("units:2026-11-29/ä").is_ok());
    }
}
