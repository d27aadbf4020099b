//! Where the log goes: standard error, as text or as JSON lines; beside it traces, if they go anywhere. What is logged is the business of
//! those who log.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, prelude::*};

use super::traces;
use crate::config::{LogConfig, TraceConfig};

/// Sends the log to standard error from now on, and traces to where they are wanted: then on a task, so within a runtime. A second call
/// changes nothing.
pub fn init_logging(config: &LogConfig, traces: Option<&TraceConfig>) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    // The only failure is that a subscriber is there already, and then it stays.
    let Some(traces) = traces else {
        let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let _ = if config.json { builder.json().try_init() } else { builder.with_ansi(ansi).try_init() };
        return;
    };
    let layer = fmt::layer::<Registry>().with_writer(std::io::stderr);
    let layer = if config.json { layer.json().boxed() } else { layer.with_ansi(ansi).boxed() };
    let (spans, built) = traces::build(traces);
    // Each with a filter of its own: what is traced is not what is logged.
    let both = tracing_subscriber::registry().with(layer.with_filter(filter)).with(spans);
    if both.try_init().is_ok() {
        built.start();
    }
}
