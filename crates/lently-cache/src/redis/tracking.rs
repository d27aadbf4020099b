//! Hearing of changes: Redis' client tracking in broadcast mode, for our keys, on one connection. It knows the protocol and no
//! cache: whoever listens decides what a notice means.
//!
//! Broadcast mode and not opt-in: the server remembers a prefix and not each key that was read, so its memory does not grow
//! and it never forgets one; reads may go over any connection and cost nothing extra. The price is that a node hears of keys
//! it does not hold, about 60 bytes each. `NOLOOP` keeps a connection's own plain writes from coming back (measured with
//! redis-server 7.0.15: not those made inside of scripts), so all writes go over the tracked connection.
//! Pushes are handled on the connection's own driver, in the order of the wire; an answer to `PING` therefore proves that
//! every notice of a change acknowledged before it was heard.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection};
use tokio::time::Instant;

use super::{gone, lease};
use crate::coherence::Notice;

/// Hears every notice, on the connection's driver: it must neither block nor wait.
pub(crate) type Listener = Arc<dyn Fn(Notice<'_>) + Send + Sync>;

/// What is tracked, and who hears of it.
pub(super) struct Tracking(Arc<Shared>);

struct Shared {
    listener: Listener,
    prefix: String,
    words: Vec<String>,
    /// The number of the connection that is heard; a former one has nothing to say any more.
    heard: AtomicU64,
    armed: AtomicBool,
}

impl Tracking {
    pub(super) fn new(listener: Listener, prefix: &str, words: &[String]) -> Self {
        Self(Arc::new(Shared {
            listener,
            prefix: prefix.to_owned(),
            words: words.to_vec(),
            heard: AtomicU64::new(0),
            armed: AtomicBool::new(false),
        }))
    }

    /// Makes the connection to come the one that is heard; `on_loss` is called when it breaks.
    pub(super) fn prepare(
        &self,
        config: AsyncConnectionConfig,
        on_loss: impl Fn() + Send + Sync + 'static,
    ) -> AsyncConnectionConfig {
        let shared = self.0.clone();
        let number = shared.heard.fetch_add(1, SeqCst) + 1;
        config.set_push_sender(move |push: PushInfo| {
            if shared.heard.load(SeqCst) == number {
                if push.kind == PushKind::Disconnection {
                    on_loss();
                }
                shared.hear(&push);
            }
            Ok::<(), std::convert::Infallible>(())
        })
    }

    /// Switches notices on. False where the server refuses: then nobody is told, and memory is trusted but briefly.
    pub(super) async fn arm(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut command = redis::cmd("CLIENT");
        command.arg("TRACKING").arg("ON").arg("BCAST").arg("NOLOOP");
        if self.0.prefix.is_empty() {
            for word in self.0.words.iter().map(String::as_str).chain([lease::INTERNAL]) {
                command.arg("PREFIX").arg(word);
            }
        } else {
            command.arg("PREFIX").arg(&self.0.prefix);
        }
        let armed = command.query_async::<Value>(connection).await;
        self.0.armed.store(armed.is_ok(), SeqCst);
        (self.0.listener)(if armed.is_ok() { Notice::Armed } else { Notice::Lost });
        armed.map(drop)
    }

    /// A `PING` sent at that moment was answered.
    pub(super) fn confirm(&self, sent_at: Instant) {
        if self.is_armed() {
            (self.0.listener)(Notice::Confirmed(sent_at));
        }
    }

    /// The connections are in use.
    pub(super) fn reachable(&self) {
        (self.0.listener)(Notice::Reachable);
    }

    /// The connection is given up.
    pub(super) fn lose(&self) {
        self.0.heard.fetch_add(1, SeqCst);
        self.0.armed.store(false, SeqCst);
        (self.0.listener)(Notice::Lost);
    }

    pub(super) fn is_armed(&self) -> bool {
        self.0.armed.load(SeqCst)
    }
}

impl Shared {
    fn hear(&self, push: &PushInfo) {
        match push.kind {
            PushKind::Disconnection => {
                self.armed.store(false, SeqCst);
                (self.listener)(Notice::Lost);
            }
            PushKind::Invalidate => match push.data.first() {
                Some(Value::Array(keys)) => keys.iter().for_each(|key| self.changed(key)),
                // The server says so when it was flushed as a whole.
                _ => (self.listener)(Notice::Flushed),
            },
            _ => {}
        }
    }

    fn changed(&self, key: &Value) {
        let Value::BulkString(bytes) = key else { return };
        // A key that is no text is none of ours.
        if let Some(key) = std::str::from_utf8(bytes).ok().and_then(|key| key.strip_prefix(&*self.prefix)) {
            match lease::leased_key(key) {
                Some(leased) => (self.listener)(Notice::Leased(leased)),
                None if gone::is_mark(key) => {}
                None => (self.listener)(Notice::Changed(key)),
            }
        }
    }
}
