//! `explain`: what is held of a key, and what would be done for the next caller. It looks as a caller does and changes
//! nothing: no memory is filled, nothing counted as a request, nothing fetched.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    CacheService, Inner,
    asking::{self, is_due_ahead},
    check_key,
    wish::Wish,
};
use crate::{
    budget::Allowance,
    clock::between,
    entry::{Entry, FailureClass, FetchError, Tier},
    envelope::Decoded,
    error::CacheError,
    explain::{
        Explanation, FailureReport, FlightState, LeaseReport, NextReport, NextStep, OwedReport, TagReport,
        TagState, TierReport, TierState, ValueReport,
    },
    failure::{self, Failures},
    memory::Found,
    policy::{Controls, Policy},
    remote::Remote,
    repair::debt::Change,
    tags::{Tagged, Verdict},
};

impl CacheService {
    /// What the tiers hold of `key`, who is at work on it, and what [`get_or_set`](Self::get_or_set) by this policy would do now,
    /// and why. It tells no byte of any value, changes nothing and counts as no request.
    ///
    /// For people and tests: it reads the remote tier each time, and what it tells may be over when it is read.
    ///
    /// # Errors
    /// A key or a tag that cannot be used. That the remote tier cannot be asked is no error but told.
    pub async fn explain(&self, key: &str, policy: &Policy) -> Result<Explanation, CacheError> {
        check_key(key).and_then(|()| policy.tags.check()).map_err(CacheError::BadKey)?;
        let inner = &*self.0;
        let now = inner.clock.now();
        let flight = inner.flight_state(key).await;
        let (lease, told) = inner.lease_of(key).await;
        let here = failure_in(&inner.failures, key, now);
        let mine = inner.in_memory(key, here.as_ref(), now).await;
        let mut theirs = inner.in_remote(key, policy, told.as_ref(), now).await;
        let resting = failure_in(&inner.resting, key, now);
        let owed = inner.owed_of(key, &mine, theirs.as_ref(), now);
        if let Some(theirs) = &mut theirs {
            theirs.be_told(&owed, now);
        }
        let next = inner.next(Case {
            key,
            policy,
            mine: &mine,
            theirs: theirs.as_ref(),
            flight,
            lease: &lease,
            failure: here.or(told),
            resting: resting.as_ref(),
            now,
        });
        let has_value =
            [Some(&mine), theirs.as_ref()].into_iter().flatten().any(|seen| seen.unjudged.is_some());
        let near = if has_value { Vec::new() } else { inner.near(key, now).await };
        let tiers = [inner.memory.is_on().then_some(mine.report), theirs.map(|seen| seen.report)];
        Ok(Explanation {
            key: key.to_owned(),
            kind: policy.kind.name,
            at: now,
            tiers: tiers.into_iter().flatten().collect(),
            lease,
            flight,
            resting: resting.map(|failure| failure.report()),
            owed,
            next,
            near,
        })
    }
}

/// What was seen in a tier.
struct Seen {
    report: TierReport,
    /// What may be served of it, as its tags let it.
    entry: Option<Entry>,
    /// The same before its tags were asked.
    unjudged: Option<Entry>,
    /// How a caller would take what memory has.
    belief: Belief,
}

impl Seen {
    /// Whoever reads the tier tells it first what it is owed, or does without it. That takes away, or makes stale; a value that is owed is
    /// found before.
    fn be_told(&mut self, owed: &[OwedReport], now: Timestamp) {
        let any = |changes: &[Change]| owed.iter().any(|owed| changes.contains(&owed.change));
        if any(&[Change::Delete, Change::DeletePattern]) {
            self.entry = None;
        } else if any(&[Change::Expire]) {
            self.entry = self.entry.take().map(|entry| entry.expired(now));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// It is served at once.
    Believed,
    /// It is served at once as its tags let it.
    Judged,
    /// It is served where the remote tier cannot be asked.
    Doubted,
    /// It is served unless the remote tier has a newer one.
    Unwritten,
    /// It is not looked at.
    Ignored,
}

/// A failure that is remembered, and for how long.
struct Remembered {
    error: FetchError,
    left: Duration,
}

impl Remembered {
    fn report(&self) -> FailureReport {
        FailureReport { class: self.error.class().name(), left_ms: milliseconds(self.left) }
    }
}

/// All that decides on what is done next.
struct Case<'a> {
    key: &'a str,
    policy: &'a Policy,
    mine: &'a Seen,
    theirs: Option<&'a Seen>,
    flight: FlightState,
    lease: &'a LeaseReport,
    failure: Option<Remembered>,
    resting: Option<&'a Remembered>,
    now: Timestamp,
}

impl Inner {
    async fn flight_state(&self, key: &str) -> FlightState {
        match self.flights.look(key) {
            None => FlightState::None,
            Some(flight) if self.is_outdated(&flight).await => FlightState::Outdated,
            Some(flight) if flight.is_fetching() => FlightState::Fetching,
            Some(_) => FlightState::Looking,
        }
    }

