//! What callers are promised, held against what they saw. Whatever is excused is excused by a named trouble, by a change of the key, or
//! by the time that bytes take.

use crate::{
    history::{Call, Change, End, Fetch, FetchEnd, Got, History, How, Verb},
    plan::{Act, FETCH_TIMEOUT, Fault, Plan},
    world::NOTICED_WITHIN,
};

/// Times are told in milliseconds, and every timer is late by up to one.
const TICKS: u64 = 5;
/// A packet that is lost is sent again so much later.
const RESENT: u64 = 200;
/// What a node does of a look, a claim and a commit, with a connect between.
const ROUND: u64 = 2_000;
/// So long after a trouble its last traces are gone: late packets, a pause before the next attempt to connect.
const AFTERMATH: u64 = 2_500;

/// All promises that were broken, in words.
pub fn check(plan: &Plan, history: &History) -> Vec<String> {
    let world = World { plan, history, skew: skew(plan) };
    let mut broken = Vec::new();
    world.nobody_is_forgotten(&mut broken);
    world.values_are_of_their_key_and_age(&mut broken);
    world.nothing_old_after_a_change(&mut broken);
    world.one_fetch_at_a_time(&mut broken);
    world.nothing_is_paid_twice(&mut broken);
    world.a_no_is_heeded(&mut broken);
    world.all_agree_at_last(&mut broken);
    broken
}

/// How far apart the clocks may be.
fn skew(plan: &Plan) -> u64 {
    let jump = |act: &Act| match act {
        Act::Fault { fault: Fault::Jump { by, .. } | Fault::ServerJump { by }, .. } => by.unsigned_abs(),
        _ => 0,
    };
    plan.acts.iter().map(|(_, act)| jump(act)).sum()
}

struct World<'a> {
    plan: &'a Plan,
    history: &'a History,
    skew: u64,
}

