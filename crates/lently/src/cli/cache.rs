//! `lently cache`: look into the cache or change it, the local one or a server's.

mod explained;

use lently_cache::{Controls, Lookup, Pattern, PatternReport};
use lently_service::{CommentsRequest, EntryKind, Payer, UserPlan, keys::CacheKeys};
use lently_upstream::{CommentOrder, VideoRef};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use url::form_urlencoded::byte_serialize;

use super::{CliError, chain, client::ServerClient, configured, print, print_bytes, tell};
use crate::{app::App, config::Config};

const EXAMPLES: &str = "\
Examples:
  lently cache stats
  lently cache stats --server http://127.0.0.1:8000
  lently cache explain video:dQw4w9WgXcQ
  lently cache pattern 'comments:*' --dry-run
  lently cache delete video:dQw4w9WgXcQ
  lently cache warm dQw4w9WgXcQ
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
    /// Fetch metadata and comments of videos ahead of being asked for.
    Warm {
        /// Addresses or ids.
        #[arg(required = true)]
        videos: Vec<VideoRef>,
        /// How many comments of each.
        #[arg(long, default_value_t = 100)]
        max_comments: u32,
    },
    /// Delete all of Lently's keys, and no one else's.
    Flush {
        /// Needed: this cannot be undone.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(args: Args) -> Result<(), CliError> {
    let config = configured(true)?;
    check(&args.what)?;
    let told = match &args.server {
        Some(server) => at_server(&ServerClient::new(server, config.admin_key.clone())?, &args.what).await?,
        None => here(config, &args.what).await?,
    };
    let show = |facts: &Value| if args.json { format!("{facts}\n") } else { lines(facts, 0) };
    match told {
        Told::Value(bytes) => print_bytes(&bytes),
        Told::Facts(facts) => print(&show(&facts)),
        Told::Explained(facts) if !args.json => print(&explained::lines(&facts)),
        Told::Explained(facts) => print(&show(&facts)),
        Told::PartlyDone(facts) => print(&show(&facts)).and(Err(CliError::Told)),
    }
}

/// What came of a command.
enum Told {
    Facts(Value),
    /// What is held of a key.
    Explained(Value),
    /// The facts, of which some are failures: those have been told.
    PartlyDone(Value),
    Value(Vec<u8>),
}

/// Refuses what is no key of ours, with an empty prefix it could be another's, and what empties the cache unless it is
/// meant.
fn check(what: &What) -> Result<(), CliError> {
    let broad = match what {
        What::Get { key } | What::Explain { key } | What::Delete { key } => return kind_of(key).map(|_| ()),
        What::Flush { yes } => !yes,
        What::Pattern { pattern, dry_run, yes } => pattern.matches_everything() && !dry_run && !yes,
        What::Stats | What::Warm { .. } => false,
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

async fn here(config: Config, what: &What) -> Result<Told, CliError> {
    let app = App::open_for_command(config).await.map_err(|error| CliError::of(&error))?;
    let told = change(&app, what).await;
    app.close().await;
    told
}

async fn change(app: &App, what: &What) -> Result<Told, CliError> {
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
        What::Warm { videos, max_comments } => return Ok(warm(app, videos, *max_comments).await),
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

async fn warm(app: &App, videos: &[VideoRef], max_comments: u32) -> Told {
    let (mut warmed, mut failed) = (0, 0);
    let youtube = &app.lently.youtube().paid_by(Payer::warm());
    let ids: Vec<_> = videos.iter().map(|video| video.video_id.clone()).collect();
    let metadata = youtube.get_videos_metadata_cached(&ids, &Controls::DEFAULT).await;
    for (video_id, metadata) in ids.iter().zip(metadata) {
        let request = CommentsRequest {
            video_id: video_id.clone(),
            max_comments,
            order: CommentOrder::Relevance,
            include_replies: false,
        };
        let result = match metadata {
            Ok(_) => youtube
                .fetch_comments_cached(&request, UserPlan::Unlimited, &Controls::DEFAULT)
                .await
                .map(|_| ()),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => warmed += 1,
            Err(error) => {
                failed += 1;
                tell(&format!("lently: {video_id}: {}", chain(&error)));
            }
        }
    }
    let facts = json!({ "warmed": warmed, "failed": failed });
    if failed == 0 { Told::Facts(facts) } else { Told::PartlyDone(facts) }
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
        What::Warm { videos, max_comments } => {
            let ids: Vec<_> = videos.iter().map(|video| &video.video_id).collect();
            let body = json!({ "videos": ids, "max_comments": max_comments });
            client.admin(Method::POST, "/api/cache/warm", Some(&body)).await?
        }
        What::Flush { .. } => {
            client.admin(Method::DELETE, "/api/cache/all?confirm=CONFIRM_FLUSH", None).await?
        }
    };
    let facts = reply.expect_ok()?;
    if facts["success"] != false {
        return Ok(Told::Facts(facts));
    }
    for video in facts["videos"].as_array().into_iter().flatten().filter(|video| video["ok"] == false) {
        let text = |value: &Value| crate::report::clean(value.as_str().unwrap_or("no reason given"));
        tell(&format!("lently: {}: {}", text(&video["video_id"]), text(&video["error"]["message"])));
    }
    Ok(Told::PartlyDone(facts))
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
