//! How a value lies in the remote tier: one line of JSON about it, a newline, then the value's own bytes.
//! Any language splits it at the first newline. Reading never trusts what it finds and never fails loudly.
//!
//! The format is told byte by byte in `docs/cache-envelope.md`; files of every released version are kept in
//! `tests/it/golden` and read by a test.

mod header;

use std::{borrow::Cow, cell::RefCell, sync::Arc, time::Duration};

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use zstd::bulk::{Compressor, Decompressor};

use self::header::{Encoding, Header, Version};
use crate::{
    clock::{between, later},
    entry::{Entry, Facts, Tier},
    policy::{Cost, Kind, Policy},
    tags::Tagged,
};

/// The version of the envelope itself.
const FORMAT: u16 = 1;
/// Every envelope begins with these bytes; whatever does not is a bare value.
const MAGIC: &[u8] = b"{\"envelope\":";
/// A header line is longer than this only if something is wrong with it.
const MAX_HEADER_BYTES: usize = 4096;
/// Values from this size on are compressed. Below, the saving is less than the header.
///
/// A hit pays for it with unpacking, which is most of what it takes where Redis is on the same machine. Of comments as JSON, measured on
/// one core (2026-11-29): 1 kB becomes 0.5 kB and is unpacked in 3 µs, 4 kB 1.4 kB in 7 µs, 20 kB 5.3 kB in 17 µs, 100 kB 23 kB in 70 µs.
/// A network of 1 Gbit/s would take 4, 21, 118 and 616 µs for what is saved, and Redis two to four times the memory: from this size on
/// both are worth more than the time, and below neither.
const COMPRESS_FROM_BYTES: usize = 1024;
/// What is saved, at least, as a part of the value: what hardly packs, as pictures or ciphers, is not worth unpacking.
const LEAST_SAVING: usize = 4;
/// zstd's own default: on comments a third of the size at several hundred megabytes a second.
const COMPRESSION_LEVEL: i32 = 3;

/// What a stored value turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// An envelope of ours, or a bare JSON value; fresh or within its retention.
    Entry(Entry),
    /// An envelope whose retention is over.
    Expired,
    /// Neither.
    Unreadable,
    /// Nothing was stored. [`decode`] never says so.
    Absent,
}

/// The times in a header.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub fetched_at: Timestamp,
    pub fresh_until: Timestamp,
    pub retain_until: Timestamp,
    pub tagged: Tagged,
}

/// An entry for a value fetched `now`.
pub(crate) fn entry(policy: &Policy, value: Bytes, cost: Cost, fresh: Duration, now: Timestamp) -> Entry {
    let etag = etag(&value);
    let retain_until = later(now, policy.retention);
    let fresh_until = later(now, fresh).min(retain_until);
    let stale_until = later(fresh_until, policy.stale).min(retain_until);
    let facts = Facts {
        value,
        fetched_at: now,
        fresh_until,
        stale_until,
        retain_until,
        cost,
        etag,
        tagged: Tagged::default(),
    };
    Entry::new(Tier::Memory, facts)
}

/// A strong validator of a value.
fn etag(value: &[u8]) -> Arc<str> {
    Arc::from(&blake3::hash(value).to_hex()[..32])
}

/// The bytes that go to the remote tier.
pub(crate) fn encode(kind: Kind, entry: &Entry) -> Bytes {
    let compressed = (entry.value.len() >= COMPRESS_FROM_BYTES)
        .then(|| compress(&entry.value))
        .flatten()
        .filter(|packed| packed.len() <= entry.value.len() - entry.value.len() / LEAST_SAVING);
    let header = Header {
        envelope: FORMAT,
        kind: Cow::Borrowed(kind.name),
        schema: kind.schema,
        fetched_at: entry.fetched_at,
        fresh_until: entry.fresh_until,
        stale_until: entry.stale_until,
        retain_until: entry.retain_until,
        cost: entry.cost,
        etag: Cow::Borrowed(&entry.etag),
        tags: entry.tagged.versions().map(|(tag, version)| (tag.into(), Version(version))).collect(),
        encoding: if compressed.is_some() { Encoding::Zstd } else { Encoding::Identity },
        length: entry.value.len() as u64,
    };
    let body: &[u8] = compressed.as_deref().unwrap_or(&entry.value);
    let mut out = BytesMut::with_capacity(body.len() + 512).writer();
    // Writing these types to memory cannot fail; were it to, an empty header is an unreadable entry, a miss.
    let _ = serde_json::to_writer(&mut out, &header);
    let mut out = out.into_inner();
    out.put_u8(b'\n');
    out.put_slice(body);
    out.freeze()
}

