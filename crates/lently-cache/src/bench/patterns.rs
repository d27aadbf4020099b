//! Deletion by pattern, and what others notice of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{
    BenchError, Measured, PREFIX, node,
    server::{LOGGED_US, Server},
};
use crate::pattern::Pattern;

/// The longest that Redis may be busy with one of our commands.
const BLOCKED_TARGET_MS: f64 = 5.0;
/// Keys made by one script, so that making them takes Redis no longer at a time.
const MADE_AT_ONCE: u64 = 10_000;

pub(super) async fn delete(server: &Server, keys: u64) -> Result<Vec<Measured>, BenchError> {
    let mut connection = server.connection().await?;
    let making =
        "for n = ARGV[1], ARGV[2] do redis.call('SET', ARGV[3] .. 'thing:' .. n, '{}', 'EX', 6000) end";
    for first in (0..keys).step_by(usize::try_from(MADE_AT_ONCE).unwrap_or(usize::MAX)) {
        let last = (first + MADE_AT_ONCE).min(keys) - 1;
        let mut script = redis::cmd("EVAL");
        script.arg(making).arg(0).arg(first).arg(last).arg(PREFIX).exec_async(&mut connection).await?;
    }
    let cache = node(server, 0).await?;
    redis::cmd("SLOWLOG").arg("RESET").exec_async(&mut connection).await?;
    let slowest = Arc::new(AtomicU64::new(0));
    let (told, tasks) = (slowest.clone(), TaskTracker::new());
    let pinging = tasks.spawn(async move {
        loop {
            let began = Instant::now();
            if redis::cmd("PING").exec_async(&mut connection).await.is_err() {
                return;
            }
            told.fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    });
    let pattern = Pattern::parse("thing:*").expect("a valid pattern");
    let began = Instant::now();
    let deleted = cache.delete_pattern(&pattern).await?;
    let took = began.elapsed();
    pinging.abort();
    if deleted < keys {
        return Err(BenchError::Wrong(format!("{deleted} of {keys} keys were deleted")));
    }
    let longest = server.longest_command().await?;
    let (command, longest) = longest.unwrap_or_else(|| ("none".to_owned(), LOGGED_US));
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    Ok(vec![
        Measured::alone(format!("delete_pattern of {deleted} keys"), "ms", took.as_secs_f64() * 1000.0),
        Measured::alone(format!("… its longest command ({command})"), "ms", milliseconds(longest))
            .at_most(BLOCKED_TARGET_MS),
        Measured::alone("… the slowest PING beside it", "ms", milliseconds(slowest.load(Ordering::Relaxed))),
    ])
}
