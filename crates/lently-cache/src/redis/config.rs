//! Where Redis is and how it is spoken to. Reads the CA file and nothing else; never prints a password.

use std::{path::PathBuf, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo};
use secrecy::SecretString;

use super::Transport;
use crate::error::CacheError;

/// The most connections one process may hold.
pub const MAX_CONNECTIONS: usize = 20;

/// How to reach Redis (or Valkey): one standalone server.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Host name or address. Default `127.0.0.1`.
    pub host: String,
    /// Port. Default 6379.
    pub port: u16,
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

/// TLS towards Redis.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// A PEM file with the certificate authority to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
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
    /// Reads `redis://[user[:password]@]host[:port][/db]` or `rediss://…` for TLS.
    ///
    /// # Errors
    /// What is wrong with the URL, without repeating it: it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, CacheError> {
        let wrong = |what: &str| {
            CacheError::Config(format!(
                "{what}; expected redis://[user:password@]host[:port][/db], or rediss:// for TLS"
            ))
        };
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err(wrong("the Redis URL has another scheme"));
        }
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

    /// `host:port`, for people.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn check(&self) -> Result<(), CacheError> {
        if (1..=MAX_CONNECTIONS).contains(&self.max_connections) {
            return Ok(());
        }
        Err(CacheError::Config(format!(
            "{} Redis connections were asked for; 1 to {MAX_CONNECTIONS} are possible",
            self.max_connections
        )))
    }
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
    fn a_bad_url_is_told_without_its_password() {
        for url in ["http://u:hunter2@h", "redis://u:hunter2@h:notaport", "hunter2"] {
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
