//! Reads of one server that are asked for at the same moment go out together: one round trip for many callers, who know nothing of
//! each other. A read that has the server to itself goes out at once and alone.
//!
//! Nobody waits for company: what is gathered goes out as soon as the runtime has let everyone else have a turn who was ready
//! to run. A caller that leaves takes nothing with it, for what is gathered goes out on a task of its own.

use std::{
    mem::take,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures::future::join_all;
use redis::Value;
use tokio::{sync::oneshot, task::yield_now};

use super::{
    link::Lane,
    node::{Node, Refused},
};
use crate::error::CacheError;

/// So many reads may be under way alone before others are gathered. A server that nobody else reads from is asked without a detour.
const ALONE: usize = 1;
/// So many reads go out in one round trip; more would keep the first answer back for the sake of the last.
const TOGETHER: usize = 32;

/// What a server answered to a read.
pub(super) enum Told {
    Value(Option<Bytes>),
    Refused(CacheError),
    /// Something that is to be sorted, or followed elsewhere, by asking for the key by itself.
    Unclear,
}

#[derive(Default)]
pub(super) struct Reads {
    alone: AtomicUsize,
    gathered: Mutex<Vec<Waiting>>,
}

/// A caller and its full key.
struct Waiting {
    key: String,
    told: oneshot::Sender<Told>,
}

/// A read that goes out alone, until it is dropped.
pub(super) struct Alone<'a>(&'a Reads);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.alone.fetch_sub(1, Relaxed);
    }
}

impl Reads {
    /// The right to go out alone, where that is as good.
    pub(super) fn alone(&self) -> Option<Alone<'_>> {
        let one_more = |alone| (alone < ALONE).then_some(alone + 1);
        self.alone.fetch_update(Relaxed, Relaxed, one_more).ok().map(|_| Alone(self))
    }
}

/// The command that reads a full key.
pub(super) fn get(key: &str) -> redis::Cmd {
    const GET: &str = "GET";
    let mut get = redis::Cmd::with_capacity(2, GET.len() + key.len());
    get.arg(GET).arg(key);
    get
}

impl Node {
    /// Reads a full key together with whoever else reads from this server.
    pub(super) async fn read_together(self: &Arc<Self>, key: String) -> Told {
        let (told, answer) = oneshot::channel();
        let is_first = {
            let mut gathered = self.reads.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.push(Waiting { key, told });
            gathered.len() == 1
        };
        if is_first {
            self.tasks.spawn(self.clone().read_gathered());
        }
        // Only a runtime that ends drops what was gathered.
        answer.await.unwrap_or(Told::Unclear)
    }

    async fn read_gathered(self: Arc<Self>) {
        yield_now().await;
        let mut gathered = take(&mut *self.reads.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        let mut round_trips = Vec::with_capacity(gathered.len().div_ceil(TOGETHER));
        while !gathered.is_empty() {
            let rest = gathered.split_off(gathered.len().min(TOGETHER));
            round_trips.push(self.read_at_once(std::mem::replace(&mut gathered, rest)));
        }
        join_all(round_trips).await;
    }

    async fn read_at_once(&self, mut gathered: Vec<Waiting>) {
        gathered.retain(|waiting| !waiting.told.is_closed());
        if gathered.is_empty() {
            return;
        }
        let mut pipe = redis::Pipeline::with_capacity(gathered.len());
        pipe.ignore_errors();
        for Waiting { key, .. } in &gathered {
            pipe.add_command(get(key));
        }
        let answers: Result<Vec<Value>, Refused> = self.send(Lane::Any, (&pipe).into()).await;
        match answers {
            Ok(answers) => {
                for (waiting, answer) in gathered.into_iter().zip(answers) {
                    let _ = waiting.told.send(match answer {
                        Value::BulkString(bytes) => Told::Value(Some(bytes.into())),
                        Value::Nil => Told::Value(None),
                        _ => Told::Unclear,
                    });
                }
            }
            Err(Refused::For(error)) => {
                for waiting in gathered {
                    let _ = waiting.told.send(Told::Refused(error.clone()));
                }
            }
            // Of a round trip as a whole it says nothing about any key.
            Err(Refused::Elsewhere(_)) => {}
        }
    }
}
