//! A world: nodes, their callers, the upstream, and what befalls them, as planned. It runs on one thread and on virtual time, and what
//! it leaves behind is its history.

mod faults;

use std::{
    hash::Hasher as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{
    AfterWait, Answer, Budget, CacheConfig, CacheService, Clock, Controls, Cost, FailureTtl, FetchError,
    Kind, Outcome, Pattern, Policy, RedisConfig, RemoteConfig, StaleReason, Tags,
};
use rand::{SeedableRng as _, rngs::SmallRng};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    history::{At, Call, Change, End, Fetch, FetchEnd, Got, History, How, Verb},
    net::Net,
    plan::{Act, BUSY, By, FETCH_TIMEOUT, Plan},
    upstream,
};

/// The time of the world's beginning, in milliseconds since 1970.
const EPOCH: u64 = 1_800_000_000_000;
const PREFIX: &str = "sim:";
const THING: Kind = Kind { name: "thing", schema: 1 };
/// A half-open connection is noticed within this.
pub const NOTICED_WITHIN: At = 2_000;
/// When everything is over: faults last no longer than this after the last act.
const CALM: At = BUSY + 6_000;
/// So long the nodes have for finding each other again, and for making good what they owe.
const RECOVERY: At = 12_000;

/// Runs the world of a plan to its end.
/// It prints what happens as it happens where somebody looks on.
pub fn run(plan: Plan, watched: bool) -> (Plan, History) {
    lently_cache::seed(plan.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let world = runtime.block_on(async {
        let world = World::new(plan, watched);
        world.live().await;
        world
    });
    // What is still under way in ghosts ends here.
    drop(runtime);
    let shared = Arc::into_inner(world.0).expect("nobody else has the world");
    (shared.plan, shared.book.into_inner().unwrap_or_else(PoisonError::into_inner).history)
}

/// A digest of all that happened.
pub fn digest(history: &History) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(history.log.as_bytes());
    hasher.finish()
}

#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    plan: Plan,
    began: Instant,
    net: Net,
    book: Mutex<Book>,
    nodes: Mutex<Vec<Option<Node>>>,
    tasks: TaskTracker,
}

struct Book {
    history: History,
    /// What is true of each key.
    versions: Vec<u64>,
    chance: SmallRng,
    /// What happens now is only the tidying up.
    over: bool,
}

#[derive(Clone)]
struct Node {
    /// Its place on the network.
    place: usize,
    cache: CacheService,
    clock: Clock,
    gone: CancellationToken,
}

impl World {
    fn new(plan: Plan, watched: bool) -> Self {
        let chance = |salt: u64| SmallRng::seed_from_u64(plan.seed ^ salt);
        let net = Net::new(plan.nodes, plan.latency, EPOCH, plan.seed, watched, chance(0x006e_6574));
        let versions = vec![1; plan.keys];
        Self(Arc::new(Shared {
            began: Instant::now(),
            net,
            book: Mutex::new(Book {
                history: History { watched, ..History::default() },
                versions,
                chance: chance(0x7570_7374),
                over: false,
            }),
            nodes: Mutex::new((0..plan.nodes).map(|_| None).collect()),
            tasks: TaskTracker::new(),
            plan,
        }))
    }

    async fn live(&self) {
        let carrying = self.0.tasks.spawn(self.0.net.clone().run());
        for index in 0..self.0.plan.nodes {
            self.open(index, index).await;
        }
        // Time for the last of them to hear of changes.
        sleep(Duration::from_millis(100)).await;
        let start = Instant::now();
        for (at, act) in self.0.plan.acts.clone() {
            sleep_until(start + Duration::from_millis(at)).await;
            let world = self.clone();
            self.0.tasks.spawn(async move { world.act(act).await });
        }
        sleep_until(start + Duration::from_millis(CALM + RECOVERY)).await;
        self.look_around().await;
        self.book().over = true;
        carrying.abort();
        for node in self.nodes().iter_mut().filter_map(Option::take) {
            node.gone.cancel();
        }
    }

