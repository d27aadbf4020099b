//! `lently cache`: look into the cache or change it, the local one or a server's.

mod explained;
mod warm;

use lently_cache::{Lookup, Pattern, PatternReport};
use lently_service::{EntryKind, keys::CacheKeys};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use url::form_urlencoded::byte_serialize;

use super::{CliError, Terminal, client::ServerClient, configured, print, print_bytes, tell};
use crate::{app::App, config::Config};

const EXAMPLES: &str = "\
Examples:
  lently cache stats
  lently cache stats --server http://127.0.0.1:8000
  lently cache explain video:dQw4w9WgXcQ
  lently cache pattern 'comments:*' --dry-run
  lently cache delete video:dQw4w9WgXcQ
  lently cache warm dQw4w9WgXcQ
  lently cache warm --channel @googledevelopers --newest 5 --analyze --budget 200 --dry-run
  lently cache warm --most-asked 50 --budget 1000
  lently cache flush --yes

With --server, all but stats needs ADMIN_API_KEY.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A running server, instead of the cache that this machine's configuration names.
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Hits and misses of a server; what lies in the local cache, by kind.
    Stats,
    /// Print the value of a key, as it is stored.
    Get {
        /// Such as `video:dQw4w9WgXcQ`; without the prefix.
        key: String,
    },
    /// Tell what each tier holds of a key, and what the next request for it does and why; fetch nothing.
    Explain {
        /// Such as `video:dQw4w9WgXcQ`; without the prefix.
        key: String,
    },
    /// Delete one key.
    Delete {
        /// Such as `video:dQw4w9WgXcQ`; without the prefix.
        key: String,
    },
    /// Delete every key that matches a glob: * ? [a-c] and \ before a character that stands for itself.
    Pattern {
        /// Such as `comments:*`; without the prefix.
        pattern: Pattern,
        /// Tell what would be deleted and what refilling costs; delete nothing.
        #[arg(long)]
        dry_run: bool,
        /// Needed for a pattern that matches everything.
        #[arg(long)]
        yes: bool,
    },
    /// Fetch metadata and comments of videos ahead of being asked for, within a budget.
    Warm(warm::Args),
    /// Delete all of Lently's keys, and no one else's.
    Flush {
        /// Needed: this cannot be undone.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    let config = configured(true)?;
    check(&args.what)?;
    let told = match &args.server {
        Some(server) => at_server(&ServerClient::new(server, config.admin_key.clone())?, &args.what).await?,
        None => here(config, &args.what, terminal).await?,
    };
    let show = |facts: &Value| if args.json { format!("{facts}\n") } else { lines(facts, 0) };
    match told {
        Told::Value(bytes) => print_bytes(&bytes),
        Told::Facts(facts) => print(&show(&facts)),
        Told::Explained(facts) if !args.json => print(&explained::lines(&facts)),
        Told::Explained(facts) => print(&show(&facts)),
        Told::Warmed(facts) if !args.json => print(&warm::lines(&facts)),
        Told::Warmed(facts) => print(&show(&facts)),
        Told::WarmedInPart(facts) => {
            let shown = if args.json { show(&facts) } else { warm::lines(&facts) };
            print(&shown).and(Err(CliError::Told))
        }
    }
}

/// What came of a command.
enum Told {
    Facts(Value),
    /// What is held of a key.
    Explained(Value),
    /// What came of a warming, or what would.
    Warmed(Value),
    /// What came of a warming in which some failed: those have been told.
    WarmedInPart(Value),
    Value(Vec<u8>),
}

/// Refuses what is no key of ours, with an empty prefix it could be another's, and what empties the cache unless it is
/// meant.
fn check(what: &What) -> Result<(), CliError> {
    let broad = match what {
        What::Get { key } | What::Explain { key } | What::Delete { key } => return kind_of(key).map(|_| ()),
        What::Flush { yes } => !yes,
        What::Pattern { pattern, dry_run, yes } => pattern.matches_everything() && !dry_run && !yes,
        What::Warm(args) => return args.check(),
        What::Stats => false,
    };
    if broad {
        Err(CliError::Usage("this empties the whole cache; add --yes if it is meant".to_owned()))
    } else {
        Ok(())
    }
}

fn kind_of(key: &str) -> Result<EntryKind, CliError> {
    EntryKind::of_key(key).ok_or_else(|| {
        CliError::Usage(format!("{key} is no key of Lently's; they begin with one of {}", names()))
    })
}

async fn here(config: Config, what: &What, terminal: Terminal) -> Result<Told, CliError> {
    let app = App::open_for_command(config).await.map_err(|error| CliError::of(&error))?;
    let told = change(&app, what, terminal).await;
    app.close().await;
    told
}

