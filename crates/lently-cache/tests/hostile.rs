//! Whatever lies in Redis in the place of what the cache wrote: golden envelopes changed at random by a generator with a seed, a
//! bounded number of them, as `fuzz/` does without a bound. A binary of its own, for it counts what is allocated.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{
    Cost,
    fuzzing::{Reading, failure_record, is_readable, pattern, redis_url, round_trip, stored_value},
};
use peak_alloc::PeakAlloc;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::value::RawValue;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What is allocated is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a header and what is made of it.
const FOR_THE_HEADER: usize = 64 << 10;

#[test]
fn no_stored_value_is_taken_for_what_it_is_not_or_allocates_more_than_the_largest_value() {
    let _alone = alone();
    let mut hostile = Hostile::new(1);
    let (cases, mut taken) = (20_000, 0);
    for case in 0..cases {
        let stored = Bytes::from(hostile.stored_value());
        // Half of them at a time at which the golden files are fresh.
        let reading = Reading::of(if hostile.rng.random() { 0 } else { hostile.rng.random() });
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let readable = is_readable(&stored, reading);
        let allocated = ALLOCATED.peak_usage().saturating_sub(before);
        assert!(
            allocated <= reading.max_value_bytes as usize + FOR_THE_HEADER,
            "case {case} allocated {allocated} bytes: {reading:?} {:?}",
            &stored[..stored.len().min(5000)]
        );
        assert_eq!(readable, stored_value(&stored, reading));
        taken += u32::from(readable);
    }
    // A generator whose every case is refused would show nothing, nor would one that changes nothing.
    assert!((cases / 50..cases / 2).contains(&taken), "{taken} of {cases} were taken");
}

#[test]
fn whatever_is_written_is_read_as_it_was() {
    let _alone = alone();
    let mut rng = SmallRng::seed_from_u64(2);
    for _ in 0..2000 {
        let size = [rng.random_range(0..64), rng.random_range(1000..1050), rng.random_range(0..20_000)];
        let different = rng.random_range(1..=255);
        let value: Vec<u8> =
            (0..*size.choose(&mut rng).expect("a size")).map(|_| rng.random_range(0..=different)).collect();
        let mut number = || if rng.random() { rng.random() } else { u64::from(rng.random::<u8>()) };
        let cost = Cost {
            quota_units: number(),
            tokens_in: number(),
            tokens_out: number(),
            micro_dollars: number(),
            milliseconds: number(),
        };
        let fresh = Duration::from_millis(number());
        let now =
            Timestamp::from_second(rng.random_range(-377_705_023_201..=253_402_207_200)).expect("a time");
        round_trip(&value, cost, fresh, now);
    }
}

#[test]
fn no_record_of_a_failure_is_remembered_forever_or_lost_on_its_way() {
    const RECORDS: [&str; 5] = [
        r#"{"class":"not_found","message":"no such video","detail":"{\"code\":404}"}"#,
        r#"{"class":{"quota_exhausted":{"until":"2026-11-25T08:00:00Z"}},"message":"no quota"}"#,
        r#"{"class":{"rate_limited":{"retry_after_ms":1500}},"message":"slower"}"#,
        r#"{"class":{"rate_limited":{"retry_after_ms":null}},"message":"slower"}"#,
        r#"{"class":{"timed_out":{"after_ms":10000}},"message":"late"}"#,
    ];
    let _alone = alone();
    let mut hostile = Hostile::new(3);
    let (cases, mut taken) = (20_000, 0);
    for _ in 0..cases {
        let mut record = RECORDS.choose(&mut hostile.rng).expect("a record").as_bytes().to_vec();
        if hostile.rng.random_bool(0.3) {
            let text = String::from_utf8(record).expect("text");
            let worse =
                *[HUGE, "-1", "1e400", "null", "\"-009999-01-02T01:59:59Z\"", "\"9999-12-30T22:00:00Z\""]
                    .choose(&mut hostile.rng)
                    .expect("a value");
            record = text
                .replace("1500", worse)
                .replace("10000", worse)
                .replace("\"2026-11-25T08:00:00Z\"", worse)
                .into_bytes();
        }
        if hostile.rng.random() {
            hostile.bytes_are_changed(&mut record);
        }
        taken += u32::from(failure_record(&record, Reading::of(hostile.rng.random()).now));
    }
    assert!((cases / 10..cases).contains(&taken), "{taken} of {cases} were taken");
}

