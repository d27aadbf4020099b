//! The configuration: plain data, complete and checked before anything starts. This module and its parts are the only
//! readers of the environment; a wrong value is refused, never corrected.

mod env;
mod error;
mod read;
mod spending;
mod traces;
mod variables;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use lently_cache::{Deployment, RedisConfig, RemoteConfig, TlsConfig};
use lently_service::{Budgets, CacheTtl, EntryKind, Prices, UserPlan, ttl::RETENTION};
use lently_upstream::{GeminiConfig, YouTubeConfig};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use self::read::{Reader, sqlite_url, wrong};
pub use self::{
    env::Env,
    error::ConfigError,
    traces::TraceConfig,
    variables::{VARIABLES, Variable},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY: Duration = Duration::from_secs(86_400);
/// An admin key that can be guessed protects nothing; 16 characters is what a password manager makes at least.
const ADMIN_KEY_CHARS_MIN: usize = 16;

/// Everything Lently is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens; loopback only, as long as there are no users.
    pub listen: SocketAddr,
    /// Where lasting data lies.
    pub data_dir: PathBuf,
    /// Where data lies that may be deleted at any time.
    pub cache_dir: PathBuf,
    /// The cache.
    pub cache: CacheSettings,
    /// How long entries live and fetches may take.
    pub ttl: CacheTtl,
    /// YouTube's client.
    pub youtube: YouTubeConfig,
    /// Gemini's client; none without a key.
    pub gemini: Option<GeminiConfig>,
    /// The store, as a URL. It may hold a password.
    pub database_url: SecretString,
    /// The key of the admin routes; they are closed without it.
    pub admin_key: Option<SecretString>,
    /// Analyses made at the same time.
    pub max_running: usize,
    /// Analyses that may wait for a place.
    pub max_queued: usize,
    /// The plan of users who have none.
    pub default_plan: UserPlan,
    /// What may be spent a day.
    pub budgets: Budgets,
    /// What tokens cost.
    pub prices: Prices,
    /// The bounds of the HTTP server.
    pub http: HttpLimits,
    /// How long a shutdown may take, for requests and for what runs behind them each.
    pub shutdown: Duration,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where traces go; none, unless somebody names a place.
    pub traces: Option<TraceConfig>,
    /// What is odd and still usable: told once at the start.
    pub warnings: Vec<String>,
}

/// How the cache is set up.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// Stands in front of every key in Redis.
    pub key_prefix: String,
    /// The size of the memory tier.
    pub memory_bytes: u64,
    /// The largest value kept.
    pub max_value_bytes: u64,
    /// The tier behind memory.
    pub remote: RemoteConfig,
}

/// The bounds of the HTTP server.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// The largest body read.
    pub body_bytes: usize,
    /// How long a request may take; an analysis or fetch that it began goes on and is kept.
    pub timeout: Duration,
    /// The longest that `Prefer: wait` may ask for.
    pub wait: Duration,
    /// Requests worked on at the same time; more are refused with 503.
    pub max_requests: usize,
    /// Connections open at the same time; more wait to be accepted.
    pub max_connections: usize,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A filter in the language of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// One JSON object a line, instead of text.
    pub json: bool,
}

