//! `lently bench`: what is measured, each thing beside a floor or a peer.

mod cache;
mod latency;

use std::time::Duration;

use lently_emulator::Latency;

use super::{CliError, Terminal};

/// What the real services take (an uncached analysis 15 to 30 s; the promise is made against these figures).
/// Two batches of verdicts side by side, then the summary: 1.5 + 3 + 2 x 5.25 = 15 s for an analysis in all.
pub(super) const SERVICES_LATENCY: Latency = Latency {
    videos: Duration::from_millis(1500),
    comment_threads: Duration::from_millis(3000),
    comments: Duration::from_millis(3000),
    gemini: Duration::from_millis(5250),
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How much faster a hit is than a miss, over HTTP. With Redis where REDIS_* is set, else with a disk cache.
    #[command(
        after_help = "Takes about 20 s. Exit code 1 if a target is missed.\n\nExample:\n  lently bench latency --json"
    )]
    Latency {
        /// One JSON object instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// What the cache alone costs, beside a bare map, moka, redis-rs and redis-benchmark.
    #[command(
        after_help = "Starts a redis-server of its own and touches no other. Takes about two minutes. Exit code 1 if a target is \
                      missed.\n\nExample:\n  lently bench cache --json"
    )]
    Cache {
        /// How many keys are deleted by a pattern.
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
        keys: u64,
        /// One JSON object instead of the table.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    match args.what {
        What::Latency { json } => latency::run(json, terminal).await,
        What::Cache { keys, json } => cache::run(keys, json, terminal).await,
    }
}

fn judge(all_met: bool) -> Result<(), CliError> {
    if all_met { Ok(()) } else { Err(CliError::Failed("a target was missed".to_owned())) }
}
