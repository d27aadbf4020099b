//! The disk tier: a second process hits, several share one file, damage and size are dealt with.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use lently_cache::{CacheConfig, CacheError, CacheService, Cost, Pattern, Policy, RemoteConfig, Tier};
use tempfile::TempDir;

use crate::support::{config, disk, look, manual_clock, on_disk, open, open_with, policy, put};

#[tokio::test]
async fn what_one_process_stored_the_next_one_finds() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("deep/down/cache.sqlite");
    let first = on_disk(&path).await;
    put(&first.cache, "thing:1", "1").await;
    drop(first);
    let second = on_disk(&path).await;
    assert_eq!(look(&second.cache, "thing:1").await, Some((Bytes::from_static(b"1"), Tier::Disk)));
    assert_eq!(look(&second.cache, "thing:1").await.expect("a hit").1, Tier::Memory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_handles_open_and_write_one_new_file_at_once_and_lose_nothing() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    let writers = (0..8).map(|writer| {
        let path = path.clone();
        async move {
            let bench = on_disk(&path).await;
            for n in 0..50 {
                let stored = bench
                    .cache
                    .set(&format!("thing:{writer}:{n}"), &policy(), Bytes::from_static(b"1"), Cost::default())
                    .await
                    .expect("a set");
                assert!(stored.remote);
            }
            bench.cache.health().swallowed_errors
        }
    });
    assert_eq!(futures::future::join_all(writers).await, vec![0; 8]);
    let bench = on_disk(&path).await;
    assert_eq!(bench.cache.measure_pattern(&Pattern::any()).await.expect("a report").keys, 400);
}

#[tokio::test]
async fn a_delete_by_another_process_is_seen_within_the_trust_of_a_memory_copy() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    let (here, there) = (on_disk(&path).await, on_disk(&path).await);
    put(&here.cache, "thing:1", "1").await;
    assert_eq!(there.cache.delete("thing:1").await.expect("a delete"), 1);
    here.clock.advance(Duration::from_secs(2));
    assert_eq!(look(&here.cache, "thing:1").await, None);
}

fn set_aside(folder: &Path) -> usize {
    let files = fs::read_dir(folder).expect("the folder");
    files
        .filter(|file| file.as_ref().is_ok_and(|f| f.file_name().to_string_lossy().contains("damaged")))
        .count()
}

#[tokio::test]
async fn a_file_that_is_no_cache_is_set_aside_and_a_new_one_begun() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    fs::write(&path, b"this was never a database, and it is long enough to be read as a header".repeat(100))
        .expect("a file");
    let bench = on_disk(&path).await;
    put(&bench.cache, "thing:1", "1").await;
    drop(bench);
    assert!(look(&on_disk(&path).await.cache, "thing:1").await.is_some());
    assert_eq!(set_aside(folder.path()), 1);
}

#[tokio::test]
async fn a_file_damaged_while_in_use_is_set_aside_and_work_goes_on() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    let bench = on_disk(&path).await;
    for n in 0..200 {
        let value = Bytes::from(format!("\"{}\"", "x".repeat(900)));
        bench.cache.set(&format!("thing:{n}"), &policy(), value, Cost::default()).await.expect("a set");
    }
    drop(bench);
    let mut bytes = fs::read(&path).expect("the file");
    let length = bytes.len();
    assert!(length > 3 * 4096);
    bytes[4096..length].fill(0xA5);
    fs::write(&path, bytes).expect("a file");
    let bench = on_disk(&path).await;
    for n in 0..200 {
        let answer = bench
            .cache
            .get_or_set(&format!("thing:{n}"), &policy(), crate::support::Upstream::default().fetch("1"))
            .await;
        assert!(answer.is_ok());
    }
    drop(bench);
    assert_eq!(set_aside(folder.path()), 1);
    let next = on_disk(&path).await;
    assert!(look(&next.cache, "thing:199").await.is_some(), "the new file is in use");
}

#[tokio::test]
async fn a_path_that_cannot_be_used_is_told_at_the_start() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("file"), b"").expect("a file");
    let opened =
        CacheService::open(config(disk(&folder.path().join("file/cache.sqlite")), manual_clock())).await;
    let Err(error) = opened else { panic!("it cannot be opened") };
    assert!(matches!(error, CacheError::Disk { .. }), "{error}");
}