    /// The lease, or the failure in its place.
    async fn lease_of(&self, key: &str) -> (LeaseReport, Option<Remembered>) {
        let Remote::Redis(redis) = &self.remote else { return (LeaseReport::NotUsed, None) };
        let (held, left) = match redis.leased(key).await {
            Ok(Some(leased)) => leased,
            Ok(None) if redis.may_script(key) => return (LeaseReport::Free, None),
            Ok(None) => return (LeaseReport::NotUsed, None),
            Err(_) => return (LeaseReport::Unknown, None),
        };
        match held.first() {
            Some(b'L') => {
                let token = String::from_utf8_lossy(&held);
                let owner = token.trim_start_matches('L').split('-').next().unwrap_or_default().to_owned();
                let here = self.tokens.drew(&token);
                (LeaseReport::Held { here, owner, left_ms: milliseconds(left) }, None)
            }
            Some(b'F') => {
                // Another version's words are as none: whoever reads them fetches.
                let failure = failure::decode(&held[1..]).map(|error| Remembered { error, left });
                (LeaseReport::Failed, failure)
            }
            _ => (LeaseReport::Forbidden, None),
        }
    }

    /// What Redis was not told of the key, and of the tags of what there is.
    fn owed_of(&self, key: &str, mine: &Seen, theirs: Option<&Seen>, now: Timestamp) -> Vec<OwedReport> {
        let values = [Some(mine), theirs].into_iter().flatten().filter_map(|seen| seen.report.value.as_ref());
        let mut tags: Vec<Arc<str>> =
            values.flat_map(|value| &value.tags).map(|report| Arc::from(report.tag.as_str())).collect();
        tags.sort_unstable();
        tags.dedup();
        let owed = self.repairs.owed_of(key, &tags, now).into_iter().map(|owed| OwedReport {
            change: owed.change,
            by: owed.by.map(|by| by.to_string()),
            bytes: owed.bytes,
            age_ms: milliseconds(owed.age),
            attempts: owed.attempts,
        });
        owed.collect()
    }

    async fn in_memory(&self, key: &str, failure: Option<&Remembered>, now: Timestamp) -> Seen {
        let (entry, belief) = match self.memory.peek(key, now) {
            Found::Trusted(entry) => (entry, Belief::Believed),
            Found::Doubtful(entry) => (entry, Belief::Doubted),
            Found::Unwritten(entry) => (entry, Belief::Unwritten),
            Found::Outdated(entry) if self.remote.tier().is_none() => (entry, Belief::Judged),
            Found::Outdated(entry) => (entry, Belief::Ignored),
            Found::Expired => return empty(Tier::Memory, TierState::Expired, 0, failure),
            Found::Absent => {
                let absent = empty(Tier::Memory, TierState::Absent, 0, failure);
                let owed = self.repairs.value(key).filter(|entry| now < entry.retain_until);
                let Some(owed) = owed else { return absent };
                // Memory has it no longer; a caller is given it all the same, as its tags let it.
                let owed = self.seen(owed, 0, Belief::Unwritten, failure, now).await;
                return Seen { report: absent.report, ..owed };
            }
        };
        let bytes = entry.value.len() as u64;
        self.seen(entry, bytes, belief, failure, now).await
    }

    async fn in_remote(
        &self,
        key: &str,
        policy: &Policy,
        failure: Option<&Remembered>,
        now: Timestamp,
    ) -> Option<Seen> {
        let tier = self.remote.tier()?;
        let stored = match self.remote.get(key).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Some(empty(tier, TierState::Absent, 0, failure)),
            Err(CacheError::WrongType) => return Some(empty(tier, TierState::Unreadable, 0, failure)),
            Err(_) => return Some(empty(tier, TierState::Unknown, 0, failure)),
        };
        let bytes = stored.len() as u64;
        Some(match self.decode(stored, policy.kind, tier, key, Some(policy.fresh)).await {
            Decoded::Entry(entry) => self.seen(entry, bytes, Belief::Judged, failure, now).await,
            Decoded::Expired => empty(tier, TierState::Expired, bytes, failure),
            Decoded::Unreadable => empty(tier, TierState::Unreadable, bytes, failure),
            Decoded::Absent => empty(tier, TierState::Absent, bytes, failure),
        })
    }

