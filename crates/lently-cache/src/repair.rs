//! Changes that the remote tier did not take, kept until it can be told: the last one of each key, and no more than a bound of
//! them. It keeps accounts and asks nobody; the service pays.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify},
    time::{Instant, timeout},
};

use crate::{entry::Entry, pattern::Pattern, policy::Kind};

/// So many keys are remembered at most; the value that has waited longest gives way.
const MAX_KEYS: usize = 10_000;
/// So many bytes of values.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// So many patterns. Each is matched against every key that is looked up until it is made good.
const MAX_PATTERNS: usize = 64;
/// So many tags.
const MAX_TAGS: usize = 1_000;
/// So long after a failure no caller tries it.
const REST: Duration = Duration::from_secs(1);
/// So long a caller waits for what is made good before it goes on as if the remote tier could not be reached.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What the remote tier was not told, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairStats {
    /// Changes it is to be told as soon as it can be reached.
    pub owed: u64,
    /// The bytes of the values among them.
    pub owed_bytes: u64,
    /// Changes it was told late.
    pub made: u64,
    /// Values it was not told, because the key was changed meanwhile or their time was over.
    pub outrun: u64,
    /// Changes that were given up because there were too many.
    pub dropped: u64,
}

/// A change of one key.
#[derive(Clone, Debug)]
pub(crate) enum Debt {
    Value {
        kind: Kind,
        entry: Entry,
        /// When it began to be fetched, or was set: what is deleted later is not to come back.
        since: Instant,
        /// Of the lease it was fetched with, which may still be there.
        token: Option<String>,
        /// Whether what lies there was to go in any case.
        over: bool,
    },
    /// What lies there was to go then.
    Delete(Instant),
    /// What lies there is stale since then.
    Expire(Instant, Timestamp),
}

impl Debt {
    fn is_value(&self) -> bool {
        matches!(self, Self::Value { .. })
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Value { entry, .. } => entry.value.len() as u64,
            Self::Delete(_) | Self::Expire(..) => 0,
        }
    }

    /// What remains to be done of this and then of `next`.
    fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Value { over: false, .. }, next @ Self::Value { .. }) | (_, next @ Self::Delete(_)) => {
                next
            }
            (_, Self::Value { kind, entry, since, token, .. }) => {
                Self::Value { kind, entry, since, token, over: true }
            }
            (Self::Value { kind, entry, since, .. }, Self::Expire(_, at)) => {
                Self::Value { kind, entry: entry.expired(at), since, token: None, over: true }
            }
            (before @ Self::Delete(_), Self::Expire(..)) => before,
            (Self::Expire(..), next @ Self::Expire(..)) => next,
        }
    }
}

#[derive(Default)]
pub(crate) struct Repairs {
    owed: Mutex<Owed>,
    /// Whether anything is: all that a reader looks at as long as nothing is.
    any: AtomicBool,
    /// Held while something is made good, so that a newer change of the same key waits.
    working: AsyncMutex<()>,
    /// When that last failed, and nothing has told since that it may go better.
    failed: Mutex<Option<Instant>>,
    owing: Notify,
    reachable: Notify,
}

#[derive(Default)]
struct Owed {
    keys: HashMap<Arc<str>, (u64, Debt)>,
    /// The keys whose value is to go, and those that are to get one, by the number of their last change.
    removals: BTreeMap<u64, Arc<str>>,
    values: BTreeMap<u64, Arc<str>>,
    changes: u64,
    patterns: Vec<(u64, Pattern, Instant)>,
    tags: BTreeMap<Arc<str>, (u64, TagDebt)>,
    stats: RepairStats,
}

/// A change of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagDebt {
    pub expire: bool,
    pub at: Timestamp,
}

/// One change to be made good, with its number.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    Pattern(u64, Pattern, Instant),
    Tag(u64, Arc<str>, TagDebt),
    Key(u64, Arc<str>, Debt),
}

