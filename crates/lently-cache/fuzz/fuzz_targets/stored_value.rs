//! Whatever lies in the remote tier. The first byte chooses how it is read.
#![no_main]

use lently_cache::fuzzing::{Reading, stored_value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((choice, stored)) = input.split_first() {
        stored_value(stored, Reading::of(*choice));
    }
});
