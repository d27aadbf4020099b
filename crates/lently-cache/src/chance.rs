//! What is left to chance: names that no other process has, pauses that no other process makes, and where a key goes in a table. In
//! a simulation all of it comes from one seed, so that a run can be had again.

use std::hash::{BuildHasher, DefaultHasher, RandomState};

use rand::Rng as _;
#[cfg(feature = "simulation")]
use rand::{SeedableRng as _, rngs::SmallRng};

#[cfg(feature = "simulation")]
thread_local! {
    static SEEDED: std::cell::RefCell<Option<SmallRng>> = const { std::cell::RefCell::new(None) };
}

/// Has everything that is left to chance on this thread come from `seed`, from now on.
#[cfg(feature = "simulation")]
pub fn seed(seed: u64) {
    SEEDED.set(Some(SmallRng::seed_from_u64(seed)));
}

/// 64 bits that nobody else has.
pub(crate) fn draw() -> u64 {
    seeded().unwrap_or_else(|| rand::rng().random())
}

/// A number from `least` up to `most`, each as likely.
pub(crate) fn between(least: f64, most: f64) -> f64 {
    // 53 bits are as many as a float has.
    let fraction = (draw() >> 11) as f64 / (1_u64 << 53) as f64;
    least + (most - least) * fraction
}

#[cfg(feature = "simulation")]
fn seeded() -> Option<u64> {
    SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map(|generator| generator.random()))
}

#[cfg(not(feature = "simulation"))]
fn seeded() -> Option<u64> {
    None
}

/// Hashes as the standard library's tables do, by keys that nobody can guess; on a seeded thread by what is drawn from the seed.
#[derive(Clone, Debug)]
pub(crate) struct Hashing {
    state: RandomState,
    drawn: Option<u64>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { state: RandomState::new(), drawn: seeded() }
    }
}

impl BuildHasher for Hashing {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let Some(drawn) = self.drawn else { return self.state.build_hasher() };
        let mut hasher = DefaultHasher::new();
        std::hash::Hasher::write_u64(&mut hasher, drawn);
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_lies_between_its_bounds_and_differs() {
        let drawn: Vec<f64> = (0..1000).map(|_| between(0.5, 1.5)).collect();
        assert!(drawn.iter().all(|drawn| (0.5..1.5).contains(drawn)));
        assert!(drawn.iter().any(|drawn| *drawn < 0.6) && drawn.iter().any(|drawn| *drawn > 1.4));
        assert_ne!(draw(), draw());
    }

    #[cfg(feature = "simulation")]
    #[test]
    fn a_seeded_thread_draws_and_hashes_the_same_again() {
        let run = |number| {
            std::thread::scope(|scope| {
                let run = scope.spawn(move || {
                    seed(number);
                    (draw(), between(0.0, 1.0).to_bits(), Hashing::default().hash_one("a"))
                });
                run.join().expect("a run")
            })
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let unseeded = || Hashing::default().hash_one("a");
        assert_ne!(unseeded(), unseeded());
    }
}
