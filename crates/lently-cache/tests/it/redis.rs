//! Redis as a tier: what lies there, who shares it, and what a second node sees.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lently_cache::{
    ByteStream, CacheConfig, Clock, Cost, LinkState, Lookup, MissReason, Pattern, RedisClient, RedisConfig,
    Transport,
};
use lently_testing::{RedisServer, wait_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::support::{
    BOUND, THING, config, look, manual_clock, on_redis, open_with, policy, put, redis, redis_config,
};

#[tokio::test]
async fn flush_and_patterns_leave_foreign_keys_alone() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    for key in ["foreign", "lently-testx", "lently:thing:1", "other:1", "thing:1"] {
        server.put(key, b"1", 600);
    }
    put(&bench.cache, "thing:1", "1").await;
    put(&bench.cache, "thing:2", "1").await;
    assert_eq!(
        bench.cache.delete_pattern(&Pattern::parse("*:2").expect("a pattern")).await.expect("a delete"),
        1
    );
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 1);
    assert_eq!(server.cli(&["DBSIZE"]), "6", "and the note of what was flushed");
}

#[tokio::test]
async fn a_prefix_with_glob_characters_means_itself() {
    let server = RedisServer::start().await;
    let odd = CacheConfig { prefix: "a*[b]?:".to_owned(), ..config(redis(&server), manual_clock()) };
    let bench = open_with(odd).await;
    for key in ["axb1:thing:1", "a*b?:thing:1"] {
        server.put(key, b"1", 600);
    }
    put(&bench.cache, "thing:1", "1").await;
    assert_eq!(server.cli(&["EXISTS", "a*[b]?:thing:1"]), "1");
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 1);
    assert_eq!(server.cli(&["DBSIZE"]), "3", "and the note of what was flushed");
}

#[tokio::test]
async fn with_an_empty_prefix_only_keys_of_our_kinds_are_reached() {
    let server = RedisServer::start().await;
    let shared = CacheConfig { prefix: String::new(), ..config(redis(&server), manual_clock()) };
    let bench = open_with(shared).await;
    for key in ["session:1", "things", "thin:1"] {
        server.put(key, b"1", 600);
    }
    put(&bench.cache, "thing:1", "1").await;
    assert_eq!(server.cli(&["EXISTS", "thing:1"]), "1");
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 1);
    assert_eq!(server.cli(&["DBSIZE"]), "4", "and the note of what was flushed");
}

#[tokio::test]
async fn many_keys_are_deleted_in_batches_without_keys_or_flushdb() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    server.cli(&[
        "EVAL",
        "for n = 1, 5000 do redis.call('SET', 'lently-test:thing:' .. n, '1', 'EX', 600) end",
        "0",
    ]);
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 5000);
    assert_eq!(server.cli(&["DBSIZE"]), "1", "and the note of what was flushed");
    let commands = server.cli(&["INFO", "commandstats"]);
    assert!(!commands.contains("cmdstat_keys") && !commands.contains("cmdstat_flush"), "{commands}");
}

#[tokio::test]
async fn the_client_alone_does_what_it_says_and_holds_no_more_connections_than_allowed() {
    let server = RedisServer::start().await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let many = RedisConfig { max_connections: 5, ..redis_config(&server) };
    let client = RedisClient::connect(many, "p:", ["thing".to_owned()], Clock::system(), &tasks, &stop)
        .await
        .expect("a client");
    wait_until("it is connected", BOUND, async || client.ping().await.is_ok()).await;
    let callers = (0..200).map(|n| {
        let client = client.clone();
        async move {
            let key = format!("k{n}");
            client.set(&key, b"v", Duration::from_secs(60)).await.expect("a set");
            client.get(&key).await.expect("an answer")
        }
    });
    assert!(futures::future::join_all(callers).await.iter().all(|value| value.as_deref() == Some(b"v")));
    let connected = server.cli(&["CLIENT", "LIST"]).lines().count() - 1;
    assert_eq!(connected, 5);
    assert!(client.exists("k1").await.expect("an answer"));
    assert!(client.ttl("k1").await.expect("an answer").expect("a ttl") > Duration::from_secs(50));
    assert_eq!(client.delete("k1").await.expect("an answer"), 1);
    assert_eq!(client.ttl("k1").await.expect("an answer"), None);
    assert_eq!(
        client.delete_pattern(&Pattern::parse("k1?").expect("a pattern")).await.expect("an answer"),
        10
    );
    assert_eq!(client.flush_all().await.expect("an answer"), 189);
    assert!(client.info("memory").await.expect("an answer").contains("used_memory"));
    assert_eq!(client.config_get("maxmemory").await.expect("an answer").as_deref(), Some("0"));
    client.disconnect();
    tasks.close();
    tokio::time::timeout(BOUND, tasks.wait()).await.expect("its task ends");
    assert!(client.get("k2").await.is_err());
    wait_until("its connections are closed", BOUND, async || {
        server.cli(&["CLIENT", "LIST"]).lines().count() == 1
    })
    .await;
}

#[tokio::test]
async fn closing_ends_the_link_and_leaves_memory() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    put(&bench.cache, "thing:1", "1").await;
    bench.cache.close().await;
    bench.tasks.close();
    tokio::time::timeout(BOUND, bench.tasks.wait()).await.expect("every task ends");
    assert_ne!(bench.cache.health().state, LinkState::Up);
    assert!(look(&bench.cache, "thing:1").await.is_some());
}

