//! Which entry makes room. quick_cache takes the one that was not asked for since its hand passed it last; of those, this spares the
//! dear: what is worth more than what was evicted lately is passed over as many times, on average, as it is worth more. An entry
//! that nobody asks for any more leaves all the same, a dear one later.
//!
//! It lies on the path of an eviction alone: a hit knows nothing of it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use quick_cache::Lifecycle;

use super::{Held, weight};
use crate::policy::Cost;

/// How much of what is usual the last evicted entry decides: some twenty of them make it.
const LEARN: f64 = 0.05;
/// However dear, an entry goes at one in so many passes: prices of long ago are not believed for ever.
const SPARED_AT_MOST: f64 = 16.0;
/// So many are passed over in a row at most, which bounds the time of an eviction.
const PASSED_OVER: u32 = 16;

/// A shard's judgment. The cache calls it under the shard's lock, so that the atomics are there for the type system alone.
#[derive(Debug)]
pub(super) struct Sparing {
    /// What the evicted were worth lately, the bits of an `f64`.
    usual: AtomicU64,
    passed_over: AtomicU32,
    /// The weight of the largest entry that has room. The cache asks of what has none too, and would let it in where it is spared.
    largest: u64,
    /// The state of a generator of random numbers (xorshift), never zero.
    dice: AtomicU64,
}

/// For another shard, which learns for itself.
impl Clone for Sparing {
    fn clone(&self) -> Self {
        Self::new(self.largest)
    }
}

impl Sparing {
    pub(super) fn new(largest: u64) -> Self {
        Self {
            usual: AtomicU64::new(0),
            passed_over: AtomicU32::new(0),
            largest,
            dice: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
        }
    }

    fn usual(&self) -> f64 {
        f64::from_bits(self.usual.load(Relaxed))
    }