#[test]
fn a_pattern_matches_what_trying_everything_matches() {
    let _alone = alone();
    let mut rng = SmallRng::seed_from_u64(4);
    let (cases, mut patterns) = (50_000, 0);
    let mut text = |longest: usize| -> String {
        (0..rng.random_range(0..=longest))
            .map(|_| *b"aab-]*?[^\\".choose(&mut rng).expect("a byte") as char)
            .collect()
    };
    for _ in 0..cases {
        patterns += u32::from(pattern(&text(10), &text(8)));
    }
    assert!(patterns > cases / 4, "{patterns} of {cases} were patterns");
}

#[test]
fn the_address_of_a_redis_is_shown_as_it_was_read_and_never_a_password() {
    const PIECES: [&str; 29] = [
        "redis",
        "s",
        "+sentinel",
        "+",
        "://",
        "/",
        ",",
        ":",
        "@",
        "?",
        "#",
        "[",
        "]",
        "[::1]",
        "::",
        "%40",
        "%",
        "%zz",
        "host",
        "10.0.0.1",
        "0x7f.1",
        "é",
        "6379",
        "65536",
        "0",
        "255",
        "256",
        "service",
        " ",
    ];
    let _alone = alone();
    let mut rng = SmallRng::seed_from_u64(5);
    let (cases, mut urls) = (20_000, 0);
    for _ in 0..cases {
        let schemes = ["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://a/s", ""];
        let mut url = (*schemes.choose(&mut rng).expect("a scheme")).to_owned();
        for _ in 0..rng.random_range(0..9) {
            url.push_str(PIECES.choose(&mut rng).expect("a piece"));
        }
        urls += u32::from(redis_url(&url));
    }
    assert!((cases / 50..cases / 2).contains(&urls), "{urls} of {cases} were URLs");
}

const HUGE: &str = "18446744073709551615";

/// Values that a header's fields are replaced by.
const WORSE: [&str; 34] = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "19",
    "64",
    "65",
    "4096",
    "16384",
    "1048576",
    "1048577",
    "4611686018427387904",
    HUGE,
    "18446744073709551616",
    "1.0",
    "1e400",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[1,2,3,4,5]",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"identity\"",
    "\"zstd\"",
    "{\"identity\":null}",
    "\"9999-12-30T22:00:00.999999999Z\"",
    "\"9999-12-31T23:59:59Z\"",
    "\"-009999-01-02T01:59:59Z\"",
    "\"1970-01-01T00:00:00+25:59\"",
    "\"2026-11-24T12:00:00.000000001Z\"",
    "{\"quota_units\":18446744073709551615}",
];

struct Hostile {
    rng: SmallRng,
    golden: Vec<Vec<u8>>,
    /// Two megabytes of zeros and an envelope of that.
    bomb: Vec<u8>,
}

