//! Where Redis is and how it is spoken to. Reads the CA file and nothing else; never prints a password.

use std::{path::PathBuf, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo};
use secrecy::SecretString;

use super::{Transport, dial::Address};
use crate::error::CacheError;

/// The most connections one process may hold.
pub const MAX_CONNECTIONS: usize = 20;

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// How to reach Redis (or Valkey).
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// What stands at `host` and `port`. Default one server.
    pub deployment: Deployment,
    /// Host name or address. Default `127.0.0.1`.
    pub host: String,
    /// Port. Default 6379.
    pub port: u16,
    /// Further Sentinels or cluster nodes to ask, as host and port. Default none.
    pub others: Vec<(String, u16)>,
    /// The ACL user; none is Redis' `default` user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<SecretString>,
    /// TLS, if the server speaks it.
    pub tls: Option<TlsConfig>,
    /// The logical database. Default 0.
    pub db: u8,
    /// How many multiplexed connections, 1 to 20. Default 2: one is enough for throughput, a second keeps small
    /// values from queueing behind a large one.
    pub max_connections: usize,
    /// How long connecting may take. Default 1 s.
    pub connect_timeout: Duration,
    /// How long a command may take. Default 250 ms.
    pub command_timeout: Duration,
    /// What carries the bytes.
    #[doc(hidden)]
    pub transport: Transport,
}

/// What kind of Redis it is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Deployment {
    /// One server, or one endpoint that somebody else keeps pointing at the primary.
    #[default]
    Standalone,
    /// A primary and its replicas, watched by Sentinels. `host`, `port` and `others` name the Sentinels; which server is the
    /// primary is asked of them at each connect and each half second, and followed.
    Sentinel(Box<SentinelConfig>),
    /// A cluster. `host`, `port` and `others` name some of its nodes; the others are learned from them. `max_connections` is
    /// per primary, and `db` is 0.
    Cluster,
}

/// What is asked of Sentinels, and as whom.
#[derive(Clone, Debug, Default)]
pub struct SentinelConfig {
    /// The name under which the Sentinels watch the primary.
    pub service: String,
    /// The ACL user at the Sentinels; none is their `default` user.
    pub username: Option<String>,
    /// The Sentinels' own password, if they have one. Never Redis' own.
    pub password: Option<SecretString>,
}

/// TLS towards Redis, and towards Sentinels.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// A PEM file with the certificate authority to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            deployment: Deployment::Standalone,
            host: "127.0.0.1".to_owned(),
            port: DEFAULT_PORT,
            others: Vec::new(),
            username: None,
            password: None,
            tls: None,
            db: 0,
            max_connections: 2,
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_millis(250),
            transport: Transport::Tcp,
        }
    }
}

impl RedisConfig {
    /// Reads one of
    /// - `redis://[user[:password]@]host[:port][/db]`,
    /// - `redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/service[/db]`, where user and password are those of
    ///   Redis and not of the Sentinels,
    /// - `redis+cluster://[user[:password]@]host[:port][,host[:port]…]`;
    ///
    /// each with `rediss` for `redis` for TLS.
    ///
    /// # Errors
    /// What is wrong with the URL, without repeating it: it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, CacheError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("the Redis URL has no scheme"))?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !matches!(base, "redis" | "rediss") {
            return Err(wrong("the Redis URL has another scheme"));
        }
        match kind {
            "" if scheme == base => Self::from_plain_url(url),
            "sentinel" => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let (service, db) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() || service.contains(['?', '#']) {
                    return Err(wrong("the Redis URL names no service of the Sentinels"));
                }
                let mut config = Self::from_list(base, authority, db, DEFAULT_SENTINEL_PORT)?;
                config.deployment = Deployment::Sentinel(Box::new(SentinelConfig {
                    service: service.to_owned(),
                    ..SentinelConfig::default()
                }));
                Ok(config)
            }
            "cluster" => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                if !path.is_empty() {
                    return Err(wrong("a cluster has one database and no service"));
                }
                let config = Self::from_list(base, authority, "", DEFAULT_PORT)?;
                Ok(Self { deployment: Deployment::Cluster, ..config })
            }
            _ => Err(wrong("the Redis URL has another scheme")),
        }
    }

    /// Reads `[user[:password]@]host[:port][,host[:port]…]`.
    fn from_list(base: &str, authority: &str, db: &str, default_port: u16) -> Result<Self, CacheError> {
        // They would end the part with the hosts, and what stands behind them would be passed over.
        if authority.contains(['?', '#']) {
            return Err(wrong("the Redis URL has a `?` or a `#` among its hosts"));
        }
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let mut hosts = hosts.split(',').map(|host| {
            // The colons of an IPv6 address stand in brackets.
            let has_port = host.rsplit_once(']').map_or(host, |(_, port)| port).contains(':');
            if has_port { host.to_owned() } else { format!("{host}:{default_port}") }
        });
        let first = hosts.next().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        let mut config = Self::from_plain_url(&format!("{base}://{user}{at}{first}/{db}"))?;
        for host in hosts {
            let other = Self::from_plain_url(&format!("{base}://{host}"))?;
            config.others.push((other.host, other.port));
        }
        Ok(config)
    }

    fn from_plain_url(url: &str) -> Result<Self, CacheError> {
        let info = url.into_connection_info().map_err(|_| wrong("the Redis URL cannot be read"))?;
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host.clone(), *port, None),
            ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port, Some(TlsConfig::default())),
            _ => return Err(wrong("the Redis URL names no host")),
        };
        let redis = info.redis_settings();
        Ok(Self {
            host,
            port,
            username: redis.username().map(str::to_owned),
            password: redis.password().map(|password| SecretString::from(password.to_owned())),
            tls,
            db: u8::try_from(redis.db()).map_err(|_| wrong("the Redis database is not 0 to 255"))?,
            ..Self::default()
        })
    }

    /// Where it is, for people: `host:port`, or what is asked of which Sentinels.
    #[must_use]
    pub fn address(&self) -> String {
        let seeds: Vec<String> = self.seeds().iter().map(Address::to_string).collect();
        let seeds = seeds.join(",");
        match &self.deployment {
            Deployment::Standalone => seeds,
            Deployment::Sentinel(sentinel) => format!("{} of Sentinel {seeds}", sentinel.service),
            Deployment::Cluster => format!("cluster {seeds}"),
        }
    }

    /// Everything that is named.
    pub(super) fn seeds(&self) -> Vec<Address> {
        let first = Address { host: self.host.clone(), port: self.port };
        let others = self.others.iter().map(|(host, port)| Address { host: host.clone(), port: *port });
        std::iter::once(first).chain(others).collect()
    }

    pub(super) fn check(&self) -> Result<(), CacheError> {
        if !(1..=MAX_CONNECTIONS).contains(&self.max_connections) {
            return Err(CacheError::Config(format!(
                "{} Redis connections were asked for; 1 to {MAX_CONNECTIONS} are possible",
                self.max_connections
            )));
        }
        if !self.others.is_empty() && matches!(self.deployment, Deployment::Standalone) {
            return Err(CacheError::Config(
                "several servers are named, and which is the primary is not".to_owned(),
            ));
        }
        if self.db != 0 && matches!(self.deployment, Deployment::Cluster) {
            return Err(CacheError::Config(format!("a cluster has no database {}, only 0", self.db)));
        }
        Ok(())
    }
}

