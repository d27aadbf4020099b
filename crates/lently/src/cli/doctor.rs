//! `lently doctor`: what is set up, what of it works, and what to do about the rest. Changes nothing, prints no secret.

use lently_analysis::grouped;
use lently_cache::{Deployment, LinkState, RedisClient, RemoteConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;

use super::{CliError, Terminal, chain, client::ServerClient, print};
use crate::{
    app::{App, init_logging},
    config::{Config, Env},
    report::clean,
};

/// Below this the cache earns less than it should.
const POOR_HIT_RATE: f64 = 50.0;
/// A try would cost a unit of quota, and say nothing of the next minute.
const NOT_TRIED: &str = "set, and not tried";
/// Fewer requests tell nothing.
const ENOUGH_REQUESTS: u64 = 100;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 1 if something fails; warnings are none.\n\nExample:\n  lently doctor --json"
)]
pub(super) struct Args {
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// The running server whose hit rate is looked at [default: the one at LENTLY_LISTEN].
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Info,
    Warning,
    Failure,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    detail: String,
    remedy: Option<String>,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &'static str, status: Status, detail: impl Into<String>, remedy: Option<&str>) {
        self.0.push(Check { name, status, detail: detail.into(), remedy: remedy.map(str::to_owned) });
    }
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    let mut checks = Checks::default();
    match Config::from_env(&Env::process()) {
        Err(error) => {
            checks.add("configuration", Status::Failure, error.to_string(), Some("see docs/configuration.md"))
        }
        Ok(config) => look(&mut checks, config, args.server.as_deref()).await?,
    }
    let failed = checks.0.iter().any(|check| check.status == Status::Failure);
    if args.json {
        print(&format!("{}\n", json!({ "ok": !failed, "checks": checks.0 })))?;
    } else {
        for check in &checks.0 {
            print(&line(check, terminal))?;
        }
    }
    if failed { Err(CliError::Told) } else { Ok(()) }
}

fn line(check: &Check, terminal: Terminal) -> String {
    let paint = terminal.paint;
    let mark = match check.status {
        Status::Ok => paint.green("ok  "),
        Status::Info => paint.dim("info"),
        Status::Warning => paint.yellow("warn"),
        Status::Failure => paint.red("FAIL"),
    };
    let remedy = check.remedy.as_ref().map(|remedy| format!("      → {remedy}\n")).unwrap_or_default();
    format!("{mark}  {:<14} {}\n{remedy}", check.name, clean(&check.detail))
}

async fn look(checks: &mut Checks, mut config: Config, server: Option<&str>) -> Result<(), CliError> {
    config.log.filter = "error".to_owned();
    init_logging(&config.log, None);
    if config.warnings.is_empty() {
        checks.add("configuration", Status::Ok, "read", None);
    }
    for warning in &config.warnings {
        checks.add("configuration", Status::Warning, warning.clone(), Some("correct its name or remove it"));
    }
    keys(checks, &config);
    let server = server.map_or_else(|| format!("http://{}", config.listen), str::to_owned);
    let remote = config.cache.remote.clone();
    match App::open_for_command(config).await {
        Err(error) => {
            checks.add("cache", Status::Failure, chain(&error), Some("correct the setting it names"))
        }
        Ok(app) => {
            store(checks, &app).await;
            tier(checks, &app, &remote).await;
            app.close().await;
        }
    }
    hit_rate(checks, &server).await
}

