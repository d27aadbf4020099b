//! Tags: one change that makes any number of entries invalid. Each tag has a version in the remote tier; an entry carries the
//! versions that its tags had before it was fetched, and is served only while they are still the same. Nothing is walked over,
//! and no clock decides.
//!
//! A version is drawn at random when a tag is first used and drawn anew when it is invalidated, rather than counted: a version
//! that was lost, with Redis or to its memory limit, can then never come back, and what carries it is a miss. Its last sixteen bits
//! count how often the tag was expired since.

use std::{collections::HashMap, fmt};

use jiff::Timestamp;

use crate::{
    chance::{self, Hashing},
    entry::Entry,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

/// The most tags an entry may have.
pub const MAX_TAGS: usize = 16;
/// The longest tag. All tags of an entry together have at most eight times as many bytes: they lie in its header line.
pub const MAX_TAG_BYTES: usize = 128;
const MOST_TAG_BYTES: usize = 8 * MAX_TAG_BYTES;
/// First word of the keys of tags, after the prefix. No key of a caller's begins with it: kinds are lower-case words.
const WORD: &str = "~tag:";
/// Cells nobody holds any more are dropped when there are twice as many as there were used ones, and at least so many.
const SWEPT_FROM: usize = 1024;
/// Which part of a version counts how often the tag was expired.
const EXPIRIES: u64 = 0xFFFF;

/// The tags of the values under a policy. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags(Option<Arc<[Arc<str>]>>);

impl Tags {
    /// No tag.
    pub const NONE: Self = Self(None);

    /// These tags, at most [`MAX_TAGS`], none empty or longer than [`MAX_TAG_BYTES`], and without control characters. Others are
    /// refused with [`FetchError::BadKey`](crate::FetchError::BadKey) or [`CacheError::BadKey`](crate::CacheError::BadKey)
    /// where they are used.
    pub fn new<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Self {
        let mut tags: Vec<Arc<str>> = tags.into_iter().map(|tag| Arc::from(tag.as_ref())).collect();
        tags.sort_unstable();
        tags.dedup();
        Self((!tags.is_empty()).then(|| Arc::from(tags)))
    }

    /// The tags, in order, each once.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().flat_map(|tags| tags.iter())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let (mut tags, mut bytes) = (0, 0);
        for tag in self.iter() {
            check_tag(tag)?;
            tags += 1;
            bytes += tag.len();
        }
        if tags > MAX_TAGS || bytes > MOST_TAG_BYTES {
            return Err("it has more than 16 tags, or they have more than 1,024 bytes");
        }
        Ok(())
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

pub(crate) fn check_tag(tag: &str) -> Result<(), &'static str> {
    if tag.is_empty() {
        Err("a tag of it is empty")
    } else if tag.len() > MAX_TAG_BYTES {
        Err("a tag of it is longer than 128 bytes")
    } else if tag.chars().any(char::is_control) {
        Err("a tag of it has a control character in it")
    } else {
        Ok(())
    }
}

/// The key (without prefix) under which a tag's version lies.
pub(crate) fn key_of(tag: &str) -> String {
    format!("{WORD}{tag}")
}

/// The tag whose version lies under a key (without prefix).
pub(crate) fn tag_of(key: &str) -> Option<&str> {
    key.strip_prefix(WORD)
}

/// A tag's record, and when its tier forgets it.
pub(crate) type Told = Option<(Record, Timestamp)>;

/// What lies under a tag's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub version: u64,
    /// When the tag was last expired; nothing of that version was before.
    expired_at: Option<Timestamp>,
}

impl Record {
    /// A version that no entry has.
    pub(crate) fn new() -> Self {
        // Never zero: that is the version of what could not be learned.
        let drawn = chance::draw() | 1 << 63;
        Self { version: drawn & !EXPIRIES, expired_at: None }
    }

