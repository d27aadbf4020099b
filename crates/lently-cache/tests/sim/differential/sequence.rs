//! Commands by chance, the same from the same seed: what the cache sends and an operator may, right and wrong, on a few keys.

use std::path::Path;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};

/// What is tracked.
pub const PREFIX: &str = "t:";
const KEYS: &[&str] = &["t:1", "t:2", "t:{3}", "t:~lease:{1}1", "u:1", "u:2", ""];
/// The one key whose value holds ages, and so is read as a whole alone.
const LIST: &str = "t:~gone";
const VALUES: &[&str] = &[
    "",
    "Ltoken",
    "Lother",
    "F{\"class\":\"transient\"}",
    "X",
    "9000000000001",
    "{\"v\":1}\nvalue",
    "0123456789abffff@5",
    "0123456789ab000a@5",
];
const LIST_SCRIPT: &str = "string.gmatch";

pub struct Sequence {
    random: SmallRng,
    scripts: Vec<String>,
    /// No two lives are near each other, and none is short, so that nothing hangs on a millisecond.
    lives: u64,
}

impl Sequence {
    pub fn of(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), scripts: scripts(), lives: 0 }
    }

    pub fn number(&mut self, below: usize) -> usize {
        self.random.random_range(0..below)
    }

    pub fn command(&mut self) -> Vec<String> {
        let key = self.one_of(KEYS);
        let command = match self.number(40) {
            0..=6 => return self.script(),
            7..=9 => format!("GET {key}"),
            10..=13 => return self.set(),
            14 => format!(
                "GETRANGE {key} {} {}",
                self.number(9),
                self.one_of(&["0", "4", "-1", "-3", "4095", "x"])
            ),
            15 => format!("PTTL {key}"),
            16 | 17 => format!("UNLINK {key} {}", self.one_of(KEYS)),
            18 => format!("EXISTS {key} {key} u:1"),
            19 => format!("STRLEN {key}"),
            20 => format!("PEXPIRE {key} {}", self.life(&["-1", "0", "x", "9223372036854775807"])),
            21 => format!(
                "PEXPIRE {key} {} {}",
                self.life(&["-1"]),
                self.one_of(&["NX", "XX", "GT", "LT", "no"])
            ),
            22 => format!("INCR {key}"),
            23 => format!("INCRBY {key} {}", self.one_of(&["5", "-5", "9223372036854775807", "1.5"])),
            24 => format!("RPUSH {key} a b"),
            25 => format!("HSET {key} a b c d"),
            26 => format!("TYPE {key}"),
            // All in one step: in which order they are walked over is no matter then.
            27 => format!("SCAN 0 MATCH {key} COUNT 500"),
            28 => format!(
                "SCAN 0 COUNT 500 MATCH t:{} TYPE {}",
                self.number(4),
                self.one_of(&["string", "list", "no"])
            ),
            29 => format!("KEYS {key}"),
            30 => "DBSIZE".to_owned(),
            31 => format!("SETEX {key} {} v", self.one_of(&["0", "-1", "x", "100000"])),
            32 => format!("GETDEL {key}"),
            33 => format!("PERSIST {key}"),
            34 => format!("MGET {key} u:1 t:1"),
            35 => format!("get {LIST}"),
            36 => self.one_of(&[
                "GET",
                "SET t:1",
                "PING a b",
                "nonsense t:1 x",
                "EVAL return 0",
                "CLIENT nonsense",
                "SCAN x",
                "SCAN 0 COUNT 0",
            ]),
            37 => self.one_of(&[
                "PING",
                "PING hello",
                "SELECT 0",
                "SELECT 99",
                "SELECT x",
                "HELLO 4",
                "INFO server",
                "HELLO",
            ]),
            38 if self.number(4) == 0 => self.one_of(&["FLUSHDB", "FLUSHALL", "FLUSHDB ASYNC"]),
            _ => format!("DEL {key}"),
        };
        command.split(' ').map(str::to_owned).collect()
    }

    fn set(&mut self) -> Vec<String> {
        let mut command = vec!["SET".to_owned(), self.one_of(KEYS), self.one_of(VALUES)];
        // In the past: it is over at once, and is there until somebody comes for it.
        let life = match self.number(10) {
            0..=4 => format!("PX {}", self.life(&["0", "-1", "x", "9223372036854775807"])),
            5 | 6 => "PXAT 1".to_owned(),
            7 => "KEEPTTL".to_owned(),
            8 => "KEEPTTL PX 5".to_owned(),
            _ => String::new(),
        };
        let when = self.one_of(&["", "", "", "NX", "XX", "GET", "XX GET", "NX XX", "no"]);
        command.extend(
            [life, when]
                .iter()
                .flat_map(|words| words.split(' '))
                .filter(|word| !word.is_empty())
                .map(str::to_owned),
        );
        command
    }

    fn script(&mut self) -> Vec<String> {
        let scripts = self.scripts.clone();
        let script = scripts.choose(&mut self.random).expect("some").clone();
        let mut command = vec!["EVAL".to_owned(), script];
        if command[1].contains(LIST_SCRIPT) {
            let pattern = self.one_of(&["*", "thing:*", "1"]);
            let (most, age) = (self.one_of(&["2", "1000"]), self.one_of(&["0", "1000000"]));
            command.extend(["1", LIST, &pattern, "name", "86400000", &most, &age].map(str::to_owned));
            return command;
        }
        let keys = self.number(4);
        command.push(keys.to_string());
        command.extend((0..keys).map(|_| self.one_of(KEYS)));
        // What a claim does not mind; elsewhere it would be a life that is over while we look.
        let over = command[1].contains("ARGV[3] ~= '2'");
        for at in 1..=4 {
            let value = self.one_of(VALUES);
            let argument = match self.number(2) {
                _ if over && at == 3 => self.one_of(&["0", "1", "2"]),
                0 => value,
                _ => self.life(&["0", "-2"]),
            };
            command.push(argument);
        }
        command
    }

    fn life(&mut self, others: &[&str]) -> String {
        if self.number(4) == 0 {
            return self.one_of(others);
        }
        self.lives += 1;
        (self.lives * 10_000_000).to_string()
    }

    fn one_of(&mut self, these: &[&str]) -> String {
        (*these.choose(&mut self.random).expect("some")).to_owned()
    }
}