    pub fn now(&self) -> At {
        At::try_from(self.0.began.elapsed().as_millis()).expect("a short world")
    }

    pub fn epoch(&self) -> u64 {
        EPOCH
    }

    pub fn history(&self) -> impl std::ops::DerefMut<Target = History> {
        Of(self.book(), |book| &book.history, |book| &mut book.history)
    }

    pub fn chance(&self) -> impl std::ops::DerefMut<Target = SmallRng> {
        Of(self.book(), |book| &book.chance, |book| &mut book.chance)
    }

    pub fn true_version(&self, key: usize) -> u64 {
        self.book().versions[key]
    }

    /// Whether the node at that place says that Redis is connected and tells of changes.
    pub fn tracks(&self, place: usize) -> bool {
        let nodes = self.nodes();
        let node = nodes.iter().flatten().find(|node| node.place == place);
        node.is_some_and(|node| tracks(&node.cache))
    }

    pub fn fetch_ended(&self, number: usize, end: FetchEnd) {
        if self.book().over {
            return;
        }
        let at = self.now();
        let mut history = self.history();
        let fetch = &mut history.fetches[number];
        if fetch.ended.is_some() {
            return;
        }
        fetch.ended = Some((at, end));
        let words = format!("node {}: fetch {number} ends: {end:?}, version {}", fetch.node, fetch.version);
        history.note(at, &words);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Option<Node>>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, index: usize) -> Option<Node> {
        self.nodes()[index].clone()
    }

    fn note(&self, words: &str) {
        let at = self.now();
        self.history().note(at, words);
    }

    async fn open(&self, index: usize, place: usize) {
        let epoch = Timestamp::from_millisecond(i64::try_from(EPOCH + self.now()).expect("a time"));
        let clock = Clock::of_the_runtime(epoch.expect("a time"));
        let cache = CacheService::open(CacheConfig {
            kinds: &[THING],
            prefix: PREFIX.to_owned(),
            memory_bytes: 1 << 16,
            remote: RemoteConfig::Redis(RedisConfig {
                transport: self.0.net.transport(place),
                ..RedisConfig::default()
            }),
            clock: clock.clone(),
            tasks: TaskTracker::new(),
            max_value_bytes: 1 << 10,
            budget: Budget::UNLIMITED,
        });
        let cache = cache.await.expect("a cache");
        self.note(&format!("node {place}: open, tracking {}", tracks(&cache)));
        self.nodes()[index] = Some(Node { place, cache, clock, gone: CancellationToken::new() });
    }

    fn policy(&self, key: usize) -> Policy {
        let plan = &self.0.plan;
        Policy {
            kind: THING,
            fresh: Duration::from_millis(plan.fresh),
            stale: Duration::from_millis(plan.stale),
            retention: Duration::from_millis(plan.retention),
            refresh_ahead: Duration::from_millis(plan.refresh_ahead),
            fetch_timeout: Duration::from_millis(FETCH_TIMEOUT),
            after_wait: if plan.fetch_after_wait { AfterWait::Fetch } else { AfterWait::Fail },
            failures: FailureTtl { not_found: Duration::from_secs(3), ..FailureTtl::default() },
            tags: Tags::new([tag(key)]),
        }
    }

    async fn act(&self, act: Act) {
        match act {
            Act::Call { node, key, how, leave_after } => {
                if let Some(node) = self.node(node) {
                    self.call(&node, key, how, leave_after).await;
                }
            }
            Act::Invalidate { node, key, by } => {
                if let Some(node) = self.node(node) {
                    self.invalidate(&node, key, by).await;
                }
            }
            Act::Set { node, key } => {
                if let Some(node) = self.node(node) {
                    self.set(&node, key).await;
                }
            }
            Act::ConsoleDelete { key } => {
                let change = self.change_begins(None, Some(key), Verb::ConsoleDelete);
                let told = self.0.net.execute(&[b"DEL", format!("{PREFIX}{}", name(key)).as_bytes()]);
                self.change_ended(change, told.is_some());
            }
            Act::ConsoleFlush => {
                let change = self.change_begins(None, None, Verb::ConsoleFlush);
                let told = self.0.net.execute(&[b"FLUSHDB"]);
                self.change_ended(change, told.is_some());
            }
            Act::Fault { fault, lasts } => self.befall(fault, lasts).await,
        }
    }

