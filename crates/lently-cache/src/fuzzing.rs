//! Every reader of what others wrote, with what must hold of it whatever it is given: for `fuzz/` and for the tests. No part of
//! the crate's interface; it may change at any time.

use std::{collections::BTreeMap, io::Read as _, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, value::RawValue};

use crate::{
    AfterWait, Cost, Deployment, Entry, FailureTtl, FetchError, Kind, Pattern, Policy, RedisConfig, Tags,
    Tier,
    envelope::{self, BareLife, Decoded, Limits},
    failure,
};

/// The kind in the golden files.
const KIND: Kind = Kind { name: "thing", schema: 1 };
/// A quota is remembered no longer than this, whatever a record says.
const LONGEST_FAILURE: Duration = Duration::from_secs(25 * 3600);

/// How a stored value is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The clock.
    pub now: Timestamp,
    /// The largest value taken.
    pub max_value_bytes: u64,
    /// What is known of a value without a header: its remaining life and the whole one.
    pub bare: Option<(Option<Duration>, Duration)>,
}

impl Reading {
    /// One of the readings, chosen by a byte: within the life of the golden files, and at the limits of everything.
    #[must_use]
    pub fn of(choice: u8) -> Self {
        let of_the_golden_files = Timestamp::constant(1_795_521_600, 0);
        // At the very last nothing can be said of a life: there is no later.
        let before_the_end = Timestamp::constant(253_402_207_199, 0);
        let seconds = |ttl, fresh| Some((Some(Duration::from_secs(ttl)), Duration::from_secs(fresh)));
        Self {
            now: [of_the_golden_files, Timestamp::UNIX_EPOCH, Timestamp::MIN, before_the_end]
                [usize::from(choice & 3)],
            max_value_bytes: [1 << 20, 1 << 14, 64, 1][usize::from(choice >> 2 & 3)],
            bare: [None, Some((None, Duration::MAX)), seconds(20, 60), seconds(u64::MAX, u64::MAX)]
                [usize::from(choice >> 4 & 3)],
        }
    }
}

fn read(stored: &Bytes, reading: Reading) -> Option<Entry> {
    let bare = reading.bare.map(|(ttl, fresh)| BareLife { ttl, fresh });
    let limits = Limits { max_value_bytes: reading.max_value_bytes };
    match envelope::decode(stored.clone(), KIND, Tier::Redis, limits, reading.now, bare) {
        Decoded::Entry(entry) => Some(entry),
        _ => None,
    }
}

/// Whether a stored value is taken for one; for who measures what finding out takes.
#[must_use]
pub fn is_readable(stored: &Bytes, reading: Reading) -> bool {
    read(stored, reading).is_some()
}

/// Reads a stored value; whether it was taken for one.
///
/// # Panics
/// If an entry is not what its header says, is larger than allowed, or is another one after it is written and read again.
pub fn stored_value(stored: &[u8], reading: Reading) -> bool {
    let stored = Bytes::copy_from_slice(stored);
    let cost = envelope::cost_of(&stored);
    let Some(entry) = read(&stored, reading) else { return false };
    assert!(entry.value.len() as u64 <= reading.max_value_bytes, "{} bytes", entry.value.len());
    assert!(entry.fetched_at <= reading.now && reading.now < entry.retain_until, "{entry:?}");
    assert!(entry.fresh_until <= entry.stale_until && entry.stale_until <= entry.retain_until, "{entry:?}");
    if envelope::is_ours(&stored) {
        assert_eq!(entry.cost, cost);
        is_as_its_header_says(&entry, &stored, reading.now);
    } else {
        assert_eq!((&entry.value, entry.cost), (&stored, Cost::default()));
        assert!(str::from_utf8(&stored).is_ok());
    }
    // A value of another program lives shorter than its kind, but not with a header of its own.
    assert_eq!(read(&write(&entry), reading).as_ref(), Some(&entry));
    true
}

