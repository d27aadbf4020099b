//! Changes that the remote tier did not take, kept until it can be told: the last one of each key, and no more than a bound of
//! them. It keeps accounts and asks nobody; the service pays.

pub(crate) mod debt;
mod owed;

use std::{
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

use self::{
    debt::{Change, Debt, GivenUp, Next, OwedOfKey, TagDebt},
    owed::{Due, Owed},
};
use crate::{
    clock::between,
    entry::Entry,
    events::{Teller, What},
    pattern::Pattern,
};

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

pub(crate) struct Repairs {
    teller: Arc<Teller>,
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

impl Repairs {
    pub(crate) fn new(teller: Arc<Teller>) -> Self {
        Self {
            teller,
            owed: Mutex::default(),
            any: AtomicBool::default(),
            working: AsyncMutex::default(),
            failed: Mutex::default(),
            owing: Notify::default(),
            reachable: Notify::default(),
        }
    }

    /// The remote tier was not told this of `key`.
    pub(crate) fn owe(&self, key: &Arc<str>, debt: Debt) {
        let (change, dropped) = self.change(|owed| {
            let (debt, attempts) = match owed.forget(key) {
                Some(before) => (before.debt.then(debt), before.attempts),
                None => (debt, 0),
            };
            let change = debt.change();
            owed.insert(key, debt, attempts);
            (change, owed.keep_within_bounds())
        });
        self.teller.tell(None, key, || What::Owed { change });
        for (key, change) in dropped {
            self.teller.tell(None, &key, || What::GivenUp { change, why: GivenUp::TooMany });
        }
    }

    /// It was not told of this pattern, which was to go then. What was owed of the keys that match is of the past.
    pub(crate) fn owe_pattern(&self, pattern: &Pattern, since: Instant) {
        let change = Change::DeletePattern;
        let (overtaken, dropped) = self.change(|owed| {
            let overtaken = owed.forget_matching(pattern);
            owed.patterns.retain(|due| due.debt.0 != *pattern);
            let full = owed.patterns.len() == MAX_PATTERNS;
            let dropped = full.then(|| owed.patterns.remove(0).debt.0);
            owed.stats.dropped += u64::from(full);
            let number = owed.number();
            owed.patterns.push(Due::new(number, (pattern.clone(), since)));
            (overtaken, dropped)
        });
        self.tell_overtaken(overtaken);
        self.teller.tell_plainly(Some(pattern.as_str()), What::Owed { change });
        if let Some(dropped) = dropped {
            let what = What::GivenUp { change, why: GivenUp::TooMany };
            self.teller.tell_plainly(Some(dropped.as_str()), what);
        }
    }

    /// It was not told of this tag.
    pub(crate) fn owe_tag(&self, tag: &Arc<str>, debt: TagDebt) {
        let (change, dropped) = self.change(|owed| {
            let number = owed.number();
            let due = owed.tags.entry(tag.clone()).or_insert_with(|| Due::new(number, debt));
            due.number = number;
            // What is invalid is not merely stale.
            if due.debt.expire {
                due.debt = debt;
            }
            let change = due.debt.change();
            let dropped = if owed.tags.len() > MAX_TAGS { owed.tags.pop_first() } else { None };
            owed.stats.dropped += u64::from(dropped.is_some());
            (change, dropped)
        });
        self.teller.tell_plainly(Some(tag), What::Owed { change });
        if let Some((tag, due)) = dropped {
            let what = What::GivenUp { change: due.debt.change(), why: GivenUp::TooMany };
            self.teller.tell_plainly(Some(&tag), what);
        }
    }

    /// Whether something is owed that a reader of `key` must not miss.
    pub(crate) fn owes(&self, key: &str) -> bool {
        self.any.load(SeqCst) && {
            let owed = self.lock();
            owed.keys.contains_key(key) || owed.patterns.iter().any(|due| due.debt.0.matches(key))
        }
    }

    /// All that is owed of `key`, and of these tags of what is there of it.
    pub(crate) fn owed_of(&self, key: &str, tags: &[Arc<str>], now: Timestamp) -> Vec<OwedOfKey> {
        if !self.any.load(SeqCst) {
            return Vec::new();
        }
        let owed = self.lock();
        let patterns = owed.patterns.iter().filter(|due| due.debt.0.matches(key)).map(|due| OwedOfKey {
            change: Change::DeletePattern,
            by: Some(Arc::from(due.debt.0.as_str())),
            bytes: 0,
            age: due.debt.1.elapsed(),
            attempts: due.attempts,
        });
        let tags = tags.iter().filter_map(|tag| owed.tags.get_key_value(tag)).map(|(tag, due)| OwedOfKey {
            change: due.debt.change(),
            by: Some(tag.clone()),
            bytes: 0,
            age: between(due.debt.at, now),
            attempts: due.attempts,
        });
        let own = owed.keys.get(key).map(|due| OwedOfKey {
            change: due.debt.change(),
            by: None,
            bytes: due.debt.bytes(),
            age: due.debt.since().elapsed(),
            attempts: due.attempts,
        });
        patterns.chain(tags).chain(own).collect()
    }

    pub(crate) fn owes_tags(&self) -> bool {
        self.any.load(SeqCst) && !self.lock().tags.is_empty()
    }

    /// The remote tier has been told something newer of `key`.
    pub(crate) fn settle(&self, key: &str) {
        if self.any.load(SeqCst)
            && let Some(due) = self.change(|owed| owed.forget(key))
        {
            let change = due.debt.change();
            self.teller.tell(None, key, || What::GivenUp { change, why: GivenUp::Overtaken });
        }
    }

    /// What was owed of the keys that match is of the past.
    pub(crate) fn settle_matching(&self, pattern: &Pattern) {
        if self.any.load(SeqCst) {
            self.tell_overtaken(self.change(|owed| owed.forget_matching(pattern)));
        }
    }

    fn tell_overtaken(&self, changes: Vec<(Arc<str>, Change)>) {
        for (key, change) in changes {
            self.teller.tell(None, &key, || What::GivenUp { change, why: GivenUp::Overtaken });
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
        let pattern = owed.patterns.first().map(Owed::next_pattern);
        pattern.or_else(|| owed.next_tag()).or_else(|| {
            let (_, key) = owed.removals.first_key_value().or_else(|| owed.values.first_key_value())?;
            owed.next_of(key)
        })
    }

    /// What is to be made good before `key` is read.
    pub(crate) fn next_for(&self, key: &str) -> Option<Next> {
        let owed = self.lock();
        if let Some(due) = owed.patterns.iter().find(|due| due.debt.0.matches(key)) {
            return Some(Owed::next_pattern(due));
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
        match &self.lock().keys.get(key)?.debt {
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
        let gone = self.change(|owed| {
            let gone = match next {
                Next::Pattern(number, ..) => {
                    let before = owed.patterns.len();
                    owed.patterns.retain(|due| due.number != *number);
                    owed.patterns.len() < before
                }
                Next::Tag(number, tag, _) => {
                    let same = owed.tags.get(tag).is_some_and(|due| due.number == *number);
                    same && owed.tags.remove(tag).is_some()
                }
                Next::Key(number, key, _) => {
                    let same = owed.keys.get(key).is_some_and(|due| due.number == *number);
                    same && owed.forget(key).is_some()
                }
            };
            if gone && outrun {
                owed.stats.outrun += 1;
            } else if gone {
                owed.stats.made += 1;
            }
            gone
        });
        if !gone {
            return;
        }
        let change = next.change();
        let what =
            if outrun { What::GivenUp { change, why: GivenUp::Outrun } } else { What::ToldLate { change } };
        match next {
            Next::Pattern(_, pattern, _) => self.teller.tell_plainly(Some(pattern.as_str()), what),
            Next::Tag(_, tag, _) => self.teller.tell_plainly(Some(tag), what),
            Next::Key(_, key, _) => self.teller.tell(None, key, || what),
        }
    }

    /// It could not be made good. The other values come first now.
    pub(crate) fn put_off(&self, next: &Next) {
        *self.failed() = Some(Instant::now());
        self.change(|owed| match next {
            Next::Pattern(number, ..) => {
                let due = owed.patterns.iter_mut().find(|due| due.number == *number);
                due.into_iter().for_each(|due| due.attempts += 1);
            }
            Next::Tag(number, tag, _) => {
                let due = owed.tags.get_mut(tag).filter(|due| due.number == *number);
                due.into_iter().for_each(|due| due.attempts += 1);
            }
            Next::Key(number, key, _) => {
                let Some(due) = owed.keys.get_mut(key).filter(|due| due.number == *number) else { return };
                due.attempts += 1;
                if due.debt.is_value()
                    && let Some(Due { debt, attempts, .. }) = owed.forget(key)
                {
                    owed.insert(key, debt, attempts);
                }
            }
        });
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
#[cfg(test)]
mod tests;