fn keys(checks: &mut Checks, config: &Config) {
    let looks_like_a_key = |key: &SecretString| {
        let key = key.expose_secret();
        key.len() == 39
            && key.starts_with("AIza")
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let real = |url: &url::Url| url.host_str().is_some_and(|host| host.ends_with("googleapis.com"));
    match &config.youtube.api_key {
        None => checks.add(
            "YouTube key",
            Status::Warning,
            "not set: files can be analyzed, videos cannot",
            Some("set YOUTUBE_API_KEY; https://developers.google.com/youtube/registering_an_application"),
        ),
        Some(key) if real(&config.youtube.base_url) && !looks_like_a_key(key) => checks.add(
            "YouTube key",
            Status::Warning,
            "set, and not of the usual form (39 characters that begin with AIza)",
            Some("check that it is whole"),
        ),
        Some(_) => checks.add("YouTube key", Status::Ok, NOT_TRIED, None),
    }
    match &config.gemini {
        None => checks.add("Gemini key", Status::Info, "not set: the local engine judges", None),
        Some(gemini) => {
            checks.add("Gemini key", Status::Ok, format!("{NOT_TRIED}; model {}", gemini.model), None)
        }
    }
    match &config.admin_key {
        None => checks.add("admin key", Status::Info, "not set: the admin routes answer 403", None),
        Some(key) if key.expose_secret().len() < 16 => checks.add(
            "admin key",
            Status::Warning,
            "shorter than 16 characters",
            Some("set a longer ADMIN_API_KEY: openssl rand -hex 32"),
        ),
        Some(_) => checks.add("admin key", Status::Ok, "set", None),
    }
}

async fn store(checks: &mut Checks, app: &App) {
    match app.lently.list(&app.user(), 1, None).await {
        Ok(_) => {
            checks.add("store", Status::Ok, format!("usable, in {}", app.config.data_dir.display()), None)
        }
        Err(error) => checks.add(
            "store",
            Status::Failure,
            chain(&error),
            Some("check DATABASE_URL and the rights of its folder"),
        ),
    }
}

async fn tier(checks: &mut Checks, app: &App, remote: &RemoteConfig) {
    match (remote, app.cache.redis()) {
        (RemoteConfig::Redis(config), Some(redis)) => {
            let health = app.cache.health();
            if health.state != LinkState::Up {
                let why = health.last_error.unwrap_or_else(|| "no answer".to_owned());
                checks.add("Redis", Status::Failure, format!("{} cannot be used: {why}", config.address()),
                    Some("start it, or correct REDIS_*; Lently works without it meanwhile, with its memory alone"));
                return;
            }
            let address = match &config.deployment {
                Deployment::Standalone => config.address(),
                _ => format!("{}, {}", redis.servers().join(", "), config.address()),
            };
            check_redis(checks, redis, &address).await;
        }
        (RemoteConfig::Disk { path, .. }, _) => {
            checks.add("cache", Status::Ok, format!("on disk, in {}", path.display()), None);
        }
        _ => checks.add(
            "cache",
            Status::Warning,
            "memory alone: nothing survives the process",
            Some("unset LENTLY_CACHE_TIER, or set REDIS_HOST"),
        ),
    }
}

/// A value out of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

async fn check_redis(checks: &mut Checks, redis: &RedisClient, address: &str) {
    let server = redis.info("server").await.unwrap_or_default();
    let version = field(&server, "redis_version").unwrap_or("unknown").to_owned();
    match redis.ping().await {
        Ok(took) => checks.add(
            "Redis",
            Status::Ok,
            format!("{address}, version {version}, answers in {:.2} ms", took.as_secs_f64() * 1e3),
            None,
        ),
        Err(error) => checks.add("Redis", Status::Failure, chain(&error), Some("see docs/redis.md")),
    }
    let Ok(memory) = redis.info("memory").await else {
        checks.add(
            "Redis memory",
            Status::Info,
            "INFO is not allowed: memory and eviction were not checked",
            None,
        );
        return;
    };
    let number =
        |name: &str| field(&memory, name).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    match (most, used as f64 / most.max(1) as f64) {
        (0, _) => checks.add(
            "Redis memory",
            Status::Warning,
            format!("{} used, without a limit", mebibytes(used)),
            Some("set maxmemory: without it a cache can take the whole machine"),
        ),
        (most, share) if share > 0.9 => checks.add(
            "Redis memory",
            Status::Warning,
            format!("{} of {} used", mebibytes(used), mebibytes(most)),
            Some("raise maxmemory, or shorten LENTLY_TTL_*_SECONDS"),
        ),
        (most, _) => checks.add(
            "Redis memory",
            Status::Ok,
            format!("{} of {} used", mebibytes(used), mebibytes(most)),
            None,
        ),
    }
    match field(&memory, "maxmemory_policy").unwrap_or("unknown") {
        policy if policy.starts_with("allkeys-") || policy.starts_with("volatile-") => {
            checks.add("Redis eviction", Status::Ok, policy.to_owned(), None);
        }
        policy => checks.add(
            "Redis eviction",
            Status::Warning,
            format!("{policy}: a full Redis refuses to store"),
            Some("set maxmemory-policy allkeys-lru, or volatile-lru if others keep data in it"),
        ),
    }
}

/// The hit rate of a server, if one is running.
async fn hit_rate(checks: &mut Checks, server: &str) -> Result<(), CliError> {
    let Ok(reply) = ServerClient::new(server, None)?.get("/api/cache/stats").await else {
        checks.add("hit rate", Status::Info, format!("no server at {server}: not looked at"), None);
        return Ok(());
    };
    let stats = &reply.body["stats"];
    let (Some(total), Some(rate)) = (stats["total_requests"].as_u64(), stats["hit_rate"].as_f64()) else {
        checks.add(
            "hit rate",
            Status::Info,
            format!("what answers at {server} is not Lently: not looked at"),
            None,
        );
        return Ok(());
    };
    let detail = format!("{rate:.1} % of {} requests at {server}", grouped(total));
    if total < ENOUGH_REQUESTS {
        checks.add("hit rate", Status::Info, format!("{detail}: too few to tell"), None);
    } else if rate >= POOR_HIT_RATE {
        checks.add("hit rate", Status::Ok, detail, None);
    } else {
        checks.add(
            "hit rate",
            Status::Warning,
            format!("{detail}; likely {}", causes(stats)),
            Some(
                "lengthen LENTLY_TTL_*_SECONDS where older answers will do; give Redis more memory; \
             see by_kind in /api/cache/stats for the kind that misses",
            ),
        );
    }
    Ok(())
}

fn causes(stats: &serde_json::Value) -> &'static str {
    let of = |name: &str| stats[name].as_u64().unwrap_or_default();
    if of("errors") > of("total_requests") / 20 {
        "because the remote tier answers errors"
    } else if of("deletes") > of("sets") / 2 {
        "because entries are deleted about as fast as they are stored"
    } else if of("collapsed") > of("misses") / 2 {
        "because many ask for the same new things at once, which costs one fetch each"
    } else {
        "because most is asked for once, or again only after it has expired"
    }
}
