//! Deletion by pattern, and what others notice of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{task::JoinHandle, time::Instant};
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

/// By its own clock Redis is busy too while the machine lets others run; that hits a few commands.
const BUT_FOR: usize = 10;
/// A round takes seconds.
const PAIRS: usize = 3;
/// Keys that the bare client asks for in one step.
const SCANNED_AT_ONCE: u64 = 500;

pub(super) async fn delete(server: &Server, keys: u64) -> Result<Vec<Measured>, BenchError> {
    let cache = node(server, 0).await?;
    let pattern = Pattern::parse("thing:*").expect("a valid pattern");
    let [mut ours, mut bare] = [const { Vec::new() }; 2];
    let [mut our_log, mut bare_log] = [const { Vec::new() }; 2];
    let [mut our_slowest, mut bare_slowest] = [0; 2];
    for _ in 0..PAIRS {
        make(server, keys).await?;
        let pinging = Pinging::start(server).await?;
        let began = Instant::now();
        let deleted = bare_delete(server).await?;
        bare.push(began.elapsed().as_secs_f64() * 1000.0);
        bare_slowest = bare_slowest.max(pinging.stop());
        all(deleted, keys)?;
        bare_log.extend(server.slow_commands().await?);

        make(server, keys).await?;
        let pinging = Pinging::start(server).await?;
        let began = Instant::now();
        let deleted = cache.delete_pattern(&pattern).await?;
        ours.push(began.elapsed().as_secs_f64() * 1000.0);
        our_slowest = our_slowest.max(pinging.stop());
        all(deleted, keys)?;
        our_log.extend(server.slow_commands().await?);
    }
    for log in [&mut our_log, &mut bare_log] {
        log.sort_by_key(|&(_, took)| std::cmp::Reverse(took));
    }
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    let busy = |whose: &str, log: &[(String, u64)], at: usize| {
        let (command, took) = log.get(at).map_or(("none", LOGGED_US), |(command, took)| (command, *took));
        Measured::alone(format!("… {whose} ({command})"), "ms", milliseconds(took))
    };
    Ok(vec![
        Measured::beside(
            format!("delete_pattern of {keys} keys"),
            "SCAN and UNLINK, redis-rs alone",
            "ms",
            &ours,
            &bare,
        ),
        busy("its longest command", &our_log, 0).at_most(BLOCKED_TARGET_MS),
        busy("its longest but for ten", &our_log, BUT_FOR),
        busy("the bare client's longest", &bare_log, 0),
        busy("the bare client's longest but for ten", &bare_log, BUT_FOR),
        Measured::alone("… the slowest PING beside it", "ms", milliseconds(our_slowest)),
        Measured::alone("… the slowest PING beside the bare client", "ms", milliseconds(bare_slowest)),
    ])
}

/// Somebody else who wants something of the server, one `PING` after the other: beside either contestant.
struct Pinging {
    task: JoinHandle<()>,
    slowest: Arc<AtomicU64>,
}

impl Pinging {
    async fn start(server: &Server) -> Result<Self, BenchError> {
        let (slowest, mut connection) = (Arc::new(AtomicU64::new(0)), server.connection().await?);
        let told = slowest.clone();
        let task = TaskTracker::new().spawn(async move {
            loop {
                let began = Instant::now();
                if redis::cmd("PING").exec_async(&mut connection).await.is_err() {
                    return;
                }
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                told.fetch_max(took, Ordering::Relaxed);
            }
        });
        Ok(Self { task, slowest })
    }

    /// The microseconds of the slowest.
    fn stop(self) -> u64 {
        self.task.abort();
        self.slowest.load(Ordering::Relaxed)
    }
}

fn all(deleted: u64, keys: u64) -> Result<(), BenchError> {
    if deleted >= keys {
        return Ok(());
    }
    Err(BenchError::Wrong(format!("{deleted} of {keys} keys were deleted")))
}

/// Makes the keys, and empties the log of slow commands.
async fn make(server: &Server, keys: u64) -> Result<(), BenchError> {
    let mut connection = server.connection().await?;
    let making =
        "for n = ARGV[1], ARGV[2] do redis.call('SET', ARGV[3] .. 'thing:' .. n, '{}', 'EX', 6000) end";
    for first in (0..keys).step_by(usize::try_from(MADE_AT_ONCE).unwrap_or(usize::MAX)) {
        let last = (first + MADE_AT_ONCE).min(keys) - 1;
        let mut script = redis::cmd("EVAL");
        script.arg(making).arg(0).arg(first).arg(last).arg(PREFIX).exec_async(&mut connection).await?;
    }
    Ok(redis::cmd("SLOWLOG").arg("RESET").exec_async(&mut connection).await?)
}

/// The least there is to do: on one connection, one after the other.
async fn bare_delete(server: &Server) -> Result<u64, BenchError> {
    let (mut connection, mut cursor, mut deleted) = (server.connection().await?, 0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}thing:*")).arg("COUNT").arg(SCANNED_AT_ONCE);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
        if !keys.is_empty() {
            deleted += redis::cmd("UNLINK").arg(keys).query_async::<u64>(&mut connection).await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(deleted);
        }
    }
}
