//! Commands on keys of any type, and the few that make one of another type than a string.

use super::{Answer, Call, number, syntax_error, wrong_type};
use crate::server::{
    keys::{Entry, Value},
    pattern,
    resp::{Reply, integer},
};

pub fn exists(call: &mut Call<'_>) -> Answer {
    let keys = &call.arguments[1..];
    Ok(Reply::count(keys.iter().filter(|key| call.database.get(key, call.now).is_some()).count()))
}

pub fn delete(call: &mut Call<'_>) -> Answer {
    let keys = &call.arguments[1..];
    Ok(Reply::count(keys.iter().filter(|key| call.database.delete(key, call.by, call.now)).count()))
}

pub fn type_of(call: &mut Call<'_>) -> Answer {
    let found = call.database.get(call.arguments[1], call.now);
    Ok(Reply::Status(found.map_or("none", |entry| entry.value.type_name()).into()))
}

pub fn size(call: &mut Call<'_>) -> Answer {
    Ok(Reply::count(call.database.len()))
}

pub fn flush(call: &mut Call<'_>) -> Answer {
    match call.arguments[1..] {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"ASYNC") || how.eq_ignore_ascii_case(b"SYNC") => {}
        _ => return Err(syntax_error()),
    }
    call.database.flush();
    Ok(Reply::ok())
}

pub fn pttl(call: &mut Call<'_>) -> Answer {
    let now = call.now;
    end(call, |until| until.saturating_sub(now))
}

pub fn ttl(call: &mut Call<'_>) -> Answer {
    let now = call.now;
    end(call, |until| (until.saturating_sub(now) + 500) / 1000)
}

pub fn pexpiretime(call: &mut Call<'_>) -> Answer {
    end(call, |until| until)
}

fn end(call: &mut Call<'_>, told: impl Fn(u64) -> u64) -> Answer {
    Ok(Reply::Integer(match call.database.get(call.arguments[1], call.now) {
        None => -2,
        Some(Entry { until: None, .. }) => -1,
        Some(Entry { until: Some(until), .. }) => i64::try_from(told(*until)).unwrap_or(i64::MAX),
    }))
}

pub fn pexpire(call: &mut Call<'_>) -> Answer {
    expire_at(call, 1, true, "pexpire")
}

pub fn expire(call: &mut Call<'_>) -> Answer {
    expire_at(call, 1000, true, "expire")
}

pub fn pexpireat(call: &mut Call<'_>) -> Answer {
    expire_at(call, 1, false, "pexpireat")
}

pub fn expireat(call: &mut Call<'_>) -> Answer {
    expire_at(call, 1000, false, "expireat")
}

