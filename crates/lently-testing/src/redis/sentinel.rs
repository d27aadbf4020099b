//! A primary, its replicas and the Sentinels that watch them, as real processes.

use super::{PORT_ATTEMPTS, RedisOptions, RedisServer, START_BOUND};
use crate::wait::wait_until;

/// Enough that two are a majority while one is hurt.
const SENTINELS: usize = 3;
/// Silent for so long, a server is taken for dead while Sentinels are [watchful](SentinelDeployment::be_watchful).
const DOWN_AFTER_MS: u32 = 1000;
/// The same while they are not: no hiccup of a busy machine is a failover that the test did not ask for.
const PATIENT_MS: u32 = 600_000;

/// How they are to be set up.
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    /// How many replicas.
    pub replicas: usize,
    /// How primary and replicas are set up.
    pub server: RedisOptions,
    /// The Sentinels' own password.
    pub sentinel_password: Option<String>,
    /// An ACL user of the Sentinels, as [`RedisOptions::user`].
    pub sentinel_user: Option<(String, String)>,
}

impl Default for SentinelOptions {
    fn default() -> Self {
        Self { replicas: 1, server: RedisOptions::default(), sentinel_password: None, sentinel_user: None }
    }
}

/// A running primary with replicas and three Sentinels; all are killed when dropped.
#[derive(Debug)]
pub struct SentinelDeployment {
    /// The first was the primary at the start.
    pub servers: Vec<RedisServer>,
    /// Who watches them.
    pub sentinels: Vec<RedisServer>,
}

impl SentinelDeployment {
    /// The name of what is watched.
    pub const SERVICE: &str = "lently";

    /// Starts a primary, a replica and three Sentinels.
    pub async fn start() -> Self {
        Self::start_with(SentinelOptions::default()).await
    }

    /// Starts them set up as `options` say, and waits until the replicas follow.
    ///
    /// # Panics
    /// If they do not start.
    pub async fn start_with(options: SentinelOptions) -> Self {
        for _ in 0..PORT_ATTEMPTS {
            if let Some(started) = Self::attempt(&options).await {
                return started;
            }
        }
        panic!("the servers and Sentinels did not start");
    }

    async fn attempt(options: &SentinelOptions) -> Option<Self> {
        let mut servers = vec![RedisServer::prepared(options.server.clone())];
        for _ in 0..options.replicas {
            let mut server = options.server.clone();
            server.lines.push(format!("replicaof 127.0.0.1 {}", servers[0].port));
            servers.push(RedisServer::prepared(server));
        }
        let mut sentinels: Vec<RedisServer> = Vec::new();
        for _ in 0..SENTINELS {
            let watching = RedisOptions {
                password: options.sentinel_password.clone(),
                user: options.sentinel_user.clone(),
                tls: options.server.tls,
                ..RedisOptions::default()
            };
            let mut sentinel = RedisServer::prepared(watching);
            sentinel.sentinel = true;
            sentinels.push(sentinel);
        }
        let (service, primary) = (Self::SERVICE, servers[0].port);
        let identity = |at: usize| format!("{:040x}", at + 1);
        let ports: Vec<u16> = sentinels.iter().map(|sentinel| sentinel.port).collect();
        for (at, sentinel) in sentinels.iter_mut().enumerate() {
            let mut lines = vec![
                format!("sentinel myid {}", identity(at)),
                format!("sentinel monitor {service} 127.0.0.1 {primary} 2"),
                format!("sentinel down-after-milliseconds {service} {PATIENT_MS}"),
                format!("sentinel failover-timeout {service} 5000"),
            ];
            if let Some(password) = &options.server.password {
                lines.push(format!("sentinel auth-pass {service} {password}"));
            }
            if let Some(password) = &options.sentinel_password {
                lines.push(format!("sentinel sentinel-pass {password}"));
            }
            // They would find each other and the replicas, in seconds; so they know at once.
            for server in &servers[1..] {
                lines.push(format!("sentinel known-replica {service} 127.0.0.1 {}", server.port));
            }
            for (other, port) in ports.iter().enumerate().filter(|(other, _)| *other != at) {
                lines.push(format!("sentinel known-sentinel {service} 127.0.0.1 {port} {}", identity(other)));
            }
            sentinel.options.lines = lines;
        }
        if options.server.tls {
            servers[1..].iter().chain(&sentinels).for_each(|server| server.take_certificates_of(&servers[0]));
        }
        for server in &mut servers {
            if !server.launch().await {
                return None;
            }
        }
        wait_until("the replicas follow", START_BOUND, async || {
            let follows =
                |server: &RedisServer| server.cli(&["INFO", "replication"]).contains("master_link_status:up");
            servers[1..].iter().all(follows)
        })
        .await;
        // Only now: they look at a replica each ten seconds.
        for sentinel in &mut sentinels {
            if !sentinel.launch().await {
                return None;
            }
        }
        let this = Self { servers, sentinels };
        wait_until("the Sentinels know all of them", START_BOUND, async || {
            this.sentinels.iter().all(|sentinel| {
                let replicas = sentinel.cli(&["SENTINEL", "REPLICAS", service]);
                replicas.matches("master-link-status\nok").count() == options.replicas
                    && sentinel.cli(&["SENTINEL", "CKQUORUM", service]).starts_with("OK 3")
            })
        })
        .await;
        Some(this)
    }

    /// Whether a primary that is silent for a second is replaced. At the start it is not.
    ///
    /// # Panics
    /// If a Sentinel that runs refuses.
    pub fn be_watchful(&self, watchful: bool) {
        let after = if watchful { DOWN_AFTER_MS } else { PATIENT_MS }.to_string();
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.process.is_some()) {
            let set = ["SENTINEL", "SET", Self::SERVICE, "down-after-milliseconds", &after];
            assert_eq!(sentinel.cli(&set), "OK");
        }
    }

    /// The port of the primary, as a Sentinel that runs says.
    #[must_use]
    pub fn primary_port(&self) -> Option<u16> {
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE];
        let told = self.sentinels.iter().find(|sentinel| sentinel.process.is_some())?.cli(&asked);
        told.lines().nth(1)?.trim().parse().ok()
    }

    /// The server that listens on a port.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    pub fn at(&self, port: u16) -> &RedisServer {
        self.servers.iter().find(|server| server.port == port).expect("one of the servers")
    }
}