impl Config {
    /// Reads and checks the whole configuration. With nothing set it is usable: disk cache, SQLite, local engine,
    /// loopback.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        env.check()?;
        let reader = Reader { env };
        let data_dir = directory(&reader, "LENTLY_DATA_DIR", "XDG_DATA_HOME", ".local/share")?;
        let cache_dir = directory(&reader, "LENTLY_CACHE_DIR", "XDG_CACHE_HOME", ".cache")?;
        let database_url = match reader.secret("DATABASE_URL")? {
            Some(url) => url,
            None => sqlite_url(&data_dir.join("lently.db")).into(),
        };
        if !database_url.expose_secret().starts_with("sqlite:") {
            return Err(ConfigError::new("DATABASE_URL", "names no SQLite file", "set `sqlite:` and a path"));
        }
        let unknown = variables::unknown(env.names());
        Ok(Self {
            listen: reader.parsed(
                "LENTLY_LISTEN",
                SocketAddr::from(([127, 0, 0, 1], 8000)),
                "set an address and a port, such as `127.0.0.1:8000`",
            )?,
            cache: cache(&reader, &cache_dir)?,
            ttl: ttl(&reader)?,
            youtube: youtube(&reader)?,
            gemini: gemini(&reader)?,
            admin_key: admin_key(&reader)?,
            max_running: reader.number("LENTLY_MAX_RUNNING", 4, 1..=256)?,
            max_queued: reader.number("LENTLY_MAX_QUEUED", 64, 0..=100_000)?,
            default_plan: reader.parsed(
                "LENTLY_DEFAULT_PLAN",
                UserPlan::Unlimited,
                "set `free`, `pro`, `business` or `unlimited`",
            )?,
            budgets: spending::budgets(&reader)?,
            prices: spending::prices(&reader)?,
            http: http(&reader)?,
            shutdown: reader.seconds("LENTLY_SHUTDOWN_SECONDS", seconds(20), seconds(1)..=seconds(600))?,
            log: log(&reader)?,
            traces: traces::traces(&reader)?,
            warnings: unknown
                .iter()
                .map(|name| format!("{name} is set and means nothing to Lently"))
                .collect(),
            data_dir,
            cache_dir,
            database_url,
        })
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn directory(reader: &Reader<'_>, name: &str, xdg: &str, below_home: &str) -> Result<PathBuf, ConfigError> {
    if let Some(path) = reader.path(name)? {
        return Ok(path);
    }
    let base = reader.xdg(xdg, below_home)?;
    base.map(|base| base.join("lently")).ok_or_else(|| {
        ConfigError::new(name, "is not set, and there is no home directory either", "set it to a directory")
    })
}

fn cache(reader: &Reader<'_>, cache_dir: &std::path::Path) -> Result<CacheSettings, ConfigError> {
    let redis = redis(reader)?;
    let tier = reader.text("LENTLY_CACHE_TIER")?.unwrap_or_else(|| "auto".to_owned());
    if redis.is_none() && matches!(tier.as_str(), "auto" | "redis") {
        no_redis_is_meant(reader)?;
    }
    let max_bytes = reader.number("LENTLY_DISK_BYTES", GIB, MIB..=1024 * GIB)?;
    let disk = || RemoteConfig::Disk { path: cache_dir.join("cache.db"), max_bytes };
    let remote = match (tier.as_str(), redis) {
        ("auto" | "redis", Some(redis)) => RemoteConfig::Redis(redis),
        ("redis", None) => {
            return Err(ConfigError::new(
                "LENTLY_CACHE_TIER",
                "is `redis`, and no Redis is named",
                "set REDIS_HOST or REDIS_URL",
            ));
        }
        ("auto" | "disk", _) => disk(),
        ("none", _) => RemoteConfig::None,
        _ => return Err(wrong("LENTLY_CACHE_TIER", &tier, "set `auto`, `redis`, `disk` or `none`")),
    };
    let key_prefix = reader.env.raw("LENTLY_KEY_PREFIX")?.unwrap_or("lently:").to_owned();
    if key_prefix.len() > 128 || key_prefix.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let remedy = "set at most 128 bytes without spaces";
        return Err(wrong("LENTLY_KEY_PREFIX", &key_prefix, remedy));
    }
    let memory_bytes = reader.number("LENTLY_MEMORY_BYTES", 64 * MIB, 0..=64 * GIB)?;
    let max_value_bytes = reader.number("LENTLY_MAX_VALUE_BYTES", 32 * MIB, 1024..=512 * MIB)?;
    // The largest value must find room, with an eighth of it for what lies beside.
    let needed = max_value_bytes + max_value_bytes / 8 + 4096;
    if memory_bytes != 0 && memory_bytes < needed {
        let remedy = format!(
            "set {needed} or more, or 0 for no memory tier, or lower LENTLY_MAX_VALUE_BYTES ({max_value_bytes})"
        );
        return Err(wrong("LENTLY_MEMORY_BYTES", &memory_bytes.to_string(), &remedy));
    }
    Ok(CacheSettings { key_prefix, memory_bytes, max_value_bytes, remote })
}

/// What belongs to a Redis asks for one: without its name it would be ignored, and the cache would lie on disk unnoticed.
fn no_redis_is_meant(reader: &Reader<'_>) -> Result<(), ConfigError> {
    for name in ["REDIS_PASSWORD", "REDIS_USERNAME", "REDIS_PORT", "REDIS_DB", "REDIS_TLS", "REDIS_CA_FILE"] {
        let set = if name == "REDIS_PASSWORD" {
            reader.secret(name)?.is_some()
        } else {
            reader.text(name)?.is_some()
        };
        if set {
            let remedy =
                "set REDIS_HOST (such as `127.0.0.1`) or REDIS_URL, or LENTLY_CACHE_TIER=disk to do without";
            return Err(ConfigError::new(name, "is set, and no Redis is named", remedy));
        }
    }
    Ok(())
}

