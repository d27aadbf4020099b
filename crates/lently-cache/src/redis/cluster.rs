//! The primaries of a cluster, each with a link, a breaker and notices of its own, and the way from a key to the one that
//! serves it. A primary that is lost costs its own slots and nobody else's.
//!
//! What the layout is, the primaries tell with each sign of life, twice a second, and at once when one of them sends a call
//! elsewhere; only while none is connected is it asked for over a connection made for that. redis-rs' own cluster clients
//! block callers for seconds or minutes while a primary is away (measured: still blocked after 400 s with the defaults of
//! redis-rs 1.8.1, November 2026), hence this.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::future::join_all;
use redis::{Arg, AsyncConnectionConfig, Cmd, FromRedisValue, Value};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    RedisConfig,
    chorus::Chorus,
    dial::{Address, Dialer},
    link::{Lane, Link, LinkState, Source, Status},
    node::{Node, Redirection, Refused, Request},
    slots,
    topology::{Layout, View},
    tracking::Tracking,
};
use crate::{chance, clock::Clock, error::CacheError};

/// So often it is looked whether any primary is connected.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The first wait after nobody could tell the layout; doubled each time up to `LOOK_EVERY`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// So long a node may take at first to tell the layout before another is asked; doubled each time that none has told it, up to
/// `connect_timeout`.
const TELLS_WITHIN: Duration = Duration::from_millis(250);
/// The waits before a call that was sent elsewhere is made again. A redirection is followed at once; only what needs two keys
/// in one step waits until both have moved, which takes milliseconds for most slots, and less than this for almost all.
const PAUSES: [Duration; 9] = {
    let ms = Duration::from_millis;
    [Duration::ZERO, Duration::ZERO, ms(5), ms(10), ms(20), ms(50), ms(100), ms(200), ms(400)]
};

/// What a cluster is made with.
pub(super) struct Making {
    pub config: RedisConfig,
    pub dialer: Arc<Dialer>,
    pub clock: Clock,
    pub chorus: Option<Arc<Chorus>>,
    pub prefix: String,
    pub words: Vec<String>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub swallowed: Arc<AtomicU64>,
}

pub(super) struct Cluster {
    this: Weak<Self>,
    making: Making,
    map: ArcSwap<Map>,
    /// Raised with each change of the map.
    version: watch::Sender<u64>,
    state: Mutex<State>,
    /// One call that was sent elsewhere asks for the layout, for all that were.
    refreshing: tokio::sync::Mutex<()>,
    next_seed: AtomicUsize,
}

/// The primaries, in the order of the layout.
struct Map {
    layout: Layout,
    nodes: Vec<Arc<Node>>,
}

struct State {
    /// What each connected primary said last.
    views: BTreeMap<Address, View>,
    members: BTreeMap<Address, Member>,
    /// All nodes that were heard of, replicas among them: any of them can tell the layout.
    known: Vec<Address>,
    /// Why the layout is not known.
    trouble: Status,
}

struct Member {
    node: Arc<Node>,
    stop: CancellationToken,
}

