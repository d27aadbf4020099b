//! What a day of requests costs, for several ways of caching: the real binary over small traces.

use serde_json::Value;

use crate::Machine;

fn simulate(machine: &Machine, trace: &str, more: &[&str]) -> Value {
    std::fs::write(machine.home.path().join("trace.csv"), trace).expect("a trace");
    let mut args = vec!["simulate", "trace.csv", "--json"];
    args.extend(more);
    let ran = machine.run(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).expect("one JSON object")
}

fn of<'a>(comparison: &'a Value, policy: &str) -> &'a Value {
    let outcomes = comparison["outcomes"].as_array().expect("outcomes");
    outcomes
        .iter()
        .find(|outcome| outcome["policy"] == policy)
        .unwrap_or_else(|| panic!("{policy}: {comparison:#}"))
}

/// The size of a video is drawn, and with so small a sigma it is 150 for each.
const ONE_SIZE: [&str; 4] = ["--median", "150", "--sigma", "0.001"];

#[test]
fn a_plain_cache_pays_again_when_its_time_is_over_and_lently_for_nothing_that_it_has() {
    // The same video at once, within the hour, and after it; then fewer of its comments.
    let trace = "seconds,client,video,max_comments,order\n\
                 0,a,LentlyVid01,500,time\n1800,b,LentlyVid01,500,time\n7200,a,LentlyVid01,500,time\n7300,c,LentlyVid01,100,time\n";
    let comparison = simulate(&Machine::new(), trace, &ONE_SIZE);
    let units = |policy| of(&comparison, policy)["units"].as_u64().expect("units");
    // Metadata and two pages; of 100 comments one page.
    assert_eq!(units("no cache"), 3 + 3 + 3 + 2);
    // Metadata is fresh for the fourth.
    assert_eq!(units("plain cache"), 3 + 3 + 1);
    assert_eq!(units("+ verdicts = Lently"), 3);
    assert_eq!(units("lower bound"), 3);
    assert_eq!(of(&comparison, "plain cache")["hits"], 1);
    let tokens = |policy| {
        let outcome = of(&comparison, policy);
        outcome["tokens_in"].as_u64().expect("tokens") + outcome["tokens_out"].as_u64().expect("tokens")
    };
    assert!(tokens("no cache") > tokens("plain cache"));
    assert!(tokens("plain cache") > 2 * tokens("+ verdicts = Lently"));
    assert!(tokens("+ verdicts = Lently") >= tokens("lower bound"));
}

#[test]
fn gemini_is_asked_nothing_about_a_video_without_comments() {
    let comparison =
        simulate(&Machine::new(), "0,a,LentlyVid01\n", &["--median", "0.001", "--policy", "no-cache"]);
    let outcome = of(&comparison, "no cache");
    assert_eq!(
        (&outcome["units"], &outcome["summaries"], &outcome["tokens_in"]),
        (&2.into(), &0.into(), &0.into())
    );
}

#[test]
fn new_comments_are_paid_for_and_seen() {
    let args = [
        "simulate",
        "--users",
        "2",
        "--days",
        "2",
        "--warm-up-days",
        "1",
        "--popular",
        "3",
        "--requests-a-day",
        "4..4",
    ];
    let machine = Machine::new();
    let ran = machine.run(&[&args[..], &["--policy", "lently", "--policy", "plain", "--json"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let comparison: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!((&comparison["requests"], &comparison["counted"]), (&16.into(), &8.into()));
    for policy in ["plain cache", "+ verdicts = Lently"] {
        let outcome = of(&comparison, policy);
        // An hour for analyses and half of one for comments.
        assert!(outcome["unseen_seconds"]["max"].as_u64().expect("seconds") <= 5_400, "{outcome:#}");
        assert!(outcome["statistics_calls_on_the_busiest_day"].as_u64().expect("calls") <= 10_000);
    }
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let machine = Machine::new();
    std::fs::write(machine.home.path().join("trace.csv"), "1,a,no video\n").expect("a trace");
    let ran = machine.run(&["simulate", "trace.csv"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("line 1: `no video` is no id of a video"), "{}", ran.err);
    let ran = machine.run(&["simulate", "--days", "1", "--warm-up-days", "1", "--users", "1"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("no request comes after 1 days of warm-up"), "{}", ran.err);
}

#[test]
fn a_page_with_charts_needs_nothing_but_itself() {
    let machine = Machine::new();
    let trace = "0,a,LentlyVid01\n";
    simulate(&machine, trace, &["--policy", "plain", "--policy", "oracle", "--html", "page.html"]);
    let page = std::fs::read_to_string(machine.home.path().join("page.html")).expect("a page");
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.contains("plain cache") && page.contains("lower bound"), "{page}");
    assert!(!page.contains("http"), "nothing is loaded from anywhere");
}
