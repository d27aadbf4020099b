//! What this process knows of a day's spending: the sums of its store, what is not written there yet, what others counted and set aside,
//! and what it has set aside itself. It neither writes nor asks; every number it is told only brings it nearer to the truth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lently_cache::{Amounts, Clock, Holding, Part, Sums, TallyWanted};
use lently_upstream::PacificDay;

use super::lines::OTHERS;
use crate::store::Line;

/// What a process has set aside is free again so long after its last sign of life.
pub(super) const HELD_FOR: Duration = Duration::from_secs(60);
/// Lines that wait for a store that cannot be written; beyond it, they are counted for nobody in particular.
const PENDING_MAX: usize = 10_000;

pub(super) struct Book {
    clock: Clock,
    page: Mutex<Page>,
}

/// A day's page, and what is still to be written of any day.
struct Page {
    day: PacificDay,
    /// What the store has, at least.
    stored: Amounts,
    pending: BTreeMap<Line, u64>,
    held: Amounts,
    /// What others on the same store have told of it: they may be further than what was last read there.
    part: Amounts,
    /// Of all others, as far as heard.
    others: Sums,
    /// Grows with each exchange.
    version: u64,
}

impl Page {
    fn new(day: PacificDay) -> Self {
        Self {
            day,
            stored: Amounts::new(),
            pending: BTreeMap::new(),
            held: Amounts::new(),
            part: Amounts::new(),
            others: Sums::default(),
            version: 0,
        }
    }

    /// A new day begins with nothing; what is to be written of the old one stays to be written.
    fn turn_to(&mut self, day: PacificDay) {
        if self.day != day {
            let (pending, version) = (std::mem::take(&mut self.pending), self.version);
            *self = Self { pending, version, ..Self::new(day) };
        }
    }

    fn sums(&self) -> Sums {
        let (mut sums, mut own) = (self.others.clone(), self.stored.clone());
        raise(&mut own, &self.part);
        add(&mut sums.totals, &own);
        add(&mut sums.totals, &self.unwritten());
        add(&mut sums.held, &self.held);
        sums
    }

    /// What is noted of the day and not written yet.
    fn unwritten(&self) -> Amounts {
        let mut amounts = Amounts::new();
        for (line, amount) in self.pending.iter().filter(|(line, _)| line.day == self.day) {
            *amounts.entry(line.counter.clone()).or_default() += amount;
        }
        amounts
    }
}

/// A part of what is there, set aside until this is dropped.
pub(super) struct Held {
    book: Arc<Book>,
    day: PacificDay,
    counter: String,
    amount: u64,
}

impl Book {
    pub(super) fn new(clock: Clock) -> Self {
        let page = Mutex::new(Page::new(PacificDay::of(clock.now())));
        Self { clock, page }
    }