impl Next {
    pub(crate) fn is_value(&self) -> bool {
        matches!(self, Self::Key(_, _, debt) if debt.is_value())
    }
}

impl Repairs {
    /// The remote tier was not told this of `key`.
    pub(crate) fn owe(&self, key: &Arc<str>, debt: Debt) {
        self.change(|owed| {
            let debt = match owed.forget(key) {
                Some(before) => before.then(debt),
                None => debt,
            };
            owed.insert(key, debt);
            owed.keep_within_bounds();
        });
    }

    /// It was not told of this pattern, which was to go then. What was owed of the keys that match is of the past.
    pub(crate) fn owe_pattern(&self, pattern: &Pattern, since: Instant) {
        self.change(|owed| {
            owed.forget_matching(pattern);
            owed.patterns.retain(|(_, other, _)| other != pattern);
            if owed.patterns.len() == MAX_PATTERNS {
                owed.patterns.remove(0);
                owed.stats.dropped += 1;
            }
            let number = owed.number();
            owed.patterns.push((number, pattern.clone(), since));
        });
    }

    /// It was not told of this tag.
    pub(crate) fn owe_tag(&self, tag: &Arc<str>, debt: TagDebt) {
        self.change(|owed| {
            let number = owed.number();
            match owed.tags.get_mut(tag) {
                // What is invalid is not merely stale.
                Some((last, before)) if !before.expire => *last = number,
                Some(before) => *before = (number, debt),
                None => drop(owed.tags.insert(tag.clone(), (number, debt))),
            }
            if owed.tags.len() > MAX_TAGS {
                owed.tags.pop_first();
                owed.stats.dropped += 1;
            }
        });
    }

    /// Whether something is owed that a reader of `key` must not miss.
    pub(crate) fn owes(&self, key: &str) -> bool {
        self.any.load(SeqCst) && {
            let owed = self.lock();
            owed.keys.contains_key(key) || owed.patterns.iter().any(|(_, pattern, _)| pattern.matches(key))
        }
    }

    pub(crate) fn owes_tags(&self) -> bool {
        self.any.load(SeqCst) && !self.lock().tags.is_empty()
    }

    /// The remote tier has been told something newer of `key`.
    pub(crate) fn settle(&self, key: &str) {
        if self.any.load(SeqCst) {
            self.change(|owed| drop(owed.forget(key)));
        }
    }

    /// What was owed of the keys that match is of the past.
    pub(crate) fn settle_matching(&self, pattern: &Pattern) {
        if self.any.load(SeqCst) {
            self.change(|owed| owed.forget_matching(pattern));
        }
    }

