//! `lently retention`, here and at a server: both do the same and say the same.

use serde_json::{Value, json};

use crate::Machine;

const KEY: &str = "an-admin-key-for-tests";

fn analyzed() -> (Machine, String) {
    let machine = Machine::new();
    let file = machine.write("x.csv", "author,text\n@ann,hello you there\n@bob,not for me\n");
    machine.run(&["analyze", &file]).ok();
    (machine, file)
}

fn rows(report: &Value, part: &str) -> Value {
    let mut parts = report["store"].as_array().expect("parts").iter();
    parts.find(|told| told["part"] == part).expect("a part")["rows"].clone()
}

#[test]
fn the_report_and_the_sweep_are_for_people_and_for_machines() {
    let (machine, _) = analyzed();
    let report = machine.run(&["retention", "--json"]).ok().json();
    assert_eq!((&report["retention_seconds"], rows(&report, "analyses")), (&json!(2_419_200), json!(1)));
    assert_eq!(machine.run(&["retention", "report", "--json"]).ok().json()["store"], report["store"]);
    let shown = machine.run(&["retention"]).ok().out;
    for text in ["more than 28 days", "analyses", "due next", "disk"] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    let swept = machine.run(&["retention", "sweep"]).ok().out;
    assert!(swept.contains("deleted in") && swept.contains("analyses     0"), "{swept}");
}

#[test]
fn an_erasure_must_be_meant_and_can_be_rehearsed() {
    let (machine, file) = analyzed();
    for args in [&["retention", "erase-author", "@ann"][..], &["retention", "erase-video", "dQw4w9WgXcQ"]] {
        let ran = machine.run(args);
        assert!(ran.code == Some(2) && ran.err.contains("--yes"), "{}", ran.err);
    }
    assert_eq!(machine.run(&["retention", "erase-author", "", "--yes"]).code, Some(2));
    assert_eq!(machine.run(&["retention", "erase-video", "nonsense", "--yes"]).code, Some(2));
    let rehearsed = machine.run(&["retention", "erase-author", "@ann", "--dry-run", "--json"]).ok().json();
    assert_eq!((&rehearsed["dry_run"], &rehearsed["analyses"]), (&json!(true), &json!(1)));
    assert_eq!(machine.run(&["analyze", &file, "--json"]).ok().json()["cached"], true);
    let erased = machine.run(&["retention", "erase-author", "@ann", "--yes"]).ok().out;
    assert!(erased.starts_with("erased\n") && erased.contains("analyses     1"), "{erased}");
    assert!(!erased.contains("@ann"));
    assert_eq!(machine.run(&["analyze", &file, "--json"]).ok().json()["cached"], false);
}

#[test]
fn a_server_is_asked_the_same() {
    let (machine, _) = analyzed();
    let machine = machine.with("ADMIN_API_KEY", KEY);
    let server = machine.serve();
    let at = |args: &[&str]| {
        let args = [&["retention"], args, &["--server", &server.address, "--json"]].concat();
        machine.run(&args).ok().json()
    };
    assert_eq!(rows(&at(&[]), "analyses"), json!(1));
    assert_eq!(at(&["sweep"])["tiers"], json!({ "memory": 0, "disk": 0 }));
    let odd = at(&["erase-author", "a & b = ü/%", "--yes"]);
    assert_eq!((&odd["dry_run"], &odd["analyses"]), (&json!(false), &json!(0)));
    assert_eq!(at(&["erase-author", "@bob", "--yes"])["analyses"], json!(1));
    assert_eq!(at(&["erase-video", "dQw4w9WgXcQ", "--dry-run"])["comments"], json!(0));
    assert_eq!(rows(&at(&["report"]), "analyses"), json!(0));
}
