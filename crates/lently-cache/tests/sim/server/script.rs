//! Scripts: Lua 5.1, as in Redis, one interpreter per thread and not per server, so that a server is cheap to make, copy and
//! hand to another thread. Nothing of a script stays in it: it cannot write to globals.

use std::{cell::RefCell, collections::BTreeMap, error::Error, fmt, mem, rc::Rc};

use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use super::{
    commands::{self, Call, Run},
    keys::Database,
    resp::{Reply, integer},
};

/// Takes away what is not simulated, and guards the globals as Redis does.
const PRELUDE: &str = "\
for _, name in ipairs({'collectgarbage', 'dofile', 'load', 'loadfile', 'module', 'newproxy', 'pcall', 'print', 'require', 'xpcall'}) do
  _G[name] = nil
end
math.random, math.randomseed = nil, nil
setmetatable(_G, {
  __index = function(_, name)
    error(\"Script attempted to access nonexistent global variable '\" .. tostring(name) .. \"'\", 2)
  end,
  __newindex = function() error('Attempt to modify a readonly table', 2) end,
})";

thread_local! {
    static INTERPRETER: Interpreter = Interpreter::new().expect("Lua can be set up");
}

/// `EVAL`.
pub fn eval(database: &mut Database, arguments: &[&[u8]], now: u64) -> Result<Reply, Reply> {
    let refused = |told: &str| Reply::error(format!("ERR {told}"));
    let keys = integer(arguments[2]).ok_or_else(|| refused("value is not an integer or out of range"))?;
    let keys = usize::try_from(keys).map_err(|_| refused("Number of keys can't be negative"))?;
    if keys > arguments.len() - 3 {
        return Err(refused("Number of keys can't be greater than number of args"));
    }
    let (keys, rest) = arguments[3..].split_at(keys);
    INTERPRETER.with(|interpreter| {
        let script = interpreter.compiled(arguments[1])?;
        let running = Running { database: mem::take(database), now, has_written: false };
        interpreter.running.replace(Some(running));
        let reply = interpreter.run(&script, keys, rest);
        let running = interpreter.running.take().expect("it was put there");
        *database = running.database;
        Ok(reply.unwrap_or_else(|error| Reply::error(format!("ERR {error}"))))
    })
}

struct Interpreter {
    lua: Lua,
    globals: Table,
    /// Lua's own, which scripts cannot reach.
    protected: Function,
    /// What is told of an error, from what was raised.
    explain: Function,
    scripts: RefCell<BTreeMap<Vec<u8>, Script>>,
    running: Rc<RefCell<Option<Running>>>,
}

#[derive(Clone)]
struct Script {
    function: Function,
    /// By which errors name it.
    sha1: String,
}

/// The database is with the script while it runs.
struct Running {
    database: Database,
    now: u64,
    /// From then on it is no longer stopped for want of memory.
    has_written: bool,
}

impl Interpreter {
    fn new() -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        let running: Rc<RefCell<Option<Running>>> = Rc::default();
        let redis = lua.create_table()?;
        for (name, raises) in [("call", true), ("pcall", false)] {
            let running = running.clone();
            let call = lua.create_function(move |lua, arguments: MultiValue| {
                let reply = match running.borrow_mut().as_mut() {
                    Some(running) => running.call(&arguments),
                    None => Reply::error("ERR no script runs"),
                };
                match reply {
                    Reply::Error(told) if raises => Err(mlua::Error::external(Raised(told))),
                    reply => to_lua(lua, reply),
                }
            })?;
            redis.raw_set(name, call)?;
        }
        for (name, field) in [("error_reply", "err"), ("status_reply", "ok")] {
            let reply = lua.create_function(move |lua, told: mlua::LuaString| {
                let told = told.as_bytes();
                let told = if field == "err" { told.strip_prefix(b"-").unwrap_or(&told) } else { &told };
                single(lua, field, told)
            })?;
            redis.raw_set(name, reply)?;
        }
        let globals = lua.globals();
        globals.raw_set("redis", redis)?;
        let protected = globals.raw_get("xpcall")?;
        let explain = lua.create_function(|lua, raised: Value| {
            let mut told = told_by(&raised);
            // The innermost line of the script itself.
            for level in 0.. {
                let Some(found) = lua.inspect_stack(level, |frame| {
                    let is_ours = frame.source().source.is_some_and(|source| source == "@user_script");
                    frame.current_line().filter(|_| is_ours)
                }) else {
                    break;
                };
                if let Some(line) = found {
                    told.push(0);
                    told.extend_from_slice(line.to_string().as_bytes());
                    break;
                }
            }
            lua.create_string(told)
        })?;
        lua.load(PRELUDE).set_name("=prelude").exec()?;
        Ok(Self { lua, globals, protected, explain, scripts: RefCell::default(), running })
    }

    fn compiled(&self, source: &[u8]) -> Result<Script, Reply> {
        if let Some(script) = self.scripts.borrow().get(source) {
            return Ok(script.clone());
        }
        let function = self.lua.load(source).set_name("@user_script").into_function().map_err(|error| {
            let told = match error {
                mlua::Error::SyntaxError { message, .. } => message,
                error => error.to_string(),
            };
            Reply::error(format!("ERR Error compiling script (new function): {told}"))
        })?;
        let script = Script { function, sha1: sha1_smol::Sha1::from(source).digest().to_string() };
        self.scripts.borrow_mut().insert(source.to_vec(), script.clone());
        Ok(script)
    }

    fn run(&self, script: &Script, keys: &[&[u8]], arguments: &[&[u8]]) -> mlua::Result<Reply> {
        for (name, values) in [("KEYS", keys), ("ARGV", arguments)] {
            let table = self.lua.create_table_with_capacity(values.len(), 0)?;
            for value in values {
                table.raw_push(self.lua.create_string(value)?)?;
            }
            self.globals.raw_set(name, table)?;
        }
        let (ended, value): (bool, Value) =
            self.protected.call((script.function.clone(), self.explain.clone()))?;
        if ended {
            return from_lua(&value);
        }
        let told = match &value {
            Value::String(told) => told.as_bytes().to_vec(),
            _ => b"ERR execution failure".to_vec(),
        };
        // Behind a zero the line, where it is known.
        let (told, line) = match told.iter().rposition(|byte| *byte == 0) {
            Some(at) => (&told[..at], Some(String::from_utf8_lossy(&told[at + 1..]))),
            None => (&told[..], None),
        };
        let mut told = told.to_vec();
        if let Some(line) = line {
            let place = format!(" script: {}, on @user_script:{line}.", script.sha1);
            told.extend_from_slice(place.as_bytes());
        }
        Ok(Reply::Error(told))
    }
}

