//! What the server keeps: values of a few types with the time at which each is over. An expired value is gone for whoever
//! comes for it, and whoever tracks is told then.

use std::collections::BTreeMap;

use super::{ConnectionId, commands::wrong_type, resp::Reply, tracking::Tracking};

#[derive(Clone, Default)]
pub struct Database {
    keys: BTreeMap<Vec<u8>, Entry>,
    pub tracking: Tracking,
    /// What takes memory is refused.
    pub full: bool,
    /// Nothing is over before.
    next_end: Option<u64>,
    /// Where walks go on, by their cursors.
    places: BTreeMap<u64, Vec<u8>>,
}

#[derive(Clone)]
pub struct Entry {
    pub value: Value,
    /// The last millisecond in which it is there.
    pub until: Option<u64>,
}

#[derive(Clone)]
pub enum Value {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

impl Value {
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
        }
    }
}

impl Database {
    /// What is there.
    pub fn get(&mut self, key: &[u8], now: u64) -> Option<&mut Entry> {
        if is_over(self.keys.get(key)?, now) {
            self.remove(key, None);
            return None;
        }
        self.keys.get_mut(key)
    }

    /// The string that is there.
    pub fn string(&mut self, key: &[u8], now: u64) -> Result<Option<&[u8]>, Reply> {
        match self.get(key, now) {
            None => Ok(None),
            Some(Entry { value: Value::String(bytes), .. }) => Ok(Some(bytes)),
            Some(_) => Err(wrong_type()),
        }
    }

    /// The same without touching anything.
    pub fn peek(&self, key: &[u8], now: u64) -> Option<&[u8]> {
        match self.keys.get(key).filter(|entry| !is_over(entry, now))? {
            Entry { value: Value::String(bytes), .. } => Some(bytes),
            _ => None,
        }
    }

    /// Whether something is, without touching anything.
    pub fn is_there(&self, key: &[u8], now: u64) -> bool {
        self.keys.get(key).is_some_and(|entry| !is_over(entry, now))
    }

    pub fn set(&mut self, key: &[u8], value: Value, until: Option<u64>, by: Option<ConnectionId>) {
        self.keys.insert(key.to_vec(), Entry { value, until });
        self.ends(until);
        self.tracking.changed(key, by);
    }

    /// Changes how long it is there, if it is.
    pub fn set_until(&mut self, key: &[u8], until: Option<u64>, by: Option<ConnectionId>) {
        if let Some(entry) = self.keys.get_mut(key) {
            entry.until = until;
            self.ends(until);
            self.tracking.changed(key, by);
        }
    }

    /// Removes what is there; whether there was something.
    pub fn delete(&mut self, key: &[u8], by: Option<ConnectionId>, now: u64) -> bool {
        self.get(key, now).is_some() && self.remove(key, by)
    }

    pub fn flush(&mut self) {
        self.keys.clear();
        self.tracking.flushed();
    }

    /// How many keys there are, with those whose time is over and for which nobody came.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn expire(&mut self, now: u64) {
        if self.next_end.is_none_or(|end| now <= end) {
            return;
        }
        let over = self.keys.iter().filter(|(_, entry)| is_over(entry, now));
        for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.remove(&key, None);
        }
        self.next_end = self.keys.values().filter_map(|entry| entry.until).min();
    }

    pub fn restart(&mut self, keep: bool) {
        let old = std::mem::take(self);
        self.full = old.full;
        if keep {
            (self.keys, self.next_end) = (old.keys, old.next_end);
        }
    }

    /// Some keys in their order, from where the cursor is, and the cursor of the next ones: 0 at the end. A key that is there
    /// all the time is told. A cursor that was given out by another run leads nowhere.
    pub fn walk(&mut self, cursor: u64, count: usize) -> (u64, Vec<Vec<u8>>) {
        let start = match cursor {
            0 => Vec::new(),
            cursor => match self.places.get(&cursor) {
                Some(place) => place.clone(),
                None => return (0, Vec::new()),
            },
        };
        let mut keys = self.keys.range(start..).map(|(key, _)| key);
        let some: Vec<Vec<u8>> = keys.by_ref().take(count).cloned().collect();
        let Some(next) = keys.next() else { return (0, some) };
        let cursor = number_of(next);
        let next = next.clone();
        self.places.insert(cursor, next);
        (cursor, some)
    }

    fn remove(&mut self, key: &[u8], by: Option<ConnectionId>) -> bool {
        let was_there = self.keys.remove(key).is_some();
        if was_there {
            self.tracking.changed(key, by);
        }
        was_there
    }

    fn ends(&mut self, until: Option<u64>) {
        self.next_end = [self.next_end, until].into_iter().flatten().min();
    }
}

/// In its last millisecond it is still there.
fn is_over(entry: &Entry, now: u64) -> bool {
    entry.until.is_some_and(|until| now > until)
}

/// A number for a place, never 0: FNV-1a.
fn number_of(key: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    key.iter().fold(0xcbf2_9ce4_8422_2325, mix).max(1)
}
