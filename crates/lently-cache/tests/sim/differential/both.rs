//! Two servers as one: what a client sends goes to both, and what they say must be the same.
//!
//! Whatever is done is done before the next thing begins, so both take everything in the same order. They do not do it in the
//! same millisecond; where that matters, the simulated one may have done it in any in which the real one may.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use lently_cache::Clock;
use lently_testing::{RedisOptions, RedisServer, wait_until};

use super::frames::{Frame, Leeway, alike, parse};
use crate::server::{ConnectionId, Server};

/// Only a server that says less than the other is silent for so long.
const BOUND: Duration = Duration::from_secs(30);
/// What is simulated.
const VERSION: &str = "7.0";
/// Whoever does what an operator does.
const OPERATOR: ConnectionId = ConnectionId(0);

pub struct Both {
    real: RedisServer,
    simulated: Server,
    wires: BTreeMap<ConnectionId, Wire>,
    /// Who has sent a command in part.
    amidst: BTreeSet<ConnectionId>,
    /// The longest that something took, and all of it together, in milliseconds.
    longest: u64,
    drift: u64,
    /// How many commands were answered alike.
    pub answered: usize,
}

struct Wire {
    socket: TcpStream,
    /// What the real server said and nobody has looked at yet.
    unread: Vec<u8>,
    /// The same as it is handed to a client.
    said: Vec<u8>,
}

/// What is done to a server.
#[derive(Clone, Copy)]
enum Act<'a> {
    Receive(ConnectionId, &'a [u8]),
    Execute(&'a [&'a [u8]]),
}

/// What it says to somebody, and whether it hangs up then.
#[derive(Debug, Default)]
struct Said {
    frames: Vec<Frame>,
    ends: bool,
}

type Words = BTreeMap<ConnectionId, Said>;

impl Both {
    /// `None` where the real server is of another version: that one says some things in other words.
    pub async fn start() -> Option<Self> {
        let lines = vec!["enable-debug-command local".to_owned()];
        let real = RedisServer::start_with(RedisOptions { lines, ..RedisOptions::default() }).await;
        if !real.cli(&["INFO", "server"]).contains(&format!("redis_version:{VERSION}.")) {
            println!("skipped: redis-server is not of version {VERSION}");
            return None;
        }
        let wires = BTreeMap::from([(OPERATOR, Wire::to(&real))]);
        let (simulated, amidst) = (Server::new(1), BTreeSet::new());
        let both = Self { real, simulated, wires, amidst, longest: 0, drift: 0, answered: 0 };
        // It would tell at times of its own choice.
        both.set("DEBUG", "SET-ACTIVE-EXPIRE", "0");
        Some(both)
    }

    pub fn open(&mut self) -> ConnectionId {
        let connection = self.simulated.open();
        self.wires.insert(connection, Wire::to(&self.real));
        connection
    }

    pub fn close(&mut self, connection: ConnectionId) {
        self.simulated.close(connection);
        self.wires.remove(&connection);
        self.amidst.remove(&connection);
    }

    /// What the real server has said to a client since the last time; `None` where it has hung up.
    pub fn said(&mut self, connection: ConnectionId) -> Option<Vec<u8>> {
        self.wires.get_mut(&connection).map(|wire| std::mem::take(&mut wire.said))
    }

    /// What takes memory is refused, or no longer.
    pub fn refuse_writes(&mut self, refuse: bool) {
        self.set("CONFIG", "maxmemory", if refuse { "1" } else { "0" });
        self.simulated.refuse_writes(refuse);
    }

    /// A client sends whole commands, and both say the same.
    pub fn send(&mut self, connection: ConnectionId, bytes: &[u8]) -> Result<(), String> {
        self.amidst.remove(&connection);
        self.act(Act::Receive(connection, bytes))
    }

    /// The same, and the rest of the last command is yet to come.
    pub fn begin_to_send(&mut self, connection: ConnectionId, bytes: &[u8]) -> Result<(), String> {
        self.amidst.insert(connection);
        self.act(Act::Receive(connection, bytes))
    }

    /// An operator does this, and both say the same.
    pub fn execute(&mut self, command: &[&[u8]]) -> Result<(), String> {
        self.act(Act::Execute(command))
    }

    /// Both remove what is over by themselves.
    pub async fn expire(&mut self) -> Result<(), String> {
        self.simulated.expire(now());
        let simulated = said_by(&mut self.simulated);
        let left = frames(&self.simulated.execute(&[b"DBSIZE"], now()));
        self.set("DEBUG", "SET-ACTIVE-EXPIRE", "1");
        wait_until("the real server has removed them", BOUND, async || {
            println!(
                "DBG {} {:?} {}",
                self.real.cli(&["DBSIZE"]),
                left,
                self.real.cli(&["INFO", "keyspace"])
            );
            self.real.cli(&["DBSIZE"]).parse().is_ok_and(|keys| left == [Frame::Number(keys)])
        })
        .await;
        self.set("DEBUG", "SET-ACTIVE-EXPIRE", "0");
        let real = self.listen(BTreeMap::new());
        self.compare(&real, &simulated, Leeway::after(b"", self.drift))
    }