    /// The version after it was expired; `None` after as many times as can be counted.
    pub(crate) fn expired(self, now: Timestamp) -> Option<Self> {
        (self.version & EXPIRIES < EXPIRIES)
            .then(|| Self { version: self.version + 1, expired_at: Some(now) })
    }

    /// Sixteen hexadecimal digits; behind them, where it was expired, an `@` and the milliseconds since 1970.
    pub(crate) fn to_text(self) -> String {
        match self.expired_at {
            None => format!("{:016x}", self.version),
            Some(at) => format!("{:016x}@{}", self.version, at.as_millisecond()),
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (version, at) = text.split_once('@').map_or((text, None), |(version, at)| (version, Some(at)));
        let expired_at = match at {
            Some(at) => Some(Timestamp::from_millisecond(at.parse().ok()?).ok()?),
            None => None,
        };
        Some(Self { version: parse_version(version)?, expired_at })
    }
}

pub(crate) fn parse_version(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?
}

/// What this process knows of a tag.
pub(crate) struct Cell {
    tag: Arc<str>,
    /// How often it was heard to change. What holds an older number is asked about.
    changes: AtomicU64,
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    record: Record,
    /// The epoch of notices in which it was learned; it is known for as long as that lasts.
    epoch: Option<u64>,
    /// When the remote tier forgets it.
    lasts_until: Timestamp,
}

impl Cell {
    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        let mut known = self.known();
        self.changes.fetch_add(1, SeqCst);
        *known = None;
    }
}

/// The versions that an entry's tags had before it was fetched. Cheap to clone; nothing for most entries.
#[derive(Clone, Default)]
pub struct Tagged(Option<Arc<[Mark]>>);

#[derive(Clone)]
struct Mark {
    tag: Arc<str>,
    /// Zero where it could not be learned: no version is.
    version: u64,
    /// Where changes are heard of, and how many there had been when the version was seen to be the tag's. `None` as read.
    seen: Option<(Arc<Cell>, u64)>,
}

impl Tagged {
    /// Of a header that was read.
    pub(crate) fn read(marks: impl IntoIterator<Item = (Arc<str>, u64)>) -> Self {
        let marks: Arc<[Mark]> =
            marks.into_iter().map(|(tag, version)| Mark { tag, version, seen: None }).collect();
        Self((!marks.is_empty()).then_some(marks))
    }

    /// The tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.names().map(|tag| &**tag)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.marks().iter().map(|mark| &mark.tag)
    }

    pub(crate) fn versions(&self) -> impl Iterator<Item = (&str, u64)> {
        self.marks().iter().map(|mark| (&*mark.tag, mark.version))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a version could not be learned: nobody will serve it who can ask.
    pub(crate) fn is_unknown(&self) -> bool {
        self.versions().any(|(_, version)| version == 0)
    }

    /// Whether no change of a tag was heard of since its version was seen.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.marks()
            .iter()
            .all(|mark| mark.seen.as_ref().is_none_or(|(cell, seen)| cell.changes.load(SeqCst) == *seen))
    }

    fn marks(&self) -> &[Mark] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl PartialEq for Tagged {
    fn eq(&self, other: &Self) -> bool {
        self.versions().eq(other.versions())
    }
}

impl Eq for Tagged {}

impl fmt::Debug for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.versions()).finish()
    }
}

/// What the tags of an entry say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Valid(Tagged),
    /// It was not fresh any more from that time on.
    Expired(Tagged, Timestamp),
    /// It may not be served.
    Invalid,
}

/// The tags that this process knows something of.
pub(crate) struct Book {
    cells: Mutex<Cells>,
    /// Whether this process is the only one there is: what it knows is all there is to know.
    alone: bool,
}

#[derive(Default)]
struct Cells {
    by_tag: HashMap<Arc<str>, Weak<Cell>, Hashing>,
    used: usize,
}

/// The tags of an entry, looked up; those whose versions are not known are to be asked for.
pub(crate) struct Looked {
    seen: Vec<Seen>,
    epoch: Option<u64>,
}