/// Reads what lies in the remote tier. `ttl` is what the tier says of the key's remaining life and is used only for a
/// bare value, `fresh` the whole life it would have had, if known.
pub(crate) fn decode(
    stored: Bytes,
    kind: Kind,
    tier: Tier,
    limits: Limits,
    now: Timestamp,
    bare: Option<BareLife>,
) -> Decoded {
    if stored.len() as u64 > limits.max_value_bytes.saturating_add(MAX_HEADER_BYTES as u64) {
        return Decoded::Unreadable;
    }
    if !is_ours(&stored) {
        if stored.len() as u64 > limits.max_value_bytes {
            return Decoded::Unreadable;
        }
        return decode_bare(stored, tier, now, bare);
    }
    let Some((header, split)) = Header::read(&stored) else { return Decoded::Unreadable };
    if header.envelope != FORMAT || header.kind != kind.name || header.schema != kind.schema {
        return Decoded::Unreadable;
    }
    if now >= header.retain_until {
        return Decoded::Expired;
    }
    if header.length > limits.max_value_bytes {
        return Decoded::Unreadable;
    }
    let fresh_until = header.fresh_until.min(header.retain_until);
    let facts = Facts {
        value: Bytes::new(),
        fetched_at: header.fetched_at.min(now),
        fresh_until,
        // What another program wrote may be in another order.
        stale_until: header.stale_until.clamp(fresh_until, header.retain_until),
        retain_until: header.retain_until,
        cost: header.cost,
        etag: Arc::from(&*header.etag),
        tagged: header.tagged(),
    };
    let (encoding, length) = (header.encoding, header.length);
    // The value keeps what is before it, rather than be a part of something shared.
    let mut body = stored;
    body.advance(split + 1);
    let value = match encoding {
        Encoding::Identity => (body.len() as u64 == length).then_some(body),
        Encoding::Zstd => decompress(&body, length),
    };
    value.map_or(Decoded::Unreadable, |value| Decoded::Entry(Entry::new(tier, Facts { value, ..facts })))
}

/// Whether a stored value has a header of ours, of whatever version.
pub(crate) fn is_ours(stored: &[u8]) -> bool {
    stored.starts_with(MAGIC)
}

/// What the header of a stored value says it cost to produce, whatever its kind.
pub(crate) fn cost_of(stored: &[u8]) -> Cost {
    if !is_ours(stored) {
        return Cost::default();
    }
    Header::read(stored).map(|(header, _)| header.cost).unwrap_or_default()
}

/// What the header of a stored value says of its times, whatever its kind; `None` without a readable header.
pub(crate) fn times(stored: &[u8]) -> Option<Times> {
    if !is_ours(stored) {
        return None;
    }
    let (header, _) = Header::read(stored)?;
    let fresh_until = header.fresh_until.min(header.retain_until);
    let (fetched_at, retain_until) = (header.fetched_at, header.retain_until);
    Some(Times { fetched_at, fresh_until, retain_until, tagged: header.tagged() })
}

/// When a stored value was fetched, and until when it is kept, by its header.
pub(crate) fn kept_between(stored: &[u8]) -> Option<(Timestamp, Timestamp)> {
    times(stored).map(|times| (times.fetched_at, times.retain_until))
}

/// The same header line, for the value that is no longer fresh from `now` on; `None` where there is none that can be read.
pub(crate) fn expired(head: &[u8], now: Timestamp) -> Option<Bytes> {
    if !is_ours(head) {
        return None;
    }
    let (mut header, _) = Header::read(head)?;
    let at = now.max(header.fetched_at);
    if at < header.fresh_until {
        let window = between(header.fresh_until, header.stale_until);
        header.stale_until = later(at, window);
        header.fresh_until = at;
    }
    let mut line = serde_json::to_vec(&header).ok()?;
    line.push(b'\n');
    Some(line.into())
}

/// The value of so many bytes in what is stored of it, packed; for who measures what others take for that.
#[cfg(feature = "bench")]
pub(crate) fn unpack(stored: &Bytes, length: usize) -> Option<Bytes> {
    let split = stored.iter().position(|&b| b == b'\n')?;
    decompress(&stored.slice(split + 1..), length as u64)
}

/// By which bytes at its beginning a stored value is told from another: its header line, or the whole of a bare value.
pub(crate) fn head(stored: &Bytes) -> Bytes {
    let window = &stored[..stored.len().min(MAX_HEADER_BYTES)];
    match window.iter().position(|&b| b == b'\n').filter(|_| is_ours(stored)) {
        Some(split) => stored.slice(..=split),
        None => stored.clone(),
    }
}

/// The bounds a stored value must respect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub max_value_bytes: u64,
}

/// What is known of the life of a value without a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareLife {
    /// The remaining life the tier tells; `None` where the key lives forever.
    pub ttl: Option<Duration>,
    /// The whole life a value of the kind has.
    pub fresh: Duration,
}