/// By another parser.
fn is_as_its_header_says(entry: &Entry, stored: &Bytes, now: Timestamp) {
    let split = stored.iter().position(|&b| b == b'\n').expect("a header line");
    let (head, body) = (&stored[..split], &stored[split + 1..]);
    let header: BTreeMap<String, &RawValue> = serde_json::from_slice(head).expect("JSON");
    let field = |name: &str| -> Value { serde_json::from_str(header[name].get()).expect("JSON") };
    assert_eq!((field("envelope"), field("schema")), (1.into(), KIND.schema.into()));
    assert_eq!((field("kind"), field("length")), (KIND.name.into(), entry.value.len().into()));
    assert_eq!(field("etag"), *entry.etag);
    let time = |name: &str| field(name).as_str().expect("a text").parse::<Timestamp>().expect("a time");
    assert_eq!(entry.fetched_at, time("fetched_at").min(now));
    let retain_until = time("retain_until");
    assert!(now < retain_until);
    assert_eq!(entry.retain_until, retain_until);
    assert_eq!(entry.fresh_until, time("fresh_until").min(retain_until));
    assert_eq!(entry.stale_until, time("stale_until").min(retain_until).max(entry.fresh_until));
    if header["encoding"].get().contains("identity") {
        assert_eq!(entry.value, body);
        return;
    }
    let mut unpacked = Vec::new();
    let unpacker = zstd::stream::read::Decoder::new(body).expect("an unpacker");
    // Piece by piece it refuses windows that need much memory, which unpacking at once does without.
    if unpacker.take(entry.value.len() as u64 + 1).read_to_end(&mut unpacked).is_ok() {
        assert_eq!(entry.value, unpacked);
    }
}

fn policy(fresh: Duration) -> Policy {
    Policy {
        kind: KIND,
        fresh,
        stale: Duration::ZERO,
        retention: Duration::MAX,
        refresh_ahead: Duration::ZERO,
        fetch_timeout: Duration::from_secs(1),
        after_wait: AfterWait::Fetch,
        failures: FailureTtl::default(),
        tags: Tags::NONE,
    }
}

fn write(entry: &Entry) -> Bytes {
    envelope::encode(KIND, entry)
}

/// Writes a value and reads it again.
///
/// # Panics
/// If it does not come back as it was, or is read by one whose limit is a byte below.
pub fn round_trip(value: &[u8], cost: Cost, fresh: Duration, now: Timestamp) {
    let value = Bytes::copy_from_slice(value);
    let entry = envelope::entry(&policy(fresh), value.clone(), cost, fresh, now);
    let stored = write(&entry);
    assert!(envelope::is_ours(&stored));
    let reading = Reading { now, max_value_bytes: value.len() as u64, bare: None };
    let found = read(&stored, reading);
    if now >= entry.retain_until {
        assert_eq!(found, None);
        return;
    }
    assert_eq!(found, Some(entry.lying_in(Tier::Redis)));
    if let Some(less) = reading.max_value_bytes.checked_sub(1) {
        assert_eq!(read(&stored, Reading { max_value_bytes: less, ..reading }), None);
    }
}

/// Reads the record of a failure; whether it was taken for one.
///
/// # Panics
/// If it cannot be passed on as it was read, or is to be remembered for longer than anything.
pub fn failure_record(record: &[u8], now: Timestamp) -> bool {
    let Some(error) = failure::decode(record) else { return false };
    assert!(FailureTtl::default().of(&error, now) <= LONGEST_FAILURE, "{error:?}");
    let passed_on = failure::encode(&error).expect("whatever came from elsewhere goes on");
    let again = failure::decode(passed_on.as_bytes()).expect("our own words");
    match (error, again) {
        (FetchError::Failed(was), FetchError::Failed(is)) => {
            assert_eq!((was.class, &was.detail), (is.class, &is.detail));
            assert!(was.to_string().starts_with(&is.to_string()));
        }
        (FetchError::TimedOut { after: was }, FetchError::TimedOut { after: is }) => assert_eq!(was, is),
        other => panic!("{other:?}"),
    }
    true
}

/// Matches a pattern against a key; whether it is a pattern at all.
///
/// # Panics
/// If the verdict is not the one of a matcher that tries everything, or an escaped text is not matched by itself alone.
pub fn pattern(text: &str, key: &str) -> bool {
    if let Ok(itself) = Pattern::parse(&Pattern::escape(key)) {
        assert!(itself.matches(key), "{itself}");
        assert_eq!(itself.matches(text), text == key, "{itself}");
    }
    let Ok(pattern) = Pattern::parse(text) else { return false };
    let hit = pattern.matches(key);
    if pattern.matches_everything() {
        assert!(hit);
    }
    let elements = elements(text.as_bytes());
    assert_eq!(hit, tries_everything(&elements, key.as_bytes()), "{text:?} against {key:?}");
    true
}

