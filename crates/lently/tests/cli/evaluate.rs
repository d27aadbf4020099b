//! `lently evaluate` as a user runs it, by the local engine and by the emulator's Gemini.

use crate::{Machine, emulated::emulated};

const LABELLED: &str = "text,sentiment\n\
    I really love the way this is edited,positive\n\
    this is the worst sound I have heard,negative\n\
    it was recorded on a Tuesday,neutral\n\
    what a great and wonderful day,negative\n\
    ,positive\n";

#[test]
fn labels_and_predictions_are_counted_class_by_class() {
    let machine = Machine::new();
    std::fs::write(machine.home.path().join("labelled.csv"), LABELLED).expect("written");
    let told = machine.run(&["evaluate", "labelled.csv", "--json"]).ok().json();
    assert_eq!(
        (&told["of"], &told["engine"], &told["passed_over_rows"]),
        (&"sentiment".into(), &"local".into(), &1.into())
    );
    let evaluation = &told["evaluation"];
    assert_eq!((&evaluation["count"], &evaluation["accuracy"]), (&4.into(), &0.75.into()));
    assert_eq!(evaluation["confusion"], serde_json::json!([[1, 0, 0], [0, 1, 0], [1, 0, 1]]));
    assert_eq!(told["languages"][0][0], "en");
    let text = machine.run(&["evaluate", "labelled.csv"]).ok().out;
    assert!(text.contains("accuracy 0.750 (always the largest class: 0.500)"), "{text}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_what_helps() {
    let machine = Machine::new();
    std::fs::write(machine.home.path().join("moods.csv"), "comment,mood\na,happy\n").expect("written");
    let ran = machine.run(&["evaluate", "moods.csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("name it with --label, of `comment`, `mood`"), "{}", ran.err);
    let ran = machine.run(&["evaluate", "moods.csv", "--label", "mood"]);
    assert!(ran.err.contains("a label that is one of positive, neutral, negative"), "{}", ran.err);
    let ran = machine.run(&["evaluate", "nowhere.csv"]);
    assert!(ran.err.contains("nowhere.csv: cannot be read"), "{}", ran.err);
    std::fs::write(machine.home.path().join("labelled.csv"), LABELLED).expect("written");
    let ran = machine.run(&["evaluate", "labelled.csv", "--engine", "gemini"]);
    assert!(ran.code == Some(1) && ran.err.contains("needs a key"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gemini_is_paid_once_for_a_file_however_often_it_is_evaluated() {
    let (emulator, machine) = emulated().await;
    let machine = machine
        .with("GEMINI_BASE_URL", emulator.gemini_base_url().to_string())
        .with("GEMINI_API_KEY", "test-key");
    std::fs::write(machine.home.path().join("labelled.csv"), LABELLED).expect("written");
    let run = || {
        tokio::task::block_in_place(|| {
            machine.run(&["evaluate", "labelled.csv", "--engine", "gemini", "--json"]).ok().json()
        })
    };
    let first = run();
    assert_eq!((&first["judged"]["gemini"], &first["reused"]), (&4.into(), &0.into()));
    assert_eq!(emulator.counts().texts, 4);
    assert_eq!(first["cost"]["tokens_in"], emulator.counts().tokens_in);
    let again = run();
    assert_eq!((&again["reused"], &again["cost"]["tokens_in"]), (&4.into(), &0.into()));
    assert_eq!((emulator.counts().texts, &again["evaluation"]), (4, &first["evaluation"]));
}