fn expire_at(call: &mut Call<'_>, milliseconds: i64, from_now: bool, command: &str) -> Answer {
    let (mut absent, mut present, mut later, mut earlier) = (false, false, false, false);
    for option in &call.arguments[3..] {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" => absent = true,
            b"XX" => present = true,
            b"GT" => later = true,
            b"LT" => earlier = true,
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(Reply::error(format!("ERR Unsupported option {option}")));
            }
        }
    }
    if absent && (present || later || earlier) {
        return Err(Reply::error("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if later && earlier {
        return Err(Reply::error("ERR GT and LT options at the same time are not compatible"));
    }
    let time = number(call.arguments[2])?;
    let now = i64::try_from(call.now).expect("a time of this age");
    let until =
        time.checked_mul(milliseconds).and_then(|time| time.checked_add(if from_now { now } else { 0 }));
    let until =
        until.ok_or_else(|| Reply::error(format!("ERR invalid expire time in '{command}' command")))?;
    let key = call.arguments[1];
    let Some(entry) = call.database.get(key, call.now) else { return Ok(Reply::Integer(0)) };
    let before = entry.until.map(|until| i64::try_from(until).unwrap_or(i64::MAX));
    let refused = absent && before.is_some()
        || present && before.is_none()
        || later && before.is_none_or(|before| until <= before)
        || earlier && before.is_some_and(|before| until >= before);
    if refused {
        return Ok(Reply::Integer(0));
    }
    // What would be over already is deleted.
    match u64::try_from(until) {
        Ok(until) if until > call.now => call.database.set_until(key, Some(until), call.by),
        _ => drop(call.database.delete(key, call.by, call.now)),
    }
    Ok(Reply::Integer(1))
}

pub fn persist(call: &mut Call<'_>) -> Answer {
    let key = call.arguments[1];
    let ends = call.database.get(key, call.now).is_some_and(|entry| entry.until.is_some());
    if ends {
        call.database.set_until(key, None, call.by);
    }
    Ok(Reply::Integer(i64::from(ends)))
}

pub fn scan(call: &mut Call<'_>) -> Answer {
    let cursor = integer(call.arguments[1]).map(i64::cast_unsigned);
    let cursor = cursor
        .or_else(|| std::str::from_utf8(call.arguments[1]).ok()?.parse().ok())
        .ok_or_else(|| Reply::error("ERR invalid cursor"))?;
    let (mut count, mut glob, mut of_type): (_, Option<&[u8]>, Option<&[u8]>) = (10, None, None);
    for option in call.arguments[2..].chunks(2) {
        let [name, value] = option else { return Err(syntax_error()) };
        match name.to_ascii_uppercase().as_slice() {
            b"COUNT" => {
                count = usize::try_from(number(value)?)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or_else(syntax_error)?;
            }
            b"MATCH" => glob = Some(value),
            b"TYPE" => of_type = Some(value),
            _ => return Err(syntax_error()),
        }
    }
    let (next, mut keys) = call.database.walk(cursor, count);
    keys.retain(|key| {
        glob.is_none_or(|glob| pattern::matches(glob, key))
            && call.database.get(key, call.now).is_some_and(|entry| {
                of_type.is_none_or(|name| entry.value.type_name().as_bytes().eq_ignore_ascii_case(name))
            })
    });
    let keys = keys.into_iter().map(Reply::Bulk).collect();
    Ok(Reply::Array(vec![Reply::Bulk(next.to_string().into_bytes()), Reply::Array(keys)]))
}

pub fn keys(call: &mut Call<'_>) -> Answer {
    let (_, mut keys) = call.database.walk(0, usize::MAX);
    // It passes over what is over, and leaves it.
    keys.retain(|key| pattern::matches(call.arguments[1], key) && call.database.is_there(key, call.now));
    Ok(Reply::Array(keys.into_iter().map(Reply::Bulk).collect()))
}

pub fn push(call: &mut Call<'_>) -> Answer {
    let key = call.arguments[1];
    let new = call.arguments[2..].iter().map(|item| item.to_vec());
    let (mut items, until) = match call.database.get(key, call.now) {
        None => (Vec::new(), None),
        Some(Entry { value: Value::List(items), until }) => (items.clone(), *until),
        Some(_) => return Err(wrong_type()),
    };
    items.extend(new);
    let length = items.len();
    call.database.set(key, Value::List(items), until, call.by);
    Ok(Reply::count(length))
}

pub fn hash_set(call: &mut Call<'_>) -> Answer {
    let (pairs, []) = call.arguments[2..].as_chunks::<2>() else {
        return Err(Reply::error("ERR wrong number of arguments for 'hset' command"));
    };
    let key = call.arguments[1];
    let (mut fields, until) = match call.database.get(key, call.now) {
        None => (std::collections::BTreeMap::new(), None),
        Some(Entry { value: Value::Hash(fields), until }) => (fields.clone(), *until),
        Some(_) => return Err(wrong_type()),
    };
    let before = fields.len();
    fields.extend(pairs.iter().map(|[name, value]| (name.to_vec(), value.to_vec())));
    let new = fields.len() - before;
    call.database.set(key, Value::Hash(fields), until, call.by);
    Ok(Reply::count(new))
}
