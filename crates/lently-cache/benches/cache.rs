//! What the cache costs beside its floors and a peer, in one run, as ratios; the same as `lently bench cache`:
//!
//! ```sh
//! cargo bench -p lently-cache                  # starts a redis-server of its own
//! cargo bench -p lently-cache -- 1000000       # with so many keys for tag and pattern, instead of 100,000
//! cargo bench -p lently-cache -- "in Redis"    # only what has this in its name
//! ```

use lently_cache::bench;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (mut keys, mut only) = (100_000, None);
    // Cargo puts a `--bench` of its own behind ours.
    for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
        match argument.parse() {
            Ok(number) => keys = number,
            Err(_) => only = Some(argument),
        }
    }
    let measured = bench::run(keys, only.as_deref(), |next| eprintln!("measuring {next} …")).await;
    for line in measured.unwrap_or_else(|error| panic!("{error}")) {
        println!("{line}");
    }
}