fn wrong(what: &str) -> CacheError {
    CacheError::Config(format!(
        "{what}; expected redis://[user:password@]host[:port][/db], \
         redis+sentinel://[user:password@]host[:port],…/service[/db] or \
         redis+cluster://[user:password@]host[:port],…, with rediss for TLS"
    ))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_url_is_read_into_its_parts() {
        let config = RedisConfig::from_url("rediss://lently:p%40ss@cache.example:6380/3").expect("a config");
        assert_eq!(config.address(), "cache.example:6380");
        assert_eq!((config.username.as_deref(), config.db, config.tls.is_some()), (Some("lently"), 3, true));
        assert_eq!(config.password.expect("a password").expose_secret(), "p@ss");
    }

    #[test]
    fn a_url_names_sentinels_and_their_service() {
        let url = "rediss+sentinel://lently:p%40ss@one,two:5000,[::1]:5001,[::2]/primary/3";
        let config = RedisConfig::from_url(url).expect("a config");
        assert_eq!(config.address(), "primary of Sentinel one:26379,two:5000,[::1]:5001,[::2]:26379");
        assert_eq!((config.username.as_deref(), config.db, config.tls.is_some()), (Some("lently"), 3, true));
        assert_eq!(config.password.expect("a password").expose_secret(), "p@ss");
        let config = RedisConfig::from_url("redis+cluster://u:p@one,two:7001").expect("a config");
        assert_eq!((config.address().as_str(), config.db), ("cluster one:6379,two:7001", 0));
        let config = RedisConfig::from_url("redis+sentinel://one/primary").expect("a config");
        assert!(config.username.is_none() && config.db == 0 && config.tls.is_none());
    }

    #[test]
    fn a_bad_url_is_told_without_its_password() {
        let bad = [
            "http://u:hunter2@h",
            "redis://u:hunter2@h:notaport",
            "hunter2",
            "redis+other://u:hunter2@h/s",
            "redis+://u:hunter2@h",
            "redis+sentinel://u:hunter2@h",
            "redis+sentinel://u:hunter2@h/s/many",
            "redis+sentinel://u:hunter2@h,i:notaport/s",
            "redis+sentinel://u:hunter2@/s",
            "redis+sentinel://u:hunter2@h?i,j/s",
            "redis+sentinel://h,i#u:hunter2@j/s",
            "redis+cluster://u:hunter2@h/1",
        ];
        for url in bad {
            let told = RedisConfig::from_url(url).expect_err("an error").to_string();
            assert!(told.contains("expected redis://") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn more_than_twenty_connections_are_refused() {
        let config = RedisConfig { max_connections: 21, ..RedisConfig::default() };
        assert!(config.check().expect_err("an error").to_string().contains("1 to 20"));
    }
}
