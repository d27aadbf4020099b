//! A TCP proxy on loopback whose wire a test can cut, stall or slow down. It never looks at what it carries.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Carries everything.
    Whole,
    /// Carries everything, each piece later by so much in each direction.
    Slow(Duration),
    /// Takes connections and bytes and delivers nothing; no connection is closed. What it took is lost.
    Stalled,
    /// Closes what is open and whatever is opened.
    Cut,
}

/// A running proxy; it ends with its value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    stop: CancellationToken,
}

impl Proxy {
    /// Begins to carry connections to `target`.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (wire, state) = watch::channel(Wire::Whole);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (inner, token) = (tasks.clone(), stop.clone());
        tasks.spawn(async move {
            token.run_until_cancelled(accept(listener, target, state, inner, &token)).await
        });
        Self { address, wire, stop }
    }

    /// Where to connect instead of to the target.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the wire does, at once, for open connections too.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    wire: watch::Receiver<Wire>,
    tasks: TaskTracker,
    stop: &CancellationToken,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (wire, stop) = (wire.clone(), stop.clone());
        tasks.spawn(async move { stop.run_until_cancelled(carry(client, target, wire)).await });
    }
}

/// One connection, both directions, until either end closes or the wire is cut.
async fn carry(client: TcpStream, target: SocketAddr, wire: watch::Receiver<Wire>) {
    if *wire.borrow() == Wire::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut state = wire.clone();
    tokio::select! {
        () = pump(from_client, to_server, &wire) => {}
        () = pump(from_server, to_client, &wire) => {}
        _ = state.wait_for(|wire| *wire == Wire::Cut) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    wire: &watch::Receiver<Wire>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        let state = *wire.borrow();
        match state {
            Wire::Stalled => continue,
            Wire::Slow(by) => sleep(by).await,
            Wire::Whole | Wire::Cut => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
