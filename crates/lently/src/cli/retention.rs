//! `lently retention`: what is kept of YouTube's and for how long yet; the sweep; erasing by video and by author. Of this machine's
//! configuration or of a server.

use lently_service::Author;
use lently_upstream::VideoRef;
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::{
    CliError,
    client::ServerClient,
    configured, print,
    shown::{table, told},
};
use crate::{app::App, config::Config};

const EXAMPLES: &str = "\
Examples:
  lently retention
  lently retention sweep
  lently retention erase-video dQw4w9WgXcQ --dry-run
  lently retention erase-author @somebody --yes
  lently retention --server http://127.0.0.1:8000      needs ADMIN_API_KEY

Where a server runs, ask it: it knows what it is making at the moment. Each node with a store of its own is asked by itself.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A running server, instead of the store and the cache that this machine's configuration names.
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Tell what is kept, since when, and what is due next.
    Report,
    /// Delete what is beyond its time now; a server does it every hour by itself.
    Sweep,
    /// Erase all that is held of a video: comments, metadata, transcripts, and every analysis of it.
    EraseVideo {
        /// An address or an id.
        video: VideoRef,
        #[command(flatten)]
        how: How,
    },
    /// Erase an author's comments, and every analysis that judges, quotes or names them.
    EraseAuthor {
        /// A channel's id (UC…), or the name exactly as it is shown.
        author: Author,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct How {
    /// Tell what would be erased; erase nothing.
    #[arg(long)]
    dry_run: bool,
    /// Needed: this cannot be undone.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: Args) -> Result<(), CliError> {
    let config = configured(true)?;
    let what = args.what.unwrap_or(What::Report);
    if let What::EraseVideo { how, .. } | What::EraseAuthor { how, .. } = &what
        && !how.dry_run
        && !how.yes
    {
        let message = "this cannot be undone; look first with --dry-run, and add --yes if it is meant";
        return Err(CliError::Usage(message.to_owned()));
    }
    let facts = match &args.server {
        Some(server) => at_server(&ServerClient::new(server, config.admin_key.clone())?, &what).await?,
        None => here(config, &what).await?,
    };
    if args.json {
        return print(&format!("{facts}\n"));
    }
    print(&match what {
        What::Report => report(&facts),
        What::Sweep => swept(&facts),
        What::EraseVideo { .. } | What::EraseAuthor { .. } => erased(&facts),
    })
}

async fn here(config: Config, what: &What) -> Result<Value, CliError> {
    let app = App::open_for_command(config).await.map_err(|error| CliError::of(&error))?;
    let (lently, retention) = (&app.lently, app.lently.retention());
    let facts = match what {
        What::Report => retention.report().await.map(|report| json(&report)),
        What::Sweep => retention.sweep().await.map(|sweep| json(&sweep)),
        What::EraseVideo { video, how } => {
            lently.erase_video(&video.video_id, how.dry_run).await.map(|erasure| json(&erasure))
        }
        What::EraseAuthor { author, how } => {
            lently.erase_author(author, how.dry_run).await.map(|erasure| json(&erasure))
        }
    };
    app.close().await;
    facts.map_err(|error| CliError::of(&error))?
}

fn json(facts: &impl Serialize) -> Result<Value, CliError> {
    serde_json::to_value(facts).map_err(|error| CliError::of(&error))
}

async fn at_server(client: &ServerClient, what: &What) -> Result<Value, CliError> {
    let (method, path) = match what {
        What::Report => (Method::GET, "/api/retention".to_owned()),
        What::Sweep => (Method::POST, "/api/retention/sweep".to_owned()),
        What::EraseVideo { video, how } => {
            (Method::DELETE, format!("/api/retention/video/{}?dry_run={}", video.video_id, how.dry_run))
        }
        What::EraseAuthor { author, how } => {
            let author: String = byte_serialize(author.as_str().as_bytes()).collect();
            (Method::DELETE, format!("/api/retention/author?author={author}&dry_run={}", how.dry_run))
        }
    };
    client.admin(method, &path, None).await?.expect_ok()
}

/// Both ways give the same JSON, and what is shown is read from it.
fn report(facts: &Value) -> String {
    let days = facts["retention_seconds"].as_u64().unwrap_or_default() / 86_400;
    let mut text =
        format!("as of {}: nothing of YouTube's is kept for more than {days} days\n", time(&facts["at"]));
    let store = [
        ("in the store", "part"),
        ("rows", "rows"),
        ("oldest", "oldest_at"),
        ("due next", "next_due_at"),
        ("overdue", "overdue"),
        ("swept", "swept_at"),
        ("deleted then", "deleted"),
        ("so far", "deleted_so_far"),
    ];
    text += &table(&store, &facts["store"], shown);
    let tiers = [
        ("in the tiers", "tier"),
        ("kind", "kind"),
        ("entries", "rows"),
        ("bytes", "bytes"),
        ("oldest", "oldest_at"),
        ("due next", "next_due_at"),
    ];
    text += &table(&tiers, &facts["tiers"], shown);
    if facts["tiers_complete"] != true {
        text += "\nnot all tiers could be asked\n";
    }
    text
}

fn swept(facts: &Value) -> String {
    let parts = facts["store"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = parts.iter().map(|part| counted(&part["part"], &part["deleted"])).collect();
    lines.extend(["memory", "disk"].map(|tier| counted(&Value::from(tier), &facts["tiers"][tier])));
    format!("deleted in {} ms\n{}", told(&facts["took_ms"]), lines.concat())
}

fn erased(facts: &Value) -> String {
    let title = if facts["dry_run"] == true { "would be erased" } else { "erased" };
    let lines =
        ["comments", "entries", "analyses", "running"].map(|what| counted(&Value::from(what), &facts[what]));
    format!("{title}\n{}", lines.concat())
}

fn counted(what: &Value, count: &Value) -> String {
    format!("  {:<12} {}\n", told(what), told(count))
}

fn shown(field: &str, value: &Value) -> String {
    if field.ends_with("_at") { time(value) } else { told(value) }
}

/// To the minute.
fn time(value: &Value) -> String {
    let at = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}
