//! `lently cache` on the local cache and at a server.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

use lently_testing::RedisServer;
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
    let deleted = machine.run(&["cache", "delete", &key, "--json"]).ok().json();
    assert_eq!((&deleted["deleted"], &deleted["expired"]), (&json!(1), &json!(1)));
    assert_eq!(machine.run(&["cache", "get", &key]).code, Some(1));
    let file = machine.home.path().join("x.csv").display().to_string();
    let anew = machine.run(&["analyze", &file, "--json"]).ok().json();
    assert_eq!(anew["cached"], false, "the store does not bring back what was deleted");
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
fn a_servers_value_is_printed_as_the_local_one_is() {
    let (machine, id) = analyzed();
    let key = format!("analysis:{id}");
    let local = machine.run(&["cache", "get", &key]).ok();
    let machine = machine.with("ADMIN_API_KEY", KEY);
    let server = machine.serve();
    let at = |key: &str| machine.run(&["cache", "get", key, "--server", &server.address]);
    let told = at(&key).ok();
    assert_eq!(told.out, local.out);
    assert!(told.err.contains("from disk, fresh for"), "{}", told.err);
    let gone = at("video:AAAAAAAAAAA");
    assert!(gone.code == Some(1) && gone.err.contains("no value for video:AAAAAAAAAAA"), "{}", gone.err);
}

#[test]
fn a_key_is_explained_here_and_by_a_server() {
    let (machine, id) = analyzed();
    let (here, absent) = (format!("analysis:{id}"), "video:AAAAAAAAAAA");
    let facts = machine.run(&["cache", "explain", &here, "--json"]).ok().json();
    let states: Vec<_> =
        facts["tiers"].as_array().expect("tiers").iter().map(|tier| tier["state"].as_str()).collect();
    assert_eq!(
        (states, &facts["next"]["tier"]),
        (vec![Some("absent"), Some("fresh")], &json!("disk")),
        "{facts}"
    );
    let machine = machine.with("ADMIN_API_KEY", KEY);
    let server = machine.serve();
    let there = machine.run(&["cache", "explain", &here, "--json", "--server", &server.address]).ok().json();
    for name in ["key", "kind", "lease", "flight"] {
        assert_eq!(there[name], facts[name], "{name}");
    }
    assert_eq!(there["tiers"][1]["value"]["etag"], facts["tiers"][1]["value"]["etag"]);
    for told in [
        machine.run(&["cache", "explain", absent]).ok().out,
        machine.run(&["cache", "explain", absent, "--server", &server.address]).ok().out,
    ] {
        assert_eq!(
            told,
            "video:AAAAAAAAAAA\n  memory   absent\n  disk     absent\n  lease    not used\n  flight   none\n  \
             next     fetch: no tier has a value\n"
        );
    }
    let told = machine.run(&["cache", "explain", &here]).ok().out;
    assert!(
        told.contains("  disk     fresh, ") && told.contains("next     serve: disk has it, fresh for"),
        "{told}"
    );
    assert_eq!(machine.run(&["cache", "explain", "nonsense"]).code, Some(2));
}

/// With an empty prefix, a key of another application is as near as one of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_ours_is_not_deleted() {
    let redis = RedisServer::start().await;
    redis.cli(&["SET", "session:1", "theirs"]);
    let machine = Machine::new()
        .with("REDIS_HOST", "127.0.0.1")
        .with("REDIS_PORT", redis.port().to_string())
        .with("LENTLY_KEY_PREFIX", "");
    for args in [
        &["cache", "delete", "session:1"][..],
        // Nobody listens there: a key that is not ours is not even sent.
        &["cache", "delete", "session:1", "--server", "http://127.0.0.1:1"],
    ] {
        let ran = tokio::task::block_in_place(|| machine.run(args));
        assert!(ran.code == Some(2) && ran.err.contains("no key of Lently's"), "{}", ran.err);
    }
    assert_eq!(redis.cli(&["GET", "session:1"]), "theirs");
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let ran = Machine::new().run(&["cache", "stats", "--server", "http://127.0.0.1:1"]);
    assert!(ran.code == Some(1) && ran.err.contains("is a server running there?"), "{}", ran.err);
}

/// Answers one request with `answer`, and tells its head.
fn answer_one(listener: &TcpListener, answer: &str) -> String {
    let (stream, _) = listener.accept().expect("a connection");
    let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let head = head.fold(String::new(), |head, line| head + &line.to_ascii_lowercase() + "\n");
    (&stream).write_all(answer.as_bytes()).expect("an answer is sent");
    head
}

const KEY: &str = "planted-admin-key-0005";

#[test]
fn the_admin_key_follows_no_redirect() {
    let (named, other) = (listener(), listener());
    other.set_nonblocking(true).expect("a listener");
    let elsewhere = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        address(&other)
    );
    let machine = Machine::new().with("ADMIN_API_KEY", KEY);
    let server = address(&named);
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| machine.run(&["cache", "flush", "--yes", "--server", &server]));
        assert!(answer_one(&named, &elsewhere).contains(&format!("x-admin-key: {KEY}")));
        let ran = ran.join().expect("it runs");
        assert!(ran.code == Some(1) && ran.err.contains("redirects"), "{}", ran.err);
    });
    assert!(other.accept().is_err(), "the other server was asked");
}

#[test]
fn the_admin_key_goes_to_admin_routes_only() {
    let named = listener();
    let machine = Machine::new().with("ADMIN_API_KEY", KEY);
    let server = address(&named);
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| machine.run(&["cache", "stats", "--server", &server]));
        let head = answer_one(&named, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        assert!(head.starts_with("get /api/cache/stats") && !head.contains("x-admin-key"), "{head}");
        ran.join().expect("it runs").ok();
    });
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

fn address(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("an address"))
}
