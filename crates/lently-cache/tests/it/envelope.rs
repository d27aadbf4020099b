//! What lies in the remote tier, byte by byte: the golden files of every released format, and a reader in Python.

use std::{path::Path, process::Command, time::Duration};

use bytes::Bytes;
use lently_cache::{CacheConfig, Cost, Pattern, Policy, RemoteConfig, Tier};
use lently_testing::RedisServer;
use proptest::{prelude::any, strategy::ValueTree, test_runner::TestRunner};
use tempfile::TempDir;

use crate::support::{
    THING, config, disk, fixed_clock, in_memory, look, manual_clock, open_with, policy, redis,
};

const COST: Cost =
    Cost { quota_units: 3, tokens_in: 1200, tokens_out: 80, micro_dollars: 450, milliseconds: 1700 };

fn long_value() -> Bytes {
    let comments: Vec<_> = (0..60).map(|n| format!("{{\"id\":\"c{n}\",\"text\":\"first! ❤\"}}")).collect();
    Bytes::from(format!("[{}]", comments.join(",")))
}

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name)
}

/// What a cache at a fixed time writes for `value`.
async fn written(value: Bytes) -> Vec<u8> {
    let server = RedisServer::start().await;
    let bench = open_with(config(redis(&server), fixed_clock())).await;
    bench.cache.set("thing:1", &policy(), value, COST).await.expect("a set");
    server.bytes_of("lently-test:thing:1")
}

/// Golden files are never rewritten: a change that breaks this test is a new format, with files of its own beside.
#[tokio::test]
async fn what_is_written_today_is_what_the_golden_files_hold() {
    let short = written(Bytes::from_static("{\"title\":\"Größe\"}".as_bytes())).await;
    assert_eq!(
        String::from_utf8_lossy(&short),
        std::fs::read_to_string(golden("v1-identity.bin")).expect("a file")
    );
    let long = written(long_value()).await;
    let split = long.iter().position(|&b| b == b'\n').expect("a header");
    let kept = std::fs::read(golden("v1-zstd.bin")).expect("a file");
    // The packed bytes may differ with the version of zstd; the header and what they unpack to may not.
    assert_eq!(String::from_utf8_lossy(&long[..split]), String::from_utf8_lossy(&kept[..split]));
}

#[tokio::test]
async fn the_golden_files_of_every_released_format_are_read() {
    let server = RedisServer::start().await;
    let bench = open_with(config(redis(&server), fixed_clock())).await;
    for (file, value) in [
        ("v1-identity.bin", Bytes::from_static("{\"title\":\"Größe\"}".as_bytes())),
        ("v1-zstd.bin", long_value()),
    ] {
        let key = format!("thing:{file}");
        server.put(&format!("lently-test:{key}"), &std::fs::read(golden(file)).expect("a file"), 600);
        let entry = bench.cache.get(THING, &key).await.entry().expect("a hit");
        assert_eq!(entry.ttl(bench.clock.now()), Duration::from_secs(60));
        assert_eq!((entry.value.clone(), entry.tier, entry.cost), (value, Tier::Redis, COST));
    }
}

/// The reader that `docs/cache-envelope.md` prints, run as it stands there.
#[tokio::test]
async fn the_reader_in_the_documentation_reads_what_the_cache_writes() {
    let documentation = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cache-envelope.md");
    let text = std::fs::read_to_string(documentation).expect("the documentation");
    let reader =
        text.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a reader");
    assert!(reader.lines().count() <= 12, "about ten lines");
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("reader.py"), reader).expect("a file");
    std::fs::write(folder.path().join("stored"), written(Bytes::from_static(b"{\"title\":\"G\"}")).await)
        .expect("a file");
    let run = "import reader; h, v = reader.read(open('stored', 'rb').read()); \
               print(h['kind'], h['schema'], h['cost']['quota_units'], h['etag'][:4], v['title'])";
    let output =
        Command::new("python3").args(["-c", run]).current_dir(folder.path()).output().expect("python3 runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let etag = &blake3::hash(b"{\"title\":\"G\"}").to_hex()[..4];
    assert_eq!(told.trim(), format!("thing 1 3 {etag} G"));
}

/// Any bytes, through any remote tier, come back as they were.
#[tokio::test]
async fn any_value_makes_the_round_trip_through_disk_and_redis() {
    let (folder, server) = (TempDir::new().expect("a folder"), RedisServer::start().await);
    let mut runner = TestRunner::deterministic();
    for remote in [disk(&folder.path().join("cache.sqlite")), redis(&server)] {
        let bench = open_with(CacheConfig { memory_bytes: 0, ..config(remote, manual_clock()) }).await;
        for size in [0, 1, 1023, 1024, 1025, 5000, 100_000] {
            for alphabet in [1_u8, 4, 255] {
                let bytes = proptest::strategy::Strategy::new_tree(
                    &proptest::collection::vec(any::<u8>(), size),
                    &mut runner,
                );
                let bytes = bytes.expect("a tree").current().into_iter().map(|b| b % alphabet.max(1));
                let value: Bytes = bytes.collect();
                let cost = Cost { quota_units: u64::MAX, ..COST };
                bench.cache.set("thing:1", &policy(), value.clone(), cost).await.expect("a set");
                let entry = bench.cache.get(THING, "thing:1").await.entry().expect("a hit");
                assert_eq!((entry.value.clone(), entry.cost), (value, cost));
            }
        }
    }
}

#[tokio::test]
async fn the_times_on_an_entry_follow_the_policy() {
    let bench = in_memory().await;
    let own = Policy { fresh: Duration::from_millis(1500), ..policy() };
    bench.cache.set("thing:1", &own, Bytes::from_static(b"1"), COST).await.expect("a set");
    bench.clock.advance(Duration::from_millis(1499));
    assert!(look(&bench.cache, "thing:1").await.is_some());
    bench.clock.advance(Duration::from_millis(1));
    assert!(look(&bench.cache, "thing:1").await.is_none());
    bench.clock.advance(policy().retention);
    assert_eq!(bench.cache.measure_pattern(&Pattern::any()).await.expect("a report").keys, 0);
    assert!(matches!(config(RemoteConfig::None, fixed_clock()).remote, RemoteConfig::None));
}
