//! Copies in memory while the key changes, here and elsewhere, and while the notices of changes are late, lost and armed anew.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use shuttle::{
    future::{block_on, spawn, yield_now},
    rand::{Rng as _, thread_rng},
};
use tokio::time::Instant;

use super::{Seen, all, entry, number, under};
use crate::{
    clock::later,
    coherence::{MEMORY_TRUST, Notice},
    memory::{Found, Memory, Written},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

const KEY: &str = "a";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A server with one key, whose values are numbers that only grow, and a node whose memory hears of its changes.
struct World {
    memory: Memory,
    server: Mutex<Server>,
    /// The node has heard of this change or made it: what it serves by itself is never older.
    known: AtomicU64,
}

struct Server {
    value: Option<u64>,
    /// The last number anyone drew.
    drawn: u64,
    /// That of the last change.
    changed: u64,
    is_tracked: bool,
    /// What the node was told and has not heard yet.
    wire: VecDeque<Told>,
}

#[derive(Clone, Copy)]
enum Told {
    Changed(u64),
    Flushed(u64),
}

impl Server {
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// `told` is what the node is told, unless it makes the change.
    fn change(&mut self, value: impl FnOnce(u64) -> Option<u64>, told: Option<fn(u64) -> Told>) -> u64 {
        self.changed = self.draw();
        self.value = value(self.changed);
        if let Some(told) = told.filter(|_| self.is_tracked) {
            self.wire.push_back(told(self.changed));
        }
        self.changed
    }
}

/// What a node does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Set,
    /// The server does not take it.
    SetInVain,
    /// The server takes it, and its answer is lost.
    SetUnheard,
    Delete,
    Expire,
    /// Begins to write and is cut off.
    GiveUp,
}

impl World {
    /// Notices arrive.
    fn new() -> Arc<Self> {
        let server = Server { value: Some(0), drawn: 0, changed: 0, is_tracked: true, wire: VecDeque::new() };
        let world = Self {
            memory: Memory::new(1 << 20, 1 << 10),
            server: Mutex::new(server),
            known: AtomicU64::new(0),
        };
        world.memory.hear(Notice::Armed);
        world.confirm();
        Arc::new(world)
    }

    fn server<T>(&self, does: impl FnOnce(&mut Server) -> T) -> T {
        does(&mut self.server.lock().expect("a lock"))
    }

    fn confirm(&self) {
        // The schedules take time of their own.
        self.memory.hear(Notice::Confirmed(Instant::now() + Duration::from_secs(3600)));
    }

    fn knows(&self, change: u64) {
        self.known.fetch_max(change, SeqCst);
    }

    /// What is in memory, at a time when nothing is believed by the clock alone any more.
    fn look(&self) -> Found {
        self.memory.get(KEY, later(NOW, MEMORY_TRUST))
    }

    /// What the node serves by itself.
    fn served(&self) -> Option<u64> {
        let known = self.known.load(SeqCst);
        let Found::Trusted(entry) = self.look() else { return None };
        let value = number(&entry);
        assert!(value >= known, "{value} is served, and {known} was known");
        Some(value)
    }

    /// As the service does.
    async fn read(&self) {
        let mine = match self.look() {
            Found::Trusted(_) => return,
            Found::Unwritten(entry) => Some(entry),
            _ => None,
        };
        let ticket = self.memory.ticket(KEY);
        yield_now().await;
        let value = self.server(|server| server.value);
        yield_now().await;
        match (value, mine) {
            (value, Some(mine)) if value.is_none_or(|value| value <= number(&mine)) => {
                self.memory.keep_unwritten(&KEY.into(), &mine, ticket);
            }
            (Some(value), _) => drop(self.memory.fill(&KEY.into(), &entry(value), ticket, NOW)),
            (None, _) => self.memory.remove_written(KEY),
        }
    }

    /// As the service does.
    async fn act(&self, act: Act) {
        let writing = self.memory.write(KEY);
        match act {
            Act::Set | Act::SetInVain | Act::SetUnheard => {
                let value = self.server(|server| match act {
                    Act::SetInVain => server.draw(),
                    _ => server.change(Some, None),
                });
                yield_now().await;
                let written = if act == Act::Set { Written::Remotely } else { Written::Perhaps };
                self.memory.keep(&KEY.into(), &entry(value), &writing, written, NOW);
                if act != Act::SetInVain {
                    self.knows(value);
                }
            }
            Act::Delete => {
                self.memory.remove(KEY);
                yield_now().await;
                let change = self.server(|server| server.change(|_| None, None));
                yield_now().await;
                drop(writing);
                self.memory.remove(KEY);
                self.knows(change);
            }
            Act::Expire => {
                self.memory.expire(&KEY.into(), NOW);
                yield_now().await;
                // Made by a script, of which its own connection is told as well.
                self.server(|server| {
                    let there = server.value.is_some();
                    server.change(|change| there.then_some(change), Some(Told::Changed))
                });
                yield_now().await;
                drop(writing);
                self.memory.remove_written(KEY);
            }
            Act::GiveUp => yield_now().await,
        }
    }

