//! What is said of what was done: counted for everyone, and told to whoever listens.

use std::{sync::Arc, time::Duration};

use super::{CacheService, Inner};
use crate::{
    coherence::Notice,
    entry::{Entry, FailureClass, Stored},
    events::{Events, Teller, What},
    policy::Kind,
    redis::Listener,
    stats::Ended,
    tags::tag_of,
};

impl CacheService {
    /// What the cache does from now on, as it happens: for tests and tools. A listener that is too slow misses some and is told
    /// so; no call ever waits for it. Events hold no text of keys, tags or patterns unless
    /// [asked for](Events::with_text).
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.teller.listen()
    }
}

impl Inner {
    /// A request has ended; `took` where it was timed.
    #[inline]
    pub(super) fn ended(
        &self,
        kind: Kind,
        key: &str,
        ended: Ended,
        entry: Option<&Entry>,
        took: Option<Duration>,
    ) {
        self.counters.ended(kind, ended, entry, took);
        self.tell_ended(kind, key, ended);
    }

    /// For a request that is counted already.
    #[inline]
    pub(super) fn tell_ended(&self, kind: Kind, key: &str, ended: Ended) {
        self.teller
            .tell(Some(kind), key, || What::Answered { outcome: ended.labels().0, tier: ended.tier() });
    }

    /// A value that is served is fetched anew behind.
    pub(super) fn refresh_began(&self, kind: Kind, key: &str) {
        self.counters.refresh();
        self.teller.tell(Some(kind), key, || What::RefreshBegan);
    }

    pub(super) fn fetch_began(&self, kind: Kind, key: &str) {
        self.counters.fetch();
        self.teller.tell(Some(kind), key, || What::FetchBegan);
    }

    pub(super) fn was_stored(&self, kind: Kind, key: &str, Stored { memory, remote }: Stored) {
        self.teller.tell(Some(kind), key, || What::Stored { memory, remote });
    }

    /// Well, or with a failure of that class.
    pub(super) fn fetch_ended(
        &self,
        kind: Kind,
        key: &str,
        outcome: Result<(), FailureClass>,
        took: Duration,
    ) {
        self.counters.fetched_in(kind, outcome, took);
        self.teller.tell(Some(kind), key, || What::FetchEnded {
            outcome: outcome.err().map_or("ok", FailureClass::name),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// A listener to notices that tells them after it has heard them.
pub(super) fn telling(
    teller: Arc<Teller>,
    listener: impl Fn(Notice<'_>) + Send + Sync + 'static,
) -> Listener {
    Arc::new(move |notice| {
        listener(notice);
        match notice {
            Notice::Changed(key) => match tag_of(key) {
                Some(tag) => teller.tell_plainly(Some(tag), What::Changed),
                None => teller.tell(None, key, || What::Changed),
            },
            Notice::Armed => teller.tell_plainly(None, What::NoticesBegan),
            Notice::Lost => teller.tell_plainly(None, What::NoticesLost),
            Notice::Flushed => teller.tell_plainly(None, What::Flushed),
            Notice::Confirmed(_) | Notice::Leased(_) | Notice::Reachable => {}
        }
    })
}