/// Reads a URL of Redis, as it is and with a secret in it; whether it is one.
///
/// # Panics
/// If the address that is shown is another one when it is read again, or the secret is shown.
pub fn redis_url(text: &str) -> bool {
    const SECRET: &str = "hunter2";
    for with_secret in [
        format!("redis://user:{SECRET}@{text}"),
        format!("redis+sentinel://:{SECRET}@{text}"),
        format!("redis+cluster://:{SECRET}@{text}"),
        format!("{SECRET}{text}"),
    ] {
        let shown = match RedisConfig::from_url(&with_secret) {
            Ok(config) => format!("{config:?} {}", config.address()),
            Err(error) => error.to_string(),
        };
        assert!(!shown.contains(SECRET) || text.contains(SECRET), "{with_secret}");
    }
    let Ok(config) = RedisConfig::from_url(text) else { return false };
    let shown = config.address();
    let again = match &config.deployment {
        Deployment::Standalone => format!("redis://{shown}/{}", config.db),
        Deployment::Sentinel(sentinel) => {
            let seeds =
                shown.strip_prefix(&format!("{} of Sentinel ", sentinel.service)).expect("an address");
            format!("redis+sentinel://{seeds}/{}/{}", sentinel.service, config.db)
        }
        Deployment::Cluster => {
            format!("redis+cluster://{}", shown.strip_prefix("cluster ").expect("an address"))
        }
    };
    let again = RedisConfig::from_url(&again).unwrap_or_else(|error| panic!("{again}: {error}"));
    assert_eq!((again.address(), again.db), (shown, config.db));
    true
}

/// What one element of a pattern takes.
enum Element {
    Any,
    /// One of these bytes.
    One(Box<[bool; 256]>),
}

fn elements(mut text: &[u8]) -> Vec<Element> {
    let mut elements = Vec::new();
    while let Some((&first, mut rest)) = text.split_first() {
        let mut takes = Box::new([false; 256]);
        match first {
            b'*' => {
                elements.push(Element::Any);
                text = rest;
                continue;
            }
            b'?' => takes.fill(true),
            b'\\' => {
                takes[usize::from(rest[0])] = true;
                rest = &rest[1..];
            }
            b'[' => {
                let negated = rest.first() == Some(&b'^');
                rest = &rest[usize::from(negated)..];
                loop {
                    match rest {
                        [] => panic!("a class without an end was taken for a pattern"),
                        [b']', after @ ..] => {
                            rest = after;
                            break;
                        }
                        [b'\\', one, after @ ..] => {
                            takes[usize::from(*one)] = true;
                            rest = after;
                        }
                        [low, b'-', high, after @ ..] => {
                            let range = usize::from(*low.min(high))..=usize::from(*low.max(high));
                            takes[range].fill(true);
                            rest = after;
                        }
                        [one, after @ ..] => {
                            takes[usize::from(*one)] = true;
                            rest = after;
                        }
                    }
                }
                if negated {
                    takes.iter_mut().for_each(|taken| *taken = !*taken);
                }
            }
            other => takes[usize::from(other)] = true,
        }
        elements.push(Element::One(takes));
        text = rest;
    }
    elements
}

/// All prefixes of the elements against all of the key, in a table.
fn tries_everything(elements: &[Element], key: &[u8]) -> bool {
    let mut reached = vec![false; key.len() + 1];
    reached[0] = true;
    for element in elements {
        let mut next = vec![false; key.len() + 1];
        match element {
            Element::Any => {
                let first = reached.iter().position(|&reached| reached).unwrap_or(next.len());
                next[first..].fill(true);
            }
            Element::One(takes) => {
                for (at, &byte) in key.iter().enumerate() {
                    next[at + 1] = reached[at] && takes[usize::from(byte)];
                }
            }
        }
        reached = next;
    }
    reached[key.len()]
}
