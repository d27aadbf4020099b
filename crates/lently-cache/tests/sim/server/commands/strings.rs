//! Commands on strings.

use super::{Answer, Call, number, syntax_error, wrong_type};
use crate::server::{
    keys::Value,
    resp::{Reply, integer},
};

pub fn get(call: &mut Call<'_>) -> Answer {
    let found = call.database.string(call.arguments[1], call.now)?;
    Ok(found.map_or(Reply::Null, |bytes| Reply::Bulk(bytes.to_vec())))
}

pub fn get_many(call: &mut Call<'_>) -> Answer {
    let keys = &call.arguments[1..];
    let found = keys.iter().map(|key| match call.database.string(key, call.now) {
        Ok(Some(bytes)) => Reply::Bulk(bytes.to_vec()),
        _ => Reply::Null,
    });
    Ok(Reply::Array(found.collect()))
}

pub fn get_and_delete(call: &mut Call<'_>) -> Answer {
    let found = get(call)?;
    call.database.delete(call.arguments[1], call.by, call.now);
    Ok(found)
}

pub fn length(call: &mut Call<'_>) -> Answer {
    Ok(Reply::count(call.database.string(call.arguments[1], call.now)?.map_or(0, <[u8]>::len)))
}

pub fn get_range(call: &mut Call<'_>) -> Answer {
    let (start, end) = (number(call.arguments[2])?, number(call.arguments[3])?);
    let bytes = call.database.string(call.arguments[1], call.now)?.unwrap_or_default();
    Ok(Reply::Bulk(range(bytes, start, end).to_vec()))
}

/// What is from `start` to `end`, both counted from the end where they are negative.
fn range(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let length = i64::try_from(bytes.len()).expect("it is in memory");
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_start = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => &bytes[start..=end],
        _ => &[],
    }
}

/// How long a value is to be there.
#[derive(Clone, Copy)]
enum Life {
    Forever,
    AsBefore,
    Until(u64),
}

/// The options of `SET`.
#[derive(Default)]
struct Options<'a> {
    absent: bool,
    present: bool,
    get: bool,
    keep: bool,
    life: Option<(Unit, &'a [u8])>,
}

#[derive(Clone, Copy)]
struct Unit {
    milliseconds: i64,
    from_now: bool,
}

const EX: Unit = Unit { milliseconds: 1000, from_now: true };
const PX: Unit = Unit { milliseconds: 1, from_now: true };

pub fn set(call: &mut Call<'_>) -> Answer {
    let mut options = Options::default();
    let mut words = call.arguments[3..].iter();
    while let Some(word) = words.next() {
        let unit = match word.to_ascii_uppercase().as_slice() {
            b"NX" if !options.present => {
                options.absent = true;
                continue;
            }
            b"XX" if !options.absent => {
                options.present = true;
                continue;
            }
            b"GET" => {
                options.get = true;
                continue;
            }
            b"KEEPTTL" if options.life.is_none() => {
                options.keep = true;
                continue;
            }
            b"EX" => EX,
            b"PX" => PX,
            b"EXAT" => Unit { from_now: false, ..EX },
            b"PXAT" => Unit { from_now: false, ..PX },
            _ => return Err(syntax_error()),
        };
        let time = words.next().ok_or_else(syntax_error)?;
        if options.keep || options.life.is_some() {
            return Err(syntax_error());
        }
        options.life = Some((unit, time));
    }
    let life = match options.life {
        Some((unit, time)) => Life::Until(until(time, unit, call.now, "set")?),
        None if options.keep => Life::AsBefore,
        None => Life::Forever,
    };
    let before = if options.get { Some(get(call)?) } else { None };
    let is_there = call.database.get(call.arguments[1], call.now).is_some();
    if options.absent && is_there || options.present && !is_there {
        return Ok(before.unwrap_or(Reply::Null));
    }
    store(call, call.arguments[2], life);
    Ok(before.unwrap_or_else(Reply::ok))
}

pub fn set_ex(call: &mut Call<'_>) -> Answer {
    set_for(call, EX, "setex")
}

pub fn pset_ex(call: &mut Call<'_>) -> Answer {
    set_for(call, PX, "psetex")
}

fn set_for(call: &mut Call<'_>, unit: Unit, command: &str) -> Answer {
    let until = until(call.arguments[2], unit, call.now, command)?;
    store(call, call.arguments[3], Life::Until(until));
    Ok(Reply::ok())
}

fn store(call: &mut Call<'_>, bytes: &[u8], life: Life) {
    let key = call.arguments[1];
    // What was over is told to be, though something else is there at once.
    let before = call.database.get(key, call.now).and_then(|entry| entry.until);
    let until = match life {
        Life::Forever => None,
        Life::AsBefore => before,
        Life::Until(until) => Some(until),
    };
    call.database.set(key, Value::String(bytes.to_vec()), until, call.by);
}

fn until(time: &[u8], unit: Unit, now: u64, command: &str) -> Result<u64, Reply> {
    let time = number(time)?;
    let base = if unit.from_now { i64::try_from(now).expect("a time of this age") } else { 0 };
    let end = time.checked_mul(unit.milliseconds).and_then(|time| time.checked_add(base));
    let end = end.filter(|_| time > 0).and_then(|end| u64::try_from(end).ok());
    end.ok_or_else(|| Reply::error(format!("ERR invalid expire time in '{command}' command")))
}

pub fn increase(call: &mut Call<'_>) -> Answer {
    add(call, 1)
}

pub fn decrease(call: &mut Call<'_>) -> Answer {
    add(call, -1)
}

pub fn increase_by(call: &mut Call<'_>) -> Answer {
    let by = number(call.arguments[2])?;
    add(call, by)
}

fn add(call: &mut Call<'_>, by: i64) -> Answer {
    let key = call.arguments[1];
    let (before, until) = match call.database.get(key, call.now) {
        None => (0, None),
        Some(entry) => {
            let Value::String(bytes) = &entry.value else { return Err(wrong_type()) };
            let number =
                integer(bytes).ok_or_else(|| Reply::error("ERR value is not an integer or out of range"))?;
            (number, entry.until)
        }
    };
    let after =
        before.checked_add(by).ok_or_else(|| Reply::error("ERR increment or decrement would overflow"))?;
    call.database.set(key, Value::String(after.to_string().into_bytes()), until, call.by);
    Ok(Reply::Integer(after))
}