/// What is known of one of them.
struct Seen {
    cell: Arc<Cell>,
    changes: u64,
    /// As it is now.
    record: Option<Record>,
    /// As it was when it was learned last, and no change was heard of since.
    last: Option<Record>,
}

impl Book {
    pub(crate) fn new(alone: bool) -> Self {
        Self { cells: Mutex::default(), alone }
    }

    /// A change was heard of, or made here.
    pub(crate) fn changed(&self, tag: &str) {
        let cell = self.cells().by_tag.get(tag).and_then(Weak::upgrade);
        if let Some(cell) = cell {
            cell.changed();
        }
    }

    /// Changes a tag that no other process has.
    pub(crate) fn change_alone(&self, tag: &str, expire: bool, now: Timestamp) {
        let Some(cell) = self.cells().by_tag.get(tag).and_then(Weak::upgrade) else { return };
        let mut known = cell.known();
        cell.changes.fetch_add(1, SeqCst);
        let record = known.map(|known| known.record);
        let record = record.and_then(|record| if expire { record.expired(now) } else { None });
        *known = Some(Known {
            record: record.unwrap_or_else(Record::new),
            epoch: None,
            lasts_until: Timestamp::MAX,
        });
    }

    /// What is known of these tags; `epoch` is the one of notices, if they are believed. Known until `until` at least.
    pub(crate) fn look<'a>(
        &self,
        tags: impl Iterator<Item = &'a Arc<str>>,
        epoch: Option<u64>,
        until: Timestamp,
    ) -> Looked {
        let seen = tags.map(|tag| {
            let cell = self.cell(tag);
            let mut known = cell.known();
            if self.alone && known.is_none() {
                let record = Record::new();
                *known = Some(Known { record, epoch: None, lasts_until: Timestamp::MAX });
            }
            let believed = |known: &Known| self.alone || epoch.is_some() && known.epoch == epoch;
            let record = known.filter(|known| believed(known) && until <= known.lasts_until);
            let (record, last) = (record.map(|known| known.record), known.map(|known| known.record));
            let changes = cell.changes.load(SeqCst);
            drop(known);
            Seen { cell, changes, record, last }
        });
        Looked { seen: seen.collect(), epoch }
    }

    fn cell(&self, tag: &Arc<str>) -> Arc<Cell> {
        let mut cells = self.cells();
        if let Some(cell) = cells.by_tag.get(tag).and_then(Weak::upgrade) {
            return cell;
        }
        if cells.by_tag.len() >= SWEPT_FROM.max(cells.used * 2) {
            cells.by_tag.retain(|_, cell| cell.strong_count() > 0);
            cells.used = cells.by_tag.len();
        }
        let cell = Arc::new(Cell { tag: tag.clone(), changes: AtomicU64::new(0), known: Mutex::new(None) });
        cells.by_tag.insert(tag.clone(), Arc::downgrade(&cell));
        cell
    }

    fn cells(&self) -> MutexGuard<'_, Cells> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looked {
    /// The tags to ask for.
    pub(crate) fn unknown(&self) -> Vec<Arc<str>> {
        self.seen.iter().filter(|seen| seen.record.is_none()).map(|seen| seen.cell.tag.clone()).collect()
    }

    /// Takes the answers, in the order of [`unknown`](Self::unknown). Known from now on, unless a change was heard of meanwhile.
    pub(crate) fn learn(&mut self, answers: impl IntoIterator<Item = Told>) {
        let unknown = self.seen.iter_mut().filter(|seen| seen.record.is_none());
        for (seen, answer) in unknown.zip(answers) {
            let Some((record, lasts_until)) = answer else { continue };
            seen.record = Some(record);
            let mut known = seen.cell.known();
            if self.epoch.is_some() && seen.cell.changes.load(SeqCst) == seen.changes {
                *known = Some(Known { record, epoch: self.epoch, lasts_until });
            }
        }
    }

    /// The marks of an entry that is about to be fetched. Where the tier cannot be asked, a tag's last known version will do: if it
    /// still is the tag's when that can be asked, the tag was not changed since, nor since the fetch.
    pub(crate) fn marks(self) -> Tagged {
        let marks = self.seen.into_iter().map(|Seen { cell, changes, record, last }| Mark {
            tag: cell.tag.clone(),
            version: record.or(last).map_or(0, |record| record.version),
            seen: Some((cell, changes)),
        });
        Tagged(Some(marks.collect()))
    }

    /// What they say of an entry that was read with `marks`, which are the same tags in the same order.
    pub(crate) fn judge(self, marks: &Tagged) -> Verdict {
        let mut expired_at = None;
        for (mark, seen) in marks.marks().iter().zip(&self.seen) {
            let Some(record) =
                seen.record.filter(|record| record.version & !EXPIRIES == mark.version & !EXPIRIES)
            else {
                return Verdict::Invalid;
            };
            if record.version != mark.version {
                expired_at = expired_at.max(record.expired_at.or(Some(Timestamp::MIN)));
            }
        }
        let marks = self.marks();
        match expired_at {
            None => Verdict::Valid(marks),
            Some(at) => Verdict::Expired(marks, at),
        }
    }
}

