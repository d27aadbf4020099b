//! The network between the nodes and Redis: streams that are delayed, held up, emptied and cut as its weather says, on virtual
//! time. Bytes of one connection keep their order; those of two do not. It knows when bytes move and not what they mean.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use lently_cache::{ByteStream, OpenStream, Transport};
use rand::{Rng as _, rngs::SmallRng};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::server::{ConnectionId, Server};

/// How often the server removes what has expired without being asked for.
const EXPIRE_EVERY: Duration = Duration::from_millis(100);

/// A network, its one server, and all connections there were.
#[derive(Clone)]
pub struct Net(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    news: Notify,
}

/// How things are between a node and the server.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest that bytes are usually under way, in milliseconds.
    pub latency: u64,
    /// What goes to the server waits until this is over.
    pub up_held: bool,
    /// What comes from the server does.
    pub down_held: bool,
    /// The node is no more: whatever it sends is lost.
    pub gone: bool,
}

struct State {
    server: Server,
    /// The server's clock: what it showed when the world began, and by how much it was moved since.
    epoch: u64,
    began: Instant,
    moved: i64,
    up: bool,
    frozen: bool,
    /// Whether everything is told as it happens.
    watched: bool,
    runs: u64,
    wires: BTreeMap<u64, Wire>,
    wire_of: BTreeMap<ConnectionId, u64>,
    queue: BinaryHeap<Reverse<Parcel>>,
    /// What arrived at a server that was stopped.
    waiting: Vec<What>,
    sent: u64,
    weather: Vec<Weather>,
    chance: SmallRng,
}

/// A connection.
struct Wire {
    node: usize,
    connection: Option<ConnectionId>,
    /// Bytes that arrived and were not read.
    inbox: VecDeque<u8>,
    reader: Option<Waker>,
    /// Nothing comes any more, and why.
    ended: Option<io::ErrorKind>,
    /// Whatever is sent is lost in either direction, and neither end knows.
    dead: bool,
    /// Nothing sent later arrives before.
    up_free: Instant,
    down_free: Instant,
    /// What is held up on its way.
    held_up: Vec<What>,
    held_down: Vec<What>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    at: Instant,
    number: u64,
    what: What,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    ToServer(u64, Vec<u8>),
    /// The client has closed it.
    HungUp(u64),
    ToClient(u64, Vec<u8>),
    /// The server has closed it.
    Closed(u64),
    Expire,
}