    async fn call(&self, node: &Node, key: usize, how: How, leave_after: Option<At>) {
        let (began, tracking) = (self.now(), tracks(&node.cache));
        let number = {
            let mut history = self.history();
            let number = history.calls.len();
            history.note(began, &format!("node {}: call {number} of key {key} begins, {how:?}", node.place));
            history.calls.push(Call { node: node.place, key, how, tracking, began, ended: None });
            number
        };
        let controls = match how {
            How::ByPolicy => Controls::DEFAULT,
            How::Anew => Controls::NO_CACHE,
            How::NotStored => Controls { no_store: true, ..Controls::DEFAULT },
            How::OnlyCached => Controls { only_if_cached: true, ..Controls::DEFAULT },
            How::Younger(than) => {
                Controls { max_age: Some(Duration::from_millis(than)), ..Controls::DEFAULT }
            }
        };
        let (world, place, gone) = (self.clone(), node.place, node.gone.clone());
        let (key_name, policy) = (name(key), self.policy(key));
        let fetch = move || upstream::fetch(world, place, gone, key, how);
        let call = node.cache.get_or_set_with(&key_name, &policy, &controls, fetch);
        let patience = leave_after.map_or(Duration::from_secs(3600), Duration::from_millis);
        let end = tokio::select! {
            biased;
            () = node.gone.cancelled() => End::Gone,
            answer = timeout(patience, call) => match answer {
                Err(_) => End::Left,
                Ok(answer) => end_of(answer),
            }
        };
        let at = self.now();
        let mut history = self.history();
        history.note(at, &format!("node {}: call {number} ends: {end:?}", node.place));
        history.calls[number].ended = Some((at, end));
    }

    async fn invalidate(&self, node: &Node, key: usize, by: By) {
        let verb = match by {
            By::Key => Verb::Delete,
            By::Tag => Verb::Tag,
            By::Pattern => Verb::Pattern,
        };
        let change = self.change_begins(Some(node.place), Some(key), verb);
        let (key_name, tag_name) = (name(key), tag(key));
        let pattern = Pattern::parse(&format!("{key_name}*")).expect("a pattern");
        let changing = async {
            match by {
                By::Key => node.cache.delete(&key_name).await.is_ok(),
                By::Tag => node.cache.invalidate_tag(&tag_name).await.is_ok(),
                By::Pattern => node.cache.delete_pattern(&pattern).await.is_ok(),
            }
        };
        self.to_its_end(node, change, changing).await;
    }

    async fn set(&self, node: &Node, key: usize) {
        let change = self.change_begins(Some(node.place), Some(key), Verb::Set);
        let number = {
            let (at, version) = (self.now(), self.true_version(key));
            let mut history = self.history();
            history.fetches.push(Fetch {
                node: node.place,
                key,
                version,
                began: at,
                ended: Some((at, FetchEnd::Brought)),
                by_set: true,
                how: How::ByPolicy,
                tracking: tracks(&node.cache),
            });
            history.fetches.len() - 1
        };
        let (key_name, policy) = (name(key), self.policy(key));
        let changing = async {
            let value = Bytes::from(number.to_string());
            let stored = node.cache.set(&key_name, &policy, value, Cost::default()).await;
            stored.is_ok_and(|stored| stored.remote)
        };
        self.to_its_end(node, change, changing).await;
    }

    async fn to_its_end(&self, node: &Node, change: usize, changing: impl Future<Output = bool>) {
        tokio::select! {
            biased;
            () = node.gone.cancelled() => {}
            told = changing => self.change_ended(change, told),
        }
    }

