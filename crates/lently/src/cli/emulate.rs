//! `lently emulate`: YouTube and Gemini on loopback until Ctrl-C.

use std::{path::PathBuf, time::Duration};

use lently_emulator::{Data, Emulator, EmulatorConfig, Latency};

use super::{CliError, print, tell};

const EXAMPLES: &str = "\
Examples:
  lently emulate --port 9090
  lently emulate --data comments.info.json --latency-videos 1500 --latency-comments 3000
  YOUTUBE_BASE_URL=http://127.0.0.1:9090/ YOUTUBE_API_KEY=any lently analyze LentlyEspr1
  curl -s http://127.0.0.1:9090/_emulator/counts
  curl -s -d '{\"kind\":\"unavailable\",\"method\":\"videos\",\"times\":2}' -H 'content-type: application/json' \\
       http://127.0.0.1:9090/_emulator/fault";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A file of comments or a folder of them [default: the samples].
    #[arg(long, value_name = "DIR|FILE")]
    data: Option<PathBuf>,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 9090)]
    port: u16,
    /// Milliseconds that metadata takes.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency_videos: u64,
    /// Milliseconds that a page of comments takes.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency_comments: u64,
    /// Milliseconds that a call of Gemini takes.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency_gemini: u64,
    /// The quota, in units.
    #[arg(long, default_value_t = 10_000, value_name = "UNITS")]
    quota_units: u64,
    /// The key that calls must carry [default: any, or none].
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
}

pub(super) async fn run(args: Args) -> Result<(), CliError> {
    let data = match &args.data {
        None => Data::samples(),
        Some(path) => {
            let path = path.clone();
            let loaded = tokio::task::spawn_blocking(move || Data::load(&path)).await;
            loaded.map_err(|error| CliError::of(&error))?.map_err(|error| CliError::of(&error))?
        }
    };
    let videos = data.list();
    let comments = Duration::from_millis(args.latency_comments);
    let emulator = Emulator::start(EmulatorConfig {
        listen: ([127, 0, 0, 1], args.port).into(),
        data,
        latency: Latency {
            videos: Duration::from_millis(args.latency_videos),
            comment_threads: comments,
            comments,
            gemini: Duration::from_millis(args.latency_gemini),
        },
        quota_units: args.quota_units,
        statistics_units: 10_000,
        api_key: args.api_key,
    })
    .await
    .map_err(|error| CliError::of(&error))?;
    print(&format!("http://{}/\n", emulator.address()))?;
    for (id, title) in videos {
        tell(&format!("  {id}  {}", crate::report::clean(&title)));
    }
    tell(
        "YouTube and Gemini are emulated there; set YOUTUBE_BASE_URL and GEMINI_BASE_URL to it (Ctrl-C stops)",
    );
    if tokio::signal::ctrl_c().await.is_err() {
        return Err(CliError::Failed("cannot wait for Ctrl-C".to_owned()));
    }
    emulator.stop().await;
    Ok(())
}