#[tokio::test]
async fn the_file_stays_within_its_size_and_drops_the_oldest_first() {
    let folder = TempDir::new().expect("a folder");
    let bench =
        open(RemoteConfig::Disk { path: folder.path().join("cache.sqlite"), max_bytes: 200 << 10 }).await;
    for n in 0..600_u32 {
        // Not compressible, so that sizes are what they look like.
        let value: Bytes =
            (0..2000_u32).map(|m| ((n * 2000 + m).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        bench.cache.set(&format!("thing:{n}"), &policy(), value, Cost::default()).await.expect("a set");
        bench.clock.advance(Duration::from_millis(1));
    }
    let report = bench.cache.measure_pattern(&Pattern::any()).await.expect("a report");
    assert!(report.keys > 10 && report.bytes <= (200 << 10) * 17 / 16 + 3000, "{report:?}");
    let small = bench.cache.delete("thing:599").await.expect("a delete");
    assert_eq!(
        (small, bench.cache.delete("thing:0").await.expect("a delete")),
        (1, 1),
        "memory still had it"
    );
    let fresh = open_with(config(disk(&folder.path().join("cache.sqlite")), bench.clock.clone())).await;
    assert!(look(&fresh.cache, "thing:1").await.is_none() && look(&fresh.cache, "thing:598").await.is_some());
}

#[tokio::test]
async fn what_has_expired_leaves_the_file_at_the_next_process_first_write() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    let first = on_disk(&path).await;
    for n in 0..3 {
        put(&first.cache, &format!("thing:{n}"), "1").await;
    }
    first.clock.advance(Duration::from_secs(2 * 3600));
    let second = open_with(config(disk(&path), first.clock.clone())).await;
    put(&second.cache, "thing:9", "1").await;
    let file = rusqlite::Connection::open(&path).expect("the file");
    let rows: i64 = file.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).expect("a count");
    assert_eq!(rows, 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_leaves_the_file_although_nobody_writes() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    let bench = on_disk(&path).await;
    put(&bench.cache, "thing:1", "1").await;
    bench.clock.advance(Duration::from_secs(2 * 3600));
    tokio::time::sleep(Duration::from_secs(601)).await;
    let file = rusqlite::Connection::open(&path).expect("the file");
    lently_testing::wait_until("the row is gone", crate::support::BOUND, async || {
        file.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0)).expect("a count") == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_while_another_process_holds_the_write_lock() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    // Without memory, so that each look reaches the file.
    let bench = open_with(CacheConfig { memory_bytes: 0, ..config(disk(&path), manual_clock()) }).await;
    put(&bench.cache, "thing:1", "1").await;
    let other = rusqlite::Connection::open(&path).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    // More than there are places for calls.
    let writers = (0..200).map(|n| {
        let cache = bench.cache.clone();
        async move {
            cache.set(&format!("thing:w{n}"), &policy(), Bytes::from_static(b"1"), Cost::default()).await
        }
    });
    let reading = async {
        for _ in 0..50 {
            assert!(look(&bench.cache, "thing:1").await.is_some());
        }
        other.execute_batch("COMMIT").expect("the lock is given back");
    };
    let (stored, ()) = tokio::join!(futures::future::join_all(writers), reading);
    assert!(stored.into_iter().all(|stored| stored.is_ok_and(|stored| stored.remote)), "none gave up");
    assert_eq!(bench.cache.health().swallowed_errors, 0);
}

/// It holds copies of values, and nobody knows how old they are.
#[tokio::test]
async fn a_file_that_was_set_aside_is_gone_after_a_day() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cache.sqlite");
    fs::write(&path, b"this was never a database, and it is long enough to be read as a header".repeat(100))
        .expect("a file");
    fs::write(folder.path().join("other.damaged-1"), b"another's").expect("a file");
    let bench = on_disk(&path).await;
    bench.clock.advance(Duration::from_secs(24 * 3_600 - 1));
    bench.cache.sweep().await.expect("swept");
    assert_eq!(set_aside(folder.path()), 2, "there to be looked at");
    bench.clock.advance(Duration::from_secs(1));
    bench.cache.sweep().await.expect("swept");
    assert_eq!(set_aside(folder.path()), 1, "the other is not ours");
}

#[tokio::test]
async fn a_sweep_drops_what_is_beyond_its_retention_from_both_tiers_and_nothing_else() {
    let folder = TempDir::new().expect("a folder");
    let bench = on_disk(&folder.path().join("cache.sqlite")).await;
    let kept_for = |seconds| Policy { retention: Duration::from_secs(seconds), ..policy() };
    for (key, seconds) in [("thing:short", 100), ("thing:long", 101)] {
        let value = Bytes::from_static(b"1");
        bench.cache.set(key, &kept_for(seconds), value, Cost::default()).await.expect("a set");
    }
    let everything = Pattern::any();
    let told = bench.cache.holdings(&everything).await.expect("holdings");
    let due = bench.clock.now() + Duration::from_secs(100);
    for tier in &told {
        assert_eq!((tier.report.keys, tier.report.next_due_at), (2, Some(due)), "{tier:?}");
        assert_eq!(tier.report.oldest_at, Some(bench.clock.now()));
    }
    assert_eq!(bench.cache.keys(&everything).await.expect("keys"), ["thing:long", "thing:short"]);
    bench.clock.advance(Duration::from_secs(100));
    let swept = bench.cache.sweep().await.expect("swept");
    assert_eq!((swept.memory, swept.disk), (1, 1));
    assert_eq!(bench.cache.keys(&everything).await.expect("keys"), ["thing:long"]);
    assert_eq!(bench.cache.sweep().await.expect("swept"), lently_cache::Swept::default());
}