/// A value that another program wrote without a header: readable if it is JSON and has a remaining life.
fn decode_bare(stored: Bytes, tier: Tier, now: Timestamp, bare: Option<BareLife>) -> Decoded {
    let Some(BareLife { ttl: Some(ttl), fresh }) = bare else { return Decoded::Unreadable };
    let is_json = |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if !str::from_utf8(&stored).is_ok_and(is_json) {
        return Decoded::Unreadable;
    }
    let left = ttl.min(fresh);
    if left.is_zero() {
        return Decoded::Expired;
    }
    let age = fresh - left;
    let until = later(now, left);
    let etag = etag(&stored);
    let facts = Facts {
        value: stored,
        fetched_at: now.checked_sub(age).unwrap_or(now),
        fresh_until: until,
        stale_until: until,
        retain_until: until,
        cost: Cost::default(),
        etag,
        tagged: Tagged::default(),
    };
    Decoded::Entry(Entry::new(tier, facts))
}

thread_local! {
    /// Making a context takes longer than packing a small value with it.
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn compress(value: &[u8]) -> Option<Vec<u8>> {
    PACKER.with_borrow_mut(|packer| {
        let packer = match packer {
            Some(packer) => packer,
            None => packer.insert(Compressor::new(COMPRESSION_LEVEL).ok()?),
        };
        packer.compress(value).ok()
    })
}

/// Unpacks exactly `length` bytes; anything that would be longer or shorter is not ours.
fn decompress(body: &[u8], length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok()?;
    let mut value = Vec::new();
    // One more than there should be, so that a longer one is told from one that fits.
    value.try_reserve_exact(length.checked_add(1)?).ok()?;
    UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            None => unpacker.insert(Decompressor::new().ok()?),
        };
        unpacker.decompress_to_buffer(body, &mut value).ok()
    })?;
    (value.len() == length).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::FailureTtl, policy::AfterWait, tags::Tags};

    const KIND: Kind = Kind { name: "thing", schema: 3 };
    const LIMITS: Limits = Limits { max_value_bytes: 1 << 20 };

    fn policy() -> Policy {
        Policy {
            kind: KIND,
            fresh: Duration::from_secs(60),
            stale: Duration::from_secs(60),
            retention: Duration::from_secs(3600),
            refresh_ahead: Duration::ZERO,
            fetch_timeout: Duration::from_secs(1),
            after_wait: AfterWait::Fetch,
            failures: FailureTtl::default(),
            tags: Tags::NONE,
        }
    }

    /// It took 1.9 ms, of which 1 ms is told; what another node fetched 0.2 ms after it began is the newer of the two.
    #[test]
    fn a_fetch_is_not_taken_to_have_begun_later_than_it_did() {
        let ended: Timestamp = "2026-11-29T12:00:00.0019Z".parse().expect("a time");
        let newer: Timestamp = "2026-11-29T12:00:00.0002Z".parse().expect("a time");
        let cost = Cost { milliseconds: 1, ..Cost::default() };
        let slow = entry(&policy(), Bytes::from_static(b"old"), cost, Duration::from_secs(60), ended);
        assert!(newer >= slow.began_at());
    }

    fn packed(value: &'static [u8]) -> Bytes {
        let entry = entry(
            &policy(),
            Bytes::from_static(value),
            Cost { quota_units: 3, ..Cost::default() },
            Duration::from_secs(60),
            Timestamp::UNIX_EPOCH,
        );
        encode(KIND, &entry)
    }

    fn read(stored: &[u8], at_second: i64) -> Decoded {
        let now = Timestamp::from_second(at_second).expect("a time");
        decode(Bytes::copy_from_slice(stored), KIND, Tier::Redis, LIMITS, now, None)
    }

    #[test]
    fn a_value_comes_back_as_it_was_until_its_retention_is_over() {
        let stored = packed(b"{\"a\":1}");
        assert!(stored.ends_with(b"\n{\"a\":1}"));
        let Decoded::Entry(found) = read(&stored, 3599) else { panic!("expected an entry") };
        assert_eq!(found.value, "{\"a\":1}");
        assert_eq!(found.cost.quota_units, 3);
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!((found.fresh_until, found.stale_until, found.retain_until), (at(60), at(120), at(3600)));
        assert_eq!(read(&stored, 3600), Decoded::Expired);
    }

    #[test]
    fn times_in_a_wrong_order_are_put_in_order() {
        let stored = String::from_utf8(packed(b"{}").to_vec()).expect("text");
        let early = stored.replace("1970-01-01T00:02:00Z", "1969-01-01T00:00:00Z");
        let late = stored.replace("1970-01-01T00:02:00Z", "9000-01-01T00:00:00Z");
        assert!(stored != early && stored != late);
        for (text, expected) in [(early, 60), (late, 3600)] {
            let Decoded::Entry(found) = read(text.as_bytes(), 0) else { panic!("expected an entry") };
            assert_eq!(found.stale_until.as_second(), expected);
        }
    }

    #[test]
    fn a_header_that_is_not_ours_is_unreadable() {
        let stored = packed(b"{}");
        for (from, to) in
            [("\"envelope\":1", "\"envelope\":2"), ("\"schema\":3", "\"schema\":4"), ("thing", "other")]
        {
            let text = String::from_utf8(stored.to_vec()).expect("text").replace(from, to);
            assert_eq!(read(text.as_bytes(), 0), Decoded::Unreadable, "{to}");
        }
        assert_eq!(read(&stored[..stored.len() - 1], 0), Decoded::Unreadable);
        assert_eq!(read(b"\xff\x00garbage", 0), Decoded::Unreadable);
        assert_eq!(read(b"", 0), Decoded::Unreadable);
    }

    #[test]
    fn what_is_no_utf_8_is_no_json() {
        let mut stored = packed(b"{}").to_vec();
        // In a field that nobody reads.
        let at = stored.iter().position(|&b| b == b',').expect("a field");
        stored.splice(at..at, *b",\"later\":\"\xff\"");
        assert_eq!(read(&stored, 0), Decoded::Unreadable);
        let (bare, now) =
            (BareLife { ttl: Some(Duration::from_secs(20)), fresh: Duration::MAX }, Timestamp::MIN);
        for (stored, readable) in [(b"\"\xff\xfe\"", false), (b"\"\xc3\xa9\"", true)] {
            let read = decode(Bytes::from_static(stored), KIND, Tier::Redis, LIMITS, now, Some(bare));
            assert_eq!(matches!(read, Decoded::Entry(_)), readable, "{stored:?}");
        }
    }

    #[test]
    fn only_what_becomes_a_quarter_smaller_is_packed() {
        // Noise in so many of a hundred bytes, which stays as it is.
        let noisy = |percent: usize| -> Bytes {
            let mut noise = blake3::Hasher::new().finalize_xof();
            let mut value = vec![b' '; 20_000];
            noise.fill(&mut value[..200 * percent]);
            value.into()
        };
        for (percent, is_packed) in [(0, true), (70, true), (80, false), (100, false)] {
            let value = noisy(percent);
            let new = entry(
                &policy(),
                value.clone(),
                Cost::default(),
                Duration::from_secs(60),
                Timestamp::UNIX_EPOCH,
            );
            let stored = encode(KIND, &new);
            assert_eq!(stored.len() < value.len(), is_packed, "{percent}");
            let Decoded::Entry(found) = read(&stored, 0) else { panic!("expected an entry") };
            assert_eq!(found.value, value);
        }
    }

    #[test]
    fn a_value_that_unpacks_to_more_than_it_says_is_unreadable() {
        let big = vec![b' '; 100_000];
        let entry =
            entry(&policy(), big.into(), Cost::default(), Duration::from_secs(60), Timestamp::UNIX_EPOCH);
        let stored = encode(KIND, &entry);
        assert!(stored.len() < 1000, "it is compressed");
        let split = stored.iter().position(|&b| b == b'\n').expect("a header");
        let header = String::from_utf8(stored[..split].to_vec()).expect("text");
        for length in ["\"length\":10", "\"length\":99999999"] {
            let mut lie = header.replace("\"length\":100000", length).into_bytes();
            lie.extend_from_slice(&stored[split..]);
            assert_eq!(read(&lie, 0), Decoded::Unreadable);
        }
    }

    #[test]
    fn a_bare_json_value_takes_its_age_from_its_remaining_life() {
        let bare = Some(BareLife { ttl: Some(Duration::from_secs(20)), fresh: Duration::from_secs(60) });
        let now = Timestamp::from_second(1000).expect("a time");
        let stored = Bytes::from_static(b"{\"old\":\nservice}".as_slice());
        assert_eq!(decode(stored.clone(), KIND, Tier::Redis, LIMITS, now, bare), Decoded::Unreadable);
        let stored = Bytes::from_static(b"{\"old\": true}");
        let Decoded::Entry(found) = decode(stored.clone(), KIND, Tier::Redis, LIMITS, now, bare) else {
            panic!("an entry")
        };
        assert_eq!(found.age(now), Duration::from_secs(40));
        assert_eq!(found.ttl(now), Duration::from_secs(20));
        let limits = |bytes| Limits { max_value_bytes: bytes };
        let (fits, too_large) = (stored.len() as u64, stored.len() as u64 - 1);
        assert_ne!(decode(stored.clone(), KIND, Tier::Redis, limits(fits), now, bare), Decoded::Unreadable);
        assert_eq!(
            decode(stored.clone(), KIND, Tier::Redis, limits(too_large), now, bare),
            Decoded::Unreadable
        );
    }
}
