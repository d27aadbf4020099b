//! How old what is served may be while a day's quota runs low: by declared steps of what is left of it. It spends nothing and asks nobody;
//! on the way of an answer it reads a number.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lently_cache::{Allowance, Clock, Kind};
use lently_upstream::Bucket;
use serde::{Serialize, Serializer};

use super::book::{self, Book};
use super::budgets::Budgets;
use super::counters;
use crate::keys::EntryKind;
use crate::ttl::CacheTtl;

/// More steps than anyone means, and a longer life than any retention has.
const STEPS_MAX: usize = 16;
const TIMES_MAX: f64 = 1_000.0;

/// The steps, the widest last.
#[derive(Debug, Clone, PartialEq)]
pub struct FreshnessSteps(Vec<FreshnessStep>);

/// What holds while less than a share of the day's shared units is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreshnessStep {
    /// Percent of the day's shared units.
    pub below_percent: f64,
    /// How old what is served may be.
    pub tolerance: Tolerance,
    /// Whether work that nobody waits for pauses.
    pub pauses: bool,
}

/// How old what is served may be, if it is fetched for nobody in particular.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// So many times its usual time to live.
    Times(f64),
    /// As old as it may be kept.
    Retention,
}

impl Default for FreshnessSteps {
    /// Twice as old below a quarter, four times below a tenth, whatever there is below a fiftieth.
    fn default() -> Self {
        let step = |below_percent, tolerance, pauses| FreshnessStep { below_percent, tolerance, pauses };
        Self(vec![
            step(25.0, Tolerance::Times(2.0), false),
            step(10.0, Tolerance::Times(4.0), true),
            step(2.0, Tolerance::Retention, true),
        ])
    }
}

impl FreshnessSteps {
    /// No steps: everything is as fresh as ever until the quota is used up.
    pub const NONE: Self = Self(Vec::new());

    /// The steps in their order.
    pub fn steps(&self) -> &[FreshnessStep] {
        &self.0
    }

    /// Which step holds where so much is left; 0 is none of them.
    fn at(&self, left: u64, limit: u64) -> usize {
        // A thousand million units are exact.
        let is_below = |step: &FreshnessStep| (left as f64) * 100.0 < step.below_percent * (limit as f64);
        let below = self.0.iter().take_while(|step| is_below(step)).count();
        // Of nothing there is no share, and nothing is left of it.
        if limit == 0 { self.0.len() } else { below }
    }

    fn get(&self, number: usize) -> Option<&FreshnessStep> {
        self.0.get(number.checked_sub(1)?)
    }
}

impl fmt::Display for FreshnessSteps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("off");
        }
        for (place, step) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let pause = if step.pauses { ":pause" } else { "" };
            write!(formatter, "{comma}{}:{}{pause}", step.below_percent, step.tolerance)?;
        }
        Ok(())
    }
}

impl FromStr for FreshnessSteps {
    type Err = &'static str;

    /// Reads `25:2,10:4:pause,2:all:pause`: below how many percent, how many times the time to live (or `all` that is kept), and whether
    /// background work pauses. `off` has no steps.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::NONE);
        }
        let steps: Vec<FreshnessStep> = text.split(',').map(step).collect::<Result<_, _>>()?;
        if steps.len() > STEPS_MAX {
            return Err("there are more than 16 steps");
        }
        for pair in steps.windows(2) {
            let [one, next] = pair else { continue };
            if next.below_percent >= one.below_percent {
                return Err("each step is below the one before");
            }
            if next.tolerance.times() < one.tolerance.times() || (one.pauses && !next.pauses) {
                return Err("no step takes back what the one before allows");
            }
        }
        Ok(Self(steps))
    }
}

fn step(text: &str) -> Result<FreshnessStep, &'static str> {
    const WRONG: &str = "a step is a percentage above 0 and up to 100, a colon, and 1 to 1000 or `all`, perhaps with `:pause` behind it";
    let mut parts = text.trim().split(':');
    let (percent, tolerance) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let pauses = match (parts.next(), parts.next()) {
        (None, None) => false,
        (Some("pause"), None) => true,
        _ => return Err(WRONG),
    };
    let number = |text: &str| text.parse::<f64>().ok();
    let below_percent = number(percent).filter(|percent| *percent > 0.0 && *percent <= 100.0).ok_or(WRONG)?;
    let tolerance = match tolerance {
        "all" => Tolerance::Retention,
        times => {
            Tolerance::Times(number(times).filter(|times| (1.0..=TIMES_MAX).contains(times)).ok_or(WRONG)?)
        }
    };
    Ok(FreshnessStep { below_percent, tolerance, pauses })
}

impl Tolerance {
    fn times(self) -> f64 {
        match self {
            Self::Times(times) => times,
            Self::Retention => f64::INFINITY,
        }
    }

    /// For how long what lives so long is served beyond that.
    fn stale_for(self, fresh: Duration) -> Duration {
        match self {
            Self::Times(times) => {
                Duration::try_from_secs_f64(fresh.as_secs_f64() * (times - 1.0)).unwrap_or(Duration::MAX)
            }
            Self::Retention => Duration::MAX,
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => times.fmt(formatter),
            Self::Retention => formatter.write_str("all"),
        }
    }
}

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Times(times) => serializer.serialize_f64(*times),
            Self::Retention => serializer.serialize_str("all"),
        }
    }
}

/// How it stands with freshness, as it is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FreshnessReport {
    /// The step that holds, 0 where none does.
    pub step: usize,
    /// How many there are.
    pub steps: usize,
    /// How many times its usual time to live what is served may be old, or `all` that is kept.
    pub tolerance: Tolerance,
    /// Whether work that nobody waits for pauses.
    pub background_paused: bool,
    /// Since when this node knows of it; since its start or the last change.
    pub since: Timestamp,
    /// When the quota begins anew; `None` where no step holds.
    pub until: Option<Timestamp>,
    /// Why.
    pub why: String,
}

