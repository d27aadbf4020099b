//! The crate from outside: the promises of a report, over made-up comments. Reads no comment that somebody wrote.

mod engine;
mod report_promises;
mod report_snapshot;

#[test]
fn no_file_of_this_folder_is_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(folder).expect("the folder of this file") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
            assert!(include_str!("main.rs").contains(&format!("mod {module};")), "{name} is not a module");
        }
    }
}