/// The Redis that is named, if one is. Its variables are checked either way: a wrong value should not wait for a name.
fn redis(reader: &Reader<'_>) -> Result<Option<RedisConfig>, ConfigError> {
    let (url, host) = (reader.secret("REDIS_URL")?, reader.text("REDIS_HOST")?);
    let (from_url, named) = (url.is_some(), url.is_some() || host.is_some());
    let mut redis = match (url, host) {
        (None, None) => RedisConfig::default(),
        (Some(_), Some(_)) => {
            return Err(ConfigError::new("REDIS_URL", "and REDIS_HOST are both set", "set one of them"));
        }
        (Some(url), None) => RedisConfig::from_url(url.expose_secret())
            .map_err(|error| ConfigError::new("REDIS_URL", "cannot be used", error.to_string()))?,
        (None, Some(host)) => RedisConfig { host, ..RedisConfig::default() },
    };
    let port = reader.number("REDIS_PORT", redis.port, 1..=65_535)?;
    redis.db = reader.number("REDIS_DB", redis.db, 0..=255)?;
    redis.username = reader.text("REDIS_USERNAME")?.or(redis.username);
    redis.password = reader.secret("REDIS_PASSWORD")?.or(redis.password);
    let (username, password) =
        (reader.text("REDIS_SENTINEL_USERNAME")?, reader.secret("REDIS_SENTINEL_PASSWORD")?);
    match &mut redis.deployment {
        Deployment::Sentinel(sentinel) => (sentinel.username, sentinel.password) = (username, password),
        _ if username.is_some() || password.is_some() => {
            let name = if password.is_some() { "REDIS_SENTINEL_PASSWORD" } else { "REDIS_SENTINEL_USERNAME" };
            let remedy = "set a `redis+sentinel://` URL, or remove it";
            return Err(ConfigError::new(name, "is set, and REDIS_URL names no Sentinel", remedy));
        }
        Deployment::Standalone => redis.port = port,
        // A list of servers has the ports in it.
        _ => {}
    }
    if matches!(redis.deployment, Deployment::Cluster) && redis.db != 0 {
        return Err(ConfigError::new("REDIS_DB", "is set, and a cluster has no databases", "remove it"));
    }
    let ca_file = reader.path("REDIS_CA_FILE")?;
    let flag = reader.flag("REDIS_TLS")?;
    if flag == Some(false) && redis.tls.is_some() {
        return Err(ConfigError::new(
            "REDIS_TLS",
            "is off, and REDIS_URL begins with `rediss`",
            "remove it, or write `redis` for `rediss` if the password may travel in the clear",
        ));
    }
    let tls = flag.unwrap_or(redis.tls.is_some() || (ca_file.is_some() && !from_url));
    if ca_file.is_some() && !tls {
        return Err(ConfigError::new(
            "REDIS_CA_FILE",
            "is set, and TLS is off",
            "set REDIS_TLS=true or a `rediss://` URL, or remove it",
        ));
    }
    redis.tls = tls.then_some(TlsConfig { ca_file });
    redis.max_connections =
        reader.number("REDIS_MAX_CONNECTIONS", redis.max_connections, 1..=lently_cache::MAX_CONNECTIONS)?;
    redis.connect_timeout =
        reader.milliseconds("REDIS_CONNECT_TIMEOUT_MS", redis.connect_timeout, 10..=60_000)?;
    redis.command_timeout =
        reader.milliseconds("REDIS_COMMAND_TIMEOUT_MS", redis.command_timeout, 10..=60_000)?;
    Ok(named.then_some(redis))
}

fn ttl(reader: &Reader<'_>) -> Result<CacheTtl, ConfigError> {
    let mut ttl = CacheTtl::default();
    let least = Duration::from_millis(1);
    for kind in EntryKind::ALL {
        let most = if kind == EntryKind::Quota { DAY } else { RETENTION };
        let fresh = ttl.fresh_mut(kind);
        *fresh = reader.seconds(kind.ttl_variable(), *fresh, least..=most)?;
    }
    let most = seconds(6 * 3_600);
    ttl.analysis_timeout =
        reader.seconds("LENTLY_ANALYSIS_TIMEOUT_SECONDS", ttl.analysis_timeout, seconds(1)..=most)?;
    ttl.comments_timeout =
        reader.seconds("LENTLY_COMMENTS_TIMEOUT_SECONDS", ttl.comments_timeout, seconds(1)..=most)?;
    ttl.fetch_timeout =
        reader.seconds("LENTLY_FETCH_TIMEOUT_SECONDS", ttl.fetch_timeout, seconds(1)..=most)?;
    Ok(ttl)
}

