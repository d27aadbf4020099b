//! One server as it is called: within the command timeout, through its breaker, over its link. It sorts what goes wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::{
    dial::Address,
    link::{Lane, Link, LinkState, Status},
    reads::Reads,
};
use crate::{breaker::Breaker, error::CacheError};

/// The code of Redis' answer where a key holds something else than a string.
const WRONG_TYPE: &str = "WRONGTYPE";
/// The same where it has no room for what it is to take.
const FULL: &str = "OOM";
/// The same where it is a replica.
const READ_ONLY: &str = "READONLY";

/// What goes to one server in one go.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    One(&'a Cmd),
    /// Commands that belong together. Each is answered: none is to be ignored.
    Several(&'a Pipeline),
}

impl<'a> From<&'a Cmd> for Request<'a> {
    fn from(command: &'a Cmd) -> Self {
        Self::One(command)
    }
}

impl<'a> From<&'a Pipeline> for Request<'a> {
    fn from(commands: &'a Pipeline) -> Self {
        Self::Several(commands)
    }
}

impl<'a> From<&'a mut Pipeline> for Request<'a> {
    fn from(commands: &'a mut Pipeline) -> Self {
        Self::Several(commands)
    }
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(self, connection: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::Several(commands) => commands.query_async(connection).await,
        }
    }
}

/// Why there is no answer.
pub(super) enum Refused {
    /// There will be none.
    For(CacheError),
    /// Another server of the cluster has it.
    Elsewhere(Redirection),
}

/// Where a cluster says that a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirection {
    /// Another server serves the slot.
    Moved,
    /// The slot is on its way, and the key has arrived there already.
    Ask(Address),
    /// The slot is on its way, and of several keys some have arrived and others have not.
    TryAgain,
}

impl From<Refused> for CacheError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::For(error) => error,
            Refused::Elsewhere(redirection) => {
                let told = match redirection {
                    Redirection::Moved => {
                        "the server is one of a cluster and does not serve the key's slot".to_owned()
                    }
                    Redirection::Ask(to) => format!("the slot is being moved to {to}"),
                    Redirection::TryAgain => "the slot is being moved".to_owned(),
                };
                Self::Remote(told)
            }
        }
    }
}

/// A server with its link and its breaker.
pub(super) struct Node {
    pub link: Arc<Link>,
    pub(super) reads: Reads,
    /// Owns the reads that go out together.
    pub(super) tasks: TaskTracker,
    breaker: Breaker,
    command_timeout: Duration,
    /// Errors that nobody was bothered with, of all servers together.
    swallowed: Arc<AtomicU64>,
}

impl Node {
    pub(super) fn new(
        link: Arc<Link>,
        tasks: TaskTracker,
        command_timeout: Duration,
        swallowed: Arc<AtomicU64>,
    ) -> Self {
        Self { link, reads: Reads::default(), tasks, breaker: Breaker::new(), command_timeout, swallowed }
    }

    /// Makes a call on a live connection within the command timeout, if the server may be asked at all.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        lane: Lane,
        request: Request<'_>,
    ) -> Result<T, Refused> {
        let Some(mut connection) = self.link.connection(lane) else {
            let reason = self.link.status().last_error.unwrap_or_else(|| "not connected yet".to_owned());
            return Err(Refused::For(CacheError::Resting { reason }));
        };
        if !self.breaker.permits(Instant::now) {
            let reason = "Redis failed call after call".to_owned();
            return Err(Refused::For(CacheError::Resting { reason }));
        }
        match timeout(self.command_timeout, request.send(&mut connection)).await {
            Ok(Ok(value)) => {
                self.succeeded();
                Ok(value)
            }
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => {
                let told = format!("no answer within {:?}", self.command_timeout);
                self.swallowed.fetch_add(1, Ordering::Relaxed);
                self.link.suspect(told.clone());
                self.count_towards_the_breaker(&told);
                Err(Refused::For(CacheError::Remote(told)))
            }
        }
    }

    /// The same of a key that is just arriving.
    pub(super) async fn send_asking<T: FromRedisValue>(
        &self,
        lane: Lane,
        command: &Cmd,
    ) -> Result<T, Refused> {
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        self.send::<(T,)>(lane, Request::Several(&both)).await.map(|(answer,)| answer)
    }

    /// What the link is doing, as its breaker lets it be used.
    pub(super) fn status(&self) -> Status {
        let mut status = self.link.status();
        if status.state == LinkState::Up && !self.breaker.is_closed() {
            status.state = LinkState::Resting;
        }
        status
    }

    fn succeeded(&self) {
        if self.breaker.succeeded() {
            tracing::info!("Redis answers again");
        }
    }

    /// Sorts an error: a broken wire suspends the link at once, an error from the server counts towards the breaker (as
    /// does no answer in time), a redirection is none.
    fn failed(&self, error: &RedisError) -> Refused {
        if let Some(redirection) = self.redirection(error) {
            self.succeeded();
            return Refused::Elsewhere(redirection);
        }
        if error.code() == Some(WRONG_TYPE) {
            // Redis is well; somebody else uses the key for something else.
            self.succeeded();
            return Refused::For(CacheError::WrongType);
        }
        let told = error.to_string();
        self.swallowed.fetch_add(1, Ordering::Relaxed);
        if error.code() == Some(FULL) {
            // It reads and deletes as before.
            self.succeeded();
            self.link.note_error(told.clone());
        } else if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
            self.link.suspect(told.clone());
        } else if error.code() == Some(READ_ONLY) {
            // It was the primary, and another one is now.
            self.link.renounce(told.clone());
        } else {
            self.link.note_error(told.clone());
            self.count_towards_the_breaker(&told);
        }
        Refused::For(CacheError::Remote(told))
    }

    fn redirection(&self, error: &RedisError) -> Option<Redirection> {
        Some(match error.code()? {
            "MOVED" => Redirection::Moved,
            "TRYAGAIN" => Redirection::TryAgain,
            "ASK" => {
                let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
                // Servers that do not know their own name leave it out: it is that of the one that answers.
                let host = match host {
                    "" | "?" => self.link.address().map(|address| address.host)?,
                    host => host.to_owned(),
                };
                Redirection::Ask(Address { host, port: port.parse().ok()? })
            }
            _ => return None,
        })
    }

    fn count_towards_the_breaker(&self, told: &str) {
        if self.breaker.failed(Instant::now()) {
            tracing::warn!(error = %told, "Redis fails call after call; going on without it for a while");
        }
    }
}