    /// An entry as its tags let it be served.
    async fn seen(
        &self,
        mut entry: Entry,
        bytes: u64,
        belief: Belief,
        failure: Option<&Remembered>,
        now: Timestamp,
    ) -> Seen {
        let unjudged = Some(entry.clone());
        let mut tags = Vec::new();
        for (tag, version) in entry.clone().tagged.versions() {
            let state = match self.judge_tags(&Tagged::read([(Arc::from(tag), version)])).await {
                Ok(Verdict::Valid(_)) => TagState::Current,
                Ok(Verdict::Expired(_, at)) => {
                    entry = entry.expired(at);
                    TagState::Expired
                }
                Ok(Verdict::Invalid) => TagState::Outdated,
                Err(_) => TagState::Unknown,
            };
            tags.push(TagReport { tag: tag.to_owned(), state });
        }
        let any = |state| tags.iter().any(|tag| tag.state == state);
        let state = if any(TagState::Outdated) {
            TierState::Invalidated
        } else if any(TagState::Unknown) {
            TierState::Unknown
        } else if entry.is_fresh(now) {
            TierState::Fresh
        } else {
            TierState::Stale
        };
        let value = ValueReport {
            age_seconds: entry.age(now).as_secs(),
            ttl_seconds: entry.ttl_seconds(now),
            stale_left_seconds: between(now, entry.stale_until).as_secs(),
            retention_left_seconds: between(now, entry.retain_until).as_secs(),
            cost: entry.cost,
            etag: entry.etag.to_string(),
            tags,
            believed: matches!(belief, Belief::Believed | Belief::Judged),
        };
        let report = TierReport {
            tier: entry.tier,
            state,
            bytes,
            value: Some(value),
            failure: failure.map(Remembered::report),
        };
        Seen { report, entry: state.is_served().then_some(entry), unjudged, belief }
    }

    /// What `get_or_set` would do, in the order in which it does.
    fn next(&self, case: Case<'_>) -> NextReport {
        let at_once = match case.mine.belief {
            Belief::Believed => case.mine.unjudged.as_ref(),
            Belief::Judged => case.mine.entry.as_ref(),
            Belief::Doubted | Belief::Unwritten | Belief::Ignored => None,
        };
        let flies = !matches!(case.flight, FlightState::None | FlightState::Outdated);
        let step = |step, why: &str| NextReport { step, tier: None, why: why.to_owned() };
        if let Some(next) = at_once.and_then(|entry| self.next_with(entry, &case, flies)) {
            return next;
        }
        if flies {
            return step(NextStep::Join, "this process is at work on it; whoever comes waits for the same");
        }
        let found = found(&case);
        if let Some(next) = found.and_then(|entry| self.next_with(entry, &case, false)) {
            return next;
        }
        let nothing = match found {
            Some(_) => "what there is is too old to be served before it is fetched anew",
            None if case.theirs.is_some_and(|theirs| theirs.report.state.is_served()) => {
                "what there is was deleted, which Redis was not told yet"
            }
            None => nothing(case.theirs.unwrap_or(case.mine).report.state),
        };
        if let Some(Remembered { error, left }) = &case.failure {
            let wish = Wish::of(&Controls::DEFAULT, case.now);
            let serves =
                |entry: &&Entry| error.excuses_a_stale_value() && wish.takes_after_failure(entry, case.now);
            let class = error.class().name();
            let why =
                format!("{nothing}; that fetching it failed ({class}) is remembered for {left:.1?} more");
            return match found.filter(serves) {
                Some(entry) => NextReport { step: NextStep::ServeStale, tier: Some(entry.tier), why },
                None => NextReport { step: NextStep::Fail, tier: None, why },
            };
        }
        match case.lease {
            LeaseReport::Held { here: false, owner, .. } => {
                step(NextStep::Wait, &format!("{nothing}; process {owner} is fetching it"))
            }
            _ => step(NextStep::Fetch, nothing),
        }
    }