/// Which step holds. Brought up to date by whoever learns what was spent.
pub(super) struct Freshness {
    steps: FreshnessSteps,
    budgets: Budgets,
    ttl: CacheTtl,
    clock: Clock,
    step: AtomicUsize,
    /// The end of the day that the step is of, in milliseconds since 1970.
    until: AtomicI64,
    since: Mutex<Timestamp>,
}

impl Freshness {
    pub(super) fn new(budgets: Budgets, ttl: CacheTtl, clock: Clock) -> Self {
        let since = Mutex::new(clock.now());
        let steps = budgets.freshness.clone();
        Self { steps, budgets, ttl, clock, step: AtomicUsize::new(0), until: AtomicI64::new(i64::MAX), since }
    }

    /// By what is spent of the day, as far as known here. What is set aside may be given back, and does not count.
    pub(super) fn update(&self, book: &Book) {
        // Before the look at the book: an older look must not have the last word.
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (day, sums) = book.view();
        let limit = self.budgets.units(Bucket::Shared);
        let used_up = book::amount(&sums.totals, &counters::used_up(Bucket::Shared)) > 0;
        let spent = book::amount(&sums.totals, &counters::units(Bucket::Shared));
        let left = if used_up { 0 } else { limit.saturating_sub(spent) };
        let step = self.steps.at(left, limit);
        self.until.store(day.end().as_millisecond(), Ordering::Relaxed);
        let before = self.step.swap(step, Ordering::Relaxed);
        if before != step {
            *since = self.clock.now();
            drop(since);
            let tolerance = self.tolerance_of(step);
            tracing::warn!(step, %tolerance, left_units = left, limit_units = limit, "freshness goes by another step");
        }
    }

    /// The step that holds now. A day that is over is not read off it.
    fn step(&self, book: &Book) -> usize {
        let step = self.step.load(Ordering::Relaxed);
        if step > 0 && self.clock.now().as_millisecond() >= self.until.load(Ordering::Relaxed) {
            self.update(book);
            return self.step.load(Ordering::Relaxed);
        }
        step
    }

    fn tolerance_of(&self, step: usize) -> Tolerance {
        self.steps.get(step).map_or(Tolerance::Times(1.0), |step| step.tolerance)
    }

    pub(super) fn is_paused(&self, book: &Book) -> bool {
        self.steps.get(self.step(book)).is_some_and(|step| step.pauses)
    }

    /// For how long what is no longer fresh is served without asking anybody; `None` where no step holds.
    pub(super) fn stale_for(&self, kind: EntryKind, book: &Book) -> Option<Duration> {
        let step = self.steps.get(self.step(book))?;
        Some(step.tolerance.stale_for(self.ttl.fresh(kind)))
    }

    /// Whether the cache may fetch what it still has of a kind.
    pub(super) fn allows(&self, kind: Kind, book: &Book) -> Allowance {
        // Whatever costs units of the shared quota.
        let spared = [EntryKind::Comments, EntryKind::Video, EntryKind::Transcript, EntryKind::Analysis];
        if self.step.load(Ordering::Relaxed) == 0 {
            return Allowance::Refresh;
        }
        let kind = spared.into_iter().find(|spared| spared.name() == kind.name);
        match kind.and_then(|kind| self.stale_for(kind, book)) {
            Some(stale_for) => Allowance::Spare { stale_for },
            None => Allowance::Refresh,
        }
    }

    pub(super) fn report(&self, book: &Book) -> FreshnessReport {
        let step = self.step(book);
        let limit = self.budgets.units(Bucket::Shared);
        let why = match self.steps.get(step) {
            Some(held) => {
                format!("less than {} % of today's {limit} shared units is left", held.below_percent)
            }
            None => "enough of today's shared units is left".to_owned(),
        };
        FreshnessReport {
            step,
            steps: self.steps.steps().len(),
            tolerance: self.tolerance_of(step),
            background_paused: self.is_paused(book),
            since: *self.since.lock().unwrap_or_else(PoisonError::into_inner),
            until: (step > 0).then(|| book.today().end()),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_written_as_they_are_read() {
        let default = FreshnessSteps::default();
        assert_eq!(default.to_string(), "25:2,10:4:pause,2:all:pause");
        for text in ["25:2,10:4:pause,2:all:pause", "off", "50:1.5", "100:all:pause"] {
            assert_eq!(text.parse::<FreshnessSteps>().expect(text).to_string(), text);
        }
        for wrong in [
            "",
            "25",
            "25:",
            ":2",
            "0:2",
            "101:2",
            "NaN:2",
            "25:0.5",
            "25:1001",
            "25:2:stop",
            "25:2:pause:x",
            "25:2,25:4",
            "10:2,25:4",
            "25:4,10:2",
            "25:all,10:4",
            "25:2:pause,10:4",
            "25:2,",
        ] {
            wrong.parse::<FreshnessSteps>().expect_err(wrong);
        }
    }

    #[test]
    fn a_step_holds_below_its_share_and_not_at_it() {
        let steps = FreshnessSteps::default();
        for (left, step) in [(1_000, 0), (250, 0), (249, 1), (100, 1), (99, 2), (20, 2), (19, 3), (0, 3)] {
            assert_eq!(steps.at(left, 1_000), step, "{left}");
        }
        assert_eq!((steps.at(0, 0), FreshnessSteps::NONE.at(0, 0)), (3, 0), "of nothing, nothing is left");
    }
}
