//! Opening a connection to one server: the only place that does. It knows how a server is spoken to, and not which one is
//! to be spoken to, nor for how long.

use std::{fmt, io, sync::Arc};

use futures::future::BoxFuture;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult, TlsCertificates, aio::MultiplexedConnection,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use super::{RedisConfig, SentinelConfig};
use crate::error::CacheError;

/// A stream of bytes to a server and back.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Opens a stream to a host and port.
pub type OpenStream =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> + Send + Sync>;

/// What carries the bytes: the network, or, in a simulation, whatever it makes of one.
#[derive(Clone, Default)]
pub enum Transport {
    /// TCP, and TLS over it where that is configured.
    #[default]
    Tcp,
    /// Streams opened by the caller; TLS is then the caller's matter too.
    Streams(OpenStream),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "Tcp",
            Self::Streams(_) => "Streams",
        })
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv6 address has colons of its own.
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How the servers of a configuration are spoken to.
pub(super) struct Dialer {
    transport: Transport,
    tls: Option<TlsCertificates>,
    settings: RedisConnectionInfo,
    /// Owns the drivers of streams that redis-rs did not open; each ends with its connection.
    drivers: TaskTracker,
}

impl Dialer {
    /// # Errors
    /// A CA file that cannot be read or holds no certificate.
    pub(super) fn new(config: &RedisConfig, drivers: &TaskTracker) -> Result<Self, CacheError> {
        config.check()?;
        let settings = RedisConnectionInfo::default()
            .set_db(i64::from(config.db))
            // Notices of changes are pushed between answers.
            .set_protocol(ProtocolVersion::RESP3);
        let tls = match &config.tls {
            None => None,
            Some(tls) => {
                // Another library may have installed one first; either serves.
                let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
                let read = |file: &std::path::PathBuf| {
                    std::fs::read(file).map_err(|error| {
                        let file = file.display();
                        CacheError::Config(format!("cannot read the Redis CA file {file}: {error}"))
                    })
                };
                let root_cert = tls.ca_file.as_ref().map(read).transpose()?;
                Some(TlsCertificates { client_tls: None, root_cert })
            }
        };
        let settings = as_user(settings, config.username.as_deref(), config.password.as_ref());
        let dialer = Self { transport: config.transport.clone(), tls, settings, drivers: drivers.clone() };
        // A certificate that cannot be used is known now and not at the first attempt.
        dialer
            .client(&Address { host: config.host.clone(), port: config.port })
            .map_err(|error| CacheError::Config(format!("cannot set up Redis: {error}")))?;
        Ok(dialer)
    }

    /// Speaks to Sentinels: the same way, as another user.
    pub(super) fn for_sentinels(&self, config: &SentinelConfig) -> Self {
        let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2);
        let settings = as_user(settings, config.username.as_deref(), config.password.as_ref());
        Self {
            transport: self.transport.clone(),
            tls: self.tls.clone(),
            settings,
            drivers: self.drivers.clone(),
        }
    }

    /// Opens a connection, greets and authenticates. Bounded by the caller; dropped, nothing of it is left.
    pub(super) async fn dial(
        &self,
        server: &Address,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        // Our own timeouts enclose each call; redis-rs' would only come second.
        let config = config.set_connection_timeout(None).set_response_timeout(None);
        match &self.transport {
            Transport::Tcp => {
                self.client(server)?.get_multiplexed_async_connection_with_config(&config).await
            }
            Transport::Streams(open) => {
                let stream = open(server.host.clone(), server.port).await?;
                let (connection, driver) =
                    MultiplexedConnection::new_with_config(&self.settings, stream, config).await?;
                self.drivers.spawn(driver);
                Ok(connection)
            }
        }
    }

    fn client(&self, server: &Address) -> RedisResult<Client> {
        let (host, port) = (server.host.clone(), server.port);
        let address = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let info = address.into_connection_info()?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp).set_redis_settings(self.settings.clone());
        match &self.tls {
            None => Client::open(info),
            Some(tls) => Client::build_with_tls(info, tls.clone()),
        }
    }
}

fn as_user(
    settings: RedisConnectionInfo,
    username: Option<&str>,
    password: Option<&SecretString>,
) -> RedisConnectionInfo {
    let mut settings = settings.set_skip_set_lib_name();
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password.expose_secret());
    }
    settings
}
