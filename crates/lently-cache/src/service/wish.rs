//! What will do for a caller: the policy, and what the caller wants otherwise.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    clock::later,
    entry::Entry,
    policy::{AcceptStale, Controls},
};

/// What a caller, or the flight that it leads, takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Only what is fetched from now on, whatever failed before.
    pub anew: bool,
    /// Nothing that was fetched before.
    since: Option<Timestamp>,
    stale: AcceptStale,
    /// What is fetched may be stored.
    pub store: bool,
    /// Nothing is fetched, neither now nor behind.
    pub only_if_cached: bool,
}

/// Whether a stored entry will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Fresh,
    Stale,
    No,
}

impl Wish {
    pub(super) fn of(controls: &Controls, now: Timestamp) -> Self {
        let since = controls.max_age.map(|age| {
            let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
            now.checked_sub(age).unwrap_or(Timestamp::MIN)
        });
        let since = since.max(controls.newer_than.and_then(just_after));
        let stale = match (controls.max_age, controls.stale) {
            _ if controls.newer_than.is_some() => AcceptStale::Within(Duration::ZERO),
            // RFC 9111 (5.2.1.1): without max-stale, whoever says max-age takes nothing stale.
            (Some(_), AcceptStale::ByPolicy) => AcceptStale::Within(Duration::ZERO),
            (_, stale) => stale,
        };
        Self {
            anew: controls.no_cache,
            since,
            stale,
            store: !controls.no_store,
            only_if_cached: controls.only_if_cached,
        }
    }

    /// A newer value than this one, which is still there.
    pub(super) fn newer_than(entry: &Entry) -> Self {
        let since = just_after(entry.fetched_at);
        Self {
            anew: false,
            since,
            stale: AcceptStale::Within(Duration::ZERO),
            store: true,
            only_if_cached: false,
        }
    }

    pub(super) fn takes(&self, entry: &Entry, now: Timestamp) -> Takes {
        if self.anew || !self.is_new_enough(entry) {
            Takes::No
        } else if entry.is_fresh(now) {
            Takes::Fresh
        } else if now < self.stale_until(entry) {
            Takes::Stale
        } else {
            Takes::No
        }
    }

    /// Whether an entry will do where fetching failed.
    pub(super) fn takes_after_failure(&self, entry: &Entry, now: Timestamp) -> bool {
        if self.anew || !self.is_new_enough(entry) {
            return false;
        }
        match self.stale {
            AcceptStale::ByPolicy | AcceptStale::AfterFailure => now < entry.retain_until,
            AcceptStale::Within(_) => now < self.stale_until(entry),
        }
    }

    /// Whether the budget has a say in it: whoever takes a stale value where fetching fails takes it where fetching is spared, too.
    pub(super) fn may_be_spared(&self, entry: &Entry) -> bool {
        let takes = matches!(self.stale, AcceptStale::ByPolicy | AcceptStale::AfterFailure);
        !self.anew && takes && self.is_new_enough(entry)
    }

    fn is_new_enough(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.fetched_at >= since)
    }

    fn stale_until(&self, entry: &Entry) -> Timestamp {
        match self.stale {
            AcceptStale::ByPolicy => entry.stale_until,
            AcceptStale::AfterFailure => entry.fresh_until,
            AcceptStale::Within(limit) => later(entry.fresh_until, limit).min(entry.retain_until),
        }
    }
}

fn just_after(time: Timestamp) -> Option<Timestamp> {
    time.checked_add(SignedDuration::from_nanos(1)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        entry::{Facts, Tier},
        policy::Cost,
        tags::Tagged,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Fetched at 0, fresh until 10, stale until 20, kept until 100.
    fn entry() -> Entry {
        fetched_at(0)
    }

    fn fetched_at(second: i64) -> Entry {
        let facts = Facts {
            value: Bytes::from_static(b"1"),
            fetched_at: at(second),
            fresh_until: at(10),
            stale_until: at(20),
            retain_until: at(100),
            cost: Cost::default(),
            etag: Arc::from("e"),
            tagged: Tagged::default(),
        };
        Entry::new(Tier::Memory, facts)
    }

    #[test]
    fn each_control_moves_the_line_between_fresh_stale_and_nothing() {
        use Takes::{Fresh, No, Stale};
        let plain = Controls::DEFAULT;
        let seconds = Duration::from_secs;
        let stale = |stale| Controls { stale, ..plain };
        let aged = |age| Controls { max_age: Some(seconds(age)), ..plain };
        for (controls, expected) in [
            (plain, [Fresh, Stale, No, No]),
            (Controls::NO_CACHE, [No, No, No, No]),
            (stale(AcceptStale::AfterFailure), [Fresh, No, No, No]),
            (stale(AcceptStale::Within(seconds(0))), [Fresh, No, No, No]),
            (stale(AcceptStale::Within(seconds(50))), [Fresh, Stale, Stale, No]),
            (stale(AcceptStale::Within(seconds(5000))), [Fresh, Stale, Stale, Stale]),
            (aged(9), [Fresh, No, No, No]),
            (aged(8), [No, No, No, No]),
            (Controls { stale: AcceptStale::Within(seconds(5000)), ..aged(30) }, [Fresh, Stale, Stale, No]),
        ] {
            let taken = [9, 19, 29, 99].map(|now| Wish::of(&controls, at(now)).takes(&entry(), at(now)));
            assert_eq!(taken, expected, "{controls:?}");
        }
    }

    #[test]
    fn after_a_failure_the_retention_is_the_limit_unless_the_caller_says_less() {
        let stale = |stale| Controls { stale, ..Controls::DEFAULT };
        for (controls, expected) in [
            (Controls::DEFAULT, true),
            (stale(AcceptStale::AfterFailure), true),
            (stale(AcceptStale::Within(Duration::from_secs(60))), false),
            (Controls { max_age: Some(Duration::from_secs(200)), ..Controls::DEFAULT }, false),
            (Controls::NO_CACHE, false),
        ] {
            let wish = Wish::of(&controls, at(99));
            assert_eq!(wish.takes_after_failure(&entry(), at(99)), expected, "{controls:?}");
        }
    }

    #[test]
    fn whoever_has_seen_a_value_takes_a_newer_fresh_one_only() {
        for (seen, expected) in [(-1, [Takes::Fresh, Takes::No]), (0, [Takes::No, Takes::No])] {
            let wish = Wish::of(&Controls { newer_than: Some(at(seen)), ..Controls::DEFAULT }, at(9));
            assert_eq!([9, 19].map(|now| wish.takes(&entry(), at(now))), expected);
        }
    }

    #[test]
    fn what_refreshes_a_value_takes_a_newer_one_only() {
        let old = entry();
        let newer = fetched_at(1);
        let wish = Wish::newer_than(&old);
        assert_eq!((wish.takes(&old, at(2)), wish.takes(&newer, at(2))), (Takes::No, Takes::Fresh));
    }
}
