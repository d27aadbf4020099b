//! Commands that need YouTube, against the emulator: the demo, a video, a warmed cache.

use std::{
    io::{BufRead, BufReader},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
    time::Duration,
};

use lently_emulator::{
    Data, EVERYTHING, Emulator, EmulatorConfig, Fault, FaultKind, Latency, Method, SAMPLES,
};
use lently_testing::wait_until;
use serde_json::json;

use crate::Machine;

/// Reached only by a broken program.
const BOUND: Duration = Duration::from_secs(60);

pub(crate) async fn emulated() -> (Emulator, Machine) {
    let emulator = Emulator::start(EmulatorConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        data: Data::samples(),
        latency: Latency::default(),
        quota_units: 10_000,
        statistics_units: 10_000,
        api_key: Some("test-key".to_owned()),
    })
    .await
    .expect("an emulator");
    let machine = Machine::new()
        .with("YOUTUBE_BASE_URL", emulator.youtube_base_url().to_string())
        .with("YOUTUBE_API_KEY", "test-key");
    (emulator, machine)
}

/// The binary blocks; the emulator answers on the test's other threads.
async fn run(machine: &Machine, args: &[&str]) -> crate::Ran {
    tokio::task::block_in_place(|| machine.run(args))
}

#[test]
fn the_demo_ends_after_its_table_with_exit_code_zero() {
    let ran = Machine::new().run(&["demo", "--once"]).ok();
    for row in ["metadata", "comments", "analysis", "LentlyQuiet", "LentlyGone1"] {
        assert!(ran.out.contains(row), "{row}: {}", ran.out);
    }
    let rows: Vec<&str> = ran.out.lines().filter(|line| line.contains("hit; ttl=")).collect();
    assert_eq!(rows.len(), 3, "{}", ran.out);
    assert!(rows.iter().all(|row| row.contains(" / 0 ") && row.chars().count() <= 80), "{rows:?}");
}