impl Net {
    pub fn new(nodes: usize, latency: u64, epoch: u64, run: u64, watched: bool, chance: SmallRng) -> Self {
        let mut state = State {
            server: Server::new(run),
            epoch,
            began: Instant::now(),
            moved: 0,
            up: true,
            frozen: false,
            watched,
            runs: run,
            wires: BTreeMap::new(),
            wire_of: BTreeMap::new(),
            queue: BinaryHeap::new(),
            waiting: Vec::new(),
            sent: 0,
            weather: vec![Weather { latency, up_held: false, down_held: false, gone: false }; nodes],
            chance,
        };
        state.send(Instant::now() + EXPIRE_EVERY, What::Expire);
        Self(Arc::new(Shared { state: Mutex::new(state), news: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries bytes until it is dropped.
    pub async fn run(self) {
        loop {
            let next = {
                let mut state = self.state();
                state.carry(Instant::now());
                state.queue.peek().map(|Reverse(parcel)| parcel.at)
            };
            let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                () = self.0.news.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// What a node reaches the server by.
    pub fn transport(&self, node: usize) -> Transport {
        let net = self.clone();
        let open: OpenStream = Arc::new(move |_, _| {
            let net = net.clone();
            Box::pin(async move { net.dial(node).await })
        });
        Transport::Streams(open)
    }

    async fn dial(&self, node: usize) -> io::Result<Box<dyn ByteStream>> {
        let there_and_back = {
            let mut state = self.state();
            state.delay(node) + state.delay(node)
        };
        sleep(there_and_back).await;
        let connected = self.state().connect(node);
        match connected {
            Ok(Some(wire)) => Ok(Box::new(Stream { net: self.clone(), wire })),
            Ok(None) => std::future::pending().await,
            Err(kind) => Err(kind.into()),
        }
    }

    /// Changes the weather of a node; what was held up goes on its way where it no longer is.
    pub fn set_weather(&self, node: usize, change: impl FnOnce(&mut Weather)) {
        let mut state = self.state();
        change(&mut state.weather[node]);
        let weather = state.weather[node];
        let wires: Vec<u64> = state.wires_of(node);
        for wire in wires {
            let Some(found) = state.wires.get_mut(&wire) else { continue };
            let mut freed = Vec::new();
            if !weather.up_held {
                freed.append(&mut found.held_up);
            }
            if !weather.down_held {
                freed.append(&mut found.held_down);
            }
            for what in freed {
                state.post(wire, what);
            }
        }
        drop(state);
        self.0.news.notify_one();
    }

    /// Everything on the node's connections is lost from now on, and nobody is told.
    pub fn deaden(&self, node: usize) {
        let mut state = self.state();
        for wire in state.wires_of(node) {
            if let Some(wire) = state.wires.get_mut(&wire) {
                wire.dead = true;
            }
        }
    }

    /// Cuts the node's connections; both ends know at once, and what was under way is lost.
    pub fn cut(&self, node: usize) {
        let mut state = self.state();
        for wire in state.wires_of(node) {
            state.cut(wire);
        }
    }

    /// The node ends: its machine loses power, or (`told`) its process is killed and the machine closes its connections.
    pub fn lose(&self, node: usize, told: bool) {
        if told {
            self.cut(node);
        }
        self.deaden(node);
        self.state().weather[node].gone = true;
    }

    /// A place for another node.
    pub fn join(&self, latency: u64) -> usize {
        let mut state = self.state();
        state.weather.push(Weather { latency, up_held: false, down_held: false, gone: false });
        state.weather.len() - 1
    }

    pub fn stop_server(&self) {
        let mut state = self.state();
        state.up = false;
        state.waiting.clear();
        let wires: Vec<u64> = state.wires.keys().copied().collect();
        for wire in wires {
            state.cut(wire);
        }
    }

    pub fn start_server(&self, keep: bool) {
        let mut state = self.state();
        if state.up {
            return;
        }
        state.up = true;
        state.runs += 1;
        let run = state.runs;
        state.server.restart(run, keep);
    }

    /// Stops the server as `SIGSTOP` does, or lets it go on.
    pub fn freeze_server(&self, frozen: bool) {
        let mut state = self.state();
        state.frozen = frozen;
        if !frozen {
            let now = Instant::now();
            for what in std::mem::take(&mut state.waiting) {
                state.send(now, what);
            }
        }
        drop(state);
        self.0.news.notify_one();
    }

    pub fn refuse_writes(&self, refuse: bool) {
        self.state().server.refuse_writes(refuse);
    }

    /// Moves the server's clock.
    pub fn move_clock(&self, milliseconds: i64) {
        self.state().moved += milliseconds;
    }

    /// What an operator does at the server's console; `None` while there is no server.
    pub fn execute(&self, command: &[&[u8]]) -> Option<Vec<u8>> {
        let mut state = self.state();
        if !state.up || state.frozen {
            return None;
        }
        let now = state.now();
        let answer = state.server.execute(command, now);
        state.take_outgoing();
        drop(state);
        self.0.news.notify_one();
        Some(answer)
    }

    /// What lies under a key of the server.
    pub fn peek(&self, key: &[u8]) -> Option<Vec<u8>> {
        let state = self.state();
        state.server.value(key, state.now()).map(<[u8]>::to_vec)
    }
}

impl State {
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.epoch + elapsed).saturating_add_signed(self.moved)
    }

    /// Mostly short, at times a packet is sent again.
    fn delay(&mut self, node: usize) -> Duration {
        let latency = self.weather[node].latency;
        let lost = self.chance.random_ratio(1, 500);
        Duration::from_millis(self.chance.random_range(0..=latency) + if lost { 200 } else { 0 })
    }

    /// Prints what the server got or gives, where somebody looks on.
    fn tell(&self, wire: u64, node: usize, way: char, bytes: &[u8]) {
        if self.watched {
            let words = String::from_utf8_lossy(bytes).replace("\r\n", " ");
            let words: String = words.chars().map(|c| if c.is_control() { '.' } else { c }).collect();
            let at = self.began.elapsed().as_millis();
            println!("{at:>7}    {way} node {node} wire {wire}: {words}");
        }
    }

    fn wires_of(&self, node: usize) -> Vec<u64> {
        self.wires.iter().filter(|(_, wire)| wire.node == node).map(|(number, _)| *number).collect()
    }

    fn send(&mut self, at: Instant, what: What) {
        self.sent += 1;
        self.queue.push(Reverse(Parcel { at, number: self.sent, what }));
    }

    /// Puts something on its way along a wire, or where it waits for better weather.
    fn post(&mut self, number: u64, what: What) {
        let Some(node) = self.wires.get(&number).map(|wire| wire.node) else { return };
        let (weather, delay, now) = (self.weather[node], self.delay(node), Instant::now());
        let Some(wire) = self.wires.get_mut(&number) else { return };
        if wire.dead || weather.gone {
            return;
        }
        let up = matches!(what, What::ToServer(..) | What::HungUp(_));
        if up && weather.up_held {
            return wire.held_up.push(what);
        }
        if !up && weather.down_held {
            return wire.held_down.push(what);
        }
        let free = if up { &mut wire.up_free } else { &mut wire.down_free };
        *free = (*free).max(now + delay);
        let at = *free;
        self.send(at, what);
    }

    /// Delivers what is due.
    fn carry(&mut self, now: Instant) {
        while self.queue.peek().is_some_and(|Reverse(parcel)| parcel.at <= now) {
            let Some(Reverse(parcel)) = self.queue.pop() else { return };
            self.arrive(parcel.what, now);
        }
    }

    fn arrive(&mut self, what: What, now: Instant) {
        if self.frozen && matches!(what, What::ToServer(..) | What::HungUp(_)) {
            return self.waiting.push(what);
        }
        match what {
            What::Expire => {
                if self.up && !self.frozen {
                    let time = self.now();
                    self.server.expire(time);
                    self.take_outgoing();
                }
                self.send(now + EXPIRE_EVERY, What::Expire);
            }
            What::ToServer(number, bytes) => {
                let Some(wire) = self.wires.get(&number).filter(|wire| !wire.dead) else { return };
                if let Some(connection) = wire.connection {
                    let time = self.now();
                    let node = wire.node;
                    self.tell(number, node, '>', &bytes);
                    self.server.receive(connection, &bytes, time);
                    self.take_outgoing();
                }
            }
            What::HungUp(number) => self.hang_up(number),
            What::ToClient(number, bytes) => {
                let Some(wire) = self.wires.get_mut(&number).filter(|wire| !wire.dead) else { return };
                if wire.ended.is_none() {
                    wire.inbox.extend(bytes);
                    wire.wake();
                }
            }
            What::Closed(number) => {
                let Some(wire) = self.wires.get_mut(&number).filter(|wire| !wire.dead) else { return };
                wire.ended.get_or_insert(io::ErrorKind::UnexpectedEof);
                wire.wake();
            }
        }
    }

    /// A new connection; `None` where nobody ever answers.
    fn connect(&mut self, node: usize) -> Result<Option<u64>, io::ErrorKind> {
        let weather = self.weather[node];
        if weather.gone || weather.up_held || weather.down_held || self.frozen {
            return Ok(None);
        }
        if !self.up {
            return Err(io::ErrorKind::ConnectionRefused);
        }
        let (connection, now) = (self.server.open(), Instant::now());
        let wire = self.wires.len() as u64;
        self.wire_of.insert(connection, wire);
        self.wires.insert(
            wire,
            Wire {
                node,
                connection: Some(connection),
                inbox: VecDeque::new(),
                reader: None,
                ended: None,
                dead: false,
                up_free: now,
                down_free: now,
                held_up: Vec::new(),
                held_down: Vec::new(),
            },
        );
        Ok(Some(wire))
    }

    fn hang_up(&mut self, number: u64) {
        if let Some(connection) = self.wires.get_mut(&number).and_then(|wire| wire.connection.take()) {
            self.wire_of.remove(&connection);
            self.server.close(connection);
        }
    }

    fn cut(&mut self, number: u64) {
        self.hang_up(number);
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.ended.get_or_insert(io::ErrorKind::ConnectionReset);
            wire.inbox.clear();
            wire.wake();
        }
    }

    fn take_outgoing(&mut self) {
        for (connection, bytes) in self.server.outgoing() {
            let Some(wire) = self.wire_of.get(&connection).copied() else { continue };
            match bytes {
                Some(bytes) => {
                    let node = self.wires[&wire].node;
                    self.tell(wire, node, '<', &bytes);
                    self.post(wire, What::ToClient(wire, bytes));
                }
                None => {
                    self.hang_up(wire);
                    self.post(wire, What::Closed(wire));
                }
            }
        }
    }
}

impl Wire {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The client's end of a connection.
struct Stream {
    net: Net,
    wire: u64,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.net.state();
        let Some(wire) = state.wires.get_mut(&self.wire) else { return Poll::Ready(Ok(())) };
        if wire.inbox.is_empty() {
            return match wire.ended {
                Some(io::ErrorKind::UnexpectedEof) => Poll::Ready(Ok(())),
                Some(kind) => Poll::Ready(Err(kind.into())),
                None => {
                    wire.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let (bytes, _) = wire.inbox.as_slices();
        let taken = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..taken]);
        wire.inbox.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.net.state();
        if let Some(kind) = state.wires.get(&self.wire).and_then(|wire| wire.ended) {
            return Poll::Ready(Err(kind.into()));
        }
        state.post(self.wire, What::ToServer(self.wire, bytes.to_vec()));
        drop(state);
        self.net.0.news.notify_one();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.net.state();
        state.post(self.wire, What::HungUp(self.wire));
        drop(state);
        self.net.0.news.notify_one();
    }
}
