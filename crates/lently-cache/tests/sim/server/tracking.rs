//! Who is told of changes: client tracking in broadcast mode. Changes are gathered and told when a turn ends, as Redis does
//! before it waits for more; that everything was flushed is told at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use super::{
    ConnectionId,
    resp::{Reply, write_bulk},
};

const OVERLAP: &str = "Prefixes for a single client must not overlap.";

#[derive(Clone, Default)]
pub struct Tracking {
    clients: BTreeMap<ConnectionId, Client>,
    prefixes: BTreeMap<Vec<u8>, Prefix>,
    messages: Vec<(ConnectionId, Vec<u8>)>,
}

#[derive(Clone, Default)]
struct Client {
    /// It does not want to hear of what it does itself.
    others_only: bool,
    prefixes: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Prefix {
    clients: BTreeSet<ConnectionId>,
    /// What changed in this turn, and who changed it last; nobody, where a script did or its time was over.
    changed: BTreeMap<Vec<u8>, Option<ConnectionId>>,
}

impl Tracking {
    /// `CLIENT TRACKING`, from the word behind.
    pub fn configure(&mut self, connection: ConnectionId, arguments: &[&[u8]]) -> Result<Reply, Reply> {
        let syntax = || Reply::error("ERR syntax error");
        let (mut broadcast, mut others_only, mut prefixes) = (false, false, Vec::new());
        let mut options = arguments[1..].iter();
        while let Some(option) = options.next() {
            match option.to_ascii_uppercase().as_slice() {
                b"BCAST" => broadcast = true,
                b"NOLOOP" => others_only = true,
                b"PREFIX" => prefixes.push(options.next().ok_or_else(syntax)?.to_vec()),
                _ => return Err(syntax()),
            }
        }
        match arguments[0].to_ascii_uppercase().as_slice() {
            b"OFF" => self.stop(connection),
            b"ON" if !broadcast && !prefixes.is_empty() => {
                return Err(Reply::error("ERR PREFIX option requires BCAST mode to be enabled"));
            }
            b"ON" if !broadcast && self.clients.contains_key(&connection) => {
                return Err(Reply::error(
                    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                     re-enabling it with a different mode.",
                ));
            }
            b"ON" if !broadcast => {
                return Err(Reply::error(
                    "ERR this server is a simulated one and tracks in broadcast mode only",
                ));
            }
            b"ON" => self.start(connection, others_only, prefixes)?,
            _ => return Err(syntax()),
        }
        Ok(Reply::ok())
    }

    fn start(
        &mut self,
        connection: ConnectionId,
        others_only: bool,
        mut prefixes: Vec<Vec<u8>>,
    ) -> Result<(), Reply> {
        let known = self.clients.get(&connection).map(|client| &client.prefixes);
        for (at, prefix) in prefixes.iter().enumerate() {
            let overlaps = |other: &&Vec<u8>| other.starts_with(prefix) || prefix.starts_with(other);
            let existing = known.and_then(|known| known.iter().find(overlaps));
            let provided = || prefixes[at + 1..].iter().find(overlaps);
            if let Some((word, other)) = existing
                .map(|other| ("an existing", other))
                .or_else(|| Some(("another provided", provided()?)))
            {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let (prefix, other) = (text(prefix), text(other));
                return Err(Reply::error(format!(
                    "ERR Prefix '{prefix}' overlaps with {word} prefix '{other}'. {OVERLAP}"
                )));
            }
        }
        if prefixes.is_empty() {
            prefixes.push(Vec::new());
        }
        let client = self.clients.entry(connection).or_default();
        client.others_only = others_only;
        for prefix in prefixes {
            self.prefixes.entry(prefix.clone()).or_default().clients.insert(connection);
            client.prefixes.insert(prefix);
        }
        Ok(())
    }

    pub fn stop(&mut self, connection: ConnectionId) {
        let Some(client) = self.clients.remove(&connection) else { return };
        for name in client.prefixes {
            if let Some(prefix) = self.prefixes.get_mut(&name) {
                prefix.clients.remove(&connection);
                if prefix.clients.is_empty() {
                    self.prefixes.remove(&name);
                }
            }
        }
    }

    /// A key changed.
    pub fn changed(&mut self, key: &[u8], by: Option<ConnectionId>) {
        for (name, prefix) in &mut self.prefixes {
            if key.starts_with(name) {
                prefix.changed.insert(key.to_vec(), by);
            }
        }
    }

    /// Everything is gone. Whoever did it is told too.
    pub fn flushed(&mut self) {
        let message = b">2\r\n$10\r\ninvalidate\r\n_\r\n";
        self.messages.extend(self.clients.keys().map(|&client| (client, message.to_vec())));
    }

    /// The turn ends.
    pub fn tell(&mut self) {
        for prefix in self.prefixes.values_mut().filter(|prefix| !prefix.changed.is_empty()) {
            let changed = mem::take(&mut prefix.changed);
            for &to in &prefix.clients {
                let others_only = self.clients.get(&to).is_some_and(|client| client.others_only);
                let keys: Vec<&Vec<u8>> = changed
                    .iter()
                    .filter(|(_, by)| !(others_only && **by == Some(to)))
                    .map(|(key, _)| key)
                    .collect();
                if !keys.is_empty() {
                    let mut message = b">2\r\n$10\r\ninvalidate\r\n*".to_vec();
                    message.extend_from_slice(keys.len().to_string().as_bytes());
                    message.extend_from_slice(b"\r\n");
                    keys.into_iter().for_each(|key| write_bulk(key, &mut message));
                    self.messages.push((to, message));
                }
            }
        }
    }

    /// What is to be sent to whom since the last time.
    pub fn messages(&mut self) -> Vec<(ConnectionId, Vec<u8>)> {
        mem::take(&mut self.messages)
    }
}