    fn change_begins(&self, node: Option<usize>, key: Option<usize>, verb: Verb) -> usize {
        let at = self.now();
        let tracking = node.is_some_and(|node| self.tracks(node));
        let mut book = self.book();
        let version = match key {
            Some(key) => {
                book.versions[key] += 1;
                book.versions[key]
            }
            None => 0,
        };
        let number = book.history.changes.len();
        let words = format!("change {number} begins: {verb:?} of {key:?} by {node:?}, version {version}");
        book.history.note(at, &words);
        book.history.changes.push(Change { node, key, version, verb, tracking, began: at, ended: None });
        number
    }

    fn change_ended(&self, number: usize, told: bool) {
        let at = self.now();
        let mut history = self.history();
        history.note(at, &format!("change {number} ends: {}", if told { "told" } else { "not told" }));
        history.changes[number].ended = Some((at, told));
    }

    /// When all is calm again: what each node has of each key.
    async fn look_around(&self) {
        let nodes: Vec<Node> = self.nodes().iter().flatten().cloned().collect();
        for node in &nodes {
            let (tracking, owed) = (tracks(&node.cache), node.cache.repairs().owed);
            self.note(&format!("node {}: at last tracking {tracking}, owes {owed}", node.place));
            self.history().at_last.push((node.place, tracking, owed));
        }
        for key in 0..self.0.plan.keys {
            for node in &nodes {
                self.call(node, key, How::ByPolicy, None).await;
            }
        }
        for key in 0..self.0.plan.keys {
            let found = self.what_each_has(&nodes, key).await;
            let at = self.now();
            let mut history = self.history();
            history.note(at, &format!("key {key} at last: {found:?}"));
            history.left.push(found);
        }
        sleep(Duration::from_millis(FETCH_TIMEOUT * 3)).await;
        let keys = self.0.net.execute(&[b"KEYS", format!("{PREFIX}~lease:*").as_bytes()]).unwrap_or_default();
        let keys = String::from_utf8_lossy(&keys).into_owned();
        let leases = keys.lines().filter(|line| line.starts_with(PREFIX)).filter(|key| {
            let lease = self.0.net.peek(key.as_bytes());
            lease.is_some_and(|lease| lease.starts_with(b"L"))
        });
        let leases: Vec<String> = leases.map(str::to_owned).collect();
        self.history().leases_left = leases;
    }
}

impl World {
    /// What the nodes have of a key, once they have the same; a refresh behind may change it from one look to the next.
    async fn what_each_has(&self, nodes: &[Node], key: usize) -> Vec<String> {
        let mut found = Vec::new();
        for _ in 0..5 {
            found.clear();
            for node in nodes {
                let entry = node.cache.get(THING, &name(key)).await.entry();
                let value = entry.map_or_else(Bytes::new, |entry| entry.value.clone());
                found.push(String::from_utf8_lossy(&value).into_owned());
            }
            if found.windows(2).all(|pair| pair[0] == pair[1]) {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        found
    }
}

fn tracks(cache: &CacheService) -> bool {
    let health = cache.health();
    health.is_up() && health.tracking
}

fn name(key: usize) -> String {
    format!("thing:{key}")
}

fn tag(key: usize) -> String {
    format!("tag-{key}")
}

fn end_of(answer: Result<Answer, FetchError>) -> End {
    match answer {
        Ok(answer) => {
            let words = std::str::from_utf8(&answer.entry.value).expect("a fetch's number");
            let fetch = words.parse().expect("a fetch's number");
            let outcome = match answer.outcome {
                Outcome::Hit => Got::Hit,
                Outcome::Stale(StaleReason::Failed(_)) => Got::StaleIfError,
                Outcome::Stale(_) => Got::Stale,
                Outcome::Fetched { .. } => Got::Fetched,
                _ => Got::Collapsed,
            };
            End::Value { fetch, outcome }
        }
        Err(FetchError::NotCached) => End::NotCached,
        Err(error) => End::Failed(error.class().name()),
    }
}

/// A part of the book.
struct Of<'a, T>(MutexGuard<'a, Book>, fn(&Book) -> &T, fn(&mut Book) -> &mut T);

impl<T> std::ops::Deref for Of<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        (self.1)(&self.0)
    }
}

impl<T> std::ops::DerefMut for Of<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        (self.2)(&mut self.0)
    }
}