/// All scripts of the cache, as they stand in its source, and some that do what else a script may.
fn scripts() -> Vec<String> {
    let mut scripts: Vec<String> = OTHERS.iter().map(|script| (*script).to_owned()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    for file in files {
        let source = std::fs::read_to_string(file).expect("a source");
        for constant in source.split("\nconst ").skip(1) {
            let Some(literal) = constant.split_once("&str =").and_then(|(_, rest)| rest.split_once("\";"))
            else {
                continue;
            };
            let Some((_, literal)) = literal.0.split_once('"') else { continue };
            if literal.contains("redis.") {
                // A line that ends with a backslash goes on in the next.
                let lines: Vec<&str> = literal.split("\\\n").map(str::trim_start).collect();
                scripts.push(lines.concat().replace("\\n", "\n").replace("\\\\", "\\"));
            }
        }
    }
    assert!(scripts.len() >= OTHERS.len() + 12, "only {} scripts were found", scripts.len());
    scripts
}

const OTHERS: &[&str] = &[
    "return 1",
    "return redis.call('SET', KEYS[1], ARGV[1])",
    "redis.call('UNLINK', KEYS[1]) return redis.call('SET', KEYS[2], ARGV[1])",
    "local told = redis.pcall('GET', KEYS[1]) return told",
    "return redis.pcall('SET', KEYS[1], ARGV[1]).err",
    "return {redis.call('GET', KEYS[1]), 1.9, true, false, 'x', {ok = 'fine'}, {1, {2}}, nil, 3}",
    "return redis.call('SCAN', 0, 'MATCH', KEYS[1], 'COUNT', 500)",
    "return {redis.call('SET', KEYS[1], 0.1), redis.call('GET', KEYS[1]), redis.call('SET', KEYS[1], 1e20), redis.call('GET', KEYS[1])}",
    "redis.call('FLUSHDB') return redis.call('DBSIZE')",
    "if redis.call('EXISTS', KEYS[1]) == 1 then\n  error('boom')\nend\nreturn redis.error_reply('MINE it is')",
    "return redis.status_reply(ARGV[1])",
    "local a = ARGV[9] .. 'x'",
    "return nonsense",
    "nonsense = 1",
    "return redis.call('nonsense')",
    "return redis.call('GET')",
    "return redis.call('CLIENT', 'ID')",
    "retur",
];
