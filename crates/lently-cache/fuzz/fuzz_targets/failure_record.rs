//! Whatever lies in the place of a lease as a remembered failure.
#![no_main]

use lently_cache::fuzzing::{Reading, failure_record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((choice, record)) = input.split_first() {
        failure_record(record, Reading::of(*choice).now);
    }
});