    /// Another node writes, deletes, or flushes everything.
    fn change_elsewhere(&self, only_sets: bool) {
        match thread_rng().gen_range(0..4) {
            0 if !only_sets => self.server(|server| server.change(|_| None, Some(Told::Changed))),
            1 if !only_sets => self.server(|server| server.change(|_| None, Some(Told::Flushed))),
            _ => self.server(|server| server.change(Some, Some(Told::Changed))),
        };
    }

    /// Hears what it was told.
    async fn hear(&self) {
        while let Some(told) = self.server(|server| server.wire.pop_front()) {
            match told {
                Told::Changed(change) => {
                    self.memory.hear(Notice::Changed(KEY));
                    self.knows(change);
                }
                Told::Flushed(change) => {
                    self.memory.hear(Notice::Flushed);
                    self.knows(change);
                }
            }
            yield_now().await;
        }
    }

    /// The connection breaks, which the server knows before the node, and another one is made.
    async fn reconnect(&self) {
        self.server(|server| {
            server.is_tracked = false;
            server.wire.clear();
        });
        yield_now().await;
        self.memory.hear(Notice::Lost);
        yield_now().await;
        let change = self.server(|server| {
            server.is_tracked = true;
            server.changed
        });
        yield_now().await;
        self.memory.hear(Notice::Armed);
        self.confirm();
        self.knows(change);
    }
}

/// Looks now and then what the node would serve.
async fn watch(world: Arc<World>, served: Seen) {
    for _ in 0..4 {
        served.note_if(world.served().is_some_and(|value| value > 0));
        yield_now().await;
    }
}

fn drawn<T: Copy>(from: &[T]) -> T {
    from[thread_rng().gen_range(0..from.len())]
}

#[test]
fn no_copy_is_older_than_a_change_that_was_heard_or_made_here() {
    let (served, old_read) = (Seen::default(), Seen::default());
    let (seen, old) = (served.clone(), old_read.clone());
    under(6_000, move || {
        let world = World::new();
        let acts = [Act::Set, Act::SetUnheard, Act::Delete, Act::Expire, Act::GiveUp];
        let readers = (0..2).map(|_| {
            let (world, old) = (world.clone(), old.clone());
            spawn(async move {
                world.read().await;
                old.note_if(world.served() == Some(0));
                world.read().await;
            })
        });
        let writers = (0..2).map(|_| {
            let world = world.clone();
            spawn(async move { world.act(drawn(&acts)).await })
        });
        let elsewhere = {
            let world = world.clone();
            spawn(async move {
                world.change_elsewhere(false);
                world.hear().await;
                world.change_elsewhere(false);
            })
        };
        let watcher = spawn(watch(world.clone(), seen.clone()));
        all(readers.chain(writers).chain([elsewhere, watcher]).collect::<Vec<_>>());
        block_on(world.hear());
        let (value, changed) = world.server(|server| (server.value, server.changed));
        let left = world.served();
        assert!(
            left.is_none() || left == value,
            "{left:?} is left in memory, and {value:?} at {changed} is true"
        );
    });
    old_read.assert("what is changed a moment later is kept");
    served.assert("what was written or read since is served");
}

#[test]
fn a_connection_that_is_made_anew_leaves_no_copy_that_is_older_than_it() {
    let (served, trusted) = (Seen::default(), Seen::default());
    let (seen, kept) = (served.clone(), trusted.clone());
    under(6_000, move || {
        let world = World::new();
        let acts = [Act::Set, Act::SetInVain, Act::SetUnheard];
        let reader = {
            let world = world.clone();
            spawn(async move {
                world.read().await;
                world.read().await;
            })
        };
        let writer = {
            let world = world.clone();
            spawn(async move { world.act(drawn(&acts)).await })
        };
        let expiry = {
            let world = world.clone();
            spawn(async move {
                if thread_rng().gen_bool(0.5) {
                    // Of what the server does not have.
                    let _writing = world.memory.write(KEY);
                    world.memory.expire(&KEY.into(), NOW);
                    yield_now().await;
                }
            })
        };
        let elsewhere = {
            let world = world.clone();
            spawn(async move {
                world.change_elsewhere(true);
                world.hear().await;
                world.change_elsewhere(true);
            })
        };
        let link = {
            let world = world.clone();
            spawn(async move { world.reconnect().await })
        };
        let watcher = spawn(watch(world.clone(), seen.clone()));
        all([reader, writer, expiry, elsewhere, link, watcher]);
        block_on(async {
            world.hear().await;
            // Whoever asks now is served what the server has, or what it has not yet and is newer.
            world.read().await;
        });
        let (value, left) = (world.server(|server| server.value), world.served());
        assert!(
            left.is_none_or(|left| Some(left) >= value),
            "{left:?} is left in memory, and {value:?} is true"
        );
        kept.note_if(left.is_some());
    });
    served.assert("something is served meanwhile");
    trusted.assert("something is served in the end");
}
