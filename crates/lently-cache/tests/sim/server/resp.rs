//! The wire: commands as they are read, replies as they are written. It knows no command.

/// Redis reads a line of a command up to this length.
const MAX_LINE: usize = 64 << 10;
/// And an argument.
const MAX_ARGUMENT: i64 = 512 << 20;

/// How replies are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// What was found at the beginning of the bytes that arrived.
pub enum Read<'a> {
    /// A command, perhaps an empty one, and how many bytes it took.
    Command(Vec<&'a [u8]>, usize),
    Incomplete,
    /// Nothing that can be read on after.
    Garbage(String),
}

pub fn read(bytes: &[u8]) -> Read<'_> {
    match bytes.first() {
        None => Read::Incomplete,
        Some(b'*') => read_array(bytes).unwrap_or_else(|ended| ended),
        Some(_) => read_inline(bytes),
    }
}

fn read_array(bytes: &[u8]) -> Result<Read<'_>, Read<'_>> {
    let garbage = |what: &str| Read::Garbage(what.to_owned());
    let (count, mut at) = line(bytes, 0, "too big mbulk count string")?;
    let count = integer(&count[1..])
        .filter(|count| *count <= i64::from(i32::MAX))
        .ok_or_else(|| garbage("invalid multibulk length"))?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let (length, behind) = line(bytes, at, "too big bulk count string")?;
        if length.first() != Some(&b'$') {
            let got = char::from(length.first().copied().unwrap_or(b'\r'));
            return Err(Read::Garbage(format!("expected '$', got '{got}'")));
        }
        let length = integer(&length[1..])
            .filter(|length| (0..=MAX_ARGUMENT).contains(length))
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(|| garbage("invalid bulk length"))?;
        // Redis does not look at the two bytes behind.
        if bytes.len() < behind + length + 2 {
            return Err(Read::Incomplete);
        }
        arguments.push(&bytes[behind..behind + length]);
        at = behind + length + 2;
    }
    Ok(Read::Command(arguments, at))
}

/// The line that begins there, without its end, and where the next one begins.
fn line<'a>(bytes: &'a [u8], at: usize, too_long: &str) -> Result<(&'a [u8], usize), Read<'a>> {
    match bytes[at..].iter().position(|byte| *byte == b'\r') {
        Some(length) if at + length + 2 <= bytes.len() => Ok((&bytes[at..at + length], at + length + 2)),
        None if bytes.len() - at > MAX_LINE => Err(Read::Garbage(too_long.to_owned())),
        _ => Err(Read::Incomplete),
    }
}

/// A line as somebody types it. Nobody here quotes in it.
fn read_inline(bytes: &[u8]) -> Read<'_> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let too_long = bytes.len() > MAX_LINE;
        return if too_long { Read::Garbage("too big inline request".to_owned()) } else { Read::Incomplete };
    };
    if bytes[..end].iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return Read::Garbage("unbalanced quotes in request".to_owned());
    }
    let words = bytes[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Read::Command(words.collect(), end + 1)
}

/// A number as Redis takes it: in no way but the one it would write it in.
pub fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let canonical = match text {
        [b'0'] => true,
        [b'-', first, ..] | [first, ..] => matches!(first, b'1'..=b'9'),
        [] => false,
    };
    canonical.then_some(number)
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(Vec<u8>),
    /// With its code.
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Reply>),
    Map(Vec<(&'static str, Reply)>),
    /// Text for people.
    Text(String),
}

impl Reply {
    pub fn ok() -> Self {
        Self::Status(b"OK".to_vec())
    }

    pub fn error(told: impl Into<Vec<u8>>) -> Self {
        Self::Error(told.into())
    }

    pub fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).expect("fewer than there are numbers"))
    }

    pub fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        let old = protocol == Protocol::Resp2;
        match self {
            Self::Status(told) => write_line(b'+', &without_breaks(told), out),
            Self::Error(told) => write_line(b'-', &without_breaks(told), out),
            Self::Integer(number) => write_line(b':', number.to_string().as_bytes(), out),
            Self::Bulk(bytes) => write_bulk(bytes, out),
            Self::Null if old => out.extend_from_slice(b"$-1\r\n"),
            Self::Null => out.extend_from_slice(b"_\r\n"),
            Self::Array(items) => {
                write_line(b'*', items.len().to_string().as_bytes(), out);
                items.iter().for_each(|item| item.write(protocol, out));
            }
            Self::Map(pairs) => {
                let (kind, length) = if old { (b'*', pairs.len() * 2) } else { (b'%', pairs.len()) };
                write_line(kind, length.to_string().as_bytes(), out);
                for (name, value) in pairs {
                    write_bulk(name.as_bytes(), out);
                    value.write(protocol, out);
                }
            }
            Self::Text(text) if old => write_bulk(text.as_bytes(), out),
            Self::Text(text) => {
                write_line(b'=', (text.len() + 4).to_string().as_bytes(), out);
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// A line break would end it.
fn without_breaks(told: &[u8]) -> Vec<u8> {
    told.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

pub fn write_bulk(bytes: &[u8], out: &mut Vec<u8>) {
    write_line(b'$', bytes.len().to_string().as_bytes(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn write_line(kind: u8, told: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(told);
    out.extend_from_slice(b"\r\n");
}
