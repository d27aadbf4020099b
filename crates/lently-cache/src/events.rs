//! What the cache does, told as it happens to tests and tools. Nobody waits for a listener: what one did not hear in time is gone,
//! and it is told how much that was. While nobody listens a call pays for one look at a number.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use crate::{
    clock::Clock,
    entry::Tier,
    policy::Kind,
    repair::debt::{Change, GivenUp},
};

/// So many are kept for a listener that is behind; some 100 KiB, taken when somebody listens for the first time.
const KEPT: usize = 1024;

/// Something that the cache did, or heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// When, by the cache's clock.
    pub at: Timestamp,
    /// The name of the kind, where one is known.
    pub kind: Option<&'static str>,
    /// The [digest](Self::digest_of) of the key, tag or pattern; `None` where there is none.
    pub digest: Option<String>,
    /// The key, tag or pattern itself, for a listener that [asked](Events::with_text).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

impl Event {
    /// By which the events of a key, tag or pattern are known: sixteen hexadecimal digits of its BLAKE3 hash.
    #[must_use]
    pub fn digest_of(text: &str) -> String {
        blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A request ended.
    Answered {
        /// How: `hit`, `stale`, `stale_if_error`, `miss` (nothing was to be fetched), `fetched`, `collapsed`, `remembered`, `failed`.
        outcome: &'static str,
        /// Out of which tier, if out of any.
        tier: Option<Tier>,
    },
    /// A fetch began.
    FetchBegan,
    /// A fetch ended.
    FetchEnded {
        /// `ok`, or the [name](crate::FailureClass::name) of its failure's class.
        outcome: &'static str,
        /// How long it took.
        milliseconds: u64,
    },
    /// A value that is served is to be fetched anew behind.
    RefreshBegan,
    /// A value was to be stored, and by whom it was taken.
    Stored {
        /// The memory tier.
        memory: bool,
        /// The remote tier.
        remote: bool,
    },
    /// A key was deleted.
    Deleted,
    /// A key was expired.
    Expired,
    /// All keys that match a pattern were deleted.
    PatternDeleted {
        /// How many there were.
        keys: u64,
    },
    /// A tag was invalidated.
    TagInvalidated,
    /// A tag was expired.
    TagExpired,
    /// A key or a tag was changed in the remote tier, and no copy of it is in memory any more. By somebody else, mostly: of what a
    /// fetch stores in Redis its own process is told too.
    Changed,
    /// Changes in the remote tier are told from now on.
    NoticesBegan,
    /// Changes in the remote tier are no longer told: copies in memory are doubted shortly.
    NoticesLost,
    /// The remote tier was emptied.
    Flushed,
    /// The remote tier did not take a change, which it is told as soon as it can be.
    Owed {
        /// What is owed to it, of a key, pattern or tag: of two changes of a key, what remains of both.
        change: Change,
    },
    /// It was told a change that was owed to it.
    ToldLate {
        /// Which.
        change: Change,
    },
    /// It is not told a change that was owed to it.
    GivenUp {
        /// Which.
        change: Change,
        /// For what reason.
        why: GivenUp,
    },
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The next event.
    Event(Event),
    /// It was too slow for so many events, which it will not hear.
    Missed(u64),
}

/// What happened since it was made, in the order in which it was told.
///
/// A listener that falls behind by more than 1,024 events hears that it [missed](Heard::Missed) some.
pub struct Events {
    told: broadcast::Receiver<Told>,
    listeners: Arc<AtomicUsize>,
    with_text: bool,
}

impl Events {
    /// With the keys, tags and patterns themselves, which may be somebody's text.
    #[must_use]
    pub fn with_text(mut self) -> Self {
        self.with_text = true;
        self
    }

