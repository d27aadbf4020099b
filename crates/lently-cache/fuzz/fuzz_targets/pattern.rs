//! Any pattern against any key.
#![no_main]

use lently_cache::fuzzing::pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    pattern(input.0, input.1);
});