fn youtube(reader: &Reader<'_>) -> Result<YouTubeConfig, ConfigError> {
    let default = YouTubeConfig::default();
    Ok(YouTubeConfig {
        base_url: reader.base_url("YOUTUBE_BASE_URL", default.base_url.clone())?,
        api_key: reader.secret("YOUTUBE_API_KEY")?,
        oauth_token: reader.secret("YOUTUBE_OAUTH_TOKEN")?,
        timeout: reader.seconds("YOUTUBE_TIMEOUT_SECONDS", default.timeout, seconds(1)..=seconds(300))?,
        ..default
    })
}

fn gemini(reader: &Reader<'_>) -> Result<Option<GeminiConfig>, ConfigError> {
    let key = reader.secret("GEMINI_API_KEY")?;
    // Checked also where no key makes use of it: a wrong value should not wait for the key.
    let default = GeminiConfig::new(key.clone().unwrap_or_default());
    let base_url: Url = reader.base_url("GEMINI_BASE_URL", default.base_url.clone())?;
    let timeout = reader.seconds("GEMINI_TIMEOUT_SECONDS", default.timeout, seconds(1)..=seconds(600))?;
    let model = reader.text("GEMINI_MODEL")?.unwrap_or_else(|| default.model.clone());
    if !model.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return Err(wrong("GEMINI_MODEL", &model, "set a model's name, such as `gemini-3.5-flash-lite`"));
    }
    Ok(key.map(|_| GeminiConfig { base_url, model, timeout, ..default }))
}

fn admin_key(reader: &Reader<'_>) -> Result<Option<SecretString>, ConfigError> {
    let key = reader.secret("ADMIN_API_KEY")?;
    let short = key.as_ref().is_some_and(|key| key.expose_secret().chars().count() < ADMIN_KEY_CHARS_MIN);
    if short {
        return Err(ConfigError::new(
            "ADMIN_API_KEY",
            "is too short",
            format!(
                "set at least {ADMIN_KEY_CHARS_MIN} characters, for instance from `openssl rand -hex 32`"
            ),
        ));
    }
    Ok(key)
}

fn http(reader: &Reader<'_>) -> Result<HttpLimits, ConfigError> {
    let timeout = reader.seconds("LENTLY_HTTP_TIMEOUT_SECONDS", seconds(120), seconds(1)..=seconds(3_600))?;
    let wait = reader.seconds("LENTLY_HTTP_WAIT_SECONDS", seconds(60).min(timeout), seconds(0)..=timeout)?;
    Ok(HttpLimits {
        body_bytes: reader.number("LENTLY_HTTP_BODY_BYTES", 1 << 20, 1024..=256 << 20)?,
        timeout,
        wait,
        max_requests: reader.number("LENTLY_HTTP_MAX_REQUESTS", 512, 1..=100_000)?,
        max_connections: reader.number("LENTLY_HTTP_MAX_CONNECTIONS", 2_048, 1..=100_000)?,
    })
}

fn log(reader: &Reader<'_>) -> Result<LogConfig, ConfigError> {
    let filter = reader.text("LENTLY_LOG")?.unwrap_or_else(|| "info".to_owned());
    // A lone word that is no level would be taken for a target, and nothing at all would be logged.
    let a_level = |part: &str| part.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let lone = |part: &str| !part.contains(['=', '[']);
    let misspelt = filter.split(',').map(str::trim).any(|part| lone(part) && !a_level(part));
    if misspelt || tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
        return Err(wrong("LENTLY_LOG", &filter, "set a level (`error` to `trace`) or `target=level,…`"));
    }
    let format = reader.text("LENTLY_LOG_FORMAT")?.unwrap_or_else(|| "text".to_owned());
    let json = match format.as_str() {
        "text" => false,
        "json" => true,
        _ => return Err(wrong("LENTLY_LOG_FORMAT", &format, "set `text` or `json`")),
    };
    Ok(LogConfig { filter, json })
}

#[cfg(test)]
mod tests;
