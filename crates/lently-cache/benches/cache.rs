//! What the cache costs beside its floors and a peer, in one run, as ratios; the same as `lently bench cache`:
//!
//! ```sh
//! cargo bench -p lently-cache                  # starts a redis-server of its own
//! cargo bench -p lently-cache -- 1000000       # with so many keys for the pattern, instead of 100,000
//! ```

use lently_cache::bench;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let keys = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(100_000);
    let measured = bench::run(keys, |next| eprintln!("measuring {next} …")).await;
    for line in measured.unwrap_or_else(|error| panic!("{error}")) {
        println!("{line}");
    }
}
