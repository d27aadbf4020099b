//! The promises of `lently_cache::conformance`, over each remote tier there is.

use lently_cache::{RemoteConfig, conformance};
use lently_testing::RedisServer;
use tempfile::TempDir;

use crate::support::{PREFIX, disk, redis};

#[tokio::test]
async fn memory_alone_keeps_the_promises_it_can_make() {
    let report = conformance::run(&RemoteConfig::None, PREFIX).await;
    report.assert_kept();
    assert!(report.not_made.contains(&"another node finds what one has stored".to_owned()));
}

#[tokio::test]
async fn a_disk_file_keeps_the_promises_it_can_make() {
    let folder = TempDir::new().expect("a folder");
    let report = conformance::run(&disk(&folder.path().join("cache.sqlite")), PREFIX).await;
    report.assert_kept();
    assert!(report.not_made.contains(&"two nodes share one fetch".to_owned()));
}

#[tokio::test]
async fn redis_keeps_every_promise_and_nothing_is_left_in_it() {
    let server = RedisServer::start().await;
    let report = conformance::run(&redis(&server), PREFIX).await;
    report.assert_kept();
    assert_eq!(report.not_made, Vec::<String>::new());
    let left = server.cli(&["KEYS", "*"]);
    assert!(left.lines().all(|key| key.contains(":~lease:")), "{left}");
}

#[tokio::test]
async fn a_broken_promise_is_told_by_name() {
    let folder = TempDir::new().expect("a folder");
    let report = conformance::run(&disk(folder.path()), PREFIX).await;
    assert_eq!(report.broken.len(), 1);
    assert_eq!(report.broken[0].promise, "the remote tier can be opened and reached");
    let told = report.to_string();
    assert!(
        told.contains("- the remote tier can be opened and reached: cannot use the cache file"),
        "{told}"
    );
}