    /// Waits for the next; `None` when the cache is gone. Dropping the call loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.told.recv().await {
            Ok(told) => Some(Heard::Event(self.event(told))),
            Err(RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next, if there is one already.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.told.try_recv() {
            Ok(told) => Some(Heard::Event(self.event(told))),
            Err(TryRecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    fn event(&self, Told { at, kind, text, what }: Told) -> Event {
        let digest = text.as_deref().map(Event::digest_of);
        Event { at, kind, digest, text: text.filter(|_| self.with_text), what }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Relaxed);
    }
}

/// An event on its way. The digest is the listener's work.
#[derive(Clone)]
struct Told {
    at: Timestamp,
    kind: Option<&'static str>,
    text: Option<Arc<str>>,
    what: What,
}

/// Tells whoever listens.
pub(crate) struct Teller {
    listeners: Arc<AtomicUsize>,
    sender: OnceLock<broadcast::Sender<Told>>,
    kinds: &'static [Kind],
    clock: Clock,
}

impl Teller {
    pub(crate) fn new(kinds: &'static [Kind], clock: Clock) -> Self {
        Self { listeners: Arc::default(), sender: OnceLock::new(), kinds, clock }
    }

    pub(crate) fn listen(&self) -> Events {
        let told = self.sender.get_or_init(|| broadcast::Sender::new(KEPT)).subscribe();
        self.listeners.fetch_add(1, Relaxed);
        Events { told, listeners: self.listeners.clone(), with_text: false }
    }

    /// Of a key, whose kind may be known otherwise than by the key's first word.
    #[inline]
    pub(crate) fn tell(&self, kind: Option<Kind>, key: &str, what: impl FnOnce() -> What) {
        if self.listeners.load(Relaxed) > 0 {
            let kind = kind.or_else(|| self.kind_of(key));
            self.send(kind, Some(key), what());
        }
    }

    /// Of what has no kind: a tag, a pattern, the link.
    pub(crate) fn tell_plainly(&self, text: Option<&str>, what: What) {
        if self.listeners.load(Relaxed) > 0 {
            self.send(None, text, what);
        }
    }

    #[cold]
    fn send(&self, kind: Option<Kind>, text: Option<&str>, what: What) {
        let Some(sender) = self.sender.get() else { return };
        let (kind, text) = (kind.map(|kind| kind.name), text.map(Arc::from));
        // An error says that the last listener has left.
        let _ = sender.send(Told { at: self.clock.now(), kind, text, what });
    }

    fn kind_of(&self, key: &str) -> Option<Kind> {
        let word = key.split_once(':')?.0;
        self.kinds.iter().find(|kind| kind.name == word).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THING: Kind = Kind { name: "thing", schema: 1 };

    fn teller() -> Teller {
        Teller::new(&[THING], Clock::manual(Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        let teller = teller();
        let never = || -> What { panic!("nobody listens") };
        teller.tell(None, "thing:1", never);
        assert!(teller.sender.get().is_none());
        drop(teller.listen());
        teller.tell(None, "thing:1", never);
    }

    #[test]
    fn a_listener_that_is_too_slow_is_told_what_it_missed_and_keeps_nobody_waiting() {
        let teller = teller();
        let (mut slow, mut other) = (teller.listen(), teller.listen());
        for _ in 0..KEPT + 10 {
            teller.tell(None, "thing:1", || What::FetchBegan);
            assert!(matches!(other.try_next(), Some(Heard::Event(_))));
        }
        assert_eq!(slow.try_next(), Some(Heard::Missed(10)));
        assert_eq!(std::iter::from_fn(|| slow.try_next()).count(), KEPT);
    }

    #[test]
    fn text_is_told_to_those_who_ask_for_it_alone() {
        let teller = teller();
        let (mut plain, mut with_text) = (teller.listen(), teller.listen().with_text());
        teller.tell(None, "thing:somebody", || What::Deleted);
        let Some(Heard::Event(event)) = plain.try_next() else { panic!("an event") };
        assert_eq!((event.kind, event.text.as_deref()), (Some("thing"), None));
        assert_eq!(event.digest, Some(Event::digest_of("thing:somebody")));
        let told = serde_json::to_string(&event).expect("JSON");
        assert!(told.contains("\"event\":\"deleted\"") && !told.contains("somebody"), "{told}");
        let Some(Heard::Event(event)) = with_text.try_next() else { panic!("an event") };
        assert_eq!(event.text.as_deref(), Some("thing:somebody"));
    }
}
