//! Which commands there are, who may call them, and what is said to whoever calls them wrongly.

mod generic;
mod strings;

use super::{
    ConnectionId, Server, connection,
    keys::Database,
    resp::{Reply, integer},
};

/// A command on its way. `by` is who is not told of what it changes, if they do not want to be.
pub struct Call<'a> {
    pub database: &'a mut Database,
    pub arguments: &'a [&'a [u8]],
    pub by: Option<ConnectionId>,
    pub now: u64,
}

type Answer = Result<Reply, Reply>;

/// What runs a command.
#[derive(Clone, Copy)]
pub enum Run {
    /// It looks at keys alone; scripts may call it.
    OnKeys(fn(&mut Call<'_>) -> Answer),
    OnConnection(fn(&mut Server, ConnectionId, &[&[u8]]) -> Answer),
    Script,
}

#[derive(Clone, Copy)]
pub struct Spec {
    name: &'static str,
    /// So many words, its name too; at least so many where it is negative.
    arity: i32,
    pub writes: bool,
    /// It is refused where there is no more memory.
    pub takes_memory: bool,
    pub run: Run,
}

const fn reads(name: &'static str, arity: i32, run: fn(&mut Call<'_>) -> Answer) -> Spec {
    Spec { name, arity, writes: false, takes_memory: false, run: Run::OnKeys(run) }
}

const fn writes(name: &'static str, arity: i32, run: fn(&mut Call<'_>) -> Answer) -> Spec {
    Spec { writes: true, ..reads(name, arity, run) }
}

const fn grows(name: &'static str, arity: i32, run: fn(&mut Call<'_>) -> Answer) -> Spec {
    Spec { takes_memory: true, ..writes(name, arity, run) }
}

const fn about(
    name: &'static str,
    arity: i32,
    run: fn(&mut Server, ConnectionId, &[&[u8]]) -> Answer,
) -> Spec {
    Spec { name, arity, writes: false, takes_memory: false, run: Run::OnConnection(run) }
}

/// The most used ones first: it is looked through from the beginning.
static COMMANDS: &[Spec] = &[
    reads("get", 2, strings::get),
    grows("set", -3, strings::set),
    Spec { name: "eval", arity: -3, writes: false, takes_memory: false, run: Run::Script },
    reads("pttl", 2, generic::pttl),
    reads("exists", -2, generic::exists),
    writes("unlink", -2, generic::delete),
    reads("getrange", 4, strings::get_range),
    about("ping", -1, connection::ping),
    reads("scan", -2, generic::scan),
    writes("pexpire", -3, generic::pexpire),
    reads("strlen", 2, strings::length),
    writes("del", -2, generic::delete),
    about("hello", -1, connection::hello),
    about("client", -2, connection::client),
    about("info", -1, connection::info),
    about("select", 2, connection::select),
    about("quit", -1, connection::quit),
    reads("ttl", 2, generic::ttl),
    writes("expire", -3, generic::expire),
    writes("pexpireat", -3, generic::pexpireat),
    writes("expireat", -3, generic::expireat),
    reads("pexpiretime", 2, generic::pexpiretime),
    writes("persist", 2, generic::persist),
    reads("type", 2, generic::type_of),
    reads("keys", 2, generic::keys),
    reads("dbsize", 1, generic::size),
    writes("flushdb", -1, generic::flush),
    writes("flushall", -1, generic::flush),
    grows("setex", 4, strings::set_ex),
    grows("psetex", 4, strings::pset_ex),
    reads("mget", -2, strings::get_many),
    writes("getdel", 2, strings::get_and_delete),
    grows("incr", 2, strings::increase),
    grows("incrby", 3, strings::increase_by),
    grows("decr", 2, strings::decrease),
    grows("rpush", -3, generic::push),
    grows("hset", -4, generic::hash_set),
];

fn look_up(name: &[u8]) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}

impl Spec {
    fn takes(&self, words: usize) -> bool {
        let arity = usize::try_from(self.arity.unsigned_abs()).expect("a few words");
        if self.arity < 0 { words >= arity } else { words == arity }
    }
}

pub fn find(arguments: &[&[u8]]) -> Result<&'static Spec, Reply> {
    let Some(spec) = look_up(arguments[0]) else {
        let mut told = b"ERR unknown command '".to_vec();
        told.extend_from_slice(&arguments[0][..arguments[0].len().min(128)]);
        told.extend_from_slice(b"', with args beginning with: ");
        let mut some = Vec::new();
        for argument in &arguments[1..] {
            if some.len() >= 128 {
                break;
            }
            let shown = argument.len().min(128 - some.len());
            some.push(b'\'');
            some.extend_from_slice(&argument[..shown]);
            some.extend_from_slice(b"' ");
        }
        told.extend_from_slice(&some);
        return Err(Reply::Error(told));
    };
    if spec.takes(arguments.len()) {
        Ok(spec)
    } else {
        Err(Reply::error(format!("ERR wrong number of arguments for '{}' command", spec.name)))
    }
}

pub fn find_for_script(arguments: &[&[u8]]) -> Result<&'static Spec, Reply> {
    match look_up(arguments[0]) {
        None => Err(Reply::error("ERR Unknown Redis command called from script")),
        Some(spec) if !spec.takes(arguments.len()) => {
            Err(Reply::error("ERR Wrong number of args calling Redis command from script"))
        }
        Some(spec) => Ok(spec),
    }
}

pub fn out_of_memory() -> Reply {
    Reply::error("OOM command not allowed when used memory > 'maxmemory'.")
}

pub fn wrong_type() -> Reply {
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

fn syntax_error() -> Reply {
    Reply::error("ERR syntax error")
}

/// An argument that is to be a number.
fn number(argument: &[u8]) -> Result<i64, Reply> {
    integer(argument).ok_or_else(|| Reply::error("ERR value is not an integer or out of range"))
}
