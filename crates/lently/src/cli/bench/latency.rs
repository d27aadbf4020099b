//! `lently bench latency`: the server over HTTP against an emulator as slow as the real services, miss beside hit.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use lently_cache::RemoteConfig;
use lently_emulator::{Data, Emulator, EmulatorConfig, SAMPLES};
use serde::Serialize;
use serde_json::{Value, json};

use super::SERVICES_LATENCY;
use crate::cli::{
    CliError, Terminal,
    client::{Reply, ServerClient},
    configured, print, tell,
};
use crate::{app::App, http};

const KEY: &str = "bench";
const HITS: usize = 200;

/// One line of the result.
#[derive(Debug, Serialize)]
struct Measured {
    what: &'static str,
    miss_ms: f64,
    hit_ms_median: f64,
    hit_ms_p99: f64,
    ratio: f64,
    target: f64,
    /// Of this kind after start, start: exactly one each.
    hits: u64,
    misses: u64,
    units: u64,
    met: bool,
}

pub(super) async fn run(json: bool, terminal: Terminal) -> Result<(), CliError> {
    let folder = tempfile::tempdir().map_err(|error| CliError::of(&error))?;
    let emulator = Emulator::start(EmulatorConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        data: Data::samples(),
        latency: SERVICES_LATENCY,
        quota_units: 10_000,
        statistics_units: 10_000,
        api_key: Some(KEY.to_owned()),
    })
    .await
    .map_err(|error| CliError::of(&error))?;
    let mut config = configured(true)?;
    config.listen = ([127, 0, 0, 1], 0).into();
    config.data_dir = folder.path().join("data");
    config.cache_dir = folder.path().join("cache");
    config.database_url = format!("sqlite:{}", config.data_dir.join("lently.db").display()).into();
    // A prefix of its own: whatever else is in that Redis is neither read nor deleted.
    config.cache.key_prefix = format!("lently-bench-{}:", std::process::id());
    let tier = match &mut config.cache.remote {
        RemoteConfig::Redis(_) => "redis",
        other => {
            *other = RemoteConfig::Disk { path: config.cache_dir.join("cache.db"), max_bytes: 1 << 30 };
            "disk"
        }
    };
    config.youtube.base_url = emulator.youtube_base_url();
    config.youtube.api_key = Some(KEY.into());
    let gemini = lently_upstream::GeminiConfig::new(KEY.into());
    config.gemini = Some(lently_upstream::GeminiConfig { base_url: emulator.gemini_base_url(), ..gemini });
    let listener = http::bind(config.listen).await.map_err(|error| CliError::of(&error))?;
    let address = listener.local_addr().map_err(|error| CliError::of(&error))?;
    let app = App::open(config).await.map_err(|error| CliError::of(&error))?;
    let (tasks, cache) = (app.tasks.clone(), app.cache.clone());
    let measuring = async {
        let client = ServerClient::new(&format!("http://{address}"), None)?;
        let measured = measure(&client, &emulator).await;
        // The keys lie in a Redis that is not ours alone.
        let _ = cache.flush_all().await;
        tasks.begin_shutdown();
        measured
    };
    let (served, measured) = tokio::join!(http::serve(app, listener), measuring);
    emulator.stop().await;
    let measured = measured?;
    served.map_err(|error| CliError::of(&error))?;
    show(&measured, tier, json, terminal)?;
    super::judge(measured.iter().all(|line| line.met))
}

async fn measure(client: &ServerClient, emulator: &Emulator) -> Result<Vec<Measured>, CliError> {
    let metadata = format!("/api/youtube/videos/{}", SAMPLES[1].video_id);
    let comments = format!("/api/youtube/videos/{}/comments?max_comments=100", SAMPLES[2].video_id);
    let analysis = json!({ "video_url_or_id": SAMPLES[0].video_id, "max_comments": 100, "engine": "gemini" });
    Ok(vec![
        line(client, emulator, "metadata", "video", 100.0, &Asked::Get(&metadata)).await?,
        line(client, emulator, "comments", "comments", 50.0, &Asked::Get(&comments)).await?,
        line(client, emulator, "analysis", "analysis", 100.0, &Asked::Start(&analysis)).await?,
    ])
}

enum Asked<'a> {
    Get(&'a str),
    Start(&'a Value),
}

async fn ask(client: &ServerClient, asked: &Asked<'_>) -> Result<Reply, CliError> {
    let reply = match asked {
        Asked::Get(path) => client.get(path).await?,
        Asked::Start(body) => client.start(body).await?,
    };
    if reply.status == 200 {
        return Ok(reply);
    }
    Err(CliError::Failed(format!("the server answered {}: {}", reply.status, reply.problem())))
}

async fn counted(client: &ServerClient, kind: &str) -> Result<(u64, u64), CliError> {
    let stats = client.get("/api/cache/stats").await?.expect_ok()?;
    let of = |name: &str| stats["stats"]["by_kind"][kind][name].as_u64().unwrap_or_default();
    Ok((of("hits"), of("misses")))
}

/// Start, start, stats; then many hits.
async fn line(
    client: &ServerClient,
    emulator: &Emulator,
    what: &'static str,
    kind: &str,
    target: f64,
    asked: &Asked<'_>,
) -> Result<Measured, CliError> {
    tell(&format!("measuring {what} …"));
    emulator.reset_counts();
    let (hits_before, misses_before) = counted(client, kind).await?;
    let miss = ask(client, asked).await?;
    let mut took = vec![ask(client, asked).await?.took];
    let (hits, misses) = counted(client, kind).await?;
    let (hits, misses) = (hits - hits_before, misses - misses_before);
    for _ in 1..HITS {
        took.push(ask(client, asked).await?.took);
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    let ratio = miss.took.as_secs_f64() / median.as_secs_f64().max(1e-9);
    let milliseconds = |took: Duration| (took.as_secs_f64() * 1e6).round() / 1e3;
    Ok(Measured {
        what,
        miss_ms: milliseconds(miss.took),
        hit_ms_median: milliseconds(median),
        hit_ms_p99: milliseconds(took[took.len() * 99 / 100]),
        ratio: ratio.round(),
        target,
        hits,
        misses,
        units: emulator.counts().units,
        met: ratio >= target && (hits, misses) == (1, 1),
    })
}

fn show(measured: &[Measured], tier: &str, as_json: bool, terminal: Terminal) -> Result<(), CliError> {
    if as_json {
        return print(&format!("{}\n", json!({ "remote": tier, "measured": measured })));
    }
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "",
        "miss",
        "hit (median)",
        "hit (p99)",
        "faster",
        "target",
        "hits",
        "misses",
        "units",
        "",
    ]);
    for line in measured {
        let verdict = if line.met { terminal.paint.green("met") } else { terminal.paint.red("missed") };
        table.add_row([
            line.what.to_owned(),
            format!("{:.1} ms", line.miss_ms),
            format!("{:.3} ms", line.hit_ms_median),
            format!("{:.3} ms", line.hit_ms_p99),
            format!("{:.0}x", line.ratio),
            format!("{:.0}x", line.target),
            line.hits.to_string(),
            line.misses.to_string(),
            line.units.to_string(),
            verdict,
        ]);
    }
    for column in 1..=8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    print(&format!("over HTTP on loopback, memory in front of {tier}; {HITS} hits each\n{table}\n"))
}
