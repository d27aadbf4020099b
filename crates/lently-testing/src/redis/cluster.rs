//! A Redis Cluster of primaries and their replicas, as real processes.

use std::fmt::Write as _;

use super::{PORT_ATTEMPTS, RedisOptions, RedisServer, START_BOUND, free_port};
use crate::wait::wait_until;

/// How many hash slots there are.
const SLOTS: usize = 16384;
/// The fewest among which a majority can replace one.
const PRIMARIES: usize = 3;
/// Silent for so long, a server is taken for dead. Less would be a failover for each hiccup of a busy machine.
const NODE_TIMEOUT_MS: u32 = 2000;

/// Three primaries with a third of the slots each, and a replica of each; all are killed when dropped.
#[derive(Debug)]
pub struct ClusterDeployment {
    /// First the three that were primaries at the start, in the order of their slots, then a replica of each.
    pub servers: Vec<RedisServer>,
}

impl ClusterDeployment {
    /// Starts them.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts them, each set up as `options` say, and waits until they agree and the replicas follow.
    ///
    /// # Panics
    /// If they do not start.
    pub async fn start_with(options: RedisOptions) -> Self {
        for _ in 0..PORT_ATTEMPTS {
            if let Some(started) = Self::attempt(&options).await {
                return started;
            }
        }
        panic!("the cluster did not start");
    }

    async fn attempt(options: &RedisOptions) -> Option<Self> {
        let buses: Vec<u16> = (0..2 * PRIMARIES).map(|_| free_port()).collect();
        let mut servers: Vec<RedisServer> = Vec::new();
        for bus in &buses {
            let mut options = options.clone();
            options.lines.push("cluster-enabled yes\ncluster-config-file nodes.conf".to_owned());
            options.lines.push(format!("cluster-port {bus}\ncluster-node-timeout {NODE_TIMEOUT_MS}"));
            if options.tls {
                options.lines.push("tls-cluster yes".to_owned());
            }
            servers.push(RedisServer::prepared(options));
        }
        let identity = |at: usize| format!("{:040x}", at + 1);
        for at in 0..servers.len() {
            // They would meet and agree, in seconds; so they know each other from the start.
            let mut nodes = String::new();
            for (other, (server, bus)) in servers.iter().zip(&buses).enumerate() {
                let myself = if other == at { "myself," } else { "" };
                let place = format!("{} 127.0.0.1:{}@{bus} {myself}", identity(other), server.port);
                let _ = match other.checked_sub(PRIMARIES) {
                    None => {
                        let (first, last) = (other * SLOTS / PRIMARIES, (other + 1) * SLOTS / PRIMARIES - 1);
                        writeln!(nodes, "{place}master - 0 0 {} connected {first}-{last}", other + 1)
                    }
                    Some(primary) => {
                        writeln!(nodes, "{place}slave {} 0 0 {} connected", identity(primary), primary + 1)
                    }
                };
            }
            let _ = writeln!(nodes, "vars currentEpoch {PRIMARIES} lastVoteEpoch 0");
            std::fs::write(servers[at].folder.path().join("nodes.conf"), nodes).expect("a writable folder");
            if options.tls && at > 0 {
                servers[at].take_certificates_of(&servers[0]);
            }
        }
        for server in &mut servers {
            if !server.launch().await {
                return None;
            }
        }
        let this = Self { servers };
        wait_until("the cluster is whole", START_BOUND, async || {
            this.servers.iter().enumerate().all(|(at, server)| {
                server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && (at < PRIMARIES
                        || server.cli(&["INFO", "replication"]).contains("master_link_status:up"))
            })
        })
        .await;
        Some(this)
    }

    /// The server that serves the slot of a key, as one that runs says.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    pub fn owner_of(&self, key: &str) -> &RedisServer {
        self.at(self.owner_port(key).expect("the slot is served"))
    }

    /// The port of that server; `None` if nobody serves it.
    #[must_use]
    pub fn owner_port(&self, key: &str) -> Option<u16> {
        let slot: usize = self.slot_of(key).parse().ok()?;
        let nodes = self.alive().cli(&["CLUSTER", "NODES"]);
        nodes.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let serves = fields.iter().skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                first.parse().is_ok_and(|first: usize| first <= slot)
                    && last.parse().is_ok_and(|last: usize| slot <= last)
            });
            let served = serves && !fields.get(2)?.contains("fail");
            served.then(|| fields.get(1)?.split('@').next()?.rsplit_once(':')?.1.parse().ok())?
        })
    }

    /// The slot of a key, as the servers reckon it.
    #[must_use]
    pub fn slot_of(&self, key: &str) -> String {
        self.alive().cli(&["CLUSTER", "KEYSLOT", key])
    }

    /// The server that listens on a port.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    pub fn at(&self, port: u16) -> &RedisServer {
        self.servers.iter().find(|server| server.port == port).expect("one of the servers")
    }

    /// Begins to move a slot from one primary to another: new keys of it lie at the other.
    pub fn begin_to_move(&self, slot: &str, from: &RedisServer, to: &RedisServer) {
        let ok = |server: &RedisServer, state: &str, other: &RedisServer| {
            assert_eq!(server.cli(&["CLUSTER", "SETSLOT", slot, state, &id_of(other)]), "OK");
        };
        ok(to, "IMPORTING", from);
        ok(from, "MIGRATING", to);
    }

    /// Moves at most `count` keys of a slot that is being moved; how many there were.
    ///
    /// # Panics
    /// If the servers refuse.
    pub fn move_keys(&self, slot: &str, count: usize, from: &RedisServer, to: &RedisServer) -> usize {
        let keys = from.cli(&["CLUSTER", "GETKEYSINSLOT", slot, &count.to_string()]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if !keys.is_empty() {
            let port = to.port.to_string();
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(&keys);
            // A key that has expired meanwhile is none to move.
            let answer = from.cli(&migrate);
            assert!(matches!(answer.as_str(), "OK" | "NOKEY"), "{answer}");
        }
        keys.len()
    }

    /// Ends the move of a slot all of whose keys have been moved.
    pub fn end_to_move(&self, slot: &str, from: &RedisServer, to: &RedisServer) {
        for server in [to, from] {
            assert_eq!(server.cli(&["CLUSTER", "SETSLOT", slot, "NODE", &id_of(to)]), "OK");
        }
    }

    fn alive(&self) -> &RedisServer {
        self.servers.iter().find(|server| server.process.is_some()).expect("a server that runs")
    }
}

fn id_of(server: &RedisServer) -> String {
    server.cli(&["CLUSTER", "MYID"])
}
