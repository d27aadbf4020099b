//! Checks what the cache promises over a server of your own, or over a disk file without one:
//! `cargo run -p lently-cache --example conformance -- [redis://host:port]`

use std::{error::Error, process::ExitCode};

use lently_cache::{RedisConfig, RemoteConfig, conformance};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let remote = match std::env::args().nth(1) {
        Some(url) => RemoteConfig::Redis(RedisConfig::from_url(&url)?),
        None => RemoteConfig::Disk { path: folder.path().join("cache.sqlite"), max_bytes: 64 << 20 },
    };
    let report = conformance::run(&remote, "conformance:").await;
    for promise in &report.kept {
        println!("kept: {promise}");
    }
    for promise in &report.not_made {
        println!("not made without a server: {promise}");
    }
    print!("{report}");
    Ok(if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
