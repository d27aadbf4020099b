//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07, read 2026-11-24): the same key with another request
//! is an error. The same key with the same request needs no record of the answer: an analysis has the id that its
//! request derives, so the second request joins or finds the first one's.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::error::Problem;

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// How many keys are remembered; beyond it the oldest go.
const KEYS_MAX: usize = 4_096;
const KEY_BYTES_MAX: usize = 255;

/// The keys of this process.
#[derive(Default)]
pub(super) struct IdempotencyKeys {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: HashMap<String, blake3::Hash>,
    ages: VecDeque<(Timestamp, String)>,
}

/// What the key says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// No key, or a new one.
    First,
    /// The same request again.
    Repeated,
}

impl IdempotencyKeys {
    /// Remembers the key of a request, which `fingerprint` stands for, and tells whether it was there.
    pub fn check(
        &self,
        headers: &HeaderMap,
        user: &str,
        fingerprint: &[u8],
        now: Timestamp,
    ) -> Result<Attempt, Problem> {
        let Some(given) = headers.get("idempotency-key") else { return Ok(Attempt::First) };
        let key = given.to_str().map(|key| key.trim().trim_matches('"')).unwrap_or_default();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let detail = format!("`Idempotency-Key` must be 1 to {KEY_BYTES_MAX} visible characters");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
                .with("field", "Idempotency-Key"));
        }
        let (key, request) = (format!("{user}\n{key}"), blake3::hash(fingerprint));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget_old(now);
        match seen.requests.get(&key) {
            Some(before) if *before == request => Ok(Attempt::Repeated),
            Some(_) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "this `Idempotency-Key` came with another request before; use a new one",
            )),
            None => {
                seen.ages.push_back((now, key.clone()));
                seen.requests.insert(key, request);
                Ok(Attempt::First)
            }
        }
    }
}

impl Seen {
    fn forget_old(&mut self, now: Timestamp) {
        let is_old =
            |at: &Timestamp| Duration::try_from(now.duration_since(*at)).is_ok_and(|age| age > REMEMBERED);
        while self.ages.len() >= KEYS_MAX || self.ages.front().is_some_and(|(at, _)| is_old(at)) {
            if let Some((_, key)) = self.ages.pop_front() {
                self.requests.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_one_request_of_one_user_and_not_forever() {
        let keys = IdempotencyKeys::default();
        let headers = HeaderMap::from_iter([(
            "idempotency-key".parse().expect("a name"),
            "\"k\"".parse().expect("a value"),
        )]);
        let noon: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
        let check = |user: &str, body: &[u8], at| {
            keys.check(&headers, user, body, at).map_err(|problem| problem.code())
        };
        assert_eq!(check("a", b"1", noon), Ok(Attempt::First));
        assert_eq!(check("a", b"1", noon), Ok(Attempt::Repeated));
        assert_eq!(check("a", b"2", noon), Err("idempotency-key-reused"));
        assert_eq!(check("b", b"2", noon), Ok(Attempt::First));
        let later = noon + Duration::from_secs(25 * 3_600);
        assert_eq!(check("a", b"2", later), Ok(Attempt::First));
    }
}
