//! Real Redis processes and a proxy that cuts wires, for Lently's tests.
//!
//! Everything listens on loopback, on a port of its own, and ends with the value that started it, also when the test
//! panics. It is a dev-dependency: what goes wrong here panics with the reason, because a test cannot go on without.

mod proxy;
mod redis;
mod wait;

use std::path::PathBuf;

pub use self::{
    proxy::{Proxy, Wire},
    redis::{ClusterDeployment, RedisOptions, RedisServer, SentinelDeployment, SentinelOptions},
    wait::wait_until,
};

/// The folder of real comments and recorded answers, where `LENTLY_REAL_DATA` names one. Tests that need it pass
/// without it, and say so.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a variable of the tests; no configuration of Lently")]
pub fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("LENTLY_REAL_DATA").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: LENTLY_REAL_DATA names no folder");
    }
    folder
}
