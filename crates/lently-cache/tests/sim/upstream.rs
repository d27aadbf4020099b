//! Where values come from: it knows what is true of each key, takes its time, fails at times, and counts.

use std::{future::pending, time::Duration};

use jiff::Timestamp;
use lently_cache::{FailureClass, FetchFailure, Fetched};
use rand::Rng as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    history::{At, Fetch, FetchEnd, How},
    plan::FETCH_TIMEOUT,
    world::World,
};

/// How a fetch goes.
struct Course {
    /// After so long it looks at what is true, and answers after so long again.
    before: At,
    after: At,
    end: Way,
}

enum Way {
    Bring,
    Fail(FailureClass),
    NotBefore(At),
    Panic,
}

#[derive(Debug, thiserror::Error)]
#[error("upstream says no")]
struct No;

/// Fetches a key for a caller of a node that lives until `gone`.
pub async fn fetch(
    world: World,
    node: usize,
    gone: CancellationToken,
    key: usize,
    how: How,
) -> Result<Fetched, FetchFailure> {
    let (number, course) = begin(&world, node, key, how);
    let mut under_way = UnderWay { world: world.clone(), number, ended: false };
    let fetching = async {
        sleep(Duration::from_millis(course.before)).await;
        let version = world.true_version(key);
        world.history().fetches[number].version = version;
        sleep(Duration::from_millis(course.after)).await;
    };
    tokio::select! {
        biased;
        // Nothing of a dead node goes on.
        () = gone.cancelled() => return pending().await,
        () = fetching => {}
    }
    under_way.ended = true;
    match course.end {
        Way::Bring => {
            world.fetch_ended(number, FetchEnd::Brought);
            Ok(Fetched::new(number.to_string()))
        }
        Way::Fail(class) => {
            let not_found = class == FailureClass::NotFound;
            world.fetch_ended(number, if not_found { FetchEnd::NotFound } else { FetchEnd::Failed });
            Err(FetchFailure::new(class, No))
        }
        Way::NotBefore(wait) => {
            let until = world.now() + wait;
            world.fetch_ended(number, FetchEnd::NotBefore(until));
            Err(FetchFailure::new(FailureClass::QuotaExhausted { until: instant(&world, until) }, No))
        }
        Way::Panic => {
            world.fetch_ended(number, FetchEnd::Failed);
            // Without the words that a panic prints.
            std::panic::resume_unwind(Box::new("a fetch that panics"))
        }
    }
}

fn instant(world: &World, at: At) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(world.epoch() + at).expect("a time")).expect("a time")
}

fn begin(world: &World, node: usize, key: usize, how: How) -> (usize, Course) {
    let course = {
        let mut chance = world.chance();
        let lasts = match chance.random_range(0..20) {
            0..12 => chance.random_range(5..=400),
            12..17 => chance.random_range(400..=2_000),
            17..19 => chance.random_range(2_000..FETCH_TIMEOUT - 100),
            _ => FETCH_TIMEOUT * 2,
        };
        let end = match chance.random_range(0..50) {
            0 => Way::Panic,
            1 => Way::Fail(FailureClass::NotFound),
            2 => Way::NotBefore(chance.random_range(500..=10_000)),
            3..6 => Way::Fail(FailureClass::Transient),
            _ => Way::Bring,
        };
        let before = chance.random_range(0..=lasts);
        Course { before, after: lasts - before, end }
    };
    let (at, tracking) = (world.now(), world.tracks(node));
    let mut history = world.history();
    let number = history.fetches.len();
    history.note(at, &format!("node {node}: fetch {number} of key {key} begins, for {how:?}"));
    history.fetches.push(Fetch {
        node,
        key,
        version: 0,
        began: at,
        ended: None,
        by_set: false,
        how,
        tracking,
    });
    (number, course)
}

/// Knows when a fetch is given up.
struct UnderWay {
    world: World,
    number: usize,
    ended: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.ended {
            self.world.fetch_ended(self.number, FetchEnd::Dropped);
        }
    }
}
