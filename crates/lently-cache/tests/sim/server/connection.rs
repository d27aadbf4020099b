//! What is about a connection and not about keys: protocol, greeting, tracking.

use super::{
    ConnectionId, Server,
    resp::{Protocol, Reply},
};

type Arguments<'a> = &'a [&'a [u8]];

#[derive(Clone, Default)]
pub struct Connection {
    /// What has arrived of a command that is not whole yet.
    pub input: Vec<u8>,
    pub protocol: Protocol,
    /// It is closed once it is answered.
    pub ends: bool,
}

pub fn hello(server: &mut Server, connection: ConnectionId, arguments: Arguments) -> Result<Reply, Reply> {
    let client = server.connections.get_mut(&connection).expect("who asks is connected");
    let protocol = match arguments.get(1) {
        None => client.protocol,
        Some(&b"2") => Protocol::Resp2,
        Some(&b"3") => Protocol::Resp3,
        Some(version) if super::resp::integer(version).is_some() => {
            return Err(Reply::error("NOPROTO unsupported protocol version"));
        }
        Some(_) => return Err(Reply::error("ERR Protocol version is not an integer or out of range")),
    };
    if let Some(option) = arguments.get(2) {
        let option = String::from_utf8_lossy(option);
        return Err(Reply::error(format!("ERR Syntax error in HELLO option '{option}'")));
    }
    client.protocol = protocol;
    let text = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    Ok(Reply::Map(vec![
        ("server", text("redis")),
        ("version", text("7.0.15")),
        ("proto", Reply::Integer(if protocol == Protocol::Resp3 { 3 } else { 2 })),
        ("id", Reply::Integer(i64::try_from(connection.0).expect("few connections"))),
        ("mode", text("standalone")),
        ("role", text("master")),
        ("modules", Reply::Array(Vec::new())),
    ]))
}

pub fn client(server: &mut Server, connection: ConnectionId, arguments: Arguments) -> Result<Reply, Reply> {
    match arguments[1].to_ascii_uppercase().as_slice() {
        b"TRACKING" if arguments.len() >= 3 => {
            server.database.tracking.configure(connection, &arguments[2..])
        }
        b"TRACKING" => Err(Reply::error("ERR wrong number of arguments for 'client|tracking' command")),
        b"ID" => Ok(Reply::Integer(i64::try_from(connection.0).expect("few connections"))),
        _ => {
            let mut told = b"ERR unknown subcommand '".to_vec();
            told.extend_from_slice(arguments[1]);
            told.extend_from_slice(b"'. Try CLIENT HELP.");
            Err(Reply::Error(told))
        }
    }
}

pub fn select(_: &mut Server, _: ConnectionId, arguments: Arguments) -> Result<Reply, Reply> {
    match super::resp::integer(arguments[1]) {
        Some(0) => Ok(Reply::ok()),
        Some(_) => Err(Reply::error("ERR DB index is out of range")),
        None => Err(Reply::error("ERR value is not an integer or out of range")),
    }
}

pub fn ping(_: &mut Server, _: ConnectionId, arguments: Arguments) -> Result<Reply, Reply> {
    match arguments {
        [_] => Ok(Reply::Status(b"PONG".to_vec())),
        [_, text] => Ok(Reply::Bulk(text.to_vec())),
        _ => Err(Reply::error("ERR wrong number of arguments for 'ping' command")),
    }
}

pub fn quit(server: &mut Server, connection: ConnectionId, _: Arguments) -> Result<Reply, Reply> {
    if let Some(client) = server.connections.get_mut(&connection) {
        client.ends = true;
    }
    Ok(Reply::ok())
}

/// The section about the server, and of that what does not depend on the machine.
pub fn info(server: &mut Server, _: ConnectionId, arguments: Arguments) -> Result<Reply, Reply> {
    let told = match arguments.get(1).map(|section| section.to_ascii_lowercase()).as_deref() {
        None | Some(b"server" | b"default" | b"all" | b"everything") => format!(
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:{:040x}\r\n",
            server.run
        ),
        Some(_) => String::new(),
    };
    Ok(Reply::Text(told))
}
