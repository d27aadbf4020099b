//! The cache in worlds that are made up: several nodes, a simulated Redis and a network between them, on virtual time, with delays,
//! cuts, crashes and jumps of clocks drawn from a seed. What callers saw is held against what they are promised. A seed gives
//! the same world again.

mod check;
mod differential;
mod history;
mod net;
mod plan;
mod server;
mod upstream;
mod world;

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use self::{check::check, plan::Plan};

/// So many worlds at each run of the tests.
const WORLDS: u64 = 10_240;

/// The seeds to run: those of `LENTLY_SEEDS`, `7` or `7..70`, if it is set.
#[expect(clippy::disallowed_methods, reason = "a variable of the tests; no configuration of Lently")]
fn asked() -> Option<Range<u64>> {
    let asked = std::env::var("LENTLY_SEEDS").ok()?;
    let (from, to) = asked.split_once("..").map_or((&*asked, None), |(from, to)| (from, Some(to)));
    let from = from.parse().expect("LENTLY_SEEDS is a number, or two with `..` between");
    let to = to.map_or(from + 1, |to| to.parse().expect("LENTLY_SEEDS ends in a number"));
    Some(from..to)
}

/// The seeds whose worlds went wrong, and how.
fn run(seeds: Range<u64>, watched: bool) -> Vec<(u64, Vec<String>)> {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get());
    let mut wrong: Vec<_> = std::thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            loop {
                let seed = next.fetch_add(1, Relaxed);
                if !seeds.contains(&seed) {
                    return wrong;
                }
                let (plan, history) = world::run(Plan::draw(seed), watched);
                let broken = check(&plan, &history);
                if !broken.is_empty() {
                    wrong.push((seed, broken));
                }
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().flat_map(|running| running.join().expect("a world that ends")).collect()
    });
    wrong.sort();
    wrong
}

#[test]
fn no_promise_is_broken_in_ten_thousand_worlds() {
    let seeds = asked().unwrap_or(0..WORLDS);
    let alone = seeds.end - seeds.start == 1;
    if alone {
        println!("{:?}", Plan::draw(seeds.start));
    }
    let wrong = run(seeds, alone);
    let told = wrong.iter().take(20).map(|(seed, broken)| format!("seed {seed}:\n  {}", broken.join("\n  ")));
    let told: Vec<String> = told.collect();
    assert!(
        wrong.is_empty(),
        "{} worlds went wrong; LENTLY_SEEDS=<seed> shows one whole\n{}",
        wrong.len(),
        told.join("\n")
    );
}

#[test]
fn a_seed_gives_the_same_world_again() {
    for seed in 0..40 {
        let again = || world::digest(&world::run(Plan::draw(seed), false).1);
        assert_eq!(again(), again(), "seed {seed}");
    }
}