impl Running {
    fn call(&mut self, arguments: &MultiValue) -> Reply {
        if arguments.is_empty() {
            return Reply::error("ERR Please specify at least one argument for this redis lib call");
        }
        let texts: Option<Vec<Vec<u8>>> = arguments.iter().map(to_argument).collect();
        let Some(texts) = texts else {
            return Reply::error("ERR Lua redis lib command arguments must be strings or integers");
        };
        let arguments: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let spec = match commands::find_for_script(&arguments) {
            Ok(spec) => spec,
            Err(refused) => return refused,
        };
        let Run::OnKeys(run) = spec.run else {
            return Reply::error("ERR This Redis command is not allowed from script");
        };
        if spec.takes_memory && self.database.full && !self.has_written {
            return commands::out_of_memory();
        }
        self.has_written |= spec.writes;
        // What a script changes is nobody's: even a caller that does not hear of its own changes hears of it.
        let (database, by, now) = (&mut self.database, None, self.now);
        run(&mut Call { database, arguments: &arguments, by, now }).unwrap_or_else(|refused| refused)
    }
}

/// An error that `redis.call` raises.
#[derive(Debug)]
struct Raised(Vec<u8>);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Error for Raised {}

fn told_by(raised: &Value) -> Vec<u8> {
    let plain = |told: &[u8]| [b"ERR ", told].concat();
    match raised {
        Value::Error(error) => match error.downcast_ref::<Raised>() {
            Some(Raised(told)) => told.clone(),
            None => plain(error.to_string().as_bytes()),
        },
        Value::Table(table) => match table.raw_get::<Value>("err") {
            Ok(Value::String(told)) => told.as_bytes().to_vec(),
            _ => plain(b"unknown error"),
        },
        Value::String(told) => plain(&told.as_bytes()),
        other => plain(other.to_string().unwrap_or_default().as_bytes()),
    }
}

/// A number or string as an argument of a command.
fn to_argument(value: &Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(number) => number.to_string().into_bytes(),
        Value::Number(number) => shortest(*number).into_bytes(),
        _ => return None,
    })
}

/// C's `%.17g`.
fn shortest(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "-nan"
        } else if number > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = format!("{number:.16e}");
    let (digits, exponent) = scientific.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..17).contains(&exponent) {
        let decimals = usize::try_from(16 - exponent).unwrap_or(0);
        return trim(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(digits), exponent.abs())
}

fn single(lua: &Lua, field: &str, told: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set(field, lua.create_string(told)?)?;
    Ok(table)
}

/// What a command answered, as a script sees it.
fn to_lua(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Status(told) => Value::Table(single(lua, "ok", &told)?),
        Reply::Error(told) => Value::Table(single(lua, "err", &told)?),
        // Lua knows no other numbers than these.
        #[expect(clippy::cast_precision_loss, reason = "Redis loses it too")]
        Reply::Integer(number) => Value::Number(number as f64),
        Reply::Bulk(bytes) => Value::String(lua.create_string(bytes)?),
        Reply::Text(text) => Value::String(lua.create_string(text)?),
        Reply::Null => Value::Boolean(false),
        Reply::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for item in items {
                table.raw_push(to_lua(lua, item)?)?;
            }
            Value::Table(table)
        }
        Reply::Map(pairs) => {
            let flat = pairs.into_iter().flat_map(|(name, value)| [Reply::Bulk(name.into()), value]);
            to_lua(lua, Reply::Array(flat.collect()))?
        }
    })
}

/// What a script returned, as its caller is answered.
fn from_lua(value: &Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::Bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Reply::Integer(*number),
        #[expect(clippy::cast_possible_truncation, reason = "Redis cuts it off too")]
        Value::Number(number) => Reply::Integer(*number as i64),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Table(table) => {
            if let Value::String(told) = table.raw_get("err")? {
                return Ok(Reply::Error(told.as_bytes().to_vec()));
            }
            if let Value::String(told) = table.raw_get("ok")? {
                return Ok(Reply::Status(told.as_bytes().to_vec()));
            }
            let mut items = Vec::new();
            // It ends before the first hole.
            loop {
                match table.raw_get(items.len() + 1)? {
                    Value::Nil => break Reply::Array(items),
                    item => items.push(from_lua(&item)?),
                }
            }
        }
        _ => Reply::Null,
    })
}