    /// What would be done with an entry that may be served; `None` if it will not do.
    fn next_with(&self, entry: &Entry, case: &Case<'_>, flies: bool) -> Option<NextReport> {
        let Case { key, policy, now, .. } = *case;
        let wish = Wish::of(&Controls::DEFAULT, now);
        let tier = entry.tier;
        let ttl = entry.ttl_seconds(now);
        let (step, why) = match self.judge(&wish, entry, policy, now) {
            asking::Verdict::Fresh if self.is_to_be_refreshed_ahead(key, entry, policy, now) => {
                let told = format!("{tier} has it, fresh for {ttl} s more, and its end is near");
                self.refresh(case, flies, NextStep::Serve, NextStep::ServeAndRefresh, told)
            }
            asking::Verdict::Fresh => {
                let due = if is_due_ahead(entry, policy, now) {
                    "; it may not be fetched anew for now"
                } else {
                    ""
                };
                (NextStep::Serve, format!("{tier} has it, fresh for {ttl} s more{due}"))
            }
            asking::Verdict::Stale(Allowance::Spare { .. }) => (
                NextStep::ServeStale,
                format!("{tier} has it, stale for {} s; the budget spares it", ttl.unsigned_abs()),
            ),
            asking::Verdict::Stale(Allowance::Refresh) => {
                let told =
                    format!("{tier} has it, stale for {} s, which the policy allows", ttl.unsigned_abs());
                self.refresh(case, flies, NextStep::ServeStale, NextStep::ServeStaleAndRefresh, told)
            }
            asking::Verdict::No => return None,
        };
        Some(NextReport { step, tier: Some(tier), why })
    }

    /// Whether an entry that is served is fetched anew behind.
    fn refresh(
        &self,
        case: &Case<'_>,
        flies: bool,
        alone: NextStep,
        anew: NextStep,
        told: String,
    ) -> (NextStep, String) {
        let failed = case.resting.or(case.failure.as_ref());
        match failed {
            Some(Remembered { error, left }) => {
                let class = error.class().name();
                (alone, format!("{told}; fetching it anew failed ({class}) and rests for {left:.1?} more"))
            }
            None if flies => (alone, format!("{told}; this process is fetching it anew")),
            None => match case.lease {
                LeaseReport::Held { here: false, owner, .. } => {
                    (alone, format!("{told}; process {owner} is fetching it anew"))
                }
                _ => (anew, format!("{told}; it is fetched anew behind")),
            },
        }
    }
}

/// What a look into the tiers would bring, if memory does not answer at once.
fn found<'a>(case: &Case<'a>) -> Option<&'a Entry> {
    let mine = case.mine;
    let Some(theirs) = case.theirs else { return mine.entry.as_ref() };
    if theirs.report.state == TierState::Unknown && theirs.report.value.is_none() {
        return mine.unjudged.as_ref().filter(|_| mine.belief != Belief::Ignored);
    }
    let unwritten = mine.entry.as_ref().filter(|_| mine.belief == Belief::Unwritten);
    match (unwritten, &theirs.entry) {
        (Some(mine), Some(theirs)) if theirs.fetched_at > mine.fetched_at => Some(theirs),
        (Some(mine), _) => Some(mine),
        (None, theirs) => theirs.as_ref(),
    }
}

/// Why there is nothing to serve.
fn nothing(state: TierState) -> &'static str {
    match state {
        TierState::Invalidated => "a tag of what there is was invalidated",
        TierState::Expired => "the retention of what there is is over",
        TierState::Unreadable => "what there is cannot be read",
        TierState::Unknown => "the remote tier cannot be asked",
        _ => "no tier has a value",
    }
}

fn failure_in(failures: &Failures, key: &str, now: Timestamp) -> Option<Remembered> {
    failures.peek(key, now).map(|(error, left)| Remembered { error, left })
}

/// A tier without a value that may be served.
fn empty(tier: Tier, state: TierState, bytes: u64, failure: Option<&Remembered>) -> Seen {
    let state = match failure.map(|failure| failure.error.class()) {
        Some(FailureClass::NotFound | FailureClass::Forbidden) if state == TierState::Absent => {
            TierState::Negative
        }
        Some(_) if state == TierState::Absent => TierState::Failed,
        _ => state,
    };
    let report = TierReport { tier, state, bytes, value: None, failure: failure.map(Remembered::report) };
    Seen { report, entry: None, unjudged: None, belief: Belief::Ignored }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
