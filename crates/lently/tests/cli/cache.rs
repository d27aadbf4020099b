//! `lently cache` on the local cache and at a server.

use serde_json::json;

use crate::Machine;

fn analyzed() -> (Machine, String) {
    let machine = Machine::new();
    let file = machine.write("x.csv", "text\nhello you there\n");
    let id = machine.run(&["analyze", &file, "--json"]).ok().json()["analysis_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    (machine, id)
}

#[test]
fn the_local_cache_is_looked_into_and_changed() {
    let (machine, id) = analyzed();
    let stats = machine.run(&["cache", "stats", "--json"]).ok().json();
    assert_eq!((&stats["remote"], &stats["kinds"]["analysis"]["keys"]), (&json!("disk"), &json!(1)));
    let key = format!("analysis:{id}");
    let value = machine.run(&["cache", "get", &key]).ok().json();
    assert_eq!(value["analysis_id"], json!(id));
    let dry = machine.run(&["cache", "pattern", "analysis:*", "--dry-run", "--json"]).ok().json();
    assert_eq!(dry["keys"], 1);
    assert_eq!(
        machine.run(&["cache", "delete", "analysis:*", "--json"]).ok().json()["deleted"],
        0,
        "a key is no pattern"
    );
    assert_eq!(machine.run(&["cache", "delete", &key, "--json"]).ok().json()["deleted"], 1);
    assert_eq!(machine.run(&["cache", "get", &key]).code, Some(1));
}

#[test]
fn what_empties_the_cache_must_be_meant() {
    let (machine, _) = analyzed();
    for args in [&["cache", "flush"][..], &["cache", "pattern", "*"]] {
        let ran = machine.run(args);
        assert!(ran.code == Some(2) && ran.err.contains("--yes"), "{}", ran.err);
    }
    assert_eq!(machine.run(&["cache", "flush", "--yes", "--json"]).ok().json()["deleted"], 1);
    assert_eq!(machine.run(&["cache", "pattern", "a["]).code, Some(2));
    assert_eq!(machine.run(&["cache", "get", "nonsense"]).code, Some(2));
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let ran = Machine::new().run(&["cache", "stats", "--server", "http://127.0.0.1:1"]);
    assert!(ran.code == Some(1) && ran.err.contains("is a server running there?"), "{}", ran.err);
}
