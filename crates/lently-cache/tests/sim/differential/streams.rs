//! Both servers as the cache's transport.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use lently_cache::{ByteStream, OpenStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::both::Both;
use crate::server::ConnectionId;

/// Both servers, and what is on its way from them.
pub struct Shared {
    pub both: Both,
    waiting: BTreeMap<ConnectionId, Waker>,
    unread: BTreeMap<ConnectionId, Vec<u8>>,
    /// The first difference between them.
    pub difference: Option<String>,
}

/// What opens streams to both.
pub fn open(both: Both) -> (Arc<Mutex<Shared>>, OpenStream) {
    let shared = Shared { both, waiting: BTreeMap::new(), unread: BTreeMap::new(), difference: None };
    let shared = Arc::new(Mutex::new(shared));
    let servers = shared.clone();
    let open: OpenStream = Arc::new(move |_, _| {
        let connection = lock(&servers).both.open();
        lock(&servers).unread.insert(connection, Vec::new());
        let stream: Box<dyn ByteStream> = Box::new(Stream { servers: servers.clone(), connection });
        Box::pin(std::future::ready(Ok(stream)))
    });
    (shared, open)
}

pub fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Stream {
    servers: Arc<Mutex<Shared>>,
    connection: ConnectionId,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.servers);
        let shared = &mut *shared;
        let Some(unread) = shared.unread.get_mut(&self.connection) else { return Poll::Ready(Ok(())) };
        match shared.both.said(self.connection) {
            Some(said) => unread.extend(said),
            None if unread.is_empty() => return Poll::Ready(Ok(())),
            None => {}
        }
        if unread.is_empty() {
            shared.waiting.insert(self.connection, context.waker().clone());
            return Poll::Pending;
        }
        let length = unread.len().min(buffer.remaining());
        buffer.put_slice(&unread[..length]);
        unread.drain(..length);
        Poll::Ready(Ok(()))
    }
}

/// Has a walk over the keys take one step: which keys a step tells is for each server to choose.
fn in_one_step(commands: &[u8]) -> Vec<u8> {
    let (step, all) = (b"COUNT\r\n$3\r\n100\r\n", b"COUNT\r\n$3\r\n999\r\n");
    let mut commands = commands.to_vec();
    let places: Vec<usize> =
        commands.windows(step.len()).enumerate().filter(|(_, part)| part == step).map(|(at, _)| at).collect();
    for at in places {
        commands[at..at + all.len()].copy_from_slice(all);
    }
    commands
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.servers);
        let done = shared.both.send(self.connection, &in_one_step(bytes));
        std::mem::take(&mut shared.waiting).into_values().for_each(Waker::wake);
        if let Err(difference) = done {
            let told = io::Error::other(difference.clone());
            shared.difference.get_or_insert(difference);
            return Poll::Ready(Err(told));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut shared = lock(&self.servers);
        shared.both.close(self.connection);
        shared.unread.remove(&self.connection);
    }
}