impl World<'_> {
    /// Every call ends, and within what its waits add up to.
    fn nobody_is_forgotten(&self, broken: &mut Vec<String>) {
        // Others' fetches are waited for, then its own takes as long; a caller who asks again waits once more.
        let longest = 2 * (2 + 1) * FETCH_TIMEOUT + 5 * ROUND;
        for (number, call) in self.history.calls.iter().enumerate() {
            match &call.ended {
                None => broken.push(format!("call {number} never ended")),
                Some((at, _)) if at - call.began > longest => {
                    broken.push(format!("call {number} took {} ms", at - call.began));
                }
                Some(_) => {}
            }
        }
        for (number, change) in self.history.changes.iter().enumerate() {
            let Some(node) = change.node else { continue };
            let tracked = |from, to| !self.history.was_troubled(node, from, to);
            match change.ended {
                Some((at, _)) if at - change.began > 5 * ROUND => {
                    broken.push(format!("change {number} took {} ms", at - change.began));
                }
                Some((at, false))
                    if change.tracking && tracked(change.began.saturating_sub(AFTERMATH), at) =>
                {
                    broken.push(format!("change {number} was not told, and nothing was wrong"));
                }
                None if !self.history.was_lost(node, u64::MAX) => {
                    broken.push(format!("change {number} never ended"))
                }
                _ => {}
            }
        }
    }

    /// A value was fetched for its key, is not older than its policy and its caller allow, and is nobody's whom nothing was to
    /// be fetched for.
    fn values_are_of_their_key_and_age(&self, broken: &mut Vec<String>) {
        let Plan { fresh, stale, retention, .. } = *self.plan;
        for (number, call) in self.history.calls.iter().enumerate() {
            let Some((at, End::Value { fetch, outcome })) = call.ended else { continue };
            let Some(found) = self.history.fetches.get(fetch) else {
                broken.push(format!("call {number} got a value that nobody fetched"));
                continue;
            };
            let Some((brought, FetchEnd::Brought)) = found.ended else {
                broken.push(format!("call {number} got what fetch {fetch} did not bring"));
                continue;
            };
            if found.key != call.key {
                broken.push(format!("call {number} got a value of another key"));
            }
            // Whoever waits may get it a while after it was looked at.
            let age = at.saturating_sub(brought);
            let late = self.skew + ROUND;
            let allowed = match outcome {
                Got::Hit => fresh,
                Got::Stale => fresh + stale,
                Got::StaleIfError => retention + FETCH_TIMEOUT * 2,
                Got::Fetched | Got::Collapsed => fresh,
            };
            if age > allowed + late {
                broken.push(format!("call {number} got fetch {fetch} as {outcome:?}, {age} ms old"));
            }
            if let How::Younger(than) = call.how
                && outcome == Got::Hit
                && age > than + late
            {
                broken
                    .push(format!("call {number} got fetch {fetch}, {age} ms old, and wanted one of {than}"));
            }
            // What another node is just storing counts as anew.
            let storing = if found.node == call.node { 0 } else { ROUND };
            if call.how == How::Anew && brought + TICKS + storing < call.began {
                broken.push(format!(
                    "call {number} wanted it fetched anew and got fetch {fetch}, which had ended"
                ));
            }
        }
        for (number, fetch) in self.history.fetches.iter().enumerate() {
            if fetch.how == How::OnlyCached {
                broken.push(format!("fetch {number} was for a caller who wanted nothing fetched"));
            }
        }
    }

    /// Once a change is acknowledged, its own node serves nothing older, and no other one does that hears of changes, after the
    /// time in which it would notice that it does not.
    fn nothing_old_after_a_change(&self, broken: &mut Vec<String>) {
        for (number, call) in self.history.calls.iter().enumerate() {
            let Some((at, End::Value { fetch, .. })) = call.ended else { continue };
            let Some(got) = self.history.fetches.get(fetch) else { continue };
            for (change_number, change) in self.history.changes.iter().enumerate() {
                let Some((told, true)) = change.ended else { continue };
                if change.key != Some(call.key) || got.version >= change.version {
                    continue;
                }
                let own = change.node == Some(call.node);
                let bound = if own { 0 } else { NOTICED_WITHIN + TICKS };
                if call.began <= told + bound {
                    continue;
                }
                let sound = call.tracking
                    && !self.history.was_troubled(call.node, call.began.saturating_sub(AFTERMATH), at);
                if !(own || sound) {
                    continue;
                }
                if self.was_set_meanwhile(got, change) {
                    continue;
                }
                if change.verb == Verb::ConsoleDelete && !self.was_long_there(got, change) {
                    continue;
                }
                broken.push(format!(
                    "call {number} got fetch {fetch} of version {}, though change {change_number} to version {} was \
                     acknowledged {} ms before it began",
                    got.version,
                    change.version,
                    call.began - told
                ));
            }
        }
    }

    /// Whether a value was being set while the key was being changed: either may come first.
    fn was_set_meanwhile(&self, value: &Fetch, change: &Change) -> bool {
        let set = |other: &&Change| other.verb == Verb::Set && other.version == value.version;
        let of_key = self.history.changes.iter().filter(|other| other.key == Some(value.key));
        value.by_set && of_key.filter(set).any(|set| set.ended.is_none_or(|(ended, _)| ended >= change.began))
    }

    /// Whether a value lay there when somebody deleted it at the console, which forbids nothing to those who are about to
    /// store one.
    fn was_long_there(&self, fetch: &Fetch, change: &Change) -> bool {
        let calm = |from| !self.history.was_troubled(fetch.node, from, change.began);
        fetch
            .ended
            .is_some_and(|(ended, _)| ended + ROUND < change.began && calm(ended.saturating_sub(AFTERMATH)))
    }

    /// While a fetch is under way nobody begins another one for the same key, on any node.
    fn one_fetch_at_a_time(&self, broken: &mut Vec<String>) {
        for (number, first) in self.by_upstream() {
            let first_ended = first.ended.map_or(u64::MAX, |(ended, _)| ended);
            for (other, second) in self.by_upstream().filter(|(other, _)| *other > number) {
                if second.key != first.key || second.began >= first_ended {
                    continue;
                }
                if self.waited_in_vain(first, second) || !self.were_sound(first, second, second.began) {
                    continue;
                }
                broken.push(format!("fetch {other} began while fetch {number} was under way"));
            }
        }
    }

    /// Whether the second may have been begun because the first had taken as long as one may take, or because its caller had
    /// waited for twice as long.
    fn waited_in_vain(&self, first: &Fetch, second: &Fetch) -> bool {
        let waited = |call: &Call, times: u64| {
            call.node == second.node
                && call.key == second.key
                && call.began + times * FETCH_TIMEOUT <= second.began
                && call.began + (times + 1) * FETCH_TIMEOUT + ROUND > second.began
        };
        // The lease is taken a moment before the fetch begins.
        let long = first.began + FETCH_TIMEOUT <= second.began + ROUND / 2;
        self.plan.fetch_after_wait
            && self.history.calls.iter().any(|call| long && waited(call, 1) || waited(call, 2))
    }

    /// What was fetched is not fetched again while it is fresh, by nobody who hears of it.
    fn nothing_is_paid_twice(&self, broken: &mut Vec<String>) {
        let Plan { fresh, refresh_ahead, .. } = *self.plan;
        let fresh = fresh.saturating_sub(refresh_ahead + self.skew + TICKS);
        for (number, first) in self.history.fetches.iter().enumerate() {
            let Some((ended, FetchEnd::Brought)) = first.ended else { continue };
            if first.how == How::NotStored {
                continue;
            }
            for (other, second) in self.by_upstream().filter(|(other, _)| *other > number) {
                if second.key != first.key || second.began <= ended || second.began > ended + fresh {
                    continue;
                }
                if matches!(second.how, How::Anew | How::Younger(_)) {
                    continue;
                }
                if first.by_set && self.acknowledged(first).is_none_or(|at| second.began <= at + self.way()) {
                    continue;
                }
                if self.is_said_to_be_gone(first, ended, second.began) {
                    continue;
                }
                if !self.were_sound(first, second, second.began) {
                    continue;
                }
                // Its node may have died with it.
                if self.history.was_lost(first.node, ended + self.way()) {
                    continue;
                }
                // It may have been on its way to Redis when the other looked there.
                if second.began <= ended + self.way() && first.node != second.node {
                    continue;
                }
                broken.push(format!("fetch {other} paid again for what fetch {number} had brought"));
            }
        }
    }

    /// The longest that a value, the notice of it and an answer are under way where nothing is wrong: there, back and there, each time
    /// with a packet that is sent again.
    fn way(&self) -> u64 {
        3 * (self.plan.latency + RESENT) + TICKS
    }

    /// Whether the upstream has said since that there is no such thing.
    fn is_said_to_be_gone(&self, fetch: &Fetch, from: u64, to: u64) -> bool {
        self.by_upstream().any(|(_, other)| {
            let said = matches!(other.ended, Some((at, FetchEnd::NotFound)) if at >= from);
            other.key == fetch.key && said && other.began <= to
        })
    }

    /// When a caller who set a value was told that Redis has it.
    fn acknowledged(&self, set: &Fetch) -> Option<u64> {
        let its = |change: &&Change| change.verb == Verb::Set && change.version == set.version;
        let of_key = self.history.changes.iter().filter(|change| change.key == Some(set.key));
        of_key.filter(its).find_map(|change| change.ended.and_then(|(at, told)| told.then_some(at)))
    }

    /// While the upstream has said no until a time, nobody asks before it.
    fn a_no_is_heeded(&self, broken: &mut Vec<String>) {
        for (number, first) in self.by_upstream() {
            let Some((ended, FetchEnd::NotBefore(until))) = first.ended else { continue };
            for (other, second) in self.by_upstream().filter(|(other, _)| *other > number) {
                let too_early = second.began > ended + ROUND && second.began + self.skew + TICKS < until;
                if second.key != first.key || !too_early || second.how == How::Anew {
                    continue;
                }
                // One that was begun before by leave of its caller may have brought something since.
                let meanwhile = self.by_upstream().any(|(third, fetch)| {
                    third != number && third != other && fetch.key == first.key && {
                        fetch.ended.is_none_or(|(at, _)| at >= ended) && fetch.began <= second.began
                    }
                });
                if meanwhile || !self.were_sound(first, second, second.began) {
                    continue;
                }
                broken.push(format!("fetch {other} began though fetch {number} said not before {until}"));
            }
        }
    }

    /// Where two nodes could know of each other, and the key was not changed between.
    fn were_sound(&self, first: &Fetch, second: &Fetch, until: u64) -> bool {
        let from = first.began.saturating_sub(AFTERMATH);
        first.tracking
            && second.tracking
            && !self.history.was_troubled(first.node, from, until)
            && !self.history.was_troubled(second.node, from, until)
            && !self.history.was_changed_but_by(first, first.began.saturating_sub(ROUND), until)
    }

    fn by_upstream(&self) -> impl Iterator<Item = (usize, &Fetch)> {
        self.history.fetches.iter().enumerate().filter(|(_, fetch)| !fetch.by_set)
    }

    /// Everything is found again, made good, and the same for all.
    fn all_agree_at_last(&self, broken: &mut Vec<String>) {
        for (node, tracking, owed) in &self.history.at_last {
            if !tracking {
                broken.push(format!("node {node} has not found Redis again"));
            }
            if *owed > 0 {
                broken.push(format!("node {node} still owes Redis {owed} changes"));
            }
        }
        for lease in &self.history.leases_left {
            broken.push(format!("{lease} is held, and nobody fetches"));
        }
        for (key, values) in self.history.left.iter().enumerate() {
            if values.windows(2).any(|pair| pair[0] != pair[1]) {
                broken.push(format!("the nodes do not agree on key {key}: {values:?}"));
            }
        }
    }
}