/// Another program's list under a key of ours is a miss like any garbage, and says nothing about Redis' health.
#[tokio::test]
async fn a_key_of_another_type_is_an_unreadable_value_and_no_outage() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    for n in 0..20 {
        server.cli(&["RPUSH", &format!("lently-test:thing:{n}"), "x"]);
    }
    put(&bench.cache, "thing:string", "1").await;
    for n in 0..20 {
        let lookup = bench.cache.get(THING, &format!("thing:{n}")).await;
        assert_eq!(lookup, Lookup::Missing(MissReason::Unreadable));
    }
    let report = bench.cache.measure_pattern(&Pattern::any()).await.expect("a report");
    assert_eq!(report.keys, 1, "{report:?}");
    assert_eq!((bench.cache.health().state, bench.cache.stats().errors), (LinkState::Up, 0));
    put(&bench.cache, "thing:3", "2").await;
    assert_eq!(server.cli(&["TYPE", "lently-test:thing:3"]), "string");
}

/// Reads at the same moment share round trips. Nobody notices: not by what is answered, nor by who else gives up, nor by a neighbor
/// that cannot be read.
#[tokio::test]
async fn of_many_reads_at_once_each_is_answered_for_its_own_key() {
    let server = RedisServer::start().await;
    let bench = open_with(CacheConfig { memory_bytes: 0, ..config(redis(&server), manual_clock()) }).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().is_up()).await;
    for n in 0..200 {
        let (key, value) = (format!("thing:{n}"), Bytes::from(n.to_string()));
        match n % 4 {
            0 => drop(server.cli(&["RPUSH", &format!("lently-test:{key}"), "x"])),
            1 => {}
            _ => {
                let stored = bench.cache.set(&key, &policy(), value, Cost::default()).await.expect("a set");
                assert!(stored.remote);
            }
        }
    }
    let (gone, stayed): (Vec<_>, Vec<_>) = (0..200)
        .map(|n| {
            let cache = bench.cache.clone();
            (n, bench.tasks.spawn(async move { cache.get(THING, &format!("thing:{n}")).await }))
        })
        .partition(|(n, _)| n % 5 == 4);
    tokio::task::yield_now().await;
    gone.into_iter().for_each(|(_, read)| read.abort());
    for (n, read) in stayed {
        let lookup = read.await.expect("an answer");
        match n % 4 {
            0 => assert_eq!(lookup, Lookup::Missing(MissReason::Unreadable), "{n}"),
            1 => assert_eq!(lookup, Lookup::Missing(MissReason::Absent), "{n}"),
            _ => assert_eq!(lookup.entry().map(|entry| entry.value.clone()), Some(n.to_string().into())),
        }
    }
    assert_eq!((bench.cache.health().state, bench.cache.stats().errors), (LinkState::Up, 0));
}

/// Whoever reads while nothing answers is told so within the timeout of a command, alone or with others.
#[tokio::test]
async fn of_many_reads_at_once_none_waits_for_longer_than_the_timeout_of_a_command() {
    let server = RedisServer::start().await;
    let short = RedisConfig { command_timeout: Duration::from_millis(100), ..redis_config(&server) };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let client = RedisClient::connect(short, "p:", ["thing".to_owned()], Clock::system(), &tasks, &stop)
        .await
        .expect("a client");
    wait_until("it is connected", BOUND, async || client.ping().await.is_ok()).await;
    server.stop();
    let reads = (0..100).map(|n| {
        let client = client.clone();
        tasks.spawn(async move { client.get(&format!("k{n}")).await })
    });
    let reads: Vec<_> = reads.collect();
    for read in reads {
        let answer = tokio::time::timeout(BOUND, read).await.expect("an end").expect("an answer");
        assert!(answer.is_err(), "{answer:?}");
    }
    server.cont();
    wait_until("it answers again", BOUND, async || matches!(client.get("k1").await, Ok(None))).await;
}

#[tokio::test]
async fn the_client_speaks_over_streams_that_its_caller_opens() {
    let server = RedisServer::start().await;
    let (tasks, stop, target) = (TaskTracker::new(), CancellationToken::new(), server.address());
    let (asked_for, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let transport = Transport::Streams(Arc::new(move |host, port| {
        let asked_for = asked_for.clone();
        Box::pin(async move {
            asked_for.send((host, port)).expect("the test listens");
            Ok(Box::new(tokio::net::TcpStream::connect(target).await?) as Box<dyn ByteStream>)
        })
    }));
    let config = RedisConfig { host: "nowhere.invalid".into(), port: 1, transport, ..RedisConfig::default() };
    let client = RedisClient::connect(config, "p:", ["thing".to_owned()], Clock::system(), &tasks, &stop)
        .await
        .expect("a client");
    wait_until("it is connected", BOUND, async || client.ping().await.is_ok()).await;
    assert_eq!(asked.recv().await, Some(("nowhere.invalid".to_owned(), 1)));
    client.disconnect();
    tasks.close();
    tokio::time::timeout(BOUND, tasks.wait()).await.expect("its tasks end, the streams' among them");
}

/// As behind an endpoint whose name is moved to another server while the old one stays up.
#[tokio::test]
async fn a_server_that_may_no_longer_be_written_to_is_connected_to_anew() {
    let (server, other) = (RedisServer::start().await, RedisServer::start().await);
    let bench = on_redis(&server).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().is_up()).await;
    let ours = || server.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
    let id = |clients: &str| clients.lines().find(|client| client.contains("flags=t")).map(str::to_owned);
    let before = id(&ours()).expect("a connection that hears of changes");
    let before = before.split_whitespace().next().expect("an id");
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]), "OK");
    wait_until("the old connections are given up", BOUND, async || {
        put(&bench.cache, "thing:1", "1").await;
        !ours().contains(before)
    })
    .await;
    assert_eq!(look(&bench.cache, "thing:1").await.expect("memory has it").0, "1");
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    wait_until("it is written to again", BOUND, async || {
        put(&bench.cache, "thing:2", "2").await;
        server.bytes_of("lently-test:thing:2").ends_with(b"2")
    })
    .await;
}