    fn act(&mut self, act: Act<'_>) -> Result<(), String> {
        let (from, bytes) = match act {
            Act::Receive(from, bytes) => (from, bytes.to_vec()),
            Act::Execute(command) => (OPERATOR, encode(command)),
        };
        let (before, began) = (self.simulated.clone(), now());
        let mut simulated = self.simulated.perform(act, began);
        // How many answers there are does not hang on the time; what they are, and what is pushed, may.
        let expected = simulated.get(&from).map_or(0, |said| answers(&said.frames));
        let wire = self.wires.get_mut(&from).ok_or("nobody is connected")?;
        let after = |told: String| format!("{told}\nafter {}", text(&bytes));
        wire.write(&bytes)?;
        // Whoever is amidst a command cannot send another to see whether anything else was said.
        let all = simulated.get(&from).map_or(0, |said| said.frames.len());
        let is_amidst = self.amidst.contains(&from);
        let enough = |got: &[Frame]| if is_amidst { got.len() == all } else { answers(got) == expected };
        let answered = wire.take_until(enough).map_err(after)?;
        let real = self.listen(BTreeMap::from([(from, Said { frames: answered, ends: false })]));
        let ended = now().max(began);
        self.drift += ended - began;
        let leeway = Leeway::after(&bytes, self.drift);
        if self.compare(&real, &simulated, leeway).is_err() {
            for at in began - self.longest..=ended {
                let mut other = before.clone();
                let said = other.perform(act, at);
                if self.compare(&real, &said, leeway).is_ok() {
                    (self.simulated, simulated) = (other, said);
                    break;
                }
            }
        }
        self.longest = self.longest.max(ended - began);
        self.answered += expected;
        self.compare(&real, &simulated, leeway).map_err(after)?;
        self.wires.retain(|to, _| !real.get(to).is_some_and(|said| said.ends));
        Ok(())
    }

    /// Hears whatever else was said to anybody.
    fn listen(&mut self, mut heard: Words) -> Words {
        for (&to, wire) in &mut self.wires {
            let said = heard.entry(to).or_default();
            said.ends = !self.amidst.contains(&to) && wire.listen(&mut said.frames);
        }
        heard
    }

    fn compare(&self, real: &Words, simulated: &Words, leeway: Leeway) -> Result<(), String> {
        let nothing = Said::default();
        for to in self.wires.keys() {
            let (real, simulated) = (real.get(to).unwrap_or(&nothing), simulated.get(to).unwrap_or(&nothing));
            let is_so = real.ends == simulated.ends
                && real.frames.len() == simulated.frames.len()
                && real
                    .frames
                    .iter()
                    .zip(&simulated.frames)
                    .all(|(real, simulated)| alike(real, simulated, leeway));
            if !is_so {
                return Err(format!(
                    "to {to:?}\nthe real one says      {real:?}\nthe simulated one says {simulated:?}"
                ));
            }
        }
        Ok(())
    }

    /// Of the real server alone.
    fn set(&self, command: &str, name: &str, value: &str) {
        let words: Vec<&str> = match command {
            "CONFIG" => vec![command, "SET", name, value],
            _ => vec![command, name, value],
        };
        assert_eq!(self.real.cli(&words), "OK");
    }
}

impl Wire {
    fn to(real: &RedisServer) -> Self {
        let socket = TcpStream::connect(real.address()).expect("it listens");
        socket.set_read_timeout(Some(BOUND)).expect("a bound");
        socket.set_nodelay(true).expect("a setting");
        Self { socket, unread: Vec::new(), said: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.socket.write_all(bytes).map_err(|error| error.to_string())
    }

    fn read(&mut self) -> Result<(), String> {
        let mut buffer = [0; 1 << 14];
        match self.socket.read(&mut buffer) {
            Ok(0) => Err("the real server hangs up".to_owned()),
            Ok(length) => {
                self.unread.extend_from_slice(&buffer[..length]);
                Ok(())
            }
            Err(error) => Err(format!("the real server says nothing ({error})")),
        }
    }

    fn take_until(&mut self, enough: impl Fn(&[Frame]) -> bool) -> Result<Vec<Frame>, String> {
        let mut frames = Vec::new();
        while !enough(&frames) {
            frames.push(self.next().map_err(|told| format!("{told} behind {frames:?}"))?);
        }
        Ok(frames)
    }

    /// Whatever else was said: what comes before the answer to a command that is sent only now. Whether the server has hung up.
    fn listen(&mut self, frames: &mut Vec<Frame>) -> bool {
        if self.write(b"PING\r\n").is_err() {
            return true;
        }
        let said = loop {
            let said = self.said.len();
            match self.next() {
                Ok(Frame::Line(line)) if line == "+PONG" => break said,
                Ok(frame) => frames.push(frame),
                Err(_) => return true,
            }
        };
        self.said.truncate(said);
        false
    }

    fn next(&mut self) -> Result<Frame, String> {
        loop {
            if let Some((frame, length)) = parse(&self.unread) {
                self.said.extend(self.unread.drain(..length));
                return Ok(frame);
            }
            self.read()?;
        }
    }
}

impl Server {
    fn perform(&mut self, act: Act<'_>, at: u64) -> Words {
        match act {
            Act::Receive(from, bytes) => {
                self.receive(from, bytes, at);
                said_by(self)
            }
            Act::Execute(command) => {
                let answer = frames(&self.execute(command, at));
                let mut said = said_by(self);
                said.insert(OPERATOR, Said { frames: answer, ends: false });
                said
            }
        }
    }
}

fn said_by(simulated: &mut Server) -> Words {
    let mut all = Words::new();
    for (to, bytes) in simulated.outgoing() {
        let said = all.entry(to).or_default();
        assert!(!said.ends, "it says something to whom it hung up on");
        match bytes {
            Some(bytes) => said.frames.extend(frames(&bytes)),
            None => said.ends = true,
        }
    }
    all
}

fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, length) = parse(bytes).expect("it says whole frames");
        frames.push(frame);
        bytes = &bytes[length..];
    }
    frames
}

fn answers(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| !frame.is_push()).count()
}

/// A command as it is sent.
pub fn encode(command: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn now() -> u64 {
    u64::try_from(Clock::system().now().as_millisecond()).expect("a time of this age")
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