/// Writes wait where the queue of a datagram socket is full. So a reader can leave after the demo's table and before its
/// invitation: as many places are left free as a demo without an invitation needs.
#[tokio::test]
async fn a_demo_whose_reader_has_left_by_the_invitation_does_not_serve_on_unseen() {
    let machine = Machine::new();
    let path = machine.home.path().join("out");
    let open = || {
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.connect(&path).expect("a socket");
        sender
    };
    let start = |args: &[&str]| {
        let out = OwnedFd::from(open());
        machine.command(args).stdout(out).stderr(Stdio::null()).spawn().expect("the binary runs")
    };

    let reader = UnixDatagram::bind(&path).expect("a socket");
    reader.set_nonblocking(true).expect("a socket");
    let taken = || std::iter::from_fn(|| reader.recv(&mut [0; 1 << 16]).ok());
    let (mut demo, mut writes) = (start(&["demo", "--once"]), 0);
    wait_until("the demo ends", BOUND, async || {
        let ended = demo.try_wait().expect("its state").is_some();
        writes += taken().count();
        ended
    })
    .await;

    let other = open();
    other.set_nonblocking(true).expect("a socket");
    while other.send(b"full").is_ok() {}
    assert_eq!(taken().take(writes).count(), writes, "the queue is too short for a demo");
    let mut demo = start(&["demo"]);
    wait_until("the demo fills the queue", BOUND, async || {
        let full = other.send(b"probe").is_err();
        assert!(full || taken().take(1).count() == 1);
        full
    })
    .await;
    drop(reader);
    // The shorter bound first, so that a demo that serves on is killed and not left behind.
    let ending =
        wait_until("the demo ends", BOUND * 2, async || demo.try_wait().expect("its state").is_some());
    let ended = tokio::time::timeout(BOUND, ending).await;
    let _ = demo.kill();
    let _ = demo.wait();
    assert!(ended.is_ok(), "it serves on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_serves_at_the_address_it_names_until_it_is_interrupted() {
    let mut demo = Machine::new().command(&["demo"]).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(demo.stdout.take().expect("its output")).lines();
    let address = tokio::task::block_in_place(|| {
        lines.find_map(|line| Some(line.expect("a line").strip_prefix("Look at it: ")?.to_owned()))
    });
    let answer = reqwest::get(address.expect("an address")).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    assert_eq!(tokio::task::block_in_place(|| demo.wait()).expect("its end").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_video_is_paid_for_once_whatever_its_address() {
    let (emulator, machine) = emulated().await;
    let id = SAMPLES[0].video_id;
    let first = run(&machine, &["analyze", id, "--json"]).await.ok().json();
    assert_eq!((&first["cached"], emulator.counts().units), (&json!(false), 2));
    let address = format!("https://youtu.be/{id}?si=x");
    let second = run(&machine, &["analyze", &address, "--json"]).await.ok().json();
    assert_eq!((&second["cached"], emulator.counts().units), (&json!(true), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warmed_video_costs_nothing_more() {
    let (emulator, machine) = emulated().await;
    let id = SAMPLES[1].video_id;
    assert_eq!(run(&machine, &["cache", "warm", id, "--json"]).await.ok().json()["warmed"], 1);
    assert_eq!(emulator.counts().units, 2);
    run(&machine, &["analyze", id]).await.ok();
    assert_eq!(emulator.counts().units, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_video_that_cannot_be_warmed_fails_the_command_and_the_others_are_told() {
    let (_emulator, machine) = emulated().await;
    let (good, quiet) = (SAMPLES[1].video_id, SAMPLES[3].video_id);
    let ran = run(&machine, &["cache", "warm", good, quiet, "--json"]).await;
    assert!(ran.code == Some(1) && ran.err.contains(quiet), "{}{}", ran.out, ran.err);
    assert_eq!((&ran.json()["warmed"], &ran.json()["failed"]), (&json!(1), &json!(1)));
    let none = run(&machine, &["cache", "warm", quiet, "--json"]).await;
    assert_eq!((none.code, &none.json()["warmed"]), (Some(1), &json!(0)));

    let machine = machine.with("ADMIN_API_KEY", "planted-admin-key-0006");
    let server = tokio::task::block_in_place(|| machine.serve());
    let ran = run(&machine, &["cache", "warm", good, quiet, "--json", "--server", &server.address]).await;
    assert!(ran.code == Some(1) && ran.err.contains(quiet), "{}{}", ran.out, ran.err);
    assert_eq!((&ran.json()["success"], &ran.json()["videos"][0]["ok"]), (&json!(false), &json!(true)));
    run(&machine, &["cache", "warm", good, "--server", &server.address]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_warmed_within_its_budget_and_a_dry_run_spends_nothing() {
    let (emulator, machine) = emulated().await;
    let wanted = ["cache", "warm", "--channel", "@workshophours", "--playlist", EVERYTHING, "--newest", "2"];
    let plan = run(&machine, &[&wanted[..], &["--budget", "4", "--dry-run"]].concat()).await.ok();
    assert!(
        plan.out.starts_with("4 videos at most, 27 units at most\n") && plan.out.contains("fits: no"),
        "{}",
        plan.out
    );
    assert_eq!(emulator.counts().units, 0);
    let json = run(&machine, &["cache", "warm", "--channel", "@workshophours", "--dry-run", "--json"])
        .await
        .ok()
        .json();
    assert_eq!((&json["dry_run"], &json["unlisted_videos"]), (&json!(true), &json!(10)));
    let some = run(&machine, &[&wanted[..], &["--budget", "5"]].concat()).await.ok();
    assert!(
        some.out.starts_with("1 warmed, 0 failed, 1 left; 5 units\n  left LentlyZugDE (budget)"),
        "{}",
        some.out
    );
    assert_eq!(emulator.counts().units, 5);
    for wrong in
        [&["cache", "warm"][..], &["cache", "warm", "--playlist", "PL*"], &["cache", "warm", "--newest", "5"]]
    {
        let ran = run(&machine, wrong).await;
        assert!(ran.code == Some(2) && emulator.counts().units == 5, "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_processes_were_asked_for_most_is_warmed() {
    let (emulator, machine) = emulated().await;
    run(&machine, &["analyze", SAMPLES[0].video_id]).await.ok();
    for most in ["20", "30"] {
        run(&machine, &["analyze", SAMPLES[1].video_id, "--max-comments", most]).await.ok();
    }
    run(&machine, &["cache", "flush", "--yes"]).await.ok();
    let units = emulator.counts().units;
    let warmed =
        run(&machine, &["cache", "warm", "--most-asked", "1", "--analyze", "--json"]).await.ok().json();
    assert_eq!(
        (&warmed["videos"][0]["video_id"], &warmed["warmed"]),
        (&json!(SAMPLES[1].video_id), &json!(1))
    );
    assert!(warmed["videos"].as_array().is_some_and(|videos| videos.len() == 1), "{warmed}");
    assert!(emulator.counts().units > units, "the cache was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabled_comments_and_removed_videos_are_told_as_such() {
    let (_emulator, machine) = emulated().await;
    let quiet = run(&machine, &["analyze", SAMPLES[3].video_id]).await;
    assert!(quiet.code == Some(1) && quiet.err.contains("comments are disabled"), "{}", quiet.err);
    let gone = run(&machine, &["analyze", SAMPLES[4].video_id]).await;
    assert!(gone.code == Some(1) && gone.err.contains("no such video"), "{}", gone.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_costs_no_second_process_more_than_the_first_and_is_in_the_ledger() {
    let (emulator, machine) = emulated().await;
    for _ in 0..2 {
        run(&machine, &["analyze", SAMPLES[3].video_id]).await;
    }
    let ledger = run(&machine, &["ledger", "--json"]).await.ok().json();
    assert_eq!(
        ledger["buckets"][0]["spent_units"],
        emulator.counts().units,
        "calls that are refused cost, too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_without_gemini_says_who_judged_and_why() {
    let (emulator, machine) = emulated().await;
    let machine = machine
        .with("GEMINI_BASE_URL", emulator.gemini_base_url().to_string())
        .with("GEMINI_API_KEY", "test-key");
    let kind = FaultKind::RateLimited { retry_after: Some(3_600) };
    emulator.set_fault(Some(Fault { kind, method: Some(Method::Gemini), times: None }));
    let id = SAMPLES[0].video_id;
    let told = run(&machine, &["analyze", id]).await.ok().out;
    assert!(told.contains("judged: 100 by the local engine"), "{told}");
    assert!(told.contains("! 100 comments were judged locally: Gemini failed"), "{told}");
    let engine = run(&machine, &["analyze", id, "--json"]).await.ok().json()["engine"].clone();
    assert_eq!((&engine["name"], &engine["judged"]["local"]), (&json!("gemini"), &json!(100)));
    assert!(engine["degraded"].as_str().is_some_and(|why| why.contains("Gemini failed")), "{engine}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_old_comments_and_one_of_a_part_of_them_say_so() {
    let (emulator, machine) = emulated().await;
    let kinds = ["ANALYSIS", "COMMENTS", "VIDEO"];
    let machine = kinds
        .iter()
        .fold(machine, |machine, kind| machine.with(&format!("LENTLY_TTL_{kind}_SECONDS"), "0.001"));
    let id = SAMPLES[0].video_id;
    run(&machine, &["analyze", id]).await.ok();
    let kind = FaultKind::QuotaExceeded;
    emulator.set_fault(Some(Fault { kind, method: None, times: None }));
    let told = run(&machine, &["analyze", id]).await.ok().out;
    let because = "because YouTube's quota is used up for today.";
    let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("The comments are those that were read at ") && words.contains(because), "{told}");
    let report = run(&machine, &["analyze", id, "--json"]).await.ok().json()["report"].clone();
    assert!(report["caution"].as_str().is_some_and(|caution| caution.contains(because)), "{report}");

    let more = ["analyze", id, "--max-comments", "200"];
    let part = run(&machine, &more).await.ok().out;
    assert!(part.contains("100 of 520 comments read (YouTube failed after 1 page"), "{part}");
    let ledger = run(&machine, &["ledger", "--json"]).await.ok().json();
    assert_eq!(ledger["buckets"][0]["spent_units"], emulator.counts().units);
}