impl Verdict {
    /// The entry as it may be served, if it may.
    pub(crate) fn apply(self, entry: Entry) -> Option<Entry> {
        match self {
            Self::Valid(tagged) => Some(entry.with_tagged(tagged)),
            Self::Expired(tagged, at) => Some(entry.expired(at).with_tagged(tagged)),
            Self::Invalid => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::once;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let at = Timestamp::from_millisecond(1_795_521_600_123).expect("a time");
        let new = Record::new();
        let expired = new.expired(at).expect("one of many");
        for record in [new, expired] {
            assert_eq!(Record::parse(record.to_text().as_bytes()), Some(record));
        }
        assert_eq!(expired.version, new.version + 1);
        for garbage in ["", "1", "00000000000000zz", "0000000000000001@", "0000000000000001@x", "\u{e9}"] {
            assert_eq!(Record::parse(garbage.as_bytes()), None, "{garbage}");
        }
    }

    #[test]
    fn versions_differ_and_expiries_end_before_they_run_into_the_next_version() {
        let (one, other) = (Record::new(), Record::new());
        assert!(one.version != other.version && one.version & EXPIRIES == 0 && one.version > EXPIRIES);
        let used_up = Record { version: one.version | EXPIRIES, expired_at: None };
        assert_eq!(used_up.expired(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn what_is_learned_while_a_change_is_heard_of_is_not_known() {
        once(|| {
            let (book, tag, now) = (Book::new(false), Arc::<str>::from("a"), Timestamp::UNIX_EPOCH);
            let look = || book.look([&tag].into_iter(), Some(1), now);
            let mut looked = look();
            book.changed("a");
            looked.learn([Some((Record::new(), Timestamp::MAX))]);
            let marks = looked.marks();
            assert!(!marks.is_unchanged());
            let mut again = look();
            assert_eq!(again.unknown(), std::slice::from_ref(&tag));
            again.learn([Some((Record::new(), Timestamp::MAX))]);
            assert!(look().unknown().is_empty() && again.marks().is_unchanged());
            assert!(!book.look([&tag].into_iter(), Some(3), now).unknown().is_empty(), "another epoch");
        });
    }

    #[test]
    fn cells_that_nobody_holds_are_dropped() {
        once(|| {
            let book = Book::new(false);
            for n in 0..10 * SWEPT_FROM {
                let tag = Arc::<str>::from(n.to_string());
                drop(book.look([&tag].into_iter(), None, Timestamp::UNIX_EPOCH));
            }
            assert!(book.cells().by_tag.len() <= SWEPT_FROM);
        });
    }
}
