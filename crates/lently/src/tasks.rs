//! What runs behind the requests: one tracker, a signal to drain and a signal to stop. It hands them down; nothing in
//! the program spawns outside of it.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks of one [`App`](crate::app::App). Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Tasks {
    /// The tracker, for those who spawn tasks of their own.
    #[must_use]
    pub fn tracker(&self) -> TaskTracker {
        self.tracker.clone()
    }

    /// Fires when no new work is taken; what runs goes on.
    #[must_use]
    pub fn drain_signal(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Fires when what runs is to end.
    #[must_use]
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a task that [`end`](Self::end) waits for. `name` is what the log calls it.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tracker.spawn(async move {
            tracing::trace!(task = name, "task begins");
            let output = task.await;
            tracing::trace!(task = name, "task ended");
            output
        })
    }

    /// Asks for the shutdown: the server stops accepting and finishes what it has. Returns at once.
    pub fn begin_shutdown(&self) {
        self.drain.cancel();
    }

    /// Whether the shutdown has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Asks for the shutdown when the process gets SIGINT or SIGTERM.
    pub fn shutdown_on_signals(&self) {
        let tasks = self.clone();
        self.spawn("signals", async move {
            tokio::select! {
                () = signaled() => {
                    tracing::info!("signal received, shutting down");
                    tasks.begin_shutdown();
                }
                () = tasks.drain.cancelled() => {}
            }
        });
    }

    /// Tells everything to end and waits for it, at most so long; whether it ended.
    pub async fn end(&self, at_most: Duration) -> bool {
        self.drain.cancel();
        self.stop.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(at_most, self.tracker.wait()).await.is_ok();
        if !ended {
            tracing::warn!(tasks = self.tracker.len(), "tasks did not end in time and are abandoned");
        }
        ended
    }
}

#[cfg(unix)]
async fn signaled() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn signaled() {
    let _ = tokio::signal::ctrl_c().await;
}
