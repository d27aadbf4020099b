//! Any URL of Redis.
#![no_main]

use lently_cache::fuzzing::redis_url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    redis_url(input);
});
