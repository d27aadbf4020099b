//! The HTTP server against the emulator on loopback and real Redis processes, and Chromium on what it serves; no network beyond this machine.

mod chromium;
mod house;

mod admin;
mod analyses;
mod browser;
mod caching;
mod comments;
mod degraded;
mod events;
mod exports;
mod freshness;
mod ledger;
mod outage;
mod problems;
mod retention;
mod secrets;
mod shutdown;
mod stampede;
mod warming;

/// A module that is not named above would never run.
#[test]
fn no_file_of_tests_is_forgotten() {
    let named = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(directory).expect("the directory of this file") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8").to_owned();
        assert!(module == "main" || named.contains(&format!("mod {module};")), "{module} is not in main.rs");
    }
}
