//! `lently analyze --output`: files beside what is printed.

use crate::Machine;

const COMMENTS: &str = "text,author,comment_id\n\"great, really\",a,1\n=bad,b,2\nwhat is it?,c,3\n";

#[test]
fn every_format_is_written_by_its_ending_and_an_old_file_is_replaced() {
    let machine = Machine::new();
    machine.write("comments.csv", COMMENTS);
    let page = machine.write("report.html", "old");
    let ran = machine
        .run(&[
            "analyze",
            "comments.csv",
            "--output",
            "report.html",
            "--output",
            "a.MD",
            "--output={}.out.csv",
            "--output",
            "a.json",
        ])
        .ok();
    assert!(ran.out.contains("Sentiment"), "the report is printed, too: {}", ran.out);
    for name in ["report.html", "a.MD", "comments.out.csv", "a.json"] {
        assert!(ran.err.contains(&format!("lently: wrote `{name}`")), "{name}: {}", ran.err);
    }
    let read = |name: &str| std::fs::read_to_string(machine.home.path().join(name)).expect("a file");
    assert!(std::fs::read_to_string(page).expect("a file").starts_with("<!doctype html>"));
    assert!(read("a.MD").starts_with("# comments.csv\n"));
    assert!(read("comments.out.csv").contains(",'=bad\r\n"));
    let analysis: serde_json::Value = serde_json::from_str(&read("a.json")).expect("JSON");
    assert_eq!(analysis["comments"][1]["text"], "=bad");
    let left = std::fs::read_dir(machine.home.path()).expect("a folder");
    let names: Vec<String> =
        left.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().all(|name| !name.starts_with(".lently-")), "{names:?}");
}

#[test]
fn what_a_spreadsheet_gets_can_be_analyzed_again() {
    let machine = Machine::new();
    machine.write("comments.csv", COMMENTS);
    machine.run(&["analyze", "comments.csv", "--output", "table.csv"]).ok();
    let again = machine.run(&["analyze", "table.csv", "--json"]).ok().json();
    assert_eq!(again["report"]["coverage"]["read"], 3);
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_read_or_by_its_name() {
    let machine = Machine::new();
    for name in ["a.csv", "b.csv"] {
        machine.write(name, COMMENTS);
    }
    for (args, code, told) in [
        (vec!["a.csv", "--output", "report.pdf"], 2, "ends in .html, .json, .csv or .md"),
        (vec!["a.csv", "b.csv", "--output", "one.html"], 2, "--output `one.html` is one file for 2 inputs"),
        (
            vec!["a.csv", "--output", "not/there.md"],
            1,
            "cannot write `not/there.md`: there is no folder `not`",
        ),
        (
            vec!["a.csv", "a.csv", "--output", "{}.md"],
            1,
            "cannot write `a.md`: it was written for another input",
        ),
    ] {
        let ran = machine.run(&[vec!["analyze"], args].concat());
        assert_eq!(ran.code, Some(code), "{}", ran.err);
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    machine.run(&["analyze", "a.csv", "b.csv", "--json", "--output", "{}.html"]).ok();
    assert!(machine.home.path().join("a.html").exists() && machine.home.path().join("b.html").exists());
}