    /// Between zero and one.
    fn roll(&self) -> f64 {
        let mut dice = self.dice.load(Relaxed);
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.store(dice, Relaxed);
        (dice >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Lifecycle<Arc<str>, Held> for Sparing {
    /// What was evicted, to be dropped when the lock is free again; more than two are rare.
    type RequestState = [Option<(Arc<str>, Held)>; 2];

    fn is_pinned(&self, key: &Arc<str>, held: &Held) -> bool {
        let (worth, usual) = (worth(key, held), self.usual());
        let passed_over = self.passed_over.load(Relaxed);
        let spared = worth > usual
            && passed_over < PASSED_OVER
            && weight(key, held) <= self.largest
            && self.roll() > (usual / worth).max(1.0 / SPARED_AT_MOST);
        self.passed_over.store(if spared { passed_over + 1 } else { 0 }, Relaxed);
        spared
    }

    fn before_evict(&self, _: &mut Self::RequestState, key: &Arc<str>, held: &mut Held) {
        let (worth, usual) = (worth(key, held), self.usual());
        let usual = if usual == 0.0 { worth } else { usual + (worth - usual) * LEARN };
        self.usual.store(usual.to_bits(), Relaxed);
    }

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Arc<str>, held: Held) {
        if let Some(place) = evicted.iter_mut().find(|place| place.is_none()) {
            *place = Some((key, held));
        }
    }
}

/// What fetching it took for each byte that it takes up.
fn worth(key: &Arc<str>, held: &Held) -> f64 {
    price(&held.entry.cost) / weight(key, held) as f64
}

/// A cost as one number, in micro-dollars. The rates are rough: a token a millionth of a dollar, a unit of a metered quota a
/// hundred, a second of waiting a thousand. What decides is by how many times one entry is dearer than others.
fn price(cost: &Cost) -> f64 {
    let tokens = cost.tokens_in as f64 + cost.tokens_out as f64;
    cost.micro_dollars as f64 + tokens + cost.quota_units as f64 * 100.0 + cost.milliseconds as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use jiff::Timestamp;
    use quick_cache::{DefaultHashBuilder, OptionsBuilder, sync::Cache, sync::DefaultLifecycle};
    use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

    use super::*;
    use crate::{
        envelope,
        memory::{Bytewise, Trust},
        policy::{AfterWait, Kind, Policy},
        tags::Tags,
    };

    const MEMORY: u64 = 4 << 20;
    const LARGEST: u64 = 1 << 20;

    /// An entry as its size and price make it.
    fn held(bytes: usize, micro_dollars: u64) -> Held {
        let policy = Policy {
            kind: Kind { name: "thing", schema: 1 },
            fresh: Duration::from_secs(60),
            stale: Duration::ZERO,
            retention: Duration::from_secs(60),
            refresh_ahead: Duration::ZERO,
            fetch_timeout: Duration::from_secs(1),
            after_wait: AfterWait::Fetch,
            failures: Default::default(),
            tags: Tags::NONE,
        };
        // Of one page of zeros for all.
        static ZEROS: [u8; 1 << 17] = [0; 1 << 17];
        let value = Bytes::from_static(&ZEROS[..bytes]);
        let cost = Cost { micro_dollars, ..Cost::default() };
        let entry = envelope::entry(&policy, value, cost, policy.fresh, Timestamp::UNIX_EPOCH);
        Held { entry, trust: Trust::Always }
    }

    /// What was paid for a trace by a cache that makes room by `lifecycle`, and how many of the calls hit.
    fn run<L: Lifecycle<Arc<str>, Held> + Clone>(
        lifecycle: L,
        things: &[Held],
        trace: impl Iterator<Item = usize>,
    ) -> (u64, u64) {
        let mut options = OptionsBuilder::new();
        options.shards(1).estimated_items_capacity(1024).weight_capacity(MEMORY);
        let cache = Cache::with_options(
            options.build().expect("the capacities were given"),
            Bytewise,
            DefaultHashBuilder::default(),
            lifecycle,
        );
        let keys: Vec<Arc<str>> = (0..things.len()).map(|n| Arc::from(format!("thing:{n}"))).collect();
        let (mut paid, mut hits) = (0, 0);
        for thing in trace {
            if cache.get(&keys[thing]).is_some() {
                hits += 1;
            } else {
                paid += things[thing].entry.cost.micro_dollars;
                cache.insert(keys[thing].clone(), things[thing].clone());
            }
            assert!(cache.weight() <= MEMORY, "it takes up no more than it may");
        }
        (paid, hits)
    }

    /// Places in a row, the first asked for most, as a creator's videos are: the n-th as often as one over n to the power of 0.9.
    fn popular(places: usize, calls: usize, seed: u64) -> Vec<usize> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut sum = 0.0;
        let upto: Vec<f64> = (1..=places)
            .map(|n| {
                sum += (n as f64).powf(-0.9);
                sum
            })
            .collect();
        (0..calls).map(|_| rng.random::<f64>() * sum).map(|x| upto.partition_point(|&at| at < x)).collect()
    }

    /// How much less is paid than by quick_cache alone, in percent, and how many more calls hit of a hundred.
    fn gain(things: &[Held], trace: &[usize]) -> (f64, f64) {
        let plain = run(DefaultLifecycle::default(), things, trace.iter().copied());
        let sparing = run(Sparing::new(LARGEST), things, trace.iter().copied());
        let less = 100.0 - sparing.0 as f64 * 100.0 / plain.0 as f64;
        let more = (sparing.1 as f64 - plain.1 as f64) * 100.0 / trace.len() as f64;
        println!("{less:.1} % less paid, {more:+.1} hits in a hundred calls");
        (less, more)
    }

    #[test]
    fn less_is_paid_for_the_same_calls_where_costs_differ() {
        // Of ten things: one dear (an analysis, say), three large (comments), six small and cheap.
        let things: Vec<_> = (0..5_000)
            .map(|n| match n % 10 {
                0 => held(8_000, 15_000),
                1..=3 => held(25_000, 1_500),
                _ => held(400, 150),
            })
            .collect();
        let (less, more) = gain(&things, &popular(things.len(), 100_000, 1));
        assert!(less > 5.0 && more > -2.0);
        // Dear and cheap things of all sizes, without any order.
        let mut rng = SmallRng::seed_from_u64(2);
        let things: Vec<_> = (0..5_000)
            .map(|_| held(rng.random_range(300..8_000), (100.0 / rng.random_range(0.000_1..1.0)) as u64))
            .collect();
        let (less, more) = gain(&things, &popular(things.len(), 100_000, 3));
        assert!(less > 10.0 && more > -2.0);
    }

    #[test]
    fn what_is_dear_outlives_a_flood_of_what_is_cheap_and_asked_for_once() {
        let (dear, cheap) = (300, 60_000);
        let things: Vec<_> =
            (0..dear + cheap).map(|n| if n < dear { held(1_000, 1_000) } else { held(1_000, 10) }).collect();
        let mut rng = SmallRng::seed_from_u64(4);
        let mut next = dear;
        let trace: Vec<_> = (0..cheap)
            .map(|_| {
                if rng.random_ratio(1, 20) {
                    return rng.random_range(0..dear);
                }
                next += 1;
                next - 1
            })
            .collect();
        let (less, _) = gain(&things, &trace);
        assert!(less > 20.0);
    }

    #[test]
    fn what_has_no_room_is_not_let_in_however_dear() {
        let mut things: Vec<_> = (0..10_000).map(|_| held(1_000, 10)).collect();
        things.push(held(1 << 17, 1_000_000));
        let mut options = OptionsBuilder::new();
        options.shards(1).estimated_items_capacity(64).weight_capacity(1 << 16);
        let options = options.build().expect("the capacities were given");
        let hasher = DefaultHashBuilder::default();
        let cache = Cache::with_options(options, Bytewise, hasher, Sparing::new(1 << 15));
        for (n, thing) in things.iter().enumerate() {
            cache.insert(Arc::from(format!("thing:{n}")), thing.clone());
            cache.insert(Arc::from("large"), things[10_000].clone());
            assert!(cache.weight() <= 1 << 16 && !cache.contains_key("large"));
        }
    }

    #[test]
    fn where_all_cost_the_same_nothing_is_lost() {
        for price in [0, 100] {
            let things: Vec<_> = (0..10_000).map(|_| held(1_000, price)).collect();
            let trace = popular(things.len(), 100_000, 5);
            let plain = run(DefaultLifecycle::default(), &things, trace.iter().copied());
            let sparing = run(Sparing::new(LARGEST), &things, trace.iter().copied());
            assert!(sparing.1 as f64 >= plain.1 as f64 * 0.99, "{sparing:?} {plain:?}");
        }
    }

    #[test]
    fn what_was_dear_and_is_not_asked_for_any_more_leaves() {
        let (dear, cheap) = (3_000, 3_000);
        let things: Vec<_> = (0..dear + cheap)
            .map(|n| if n < dear { held(1_000, 1_000_000) } else { held(1_000, 10) })
            .collect();
        let popular = popular(cheap, 100_000, 6);
        let alone = run(Sparing::new(LARGEST), &things, popular.iter().map(|n| dear + n));
        let filled = (0..dear).chain(popular.iter().map(|n| dear + n));
        let after = run(Sparing::new(LARGEST), &things, filled);
        assert!(after.1 as f64 > alone.1 as f64 * 0.9, "{after:?} {alone:?}");
    }
}
