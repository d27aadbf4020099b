//! Listening, accepting and shutting down. It knows connections and no routes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::routes::router;
use crate::app::App;

/// A client that has not sent its headers by then is cut; so is a connection that was idle for so long.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Request line and headers together; more is answered with 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The system is out of file descriptors, or the like: others need time to close theirs.
const AFTER_ACCEPT_FAILED: Duration = Duration::from_millis(100);

/// Why the server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can be reached from outside of this machine. Configuration helps.
    #[error(
        "refusing to listen on `{0}`: there are no users yet, so whoever reaches the server could read everything and \
         spend your quota; set LENTLY_LISTEN to a loopback address such as 127.0.0.1:8000"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on; most often another process has it.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The listener is not usable.
    #[error("the listener cannot be used")]
    Listener(#[source] std::io::Error),
}

/// Listens on an address, if it is loopback.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    check_loopback(address)?;
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// Serves until [`begin_shutdown`](crate::tasks::Tasks::begin_shutdown) of the app's tasks, then stops accepting,
/// finishes the requests it has, at most for `config.shutdown`, and closes the app.
///
/// Dropping the future closes the listener and leaves open connections to the app's tasks.
pub async fn serve(app: App, listener: TcpListener) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    check_loopback(address)?;
    tracing::info!(address = %address, "listening");
    let graceful = GracefulShutdown::new();
    accept_all(&app, &listener, &graceful).await;
    drop(listener);
    tracing::info!(connections = graceful.count(), "draining");
    if tokio::time::timeout(app.config.shutdown, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests did not end in time and are cut");
    }
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn check_loopback(address: SocketAddr) -> Result<(), ServeError> {
    if address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(ServeError::NotLoopback(address)) }
}

async fn accept_all(app: &App, listener: &TcpListener, graceful: &GracefulShutdown) {
    let service = TowerToHyperService::new(router(app.clone()));
    let slots = Arc::new(Semaphore::new(app.config.http.max_connections));
    let drain = app.tasks.drain_signal();
    loop {
        // A slot first: a connection that is not accepted waits in the system's queue, at no cost to us.
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                tokio::time::sleep(AFTER_ACCEPT_FAILED).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, service.clone()));
        let stop = app.tasks.stop_signal();
        app.tasks.spawn("connection", async move {
            tokio::select! {
                // Broken connections are everyday life on a network.
                result = connection => if let Err(error) = result {
                    tracing::debug!(error = &error as &dyn std::error::Error, "connection ended badly");
                },
                () = stop.cancelled() => {}
            }
            drop(slot);
        });
    }
}

type Service = TowerToHyperService<axum::Router>;

fn connection(stream: TcpStream, service: Service) -> http1::Connection<TokioIo<TcpStream>, Service> {
    // Small answers should not wait for the acknowledgment of the one before; without it they are only slower.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
}
