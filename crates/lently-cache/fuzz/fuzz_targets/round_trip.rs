//! Any value, cost and times, written and read again.
#![no_main]

use std::time::Duration;

use jiff::Timestamp;
use lently_cache::{Cost, fuzzing::round_trip};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u64; 5], Duration, i64, i32, &[u8])| {
    let ([quota_units, tokens_in, tokens_out, micro_dollars, milliseconds], fresh, second, nanosecond, value) = input;
    let cost = Cost { quota_units, tokens_in, tokens_out, micro_dollars, milliseconds };
    let now = Timestamp::new(second % 253_402_207_200, nanosecond % 1_000_000_000).unwrap_or(Timestamp::MAX);
    round_trip(value, cost, fresh, now);
});
