//! What is to happen in a world: drawn from its seed before it begins, so that it can be read when the world went wrong.

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::history::{At, How};

/// How long the world is kept busy, in milliseconds.
pub const BUSY: At = 20_000;

/// A world to be.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    pub keys: usize,
    /// The longest that bytes are usually under way.
    pub latency: At,
    pub fresh: At,
    pub stale: At,
    pub retention: At,
    pub refresh_ahead: At,
    /// Whether whoever waited in vain for another node's fetch fetches.
    pub fetch_after_wait: bool,
    /// In the order of their times.
    pub acts: Vec<(At, Act)>,
}

/// How long a fetch may take, in every world.
pub const FETCH_TIMEOUT: At = 4_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// `leave_after`: the caller waits no longer.
    Call {
        node: usize,
        key: usize,
        how: How,
        leave_after: Option<At>,
    },
    /// What is true of the key changes, and a node is told so.
    Invalidate {
        node: usize,
        key: usize,
        by: By,
    },
    /// What is true of the key changes, and a node is told the new value.
    Set {
        node: usize,
        key: usize,
    },
    /// An operator deletes one value, or all, at the console.
    ConsoleDelete {
        key: usize,
    },
    ConsoleFlush,
    Fault {
        fault: Fault,
        lasts: At,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Key,
    Tag,
    Pattern,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node's connections break.
    Cut {
        node: usize,
    },
    /// Nothing passes either way, and is delivered late.
    Partition {
        node: usize,
    },
    /// What the node says is held up, or what it is told.
    OneWay {
        node: usize,
        up: bool,
    },
    /// Its connections are open, and nobody is at the other end.
    HalfOpen {
        node: usize,
    },
    Slow {
        node: usize,
    },
    /// It dies; another takes its place afterwards.
    Crash {
        node: usize,
        told: bool,
    },
    /// Its clock is moved by so many milliseconds.
    Jump {
        node: usize,
        by: i64,
    },
    ServerRestart {
        keep: bool,
    },
    ServerFreeze,
    ServerFull,
    ServerJump {
        by: i64,
    },
}

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let chance = &mut SmallRng::seed_from_u64(seed ^ 0x706c_616e);
        let (nodes, keys) = (chance.random_range(2..=4), chance.random_range(1..=4));
        let fresh = chance.random_range(2_000..=8_000);
        let stale = if chance.random() { chance.random_range(0..=6_000) } else { 0 };
        let mut plan = Self {
            seed,
            nodes,
            keys,
            latency: *pick(chance, &[0, 1, 2, 5, 20]),
            fresh,
            stale,
            retention: fresh + stale + chance.random_range(0..=10_000),
            refresh_ahead: if chance.random_ratio(1, 3) { fresh / 4 } else { 0 },
            fetch_after_wait: chance.random(),
            acts: Vec::new(),
        };
        // A crowd comes at once, single ones whenever they like.
        for _ in 0..chance.random_range(2..=6) {
            let (at, key) = (chance.random_range(0..BUSY), chance.random_range(0..keys));
            for _ in 0..chance.random_range(2..=12) {
                let node = chance.random_range(0..nodes);
                plan.acts.push((at + chance.random_range(0..=3), plan.call(chance, node, key)));
            }
        }
        for _ in 0..chance.random_range(20..=80) {
            let (node, key) = (chance.random_range(0..nodes), chance.random_range(0..keys));
            plan.acts.push((chance.random_range(0..BUSY), plan.call(chance, node, key)));
        }
        for _ in 0..chance.random_range(0..=8) {
            let act = plan.change(chance);
            plan.acts.push((chance.random_range(0..BUSY), act));
        }
        // Some worlds have no trouble at all: there nothing is excused.
        let faults = if chance.random_ratio(1, 4) { 0 } else { chance.random_range(1..=5) };
        for _ in 0..faults {
            let fault = plan.fault(chance);
            let lasts = *pick(chance, &[10, 100, 400, 1_000, 2_500, 5_000]);
            plan.acts.push((chance.random_range(0..BUSY), Act::Fault { fault, lasts }));
        }
        plan.acts.sort_by_key(|(at, _)| *at);
        plan
    }

    fn call(&self, chance: &mut SmallRng, node: usize, key: usize) -> Act {
        let how = match chance.random_range(0..20) {
            0 => How::Anew,
            1 => How::NotStored,
            2 => How::OnlyCached,
            3 => How::Younger(chance.random_range(0..self.fresh)),
            _ => How::ByPolicy,
        };
        let leave_after = chance.random_ratio(1, 6).then(|| chance.random_range(1..=500));
        Act::Call { node, key, how, leave_after }
    }

    fn change(&self, chance: &mut SmallRng) -> Act {
        let (node, key) = (chance.random_range(0..self.nodes), chance.random_range(0..self.keys));
        match chance.random_range(0..12) {
            0 => Act::Set { node, key },
            1 => Act::ConsoleDelete { key },
            2 => Act::ConsoleFlush,
            3 | 4 => Act::Invalidate { node, key, by: By::Tag },
            5 => Act::Invalidate { node, key, by: By::Pattern },
            _ => Act::Invalidate { node, key, by: By::Key },
        }
    }

    fn fault(&self, chance: &mut SmallRng) -> Fault {
        let node = chance.random_range(0..self.nodes);
        match chance.random_range(0..14) {
            0 | 1 => Fault::Cut { node },
            2 | 3 => Fault::Partition { node },
            4 => Fault::OneWay { node, up: chance.random() },
            5 => Fault::HalfOpen { node },
            6 => Fault::Slow { node },
            7 | 8 => Fault::Crash { node, told: chance.random() },
            9 => Fault::Jump { node, by: chance.random_range(-1_500..=1_500) },
            10 => Fault::ServerRestart { keep: chance.random() },
            11 => Fault::ServerFreeze,
            12 => Fault::ServerFull,
            _ => Fault::ServerJump { by: chance.random_range(-1_000..=1_000) },
        }
    }
}

fn pick<'a, T>(chance: &mut SmallRng, of: &'a [T]) -> &'a T {
    &of[chance.random_range(0..of.len())]
}
