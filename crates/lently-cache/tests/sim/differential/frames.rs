//! What a server says, taken apart, and when the simulated one says the same.

/// One answer or push. What is not text of people's is compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frame {
    /// A line with its kind: a status, an error, a null.
    Line(String),
    Number(i64),
    /// Bytes with their kind: a string, a text.
    Bytes(char, String),
    /// Frames with their kind: an array, a map, a push.
    Many(char, Vec<Frame>),
}

impl Frame {
    pub fn is_push(&self) -> bool {
        matches!(self, Self::Many('>', _))
    }
}

/// The frame at the beginning and its length; `None` while it is not whole.
pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let (line, mut at) = (text(&bytes[..end]), end + 2);
    let kind = line.chars().next().expect("a kind");
    let number = || line[1..].parse::<i64>().unwrap_or_else(|_| panic!("no number in {line}"));
    let frame = match kind {
        '+' | '-' | '_' => Frame::Line(line),
        ':' => Frame::Number(number()),
        '$' | '*' if number() < 0 => Frame::Line(line),
        '$' | '=' => {
            let length = usize::try_from(number()).expect("a length");
            let bytes = bytes.get(at..at + length + 2)?;
            at += length + 2;
            Frame::Bytes(kind, text(&bytes[..length]))
        }
        '*' | '>' | '%' => {
            let count = number() * if kind == '%' { 2 } else { 1 };
            let mut frames = Vec::new();
            for _ in 0..count {
                let (frame, length) = parse(&bytes[at..])?;
                frames.push(frame);
                at += length;
            }
            Frame::Many(kind, frames)
        }
        _ => panic!("nobody here says {line}"),
    };
    Some((frame, at))
}

/// What two servers need not say alike after a command.
#[derive(Clone, Copy, Debug)]
pub struct Leeway {
    /// In milliseconds.
    pub drift: u64,
    pub lives: bool,
    pub unordered: bool,
}

impl Leeway {
    pub fn after(command: &[u8], drift: u64) -> Self {
        let says = |word: &[u8]| command.windows(word.len()).any(|at| at == word);
        Self { drift, lives: says(b"PTTL"), unordered: says(b"SCAN") }
    }
}

/// Byte for byte as text.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Whether the simulated server says what the real one does. What may differ:
/// - by the `drift`, what is left of a life, where `lives` were asked for: both count, one a little later;
/// - by the same, the ages in the list of deleted patterns, which a script reckons from such;
/// - the order of the keys in the answer to `SCAN`;
/// - the number of the connection in the answer to `HELLO`;
/// - the text of `INFO`: the simulated server tells some of the lines, and has a run of its own.
pub fn alike(real: &Frame, simulated: &Frame, leeway: Leeway) -> bool {
    match (real, simulated) {
        (Frame::Number(real), Frame::Number(simulated)) => {
            real == simulated
                || leeway.lives && *real > 0 && *simulated > 0 && real.abs_diff(*simulated) <= leeway.drift
        }
        _ if leeway.unordered && page(real).is_some() => page(real) == page(simulated),
        (Frame::Many(kind, real), Frame::Many(other, simulated)) => {
            let greeting = real.first() == Some(&Frame::Bytes('$', "server".to_owned()));
            let is_id = |at: usize| greeting && at > 0 && real[at - 1] == Frame::Bytes('$', "id".to_owned());
            kind == other
                && real.len() == simulated.len()
                && real
                    .iter()
                    .zip(simulated)
                    .enumerate()
                    .all(|(at, (real, simulated))| is_id(at) || alike(real, simulated, leeway))
        }
        (Frame::Bytes(kind, real), Frame::Bytes(other, simulated)) => {
            let told = |text: &str| text.strip_prefix("txt:").unwrap_or(text).starts_with("# Server\r\n");
            kind == other
                && (real == simulated
                    || told(real) && told(simulated) && tells(real, simulated)
                    || lists_alike(real, simulated, leeway.drift))
        }
        _ => real == simulated,
    }
}

/// The cursor and the keys of an answer to `SCAN`, these in order.
fn page(frame: &Frame) -> Option<(&str, Vec<&Frame>)> {
    let Frame::Many('*', parts) = frame else { return None };
    let [Frame::Bytes('$', cursor), Frame::Many('*', keys)] = &parts[..] else { return None };
    let mut keys: Vec<&Frame> = keys.iter().collect();
    keys.sort();
    Some((cursor, keys))
}

/// Whether every line but that of the run is told.
fn tells(real: &str, simulated: &str) -> bool {
    let run = |line: &str| line.strip_prefix("run_id:").map(str::len);
    simulated.split("\r\n").all(|line| {
        real.split("\r\n").any(|other| line == other || run(line).is_some() && run(line) == run(other))
    })
}

/// Whether they are lists of patterns, the same but for their ages.
fn lists_alike(real: &str, simulated: &str, drift: u64) -> bool {
    let lines = |list: &str| -> Option<Vec<(u64, String)>> {
        let line = |line: &str| {
            let (age, rest) = line.split_once(' ')?;
            Some((age.parse().ok()?, rest.to_owned()))
        };
        list.strip_suffix('\n')?.split('\n').map(line).collect()
    };
    let (Some(real), Some(simulated)) = (lines(real), lines(simulated)) else { return false };
    real.len() == simulated.len()
        && real
            .iter()
            .zip(&simulated)
            .all(|((age, rest), (other, same))| rest == same && age.abs_diff(*other) <= drift)
}
