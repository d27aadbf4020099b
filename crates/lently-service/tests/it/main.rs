//! The service against the emulator on loopback, real files and real Redis processes; no network beyond this machine.

mod house;

mod batches;
mod cancel;
mod comments;
mod comments_kept;
mod comments_random;
mod dumps;
mod errors;
mod faults;
mod hits;
mod interleavings;
mod jobs;
mod judging;
mod keeping;
mod ledger;
mod redis;
mod retention;
mod stale;
mod users;
mod verdicts;
mod versions;

/// A module that is not named above would never run.
#[test]
fn no_file_of_tests_is_forgotten() {
    let named = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(directory).expect("the directory of this file") {
        let path = entry.expect("an entry").path();
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8").to_owned();
        assert!(module == "main" || named.contains(&format!("mod {module};")), "{module} is not in main.rs");
    }
}
