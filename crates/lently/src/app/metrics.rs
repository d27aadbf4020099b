//! The numbers for Prometheus. The recorder is one for the process, as the facade wants it; ids are never labels.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::tasks::Tasks;

/// Histograms are drained this often, so that they do not grow between two scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// From a hit in memory (microseconds) to a whole analysis (minutes).
const BUCKETS: [f64; 16] = [
    0.000_001, 0.000_01, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
    60.0, 600.0,
];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// A handle to the process' numbers.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder, or returns the one that is there.
    #[must_use]
    pub fn install() -> Self {
        let handle = RECORDER.get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // Another recorder may have been installed by the program around us; its numbers go there then.
            if ::metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics stays empty");
            }
            handle
        });
        Self { handle: handle.clone() }
    }

    /// The numbers in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    pub(super) fn keep(&self, tasks: &Tasks) {
        let (handle, stop) = (self.handle.clone(), tasks.stop_signal());
        tasks.spawn("metrics upkeep", async move {
            let mut ticks = tokio::time::interval(UPKEEP);
            loop {
                tokio::select! {
                    _ = ticks.tick() => handle.run_upkeep(),
                    () = stop.cancelled() => return,
                }
            }
        });
    }
}
