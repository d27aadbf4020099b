//! Many servers' notices as one listener hears them. It keeps no key and asks nobody.
//!
//! Memory has one epoch for all of Redis. Where several primaries tell of changes:
//! - a primary that begins to tell, or is lost while others go on, ends the epoch and begins the next: every copy is asked for
//!   once more, whoever has it, and nothing that the lost one may have failed to tell of is believed;
//! - a confirmation is as old as the oldest among those that are heard. A lost one has no say: as nothing can be read from it,
//!   no copy of the new epoch is its own, and it makes nobody else's worthless.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use super::Listener;
use crate::{chance::Hashing, coherence::Notice};

pub(super) struct Chorus {
    listener: Listener,
    voices: Mutex<Voices>,
}

#[derive(Default)]
struct Voices {
    next: u64,
    /// Those that are heard, each with the moment until which it has told everything. None of it is read from before there is one.
    heard: HashMap<u64, Option<Instant>, Hashing>,
}

impl Chorus {
    pub(super) fn new(listener: Listener) -> Arc<Self> {
        Arc::new(Self { listener, voices: Mutex::default() })
    }

    /// What one server's notices are to be told to.
    pub(super) fn voice(self: &Arc<Self>) -> Listener {
        let mut voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        voices.next += 1;
        let (chorus, number) = (self.clone(), voices.next);
        Arc::new(move |notice| chorus.hear(number, notice))
    }

    /// Ends the epoch: a slot changed hands.
    pub(super) fn begin_anew(&self) {
        let voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        if !voices.heard.is_empty() {
            (self.listener)(Notice::Armed);
        }
    }

    /// Told under the lock, so that what one voice begins another does not end out of turn.
    fn hear(&self, number: u64, notice: Notice<'_>) {
        if matches!(notice, Notice::Changed(_) | Notice::Leased(_) | Notice::Reachable) {
            return (self.listener)(notice);
        }
        let mut voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            Notice::Armed => {
                voices.heard.insert(number, None);
                (self.listener)(Notice::Armed);
            }
            Notice::Confirmed(at) => {
                let Some(until) = voices.heard.get_mut(&number) else { return };
                *until = Some(until.map_or(at, |until| until.max(at)));
                if let Some(oldest) = voices.heard.values().flatten().min() {
                    (self.listener)(Notice::Confirmed(*oldest));
                }
            }
            Notice::Lost => {
                if voices.heard.remove(&number).is_some() {
                    (self.listener)(if voices.heard.is_empty() { Notice::Lost } else { Notice::Armed });
                }
            }
            Notice::Flushed | Notice::Changed(_) | Notice::Leased(_) | Notice::Reachable => {
                (self.listener)(notice);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A chorus, and what its listener was told.
    fn chorus() -> (Arc<Chorus>, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        let chorus = Chorus::new(Arc::new(move |notice: Notice<'_>| {
            telling.lock().expect("a list").push(format!("{notice:?}"));
        }));
        (chorus, told)
    }

    fn last(told: &Mutex<Vec<String>>) -> String {
        told.lock().expect("a list").last().cloned().unwrap_or_default()
    }

    #[test]
    fn a_voice_that_is_lost_ends_the_epoch_and_has_no_say_afterwards() {
        let (chorus, told) = chorus();
        let (one, two) = (chorus.voice(), chorus.voice());
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        one(Notice::Armed);
        two(Notice::Armed);
        one(Notice::Confirmed(late));
        assert_eq!(
            last(&told),
            format!("{:?}", Notice::Confirmed(late)),
            "nothing is read from the other yet"
        );
        two(Notice::Confirmed(early));
        assert_eq!(last(&told), format!("{:?}", Notice::Confirmed(early)), "as old as the oldest");
        two(Notice::Lost);
        assert_eq!(last(&told), "Armed", "what was read before is no longer believed");
        one(Notice::Confirmed(late));
        assert_eq!(last(&told), format!("{:?}", Notice::Confirmed(late)), "the lost one holds nobody back");
        two(Notice::Confirmed(early));
        assert_eq!(last(&told), format!("{:?}", Notice::Confirmed(late)), "and is not heard");
        one(Notice::Lost);
        assert_eq!(last(&told), "Lost");
        let before = told.lock().expect("a list").len();
        one(Notice::Lost);
        chorus.begin_anew();
        assert_eq!(told.lock().expect("a list").len(), before, "there is nobody left to lose");
    }
}
