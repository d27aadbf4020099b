//! The ledger and the estimate on the command line, and that a process that is killed takes nothing out of the books.

use std::{process::Stdio, time::Duration};

use lently_emulator::{Emulator, Fault, FaultKind, Method, SAMPLES};
use lently_testing::{RedisServer, wait_until};
use serde_json::{Value, json};

use crate::{Machine, emulated::emulated};

/// Reached only by a broken program.
const BOUND: Duration = Duration::from_secs(60);

async fn run(machine: &Machine, args: &[&str]) -> crate::Ran {
    tokio::task::block_in_place(|| machine.run(args))
}

async fn ledger(machine: &Machine) -> Value {
    run(machine, &["ledger", "--json"]).await.ok().json()
}

/// Begins an analysis, and kills the process while YouTube keeps it waiting for a page.
async fn killed_in_the_middle(machine: &Machine, emulator: &Emulator, video_id: &str) {
    let hang = Fault { kind: FaultKind::Hang, method: Some(Method::CommentThreads), times: None };
    emulator.set_fault(Some(hang));
    let before = emulator.counts().comment_threads;
    let mut process = machine
        .command(&["analyze", video_id])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    wait_until("it waits for a page", BOUND, async || emulator.counts().comment_threads > before).await;
    process.kill().expect("it is killed");
    process.wait().expect("its end");
    emulator.set_fault(None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_killed_processes_spent_is_in_the_books_of_all_also_after_redis_was_replaced() {
    let mut server = RedisServer::start().await;
    let (emulator, mut one) = emulated().await;
    let mut other = Machine::new();
    other.variables.clone_from(&one.variables);
    for machine in [&mut one, &mut other] {
        machine.variables.push(("REDIS_HOST".to_owned(), "127.0.0.1".to_owned()));
        machine.variables.push(("REDIS_PORT".to_owned(), server.port().to_string()));
    }
    killed_in_the_middle(&one, &emulator, SAMPLES[0].video_id).await;
    assert_eq!(ledger(&other).await["buckets"][0]["spent_units"], emulator.counts().units);
    run(&other, &["analyze", SAMPLES[1].video_id]).await.ok();
    server.replace_by_empty().await;
    killed_in_the_middle(&one, &emulator, SAMPLES[2].video_id).await;
    // Each tells what its store has.
    ledger(&one).await;
    let told = ledger(&other).await;
    assert_eq!(
        (&told["whole_fleet"], &told["buckets"][0]["spent_units"]),
        (&json!(true), &json!(emulator.counts().units))
    );
    assert_eq!(told["users"][0]["shared_units"], emulator.counts().units);
    let table = run(&one, &["ledger"]).await.ok().out;
    for part in ["bucket", "shared", "spent for", "analysis", "local", "10,000"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_is_told_and_nothing_is_spent() {
    let (emulator, machine) = emulated().await;
    let machine = machine
        .with("GEMINI_BASE_URL", emulator.gemini_base_url().to_string())
        .with("GEMINI_API_KEY", "test-key");
    let id = SAMPLES[0].video_id;
    let told = run(&machine, &["estimate", id, "--max-comments", "500"]).await.ok().out;
    for part in [
        "at most 500",
        "at most 6 units",
        "gemini-3.5-flash-lite",
        "$0.0",
        "allowed   yes",
        "not known here yet",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let file = machine.write("x.csv", "text\nfirst!\nfirst!\nnice video\n");
    let of_file = run(&machine, &["estimate", &file, "--json"]).await.ok().json();
    assert_eq!((&of_file["comments"], &of_file["shared_units"]), (&json!(3), &json!(0)));
    assert_eq!(emulator.counts().units + emulator.counts().gemini_calls, 0);
    run(&machine, &["analyze", id]).await.ok();
    let there = run(&machine, &["estimate", id]).await.ok().out;
    assert!(there.contains("there already"), "{there}");
    assert_eq!(run(&machine, &["estimate", "no such thing"]).await.code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_a_price_is_said_to_have_none_and_a_file_gives_it_one() {
    let (emulator, machine) = emulated().await;
    let mut machine = machine
        .with("GEMINI_BASE_URL", emulator.gemini_base_url().to_string())
        .with("GEMINI_API_KEY", "test-key")
        .with("GEMINI_MODEL", "gemini-of-tomorrow");
    run(&machine, &["analyze", SAMPLES[0].video_id]).await.ok();
    let told = run(&machine, &["ledger"]).await.ok().out;
    assert!(told.contains("no price"), "{told}");
    assert!(run(&machine, &["estimate", SAMPLES[1].video_id]).await.ok().out.contains("no price known"));
    let prices = json!({ "source": "a test", "read_on": "2026-11-29", "models": [{ "model": "gemini-of-tomorrow",
        "prices": [{ "input_dollars_per_million": 1000, "output_dollars_per_million": 1000 }] }] });
    let file = machine.write("prices.json", &prices.to_string());
    machine = machine.with("LENTLY_PRICES_FILE", file);
    let dear = run(&machine, &["estimate", SAMPLES[1].video_id, "--json"]).await.ok().json();
    assert!(dear["micro_dollars"].as_u64().is_some_and(|dollars| dollars > 100_000), "{dear}");
    machine.write("prices.json", &prices.to_string().replace("1000", "-1"));
    let refused = run(&machine, &["ledger"]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    let named = ["LENTLY_PRICES_FILE", "prices.json", "models[0].prices[0].input_dollars_per_million"];
    assert!(named.iter().all(|part| refused.err.contains(part)), "{}", refused.err);
}
