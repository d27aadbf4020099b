//! The emulator from outside: through Lently's own clients, which read it as they read the real services.

mod gemini;
mod youtube;

use lently_emulator::{Data, Emulator, EmulatorConfig, Latency};

pub(crate) const KEY: &str = "test-key";

pub(crate) async fn emulator(quota_units: u64) -> Emulator {
    Emulator::start(EmulatorConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        data: Data::samples(),
        latency: Latency::default(),
        quota_units,
        statistics_units: 10_000,
        api_key: Some(KEY.to_owned()),
    })
    .await
    .expect("an emulator")
}
