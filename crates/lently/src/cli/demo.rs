//! `lently demo`: Lently on loopback with its embedded defaults, against the emulator and its samples: cold, then warm,
//! then for whoever wants to look.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use lently_emulator::{Counts, Data, Emulator, EmulatorConfig, Latency, SAMPLES};
use serde_json::{Value, json};

use super::{
    CliError, Terminal,
    client::{Reply, ServerClient},
    print, tell,
};
use crate::{
    app::{App, init_logging},
    config::{Config, Env},
    http,
};

/// Enough to feel a cold answer; the real services take longer.
const LATENCY: Latency = Latency {
    videos: Duration::from_millis(150),
    comment_threads: Duration::from_millis(350),
    comments: Duration::from_millis(150),
    gemini: Duration::from_millis(1500),
};
const KEY: &str = "demo";
const COMMENTS: u32 = 500;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lently demo\n  lently demo --once")]
pub(super) struct Args {
    /// End after the table instead of serving on.
    #[arg(long)]
    once: bool,
    /// The server's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    let folder = tempfile::tempdir().map_err(|error| CliError::of(&error))?;
    let emulator = Emulator::start(EmulatorConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        data: Data::samples(),
        latency: LATENCY,
        quota_units: 10_000,
        statistics_units: 10_000,
        api_key: Some(KEY.to_owned()),
    })
    .await
    .map_err(|error| CliError::of(&error))?;
    let text = |path: &std::path::Path| path.display().to_string();
    let config = Config::from_env(&Env::from_pairs([
        ("LENTLY_LISTEN", format!("127.0.0.1:{}", args.port)),
        ("LENTLY_DATA_DIR", text(&folder.path().join("data"))),
        ("LENTLY_CACHE_DIR", text(&folder.path().join("cache"))),
        ("LENTLY_LOG", "warn".to_owned()),
        ("YOUTUBE_BASE_URL", emulator.youtube_base_url().to_string()),
        ("YOUTUBE_API_KEY", KEY.to_owned()),
    ]))?;
    init_logging(&config.log, None);
    let listener = http::bind(config.listen).await.map_err(|error| CliError::of(&error))?;
    let address = listener.local_addr().map_err(|error| CliError::of(&error))?;
    let app = App::open(config).await.map_err(|error| CliError::of(&error))?;
    let tasks = app.tasks.clone();
    let serving = http::serve(app, listener);
    let showing = async {
        let shown = present(&format!("http://{address}"), &emulator, terminal, args.once).await;
        // Whatever went wrong, also that nobody reads any more: a server that nobody knows of must not stay.
        if args.once || shown.is_err() {
            tasks.begin_shutdown();
        } else {
            tasks.shutdown_on_signals();
        }
        shown
    };
    let (served, shown) = tokio::join!(serving, showing);
    emulator.stop().await;
    shown?;
    served.map_err(|error| CliError::of(&error))
}

async fn present(address: &str, emulator: &Emulator, terminal: Terminal, once: bool) -> Result<(), CliError> {
    show(&ServerClient::new(address, None)?, emulator, terminal).await?;
    if once { Ok(()) } else { invite(address) }
}