    /// Today's page. A panic elsewhere leaves plain numbers behind, not broken ones.
    fn page(&self) -> MutexGuard<'_, Page> {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.turn_to(self.today());
        page
    }

    pub(super) fn today(&self) -> PacificDay {
        PacificDay::of(self.clock.now())
    }

    /// Notes an amount of today, which is to be written next.
    pub(super) fn note(&self, user: &str, purpose: &str, amounts: impl IntoIterator<Item = (String, u64)>) {
        let mut page = self.page();
        let day = page.day;
        for (counter, amount) in amounts {
            let line = Line { day, user: user.to_owned(), purpose: purpose.to_owned(), counter };
            let known = page.pending.contains_key(&line) || page.pending.len() < PENDING_MAX;
            let line = if known { line } else { Line { user: OTHERS.to_owned(), ..line } };
            *page.pending.entry(line).or_default() += amount;
        }
    }

    pub(super) fn pending(&self) -> BTreeMap<Line, u64> {
        self.page().pending.clone()
    }

    /// What was `pending` is written, and this is what the store has of a day since, whoever wrote it. Both at once: what is told in
    /// between, without what others wrote there, would hide as much as was just written behind their greater sum.
    pub(super) fn written(&self, lines: &BTreeMap<Line, u64>, day: PacificDay, sums: &Amounts) {
        let mut page = self.page();
        for (line, amount) in lines {
            if let Some(left) = page.pending.get_mut(line) {
                *left = left.saturating_sub(*amount);
            }
        }
        page.pending.retain(|_, amount| *amount > 0);
        if page.day == day {
            raise(&mut page.stored, sums);
        }
    }

    /// What is to be told of today by a process of that name. Counted is what the store has, which is one sum for all who share it; what is
    /// not written yet is told as set aside.
    pub(super) fn to_tell(&self, part: &str, holder: &str) -> (PacificDay, Part, Holding) {
        let mut page = self.page();
        page.version += 1;
        let part = Part { name: part.to_owned(), totals: page.stored.clone() };
        let mut amounts = page.held.clone();
        add(&mut amounts, &page.unwritten());
        let holding = Holding { holder: holder.to_owned(), version: page.version, amounts, lasts: HELD_FOR };
        (page.day, part, holding)
    }

    /// What came of telling it, and of wanting more of a counter. What others have is the sum without this part.
    pub(super) fn heard(&self, day: PacificDay, holding: &Holding, granted: Option<&str>, sums: &Sums) {
        let mut page = self.page();
        if page.day != day {
            return;
        }
        let mut own = holding.amounts.clone();
        if let Some(counter) = granted {
            *own.entry(counter.to_owned()).or_default() += sums.granted;
        }
        page.others.held = less(&sums.held, &own);
        raise(&mut page.part, &sums.part);
        // What others have counted is never less again, also where Redis has forgotten it.
        raise(&mut page.others.totals, &less(&sums.totals, &sums.part));
    }

    /// Everything that is counted of today, and everything that is set aside.
    pub(super) fn view(&self) -> (PacificDay, Sums) {
        let page = self.page();
        (page.day, page.sums())
    }

    /// What is counted and set aside of one counter.
    pub(super) fn taken(&self, counter: &str) -> u64 {
        let (_, sums) = self.view();
        amount(&sums.totals, counter).saturating_add(amount(&sums.held, counter))
    }

    /// Sets aside what was granted.
    pub(super) fn hold(self: &Arc<Self>, day: PacificDay, counter: &str, amount: u64) -> Held {
        let mut page = self.page();
        if page.day == day {
            *page.held.entry(counter.to_owned()).or_default() += amount;
        }
        Held { book: Arc::clone(self), day, counter: counter.to_owned(), amount }
    }

    /// Sets aside what is wanted, as far as what is known here leaves it.
    pub(super) fn hold_below(self: &Arc<Self>, wanted: &TallyWanted) -> Option<Held> {
        let TallyWanted { counter, amount: most, least, limit } = wanted;
        let mut page = self.page();
        let sums = page.sums();
        let taken = amount(&sums.totals, counter).saturating_add(amount(&sums.held, counter));
        let granted = limit.saturating_sub(taken).min(*most);
        if granted == 0 || granted < *least {
            return None;
        }
        *page.held.entry(counter.clone()).or_default() += granted;
        Some(Held { book: Arc::clone(self), day: page.day, counter: counter.clone(), amount: granted })
    }
}

impl Held {
    pub(super) const fn amount(&self) -> u64 {
        self.amount
    }

    /// Takes a part of it out, if there is as much of today.
    pub(super) fn split(&mut self, amount: u64) -> Option<Self> {
        if self.day != self.book.today() || amount > self.amount {
            return None;
        }
        self.amount -= amount;
        Some(Self { book: Arc::clone(&self.book), counter: self.counter.clone(), amount, ..*self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut page = self.book.page();
        if page.day == self.day
            && let Some(held) = page.held.get_mut(&self.counter)
        {
            *held = held.saturating_sub(self.amount);
            page.held.retain(|_, amount| *amount > 0);
        }
    }
}

pub(super) fn amount(amounts: &Amounts, counter: &str) -> u64 {
    amounts.get(counter).copied().unwrap_or_default()
}

fn add(sums: &mut Amounts, more: &Amounts) {
    for (counter, amount) in more {
        let sum = sums.entry(counter.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

/// To the greater of each.
fn raise(amounts: &mut Amounts, to: &Amounts) {
    for (counter, amount) in to {
        let known = amounts.entry(counter.clone()).or_default();
        *known = (*known).max(*amount);
    }
}

fn less(sums: &Amounts, own: &Amounts) -> Amounts {
    sums.iter().map(|(counter, sum)| (counter.clone(), sum.saturating_sub(amount(own, counter)))).collect()
}
