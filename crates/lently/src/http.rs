//! The HTTP server.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;

use crate::app::App;

/// Why the server could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not loopback.
    #[error("refusing to listen on {0}: without users anyone on the network could spend your quota; set LENTLY_LISTEN to a loopback address such as 127.0.0.1:8000, and put an authenticating proxy in front of it to share it")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[source] std::io::Error),
}

/// Binds the address, if it is loopback.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// All routes over `app`.
pub fn router(app: App) -> Router {
    let _ = app;
    Router::new()
}

/// Serves until `app.tasks.begin_shutdown()`, drains within `config.shutdown` and closes the app.
pub async fn serve(app: App, listener: TcpListener) -> Result<(), ServeError> {
    axum::serve(listener, router(app)).await.map_err(ServeError::Listener)
}