impl Cluster {
    pub(super) fn new(making: Making) -> Arc<Self> {
        let trouble = Status { state: LinkState::Connecting, since: making.clock.now(), last_error: None };
        let layout = Layout::of(std::iter::empty());
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            making,
            map: ArcSwap::from_pointee(Map { layout, nodes: Vec::new() }),
            version: watch::Sender::new(0),
            state: Mutex::new(State {
                views: BTreeMap::new(),
                members: BTreeMap::new(),
                known: Vec::new(),
                trouble,
            }),
            refreshing: tokio::sync::Mutex::default(),
            next_seed: AtomicUsize::new(0),
        })
    }

    /// Makes a call at the server that serves its key.
    ///
    /// Commands that belong together go one after the other, each its own way: while a slot moves, two of its keys may be on
    /// two servers.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        lane: Lane,
        request: Request<'_>,
    ) -> Result<T, CacheError> {
        match request {
            Request::One(command) => self.send_one(lane, command).await,
            Request::Several(commands) => {
                let mut answers = Vec::new();
                for command in commands.cmd_iter() {
                    answers.push(self.send_one(lane, command).await?);
                }
                T::from_redis_value(Value::Array(answers))
                    .map_err(|error| CacheError::Remote(error.to_string()))
            }
        }
    }

    async fn send_one<T: FromRedisValue>(&self, lane: Lane, command: &Cmd) -> Result<T, CacheError> {
        match self.owner(command)?.send(lane, command.into()).await {
            Err(Refused::Elsewhere(redirection)) => self.follow(lane, command, redirection).await,
            answer => answer.map_err(CacheError::from),
        }
    }

    /// Makes a call again where it was sent to, a few times at most.
    async fn follow<T: FromRedisValue>(
        &self,
        lane: Lane,
        command: &Cmd,
        mut redirection: Redirection,
    ) -> Result<T, CacheError> {
        for pause in PAUSES {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let answer = match &redirection {
                Redirection::Ask(address) => self.at(address)?.send_asking(lane, command).await,
                Redirection::Moved => {
                    self.refresh(&*self.owner(command)?).await;
                    self.owner(command)?.send(lane, command.into()).await
                }
                Redirection::TryAgain => self.owner(command)?.send(lane, command.into()).await,
            };
            match answer {
                Err(Refused::Elsewhere(next)) => redirection = next,
                answer => return answer.map_err(CacheError::from),
            }
        }
        self.making.swallowed.fetch_add(1, Ordering::Relaxed);
        Err(Refused::Elsewhere(redirection).into())
    }

    /// The server of a command's key.
    fn owner(&self, command: &Cmd) -> Result<Arc<Node>, CacheError> {
        let map = self.map.load();
        let slot = slot_of(command).ok_or_else(|| CacheError::Remote("the call has no key".to_owned()))?;
        let owner = map.layout.owner(slot).and_then(|owner| map.nodes.get(owner));
        owner.cloned().ok_or_else(|| CacheError::Resting { reason: self.why_unserved() })
    }

    fn why_unserved(&self) -> String {
        self.lock().trouble.last_error.clone().unwrap_or_else(|| "no primary serves the slot".to_owned())
    }

    /// The primary that is so called in a redirection.
    fn at(&self, address: &Address) -> Result<Arc<Node>, CacheError> {
        let map = self.map.load();
        let found = map.layout.primaries.iter().position(|place| place.is_at(address));
        found.and_then(|at| map.nodes.get(at).cloned()).ok_or_else(|| CacheError::Resting {
            reason: format!("the key is being moved to {address}, which is not known yet"),
        })
    }

    /// The server of a key.
    pub(super) fn node_of(&self, key: &[u8]) -> Option<Arc<Node>> {
        let map = self.map.load();
        map.nodes.get(map.layout.owner(slots::slot(key))?).cloned()
    }

    /// All primaries.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.map.load().nodes.clone()
    }

    /// A number that is another after each change of the layout.
    pub(super) fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Asks all primaries for the layout; whether slots are on their way from one to another.
    pub(super) async fn look(&self) -> bool {
        join_all(self.nodes().iter().map(|node| self.ask(node))).await;
        self.lock().views.values().any(|view| view.moving)
    }

    /// Asks the server that sent a call elsewhere for the layout, unless somebody else has just done so.
    async fn refresh(&self, node: &Node) {
        let version = self.version();
        let _one_at_a_time = self.refreshing.lock().await;
        if self.version() == version {
            self.ask(node).await;
        }
    }

    async fn ask(&self, node: &Node) {
        let Some(address) = node.link.address() else { return };
        let command = redis::cmd("CLUSTER").arg("NODES").to_owned();
        if let Ok(told) = node.send::<String>(Lane::Tracked, Request::One(&command)).await {
            self.hear(&address, &told);
        }
    }

    /// Takes in what the node at `source` says of the cluster; whether it calls itself a primary.
    pub(super) fn hear(&self, source: &Address, told: &str) -> bool {
        let view = View::parse(told, source, self.making.config.tls.is_some());
        let is_primary = view.is_primary;
        let mut state = self.lock();
        if state.views.get(source) == Some(&view) {
            return is_primary;
        }
        state.known = view.addresses().cloned().collect();
        state.views.insert(source.clone(), view);
        self.rearrange(&mut state);
        is_primary
    }

    /// What a primary that is lost said last is no longer so.
    fn forget(&self, source: &Address) {
        let mut state = self.lock();
        if state.views.remove(source).is_some() {
            self.rearrange(&mut state);
        }
    }

    /// Draws from all views what the layout is, and begins and ends links accordingly.
    fn rearrange(&self, state: &mut State) {
        let layout = Layout::of(state.views.values());
        let before = self.map.load();
        // Only members are asked again; others may have told it once, at the start.
        state.views.retain(|source, _| layout.primaries.iter().any(|place| place.address == *source));
        if layout.primaries.is_empty() || before.layout == layout {
            return;
        }
        let mut members = std::mem::take(&mut state.members);
        for place in &layout.primaries {
            let member = members.remove(&place.address).unwrap_or_else(|| self.begin(&place.address));
            state.members.insert(place.address.clone(), member);
        }
        for (address, member) in members {
            tracing::info!(redis = %address, "Redis is no longer a primary of the cluster");
            state.views.remove(&address);
            member.stop.cancel();
            member.node.link.close();
        }
        let nodes = layout.primaries.iter().map(|place| state.members[&place.address].node.clone());
        let moved = !before.layout.serves_alike(&layout);
        self.map.store(Arc::new(Map { nodes: nodes.collect(), layout }));
        if moved && let Some(chorus) = &self.making.chorus {
            chorus.begin_anew();
        }
        self.version.send_modify(|version| *version += 1);
    }

    /// Begins to keep up a link to a primary.
    fn begin(&self, address: &Address) -> Member {
        let making = &self.making;
        let tracking =
            making.chorus.as_ref().map(|chorus| Tracking::new(chorus.voice(), &making.prefix, &making.words));
        let source = Source::Member(address.clone(), self.this.clone());
        let link =
            Link::new(making.config.clone(), making.dialer.clone(), source, making.clock.clone(), tracking);
        let (link, stop) = (Arc::new(link), making.stop.child_token());
        making.tasks.spawn(link.clone().supervise(stop.clone()));
        let node =
            Node::new(link, making.tasks.clone(), making.config.command_timeout, making.swallowed.clone());
        Member { node: Arc::new(node), stop }
    }

    /// Keeps the layout known until `stop`.
    pub(super) async fn supervise(self: Arc<Self>) {
        let stop = self.making.stop.clone();
        let (mut pause, mut within) = (FIRST_PAUSE, TELLS_WITHIN);
        while !stop.is_cancelled() {
            let lost: Vec<Address> = {
                let state = self.lock();
                let down = |member: &Member| member.node.link.status().state != LinkState::Up;
                state.members.iter().filter(|(_, member)| down(member)).map(|(at, _)| at.clone()).collect()
            };
            lost.iter().for_each(|address| self.forget(address));
            let connected = self.lock().members.len() > lost.len();
            if connected || self.discover(within).await {
                (pause, within) = (LOOK_EVERY, TELLS_WITHIN);
            } else {
                within = (within * 2).min(self.making.config.connect_timeout);
            }
            let jitter = chance::between(0.5, 1.0);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = sleep(pause.mul_f64(jitter)) => {}
            }
            pause = if pause == LOOK_EVERY { FIRST_PAUSE } else { (pause * 2).min(LOOK_EVERY) };
        }
    }

    /// Asks those that are named and those that were known, one after the other, until one tells the layout.
    async fn discover(&self, within: Duration) -> bool {
        let mut seeds = self.making.config.seeds();
        for known in &self.lock().known {
            if !seeds.contains(known) {
                seeds.push(known.clone());
            }
        }
        // Not the same first each time: it may be one that is cut off from the others.
        let first = self.next_seed.fetch_add(1, Ordering::Relaxed);
        let mut trouble = None;
        for at in 0..seeds.len() {
            let seed = &seeds[(first + at) % seeds.len()];
            let asking = async {
                let mut connection = self.making.dialer.dial(seed, AsyncConnectionConfig::new()).await?;
                redis::cmd("CLUSTER").arg("NODES").query_async::<String>(&mut connection).await
            };
            let error = match timeout(within, asking).await {
                Ok(Ok(told)) => {
                    self.hear(seed, &told);
                    if !self.map.load().nodes.is_empty() {
                        self.lock().trouble.last_error = None;
                        return true;
                    }
                    "it knows of no primary".to_owned()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {within:?}"),
            };
            trouble = trouble.or(Some(format!("{seed}: {error}")));
        }
        let mut state = self.lock();
        if state.trouble.last_error.is_none() {
            tracing::warn!(redis = %self.making.config.address(), error = trouble, "no node of the cluster can be asked");
        }
        state.trouble.last_error = trouble;
        false
    }

    /// Waits until the layout is known and each primary's first attempt has ended, one way or the other.
    pub(super) async fn first_attempt(&self) {
        let mut version = self.version.subscribe();
        let attempts = async {
            let _ = version.wait_for(|version| *version > 0).await;
            join_all(self.nodes().iter().map(|node| node.link.first_attempt())).await;
        };
        let _ = timeout(self.making.config.connect_timeout, attempts).await;
    }

    /// How the worst of all is doing: the cluster works as configured if every slot is served.
    pub(super) fn status(&self) -> Status {
        let map = self.map.load();
        if map.nodes.is_empty() {
            return self.lock().trouble.clone();
        }
        let mut worst: Option<Status> = None;
        for (at, node) in map.nodes.iter().enumerate().filter(|(at, _)| map.layout.has_slots(*at)) {
            let mut status = node.status();
            status.last_error =
                status.last_error.map(|error| format!("{}: {error}", map.layout.primaries[at].address));
            let is_worse = match &worst {
                None => true,
                Some(worst) if worst.state == LinkState::Up => {
                    status.state != LinkState::Up || status.since > worst.since
                }
                Some(_) => false,
            };
            if is_worse {
                worst = Some(status);
            }
        }
        let mut status = worst.unwrap_or_else(|| self.lock().trouble.clone());
        if map.layout.unserved() > 0 && status.state == LinkState::Up {
            status.state = LinkState::Down;
            status.last_error = Some(format!("{} slots are served by nobody", map.layout.unserved()));
        }
        status
    }

    /// Ends all links.
    pub(super) fn close(&self) {
        let state = self.lock();
        for member in state.members.values() {
            member.stop.cancel();
            member.node.link.close();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of a command's first key; that of a script is behind its text and the number of its keys.
fn slot_of(command: &Cmd) -> Option<u16> {
    let is_script = matches!(command.args_iter().next(), Some(Arg::Simple(b"EVAL")));
    match command.args_iter().nth(if is_script { 3 } else { 1 }) {
        Some(Arg::Simple(key)) => Some(slots::slot(key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_knows_the_slot_of_its_key() {
        let foo = Some(slots::slot(b"foo"));
        assert_eq!(slot_of(redis::cmd("GET").arg("foo")), foo);
        assert_eq!(slot_of(redis::cmd("EVAL").arg("return 1").arg(1).arg("foo").arg("bar")), foo);
        assert_eq!(slot_of(&redis::cmd("PING")), None);
    }
}