    /// Whoever changes `key` waits for what is being made good of it, and keeps it from being made good meanwhile. They wait no
    /// longer than [`PATIENCE`]: at worst what they change has to be fetched again.
    pub(crate) async fn turn(&self, key: &str) -> Option<AsyncMutexGuard<'_, ()>> {
        if self.owes(key) { timeout(PATIENCE, self.working.lock()).await.ok() } else { None }
    }

    /// To be held while something is made good.
    pub(crate) async fn work(&self) -> AsyncMutexGuard<'_, ()> {
        self.working.lock().await
    }

    /// What is to be made good first: what takes values away, before what brings some.
    pub(crate) fn next(&self) -> Option<Next> {
        let owed = self.lock();
        let pattern = owed
            .patterns
            .first()
            .map(|(number, pattern, since)| Next::Pattern(*number, pattern.clone(), *since));
        pattern.or_else(|| owed.next_tag()).or_else(|| {
            let (_, key) = owed.removals.first_key_value().or_else(|| owed.values.first_key_value())?;
            owed.next_of(key)
        })
    }

    /// What is to be made good before `key` is read.
    pub(crate) fn next_for(&self, key: &str) -> Option<Next> {
        let owed = self.lock();
        if let Some((number, pattern, since)) =
            owed.patterns.iter().find(|(_, pattern, _)| pattern.matches(key))
        {
            return Some(Next::Pattern(*number, pattern.clone(), *since));
        }
        match owed.next_of(key)? {
            // Its tags are looked at when it is told.
            next @ Next::Key(_, _, Debt::Value { .. }) => owed.next_tag().or(Some(next)),
            next => Some(next),
        }
    }

    /// The value that the remote tier is to get, if the last change of `key` was one.
    pub(crate) fn value(&self, key: &str) -> Option<Entry> {
        if !self.any.load(SeqCst) {
            return None;
        }
        match &self.lock().keys.get(key)?.1 {
            Debt::Value { entry, .. } => Some(entry.clone()),
            Debt::Delete(_) | Debt::Expire(..) => None,
        }
    }

    /// What is to be made good before a tag is read.
    pub(crate) fn next_tag(&self) -> Option<Next> {
        self.lock().next_tag()
    }

    /// It was made good, or need not be any more.
    pub(crate) fn done(&self, next: &Next, outrun: bool) {
        self.change(|owed| {
            let gone = match next {
                Next::Pattern(number, ..) => {
                    let before = owed.patterns.len();
                    owed.patterns.retain(|(other, ..)| other != number);
                    owed.patterns.len() < before
                }
                Next::Tag(number, tag, _) => {
                    let same = owed.tags.get(tag).is_some_and(|(other, _)| other == number);
                    same && owed.tags.remove(tag).is_some()
                }
                Next::Key(number, key, _) => {
                    let same = owed.keys.get(key).is_some_and(|(other, _)| other == number);
                    same && owed.forget(key).is_some()
                }
            };
            if gone && outrun {
                owed.stats.outrun += 1;
            } else if gone {
                owed.stats.made += 1;
            }
        });
    }

    /// It could not be made good. The other values come first now.
    pub(crate) fn put_off(&self, next: &Next) {
        *self.failed() = Some(Instant::now());
        if let Next::Key(number, key, Debt::Value { .. }) = next {
            self.change(|owed| {
                if owed.keys.get(key).is_some_and(|(other, _)| other == number)
                    && let Some(debt) = owed.forget(key)
                {
                    owed.insert(key, debt);
                }
            });
        }
    }

    /// Whether it failed a moment ago: who comes now need not try, and pay for the same again.
    pub(crate) fn rests(&self) -> bool {
        self.failed().is_some_and(|at| at.elapsed() < REST)
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once something is owed.
    pub(crate) async fn owing(&self) {
        while !self.any.load(SeqCst) {
            self.owing.notified().await;
        }
    }

    /// The remote tier may be reachable again.
    pub(crate) fn try_now(&self) {
        *self.failed() = None;
        self.reachable.notify_one();
    }

    /// Returns once it may.
    pub(crate) async fn reachable(&self) {
        self.reachable.notified().await;
    }

    pub(crate) fn stats(&self) -> RepairStats {
        let owed = self.lock();
        RepairStats { owed: owed.len() as u64, ..owed.stats }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Owed) -> T) -> T {
        let mut owed = self.lock();
        let changed = change(&mut owed);
        let any = owed.len() > 0;
        if self.any.swap(any, SeqCst) != any && any {
            self.owing.notify_one();
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owed {
    fn len(&self) -> usize {
        self.keys.len() + self.patterns.len() + self.tags.len()
    }

    fn number(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn next_tag(&self) -> Option<Next> {
        let (tag, (number, debt)) = self.tags.first_key_value()?;
        Some(Next::Tag(*number, tag.clone(), *debt))
    }

    fn next_of(&self, key: &str) -> Option<Next> {
        let (key, (number, debt)) = self.keys.get_key_value(key)?;
        Some(Next::Key(*number, key.clone(), debt.clone()))
    }

    /// As the last change.
    fn insert(&mut self, key: &Arc<str>, debt: Debt) {
        let number = self.number();
        self.stats.owed_bytes += debt.bytes();
        let order = if debt.is_value() { &mut self.values } else { &mut self.removals };
        order.insert(number, key.clone());
        self.keys.insert(key.clone(), (number, debt));
    }

    fn forget(&mut self, key: &str) -> Option<Debt> {
        let (number, debt) = self.keys.remove(key)?;
        let order = if debt.is_value() { &mut self.values } else { &mut self.removals };
        order.remove(&number);
        self.stats.owed_bytes -= debt.bytes();
        Some(debt)
    }

    fn forget_matching(&mut self, pattern: &Pattern) {
        let matching: Vec<_> = self.keys.keys().filter(|key| pattern.matches(key)).cloned().collect();
        for key in matching {
            self.forget(&key);
        }
    }

    /// Values give way first: they can be paid for again.
    fn keep_within_bounds(&mut self) {
        while self.keys.len() > MAX_KEYS || self.stats.owed_bytes > MAX_BYTES {
            let oldest = self.values.first_key_value().or_else(|| self.removals.first_key_value());
            let Some(oldest) = oldest.map(|(_, key)| key.clone()) else { return };
            // What was to go in any case still is.
            if let Some(Debt::Value { over: true, since, .. }) = self.forget(&oldest)
                && self.keys.len() < MAX_KEYS
            {
                self.insert(&oldest, Debt::Delete(since));
            }
            self.stats.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cost, Tags, clock::Clock, entry::Tier, envelope};

    const THING: Kind = Kind { name: "thing", schema: 1 };

    fn value(text: &'static str) -> Debt {
        let now = "2026-11-24T12:00:00Z".parse::<Timestamp>().expect("a time");
        let policy = crate::Policy {
            kind: THING,
            fresh: Duration::from_secs(60),
            stale: Duration::ZERO,
            retention: Duration::from_secs(600),
            refresh_ahead: Duration::ZERO,
            fetch_timeout: Duration::from_secs(1),
            after_wait: crate::AfterWait::Fetch,
            failures: crate::FailureTtl::default(),
            tags: Tags::NONE,
        };
        let entry = envelope::entry(&policy, text.into(), Cost::default(), policy.fresh, now);
        Debt::Value { kind: THING, entry, since: Instant::now(), token: None, over: false }
    }

    fn delete() -> Debt {
        Debt::Delete(Instant::now())
    }

    fn key(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    /// All that is paid, in its order, by word.
    fn paid(repairs: &Repairs) -> Vec<String> {
        let mut paid = Vec::new();
        while let Some(next) = repairs.next() {
            paid.push(match &next {
                Next::Pattern(_, pattern, _) => format!("pattern {}", pattern.as_str()),
                Next::Tag(_, tag, debt) => {
                    format!("{} {tag}", if debt.expire { "expire" } else { "invalidate" })
                }
                Next::Key(_, key, Debt::Delete(_)) => format!("delete {key}"),
                Next::Key(_, key, Debt::Expire(..)) => format!("expire {key}"),
                Next::Key(_, key, Debt::Value { entry, over, .. }) => {
                    format!("{key} = {}{}", entry.value.escape_ascii(), if *over { " or delete" } else { "" })
                }
            });
            repairs.done(&next, false);
        }
        paid
    }

    #[test]
    fn what_takes_values_away_is_told_before_what_brings_some() {
        let repairs = Repairs::default();
        repairs.owe(&key("thing:1"), value("1"));
        repairs.owe(&key("thing:2"), delete());
        repairs.owe_tag(&key("red"), TagDebt { expire: false, at: Clock::system().now() });
        repairs.owe_pattern(&Pattern::parse("other:*").expect("a pattern"), Instant::now());
        assert_eq!(repairs.stats().owed, 4);
        assert_eq!(paid(&repairs), ["pattern other:*", "invalidate red", "delete thing:2", "thing:1 = 1"]);
        assert_eq!(repairs.stats(), RepairStats { made: 4, ..RepairStats::default() });
    }

    #[test]
    fn of_two_changes_of_a_key_the_later_is_owed() {
        let now = Clock::system().now();
        let expire = || Debt::Expire(Instant::now(), now);
        let cases: [(Debt, Debt, &str); 7] = [
            (value("1"), value("2"), "thing:1 = 2"),
            (value("1"), delete(), "delete thing:1"),
            (delete(), value("2"), "thing:1 = 2 or delete"),
            (expire(), value("2"), "thing:1 = 2 or delete"),
            (value("1"), expire(), "thing:1 = 1 or delete"),
            (delete(), expire(), "delete thing:1"),
            (expire(), delete(), "delete thing:1"),
        ];
        for (first, second, owed) in cases {
            let repairs = Repairs::default();
            repairs.owe(&key("thing:1"), first);
            repairs.owe(&key("thing:1"), second);
            assert_eq!(paid(&repairs), [owed]);
        }
    }

    #[test]
    fn a_pattern_makes_up_for_what_was_owed_of_its_keys_and_not_for_what_comes_after() {
        let repairs = Repairs::default();
        repairs.owe(&key("thing:1"), value("1"));
        repairs.owe_pattern(&Pattern::parse("thing:*").expect("a pattern"), Instant::now());
        repairs.owe(&key("thing:2"), value("2"));
        assert!(repairs.owes("thing:1") && repairs.owes("thing:3") && !repairs.owes("other:1"));
        assert_eq!(paid(&repairs), ["pattern thing:*", "thing:2 = 2"]);
        assert!(!repairs.owes("thing:1"));
    }

    #[test]
    fn what_changed_while_it_was_paid_is_still_owed() {
        let repairs = Repairs::default();
        repairs.owe(&key("thing:1"), value("1"));
        let paid_for = repairs.next().expect("one");
        repairs.owe(&key("thing:1"), value("2"));
        repairs.done(&paid_for, false);
        assert_eq!((repairs.stats().owed, repairs.stats().made), (1, 0));
        repairs.settle("thing:1");
        assert_eq!(repairs.stats(), RepairStats::default());
    }

    #[test]
    fn a_value_that_is_refused_does_not_keep_the_others_waiting() {
        let repairs = Repairs::default();
        repairs.owe(&key("thing:1"), value("1"));
        repairs.owe(&key("thing:2"), value("2"));
        repairs.put_off(&repairs.next().expect("one"));
        assert!(repairs.rests(), "nobody else tries for a moment");
        assert_eq!(paid(&repairs), ["thing:2 = 2", "thing:1 = 1"]);
        repairs.try_now();
        assert!(!repairs.rests());
    }

    #[test]
    fn an_invalid_tag_is_not_merely_stale() {
        let at = Clock::system().now();
        let repairs = Repairs::default();
        repairs.owe_tag(&key("red"), TagDebt { expire: true, at });
        repairs.owe_tag(&key("red"), TagDebt { expire: false, at });
        repairs.owe_tag(&key("red"), TagDebt { expire: true, at });
        assert_eq!(paid(&repairs), ["invalidate red"]);
    }

    #[test]
    fn values_give_way_first() {
        let repairs = Repairs::default();
        repairs.owe(&key("thing:over"), delete());
        repairs.owe(&key("thing:over"), value("1"));
        for n in 0..MAX_KEYS {
            repairs.owe(&key(&format!("thing:{n}")), delete());
        }
        let stats = repairs.stats();
        assert_eq!((stats.owed, stats.dropped, stats.owed_bytes), (MAX_KEYS as u64, 1, 0));
        for n in 0..MAX_PATTERNS + 1 {
            repairs.owe_pattern(&Pattern::parse(&format!("other:{n}")).expect("a pattern"), Instant::now());
        }
        assert_eq!(repairs.stats().dropped, 2);
        assert_eq!(repairs.value("thing:over").map(|entry| entry.tier), None::<Tier>);
    }
}
