//! The code that threads meet in, run under the schedules of a model checker: that of `flight.rs`, `memory.rs`, `coherence.rs`,
//! `tags.rs` and of the watchers of `lease.rs`, as it is. Every use of a lock or a counter of [`sync`](crate::sync) is a moment at
//! which another task may go on; shuttle decides which, by a seed, and calls a test failed if nobody can go on. What a library
//! does inside one call of it (tokio's channels, the map of the memory tier) happens at once here: that is its own to prove.
//! Between those calls the tests do as the service does, with an upstream and a server that are a number each.
//!
//! A test that fails names its schedule; as every run takes the same schedules, running that test again fails again.

mod copies;
mod flights;
mod tagged;

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use jiff::Timestamp;
use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on},
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler},
};

use crate::{
    entry::{Entry, Facts, Tier},
    policy::Cost,
    sync::Arc,
    tags::Tagged,
};

/// Runs a test of one task, which needs no other schedule.
pub(crate) fn once(test: impl Fn() + Send + Sync + 'static) {
    run(RandomScheduler::new_from_seed(0, 1), test);
}

/// Under so many schedules, half of them at random and half with few changes from task to task, at moments chosen at random.
fn under(schedules: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    run(RandomScheduler::new_from_seed(1, schedules / 2), test.clone());
    run(PctScheduler::new_from_seed(2, 4, schedules / 2), test);
}

/// Under every schedule there is; how many those are.
fn under_all(test: impl Fn() + Send + Sync + 'static) -> usize {
    run(DfsScheduler::new(None, false), test)
}

fn run(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    // Orders weaker than the strictest are taken for it, which is said once per process otherwise.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(test)
}

/// Waits until all of them have ended.
fn all<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let ended = block_on(join_all(tasks));
    ended.into_iter().map(|ended| ended.expect("nobody drops it")).collect()
}

/// An entry whose value is a number, fresh for an hour.
fn entry(value: u64) -> Entry {
    let later = Timestamp::UNIX_EPOCH + Duration::from_secs(3600);
    let facts = Facts {
        value: Bytes::from(value.to_string()),
        fetched_at: Timestamp::UNIX_EPOCH,
        fresh_until: later,
        stale_until: later,
        retain_until: later,
        cost: Cost::default(),
        etag: Arc::from(""),
        tagged: Tagged::default(),
    };
    Entry::new(Tier::Memory, facts)
}

fn number(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.value).ok().and_then(|value| value.parse().ok()).expect("a number")
}

/// How often something came about in all schedules: a promise about what never happens is kept for nothing.
#[derive(Clone, Default)]
struct Seen(Arc<std::sync::atomic::AtomicU64>);

impl Seen {
    fn note(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn note_if(&self, came_about: bool) {
        if came_about {
            self.note();
        }
    }

    fn assert(&self, what: &str) {
        assert!(self.0.load(std::sync::atomic::Ordering::Relaxed) > 0, "it never came about that {what}");
    }
}