impl Hostile {
    fn new(seed: u64) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        let golden = files.iter().map(|file| std::fs::read(file).expect("a file")).collect();
        let bomb = zstd::bulk::compress(&vec![0; 2 << 20], 3).expect("packed");
        Self { rng: SmallRng::seed_from_u64(seed), golden, bomb }
    }

    fn stored_value(&mut self) -> Vec<u8> {
        let mut stored = self.golden.choose(&mut self.rng).expect("a file").clone();
        for _ in 0..self.rng.random_range(0..=2) {
            match self.rng.random_range(0..10) {
                0..3 => self.bytes_are_changed(&mut stored),
                3..7 => self.fields_are_changed(&mut stored),
                7 => self.the_body_is_changed(&mut stored),
                8 => stored = self.bare(),
                _ => {
                    let other = self.golden.choose(&mut self.rng).expect("a file").clone();
                    let (from, to) =
                        (self.rng.random_range(0..=stored.len()), self.rng.random_range(0..=other.len()));
                    stored.truncate(from);
                    stored.extend_from_slice(&other[to..]);
                }
            }
        }
        stored
    }

    /// Bits flipped, bytes set, dropped, doubled, put in.
    fn bytes_are_changed(&mut self, stored: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let (mut from, mut to) = (rng.random_range(0..=stored.len()), rng.random_range(0..=stored.len()));
        if from > to {
            std::mem::swap(&mut from, &mut to);
        }
        match rng.random_range(0..6) {
            0 if from < stored.len() => stored[from] ^= 1 << rng.random_range(0..8),
            1 if from < stored.len() => stored[from] = rng.random(),
            2 => stored.truncate(from),
            3 => drop(stored.drain(from..to)),
            4 => drop(stored.splice(from..from, stored[from..to].to_vec())),
            _ => {
                let bytes: Vec<u8> = (0..rng.random_range(0..8)).map(|_| rng.random()).collect();
                stored.splice(from..from, bytes);
            }
        }
    }

    /// Fields of the header replaced, swapped, dropped, doubled, and the header made as long as one may be, and longer.
    fn fields_are_changed(&mut self, stored: &mut Vec<u8>) {
        let Some(split) = stored.iter().position(|&b| b == b'\n') else { return };
        let Ok(fields) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(&stored[..split]) else {
            return;
        };
        let mut fields: Vec<(String, String)> =
            fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
        if fields.is_empty() {
            return;
        }
        let rng = &mut self.rng;
        let (one, other) = (rng.random_range(0..fields.len()), rng.random_range(0..fields.len()));
        match rng.random_range(0..6) {
            0..3 => fields[one].1 = (*WORSE.choose(rng).expect("a value")).to_owned(),
            3 => fields[one].1 = fields[other].1.clone(),
            4 => drop(fields.remove(one)),
            _ => {
                let deep = rng.random_range(0..200);
                fields.push(("later".to_owned(), format!("{}{}", "[".repeat(deep), "]".repeat(deep))));
            }
        }
        // The order is free, but for the first field.
        fields.sort_by_key(|(name, _)| name != "envelope");
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let mut header = format!("{{{}}}", fields.join(",")).into_bytes();
        if rng.random_bool(0.1) {
            header.resize(rng.random_range(4090..4100).max(header.len()), b' ');
        }
        stored.splice(..split, header);
    }

    /// A body that unpacks to much more than it says, or to as much, in one frame or in several.
    fn the_body_is_changed(&mut self, stored: &mut Vec<u8>) {
        let Some(split) = stored.iter().position(|&b| b == b'\n') else { return };
        let rng = &mut self.rng;
        let size = *[0, 1, 19, 64, 1024, 1 << 20, (1 << 20) + 1].choose(rng).expect("a size");
        let body = match rng.random_range(0..4) {
            0 => self.bomb.clone(),
            1 => vec![b'1'; size],
            2 => zstd::bulk::compress(&vec![b'1'; size], 1).expect("packed"),
            _ => zstd::bulk::compress(&vec![b'1'; size / 2], 1).expect("packed").repeat(2),
        };
        let header = String::from_utf8_lossy(&stored[..split]).into_owned();
        let told = [size.to_string(), size.to_string(), (2_u64 << 20).to_string(), HUGE.to_owned()];
        let told = told.choose(rng).expect("a size");
        let (before, after) = header.split_once("\"length\":").unwrap_or((&header, "}"));
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
        *stored = format!("{before}\"length\":{told}{after}\n").into_bytes();
        stored.extend_from_slice(&body);
    }

    /// What has no header: JSON of any depth and size, and what looks like it.
    fn bare(&mut self) -> Vec<u8> {
        let rng = &mut self.rng;
        let (deep, long) = (rng.random_range(0..100_000), rng.random_range(0..6000));
        match rng.random_range(0..6) {
            0 => "[".repeat(deep).into_bytes(),
            1 => {
                let deep = deep % 200;
                format!("{}{}", "[".repeat(deep), "]".repeat(deep)).into_bytes()
            }
            2 => format!("\"{}\"", "é\\n".repeat(long / 4)).into_bytes(),
            3 => format!("{}1", " ".repeat(long)).into_bytes(),
            4 => b"\"\xff\xfe\"".to_vec(),
            _ => (0..long % 50).map(|_| rng.random()).collect(),
        }
    }
}