async fn change(app: &App, what: &What, terminal: Terminal) -> Result<Told, CliError> {
    let cache = &app.cache;
    let failed = |error: lently_cache::CacheError| CliError::of(&error);
    let facts = match what {
        What::Stats => {
            let mut kinds = serde_json::Map::new();
            for kind in EntryKind::ALL {
                let pattern =
                    Pattern::parse(&CacheKeys::kind_pattern(kind)).map_err(|error| CliError::of(&error))?;
                let report = cache.measure_pattern(&pattern).await.map_err(failed)?;
                kinds.insert(kind.name().to_owned(), json!({ "keys": report.keys, "bytes": report.bytes }));
            }
            tell("hits and misses are a running server's: lently cache stats --server URL");
            json!({ "remote": cache.health().remote, "kinds": kinds })
        }
        What::Get { key } => {
            let (Lookup::Fresh(entry) | Lookup::Stale(entry)) = cache.get(kind_of(key)?.kind(), key).await
            else {
                return Err(CliError::Failed(format!("there is no value for {key}")));
            };
            let left = entry.ttl_seconds(app.clock.now());
            return Ok(found(entry.tier.name(), left, &entry.value));
        }
        What::Explain { key } => {
            let policy = app.config.ttl.policy(kind_of(key)?);
            let explained = cache.explain(key, &policy).await.map_err(failed)?;
            let facts = serde_json::to_value(explained).map_err(|error| CliError::of(&error))?;
            return Ok(Told::Explained(facts));
        }
        What::Delete { key } => {
            let pattern = Pattern::parse(&Pattern::escape(key)).map_err(|error| CliError::of(&error))?;
            invalidate(app, &pattern).await?
        }
        What::Pattern { pattern, dry_run: true, .. } => {
            let measure = app.lently.analyses().measure_pattern(pattern).await;
            let measure = measure.map_err(|error| CliError::of(&error))?;
            let mut facts = dry_run(pattern, measure.report);
            facts["expired"] = measure.expired.into();
            facts
        }
        What::Pattern { pattern, .. } => invalidate(app, pattern).await?,
        What::Warm(args) => return args.here(app, terminal).await,
        What::Flush { .. } => json!({ "deleted": cache.flush_all().await.map_err(failed)? }),
    };
    Ok(Told::Facts(facts))
}

/// As the server does it: analyses that are in the store alone are made anew, too.
async fn invalidate(app: &App, pattern: &Pattern) -> Result<Value, CliError> {
    let done = app.lently.analyses().invalidate_pattern(pattern).await;
    let done = done.map_err(|error| CliError::of(&error))?;
    Ok(json!({ "deleted": done.deleted, "expired": done.expired }))
}

/// A value for standard output, and where it was for people.
fn found(tier: &str, ttl_seconds: i64, value: &[u8]) -> Told {
    let tier = crate::report::clean(tier);
    tell(&if ttl_seconds < 0 {
        format!("from {tier}, stale for {} s", ttl_seconds.unsigned_abs())
    } else {
        format!("from {tier}, fresh for {ttl_seconds} s more")
    });
    Told::Value([value, b"\n"].concat())
}

fn names() -> String {
    EntryKind::ALL.map(|kind| format!("{}:", kind.name())).join(", ")
}

fn dry_run(pattern: &Pattern, report: PatternReport) -> Value {
    json!({
        "pattern": pattern.as_str(),
        "keys": report.keys,
        "bytes": report.bytes,
        "refill": {
            "quota_units": report.cost.quota_units,
            "tokens_in": report.cost.tokens_in,
            "tokens_out": report.cost.tokens_out,
            "dollars": report.cost.micro_dollars as f64 / 1e6,
            "seconds": report.cost.milliseconds as f64 / 1e3,
        },
    })
}

/// A value as a server tells it, the value itself untouched.
#[derive(Deserialize)]
struct ServersValue {
    tier: String,
    ttl_seconds: i64,
    value: Box<RawValue>,
}

async fn at_server(client: &ServerClient, what: &What) -> Result<Told, CliError> {
    let query = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let reply = match what {
        What::Stats => client.get("/api/cache/stats").await?,
        What::Get { key } => {
            let path = format!("/api/cache/value?key={}", query(key));
            let value: ServersValue = client.admin(Method::GET, &path, None).await?.parse()?;
            return Ok(found(&value.tier, value.ttl_seconds, value.value.get().as_bytes()));
        }
        What::Explain { key } => {
            let path = format!("/api/cache/explain?key={}", query(key));
            let mut facts = client.admin(Method::GET, &path, None).await?.expect_ok()?;
            if let Some(facts) = facts.as_object_mut() {
                facts.remove("success");
            }
            return Ok(Told::Explained(facts));
        }
        What::Delete { key } => {
            let path = format!("/api/cache/pattern?pattern={}", query(&Pattern::escape(key)));
            client.admin(Method::DELETE, &path, None).await?
        }
        What::Pattern { pattern, dry_run, yes } => {
            let confirm = if *yes { "&confirm=CONFIRM_FLUSH" } else { "" };
            let path =
                format!("/api/cache/pattern?pattern={}&dry_run={dry_run}{confirm}", query(pattern.as_str()));
            client.admin(Method::DELETE, &path, None).await?
        }
        What::Warm(args) => {
            let reply = client.admin(Method::POST, "/api/cache/warm", Some(&args.body())).await?;
            return Ok(warm::told(reply.expect_ok()?));
        }
        What::Flush { .. } => {
            client.admin(Method::DELETE, "/api/cache/all?confirm=CONFIRM_FLUSH", None).await?
        }
    };
    Ok(Told::Facts(reply.expect_ok()?))
}

/// Facts for people: one a line, what is inside indented.
fn lines(facts: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match facts {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match value {
                Value::Object(_) => format!("{indent}{name}\n{}", lines(value, depth + 1)),
                Value::String(text) => format!("{indent}{name:<16} {}\n", crate::report::clean(text)),
                Value::Array(items) => {
                    format!(
                        "{indent}{name}\n{}",
                        items.iter().map(|item| lines(item, depth + 1)).collect::<String>()
                    )
                }
                value => format!("{indent}{name:<16} {value}\n"),
            })
            .collect(),
        value => format!("{indent}{value}\n"),
    }
}
