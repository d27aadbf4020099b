//! The cache as its users meet it: real Redis processes, a real disk file, a clock moved by hand.

mod bare;
mod bulk;
mod cluster;
mod coherence;
mod conformance;
mod disk;
mod envelope;
mod events;
mod explain;
mod failures;
mod faults;
mod flight;
mod limits;
mod patterns;
mod redis;
mod redis_cluster;
mod repair;
mod sentinel;
mod spans;
mod stale;
mod stats;
mod support;
mod tags;
mod tally;

/// A module that is not named above is never compiled, and its tests never run.
#[test]
fn no_test_file_is_forgotten() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("a name");
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else { continue };
        assert!(main.contains(&format!("mod {module};")), "{name} is not named in main.rs");
    }
}
