//! The accounts: what is owed of which key, in the order in which it is told, within bounds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    RepairStats,
    debt::{Change, Debt, Next, TagDebt},
};
use crate::{chance::Hashing, pattern::Pattern};

/// So many keys are remembered at most; the value that has waited longest gives way.
pub(super) const MAX_KEYS: usize = 10_000;
/// So many bytes of values.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Owed {
    pub keys: HashMap<Arc<str>, Due<Debt>, Hashing>,
    /// The keys whose value is to go, and those that are to get one, by the number of their last change.
    pub removals: BTreeMap<u64, Arc<str>>,
    pub values: BTreeMap<u64, Arc<str>>,
    changes: u64,
    pub patterns: Vec<Due<(Pattern, Instant)>>,
    pub tags: BTreeMap<Arc<str>, Due<TagDebt>>,
    pub stats: RepairStats,
}

/// What is owed, the number of the change, and how often it was tried to tell it.
pub(super) struct Due<T> {
    pub number: u64,
    pub debt: T,
    pub attempts: u32,
}

impl<T> Due<T> {
    pub(super) fn new(number: u64, debt: T) -> Self {
        Self { number, debt, attempts: 0 }
    }
}

impl Owed {
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.patterns.len() + self.tags.len()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    pub(super) fn next_tag(&self) -> Option<Next> {
        let (tag, due) = self.tags.first_key_value()?;
        Some(Next::Tag(due.number, tag.clone(), due.debt))
    }

    pub(super) fn next_pattern(due: &Due<(Pattern, Instant)>) -> Next {
        let (pattern, since) = &due.debt;
        Next::Pattern(due.number, pattern.clone(), *since)
    }

    pub(super) fn next_of(&self, key: &str) -> Option<Next> {
        let (key, due) = self.keys.get_key_value(key)?;
        Some(Next::Key(due.number, key.clone(), due.debt.clone()))
    }

    /// As the last change.
    pub(super) fn insert(&mut self, key: &Arc<str>, debt: Debt, attempts: u32) {
        let number = self.number();
        self.stats.owed_bytes += debt.bytes();
        let order = if debt.is_value() { &mut self.values } else { &mut self.removals };
        order.insert(number, key.clone());
        self.keys.insert(key.clone(), Due { number, debt, attempts });
    }

    pub(super) fn forget(&mut self, key: &str) -> Option<Due<Debt>> {
        let due = self.keys.remove(key)?;
        let order = if due.debt.is_value() { &mut self.values } else { &mut self.removals };
        order.remove(&due.number);
        self.stats.owed_bytes -= due.debt.bytes();
        Some(due)
    }

    pub(super) fn forget_matching(&mut self, pattern: &Pattern) -> Vec<(Arc<str>, Change)> {
        let matching: Vec<_> = self.keys.keys().filter(|key| pattern.matches(key)).cloned().collect();
        let forgotten = matching.into_iter().map(|key| self.forget(&key).map(|due| (key, due.debt.change())));
        forgotten.flatten().collect()
    }

    /// Values give way first: they can be paid for again. What was given up.
    pub(super) fn keep_within_bounds(&mut self) -> Vec<(Arc<str>, Change)> {
        let mut dropped = Vec::new();
        while self.keys.len() > MAX_KEYS || self.stats.owed_bytes > MAX_BYTES {
            let oldest = self.values.first_key_value().or_else(|| self.removals.first_key_value());
            let Some(oldest) = oldest.map(|(_, key)| key.clone()) else { break };
            let Some(due) = self.forget(&oldest) else { break };
            let change = due.debt.change();
            // What was to go in any case still is.
            if let Debt::Value { over: true, since, .. } = due.debt
                && self.keys.len() < MAX_KEYS
            {
                self.insert(&oldest, Debt::Delete(since), due.attempts);
            }
            self.stats.dropped += 1;
            dropped.push((oldest, change));
        }
        dropped
    }
}
