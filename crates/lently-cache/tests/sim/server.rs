//! A Redis server without sockets, clock or chance: bytes and times go in, bytes come out, and the same always from the same.
//!
//! It answers as redis-server 7.0.15 does, byte for byte, what this crate sends to a single server and what an operator may
//! do beside it; `differential.rs` holds both side by side. What else Redis knows is an unknown command here. Knowingly it
//! - has one database, and tracks in broadcast mode only;
//! - walks over keys in their order, by cursors that mean nothing to another run: there the walk is over;
//! - takes what arrives at once as one turn, which Redis does up to 16 KiB;
//! - leaves scripts without `pcall`, random numbers and libraries but `string`, `table` and `math`.

mod commands;
mod connection;
mod keys;
mod pattern;
mod resp;
mod script;
mod tests;
mod tracking;

use std::{collections::BTreeMap, mem};

use self::{
    commands::{Call, Run},
    connection::Connection,
    keys::Database,
    resp::{Protocol, Read, Reply},
};

/// Who is connected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Whoever uses [`Server::execute`].
const OPERATOR: ConnectionId = ConnectionId(0);

/// One server, from outside.
#[derive(Clone)]
pub struct Server {
    run: u64,
    opened: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    database: Database,
    outbox: Vec<(ConnectionId, Option<Vec<u8>>)>,
}

impl Server {
    /// An empty server whose run is this one (`INFO`'s `run_id`, 40 hexadecimal digits).
    pub fn new(run: u64) -> Self {
        Self {
            run,
            opened: 0,
            connections: BTreeMap::new(),
            database: Database::default(),
            outbox: Vec::new(),
        }
    }

    /// A client connected.
    pub fn open(&mut self) -> ConnectionId {
        self.opened += 1;
        let connection = ConnectionId(self.opened);
        self.connections.insert(connection, Connection::default());
        connection
    }

    /// The connection is gone: what it had sent incompletely, what it had still to be sent, and its tracking, too.
    pub fn close(&mut self, connection: ConnectionId) {
        if self.connections.remove(&connection).is_some() {
            self.database.tracking.stop(connection);
            self.outbox.retain(|(to, _)| *to != connection);
        }
    }

    /// Bytes arrive at `now`, in milliseconds since the Unix epoch: one turn of Redis' event loop. Every whole command is run;
    /// what changed by then is told to those who track after all the answers.
    pub fn receive(&mut self, connection: ConnectionId, bytes: &[u8], now: u64) {
        let Some(client) = self.connections.get_mut(&connection) else { return };
        client.input.extend_from_slice(bytes);
        let input = mem::take(&mut client.input);
        let mut at = 0;
        loop {
            match resp::read(&input[at..]) {
                Read::Command(arguments, length) => {
                    at += length;
                    if arguments.is_empty() {
                        continue;
                    }
                    let reply = self.run(connection, &arguments, now);
                    self.answer(connection, &reply);
                    if !self.connections.contains_key(&connection) {
                        break;
                    }
                }
                Read::Incomplete => break,
                Read::Garbage(what) => {
                    self.answer(connection, &Reply::error(format!("ERR Protocol error: {what}")));
                    self.hang_up(connection);
                    break;
                }
            }
        }
        if let Some(client) = self.connections.get_mut(&connection) {
            client.input.extend_from_slice(&input[at..]);
        }
        self.tell_changes();
    }

    /// What is to be sent since the last call, in the order in which it was written; `None` where the server closed the
    /// connection.
    pub fn outgoing(&mut self) -> Vec<(ConnectionId, Option<Vec<u8>>)> {
        mem::take(&mut self.outbox)
    }

    /// Removes all whose time is over, as Redis does by itself a few times a second.
    pub fn expire(&mut self, now: u64) {
        self.database.expire(now);
        self.tell_changes();
    }

    /// Killed and started again as another run: all connections are closed and what was to be sent is lost; with `keep`, the
    /// keys are still there.
    pub fn restart(&mut self, run: u64, keep: bool) {
        self.run = run;
        self.outbox = mem::take(&mut self.connections).into_keys().map(|gone| (gone, None)).collect();
        self.database.restart(keep);
    }

    /// What an operator does with redis-cli, on a connection of their own; the answer as RESP2. Those who track are told.
    pub fn execute(&mut self, command: &[&[u8]], now: u64) -> Vec<u8> {
        self.connections.insert(OPERATOR, Connection::default());
        let mut answer = Vec::new();
        self.run(OPERATOR, command, now).write(Protocol::Resp2, &mut answer);
        self.close(OPERATOR);
        self.tell_changes();
        answer
    }

    /// A string as it lies there, without touching anything; `None` where there is none, or something else.
    pub fn value(&self, key: &[u8], now: u64) -> Option<&[u8]> {
        self.database.peek(key, now)
    }

    /// From now on, or no longer, whatever would take memory is refused, as at `maxmemory` with `noeviction`.
    pub fn refuse_writes(&mut self, refuse: bool) {
        self.database.full = refuse;
    }

    fn run(&mut self, connection: ConnectionId, arguments: &[&[u8]], now: u64) -> Reply {
        let spec = match commands::find(arguments) {
            Ok(spec) => spec,
            Err(refused) => return refused,
        };
        if spec.takes_memory && self.database.full {
            return commands::out_of_memory();
        }
        let reply = match spec.run {
            Run::OnKeys(run) => {
                let (database, by) = (&mut self.database, Some(connection));
                run(&mut Call { database, arguments, by, now })
            }
            Run::OnConnection(run) => run(self, connection, arguments),
            Run::Script => script::eval(&mut self.database, arguments, now),
        };
        reply.unwrap_or_else(|refused| refused)
    }

    fn answer(&mut self, connection: ConnectionId, reply: &Reply) {
        let Some(client) = self.connections.get(&connection) else { return };
        let (protocol, ends) = (client.protocol, client.ends);
        reply.write(protocol, self.output(connection));
        self.deliver();
        if ends {
            self.hang_up(connection);
        }
    }

    fn hang_up(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.database.tracking.stop(connection);
        self.outbox.push((connection, None));
    }

    fn tell_changes(&mut self) {
        self.database.tracking.tell();
        self.deliver();
    }

    /// Hands on what is to be told to those who track; it can be told in RESP3 alone.
    fn deliver(&mut self) {
        for (to, message) in self.database.tracking.messages() {
            if self.connections.get(&to).is_some_and(|client| client.protocol == Protocol::Resp3) {
                self.output(to).extend_from_slice(&message);
            }
        }
    }

    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        let last = self.outbox.iter().rposition(|(to, bytes)| *to == connection && bytes.is_some());
        let at = last.unwrap_or_else(|| {
            self.outbox.push((connection, None));
            self.outbox.len() - 1
        });
        self.outbox[at].1.get_or_insert_default()
    }
}