async fn show(client: &ServerClient, emulator: &Emulator, terminal: Terminal) -> Result<(), CliError> {
    let sample = &SAMPLES[0];
    print(&format!(
        "{}\n“{}”: {}.\nA disk cache, SQLite and the local engine, against an emulator of YouTube whose answers take {} ms \
         for metadata and {} ms a page of comments.\n\n",
        terminal.paint.bold("Lently's demo"),
        sample.title,
        sample.what,
        LATENCY.videos.as_millis(),
        LATENCY.comment_threads.as_millis(),
    ))?;
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "cold", "warm", "faster", "units", "tokens", "cache status"]);
    let video = format!("/api/youtube/videos/{}", SAMPLES[1].video_id);
    let comments = format!("/api/youtube/videos/{}/comments?max_comments={COMMENTS}", SAMPLES[1].video_id);
    let analysis = json!({
        "video_url_or_id": format!("https://www.youtube.com/watch?v={}", sample.video_id),
        "max_comments": COMMENTS, "include_replies": true,
    });
    for (name, asked) in [
        ("metadata", Asked::Get(&video)),
        ("comments", Asked::Get(&comments)),
        ("analysis", Asked::Start(&analysis)),
    ] {
        let (cold, spent) = ask(client, emulator, &asked).await?;
        let (warm, again) = ask(client, emulator, &asked).await?;
        table.add_row([
            name.to_owned(),
            format!("{:.0} ms", cold.took.as_secs_f64() * 1e3),
            format!("{:.1} ms", warm.took.as_secs_f64() * 1e3),
            format!("{:.0}x", cold.took.as_secs_f64() / warm.took.as_secs_f64().max(1e-6)),
            format!("{} / {}", spent.units, again.units),
            format!("{} / {}", spent.tokens_in + spent.tokens_out, again.tokens_in + again.tokens_out),
            brief(warm.cache_status()),
        ]);
        if warm.status != 200 {
            return Err(CliError::Failed(format!(
                "{name}: the server answered {}: {}",
                warm.status,
                warm.problem()
            )));
        }
        if matches!(asked, Asked::Start(_)) {
            tell_result(&warm.body)?;
        }
    }
    for column in 1..=5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    print(&format!(
        "{}\nUnits of YouTube's quota, and tokens of Gemini's: cold / warm.\n",
        table.trim_fmt()
    ))?;
    for place in [3, 4] {
        let body = json!({ "video_url_or_id": SAMPLES[place].video_id });
        let (reply, spent) = ask(client, emulator, &Asked::Start(&body)).await?;
        print(&format!(
            "{} ({}): {} {}; {} unit{}\n",
            SAMPLES[place].video_id,
            SAMPLES[place].what,
            reply.status,
            reply.problem(),
            spent.units,
            if spent.units == 1 { "" } else { "s" },
        ))?;
    }
    let stats = client.get("/api/cache/stats").await?.expect_ok()?;
    print(&format!(
        "cache: {} hits, {} misses, {} stored, hit rate {}\n",
        stats["stats"]["hits"],
        stats["stats"]["misses"],
        stats["stats"]["sets"],
        stats["stats"]["hit_rate_str"].as_str().unwrap_or_default(),
    ))
}

enum Asked<'a> {
    Get(&'a str),
    Start(&'a Value),
}

/// Asks, and tells what that cost upstream.
async fn ask(
    client: &ServerClient,
    emulator: &Emulator,
    asked: &Asked<'_>,
) -> Result<(Reply, Counts), CliError> {
    emulator.reset_counts();
    let reply = match asked {
        Asked::Get(path) => client.get(path).await?,
        Asked::Start(body) => client.start(body).await?,
    };
    Ok((reply, emulator.counts()))
}

fn tell_result(analysis: &Value) -> Result<(), CliError> {
    let summary = analysis["report"]["summary"].as_str().unwrap_or_default();
    print(&format!("{}\n\n", crate::report::clean(summary)))
}

/// `Cache-Status` without the words that every row would repeat.
fn brief(cache_status: &str) -> String {
    cache_status.trim_start_matches("Lently; ").replace("detail=", "")
}

fn invite(address: &str) -> Result<(), CliError> {
    print(&format!("\nLook at it: {address}/\n"))?;
    tell(&format!(
        "  curl -s {address}/api/cache/stats\n  curl -s {address}/api/youtube/videos/{}\n  \
         curl -s -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d '{{\"video_url_or_id\":\"{}\"}}' \
         {address}/api/analysis/start\nServing until Ctrl-C.",
        SAMPLES[0].video_id, SAMPLES[2].video_id
    ));
    Ok(())
}
