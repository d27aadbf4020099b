//! The ledger: what the whole fleet has spent of YouTube's quotas and on Gemini in a Pacific day, who spent it, and how much is left.
//!
//! It is written before anything is sent: first into the store, which keeps it, then into the tally that all nodes share in Redis, out of which
//! nobody can take more than there is. So a crash counts a call too many at most, and none too few, and a Redis that is lost is told
//! again from the store. It knows no upstream's wire and makes no call of its own.

mod book;
mod budgets;
mod counters;
mod freshness;
mod job;
mod lines;
mod report;
mod spend;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use lently_cache::{Allowance, Budget, CacheService, Clock, Cost, Kind, TallyWanted};
use lently_upstream::{Bucket, Expense, Meter, PacificDay, TokenUsage, UpstreamError};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use budgets::{Budgets, Payer, Purpose};
pub use freshness::{FreshnessReport, FreshnessStep, FreshnessSteps, Tolerance};
pub use job::Job;
pub use report::{BucketReport, DollarsReport, LedgerReport, ModelReport, SpenderReport, UserReport};

use crate::error::ServiceError;
use crate::keys::EntryKind;
use crate::price::Prices;
use crate::store::Store;
use crate::ttl::CacheTtl;
use crate::warming::Units;
use book::{Book, Held};
use freshness::Freshness;
use lines::Spent;

/// Between two signs of life; a Redis that was lost is told again within it.
const TICK: Duration = Duration::from_secs(5);
/// How long the first is after the start: a command that is over by then costs none.
const FIRST_TICK: Duration = Duration::from_secs(1);
/// The most that its end is waited for.
const CLOSING: Duration = Duration::from_secs(5);

/// The ledger. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    budgets: Budgets,
    prices: Arc<Prices>,
    book: Arc<Book>,
    freshness: Arc<Freshness>,
    store: Store,
    cache: CacheService,
    clock: Clock,
    tasks: TaskTracker,
    /// What goes on without anything being spent.
    upkeep: TaskTracker,
    stop: CancellationToken,
    /// The store's name among the parts of the tally, and this process' among its holders.
    names: OnceCell<(String, String)>,
    /// One writes at a time, for all who have something to write.
    writing: AsyncMutex<()>,
    /// One exchange at a time, so that each is newer than the one before.
    exchanging: AsyncMutex<()>,
    store_failed: AtomicBool,
    /// Whether the last exchange was with all others.
    heard: AtomicBool,
    /// What had been spent when others were last told who spent it, and when that was.
    told: AsyncMutex<Option<(u64, Instant)>>,
    /// Who spent it, as last heard for a user.
    lines: AsyncMutex<Option<(PacificDay, Instant, Arc<Spent>)>>,
}

/// Asks the ledger whether the cache may refresh what it still has. It allows everything until a ledger is opened with it.
#[derive(Clone, Default)]
pub struct RefreshBudget(Arc<OnceLock<(Arc<Book>, Arc<Freshness>)>>);

impl RefreshBudget {
    /// What the cache is to be opened with.
    pub fn budget(&self) -> Budget {
        let own = self.clone();
        Budget::new(move |kind, _| own.allows(kind))
    }

    fn allows(&self, kind: Kind) -> Allowance {
        self.0.get().map_or(Allowance::Refresh, |(book, freshness)| freshness.allows(kind, book))
    }
}

impl std::fmt::Debug for RefreshBudget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RefreshBudget")
    }
}

/// What a ledger is opened with.
pub(crate) struct LedgerConfig {
    pub budgets: Budgets,
    pub ttl: CacheTtl,
    pub prices: Arc<Prices>,
    pub refreshes: RefreshBudget,
    pub store: Store,
    pub cache: CacheService,
    pub clock: Clock,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Ledger {
    /// Opens it; nothing is read before something is spent or a second has passed.
    pub(crate) fn open(config: LedgerConfig) -> Self {
        let book = Arc::new(Book::new(config.clock.clone()));
        let freshness = Arc::new(Freshness::new(config.budgets.clone(), config.ttl, config.clock.clone()));
        // A second ledger on one cache has no say in its refreshes.
        let _ = config.refreshes.0.set((Arc::clone(&book), Arc::clone(&freshness)));
        let (upkeep, stop) = (TaskTracker::new(), config.stop.child_token());
        let ledger = Self(Arc::new(Inner {
            budgets: config.budgets,
            prices: config.prices,
            book,
            freshness,
            store: config.store,
            cache: config.cache,
            clock: config.clock,
            tasks: config.tasks,
            upkeep: upkeep.clone(),
            stop: stop.clone(),
            names: OnceCell::new(),
            writing: AsyncMutex::default(),
            exchanging: AsyncMutex::default(),
            store_failed: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            told: AsyncMutex::default(),
            lines: AsyncMutex::default(),
        }));
        let weak = Arc::downgrade(&ledger.0);
        upkeep.spawn(async move {
            let (mut pause, mut first) = (FIRST_TICK, true);
            while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                let Some(inner) = weak.upgrade() else { return };
                Self(inner).tick(first).await;
                (pause, first) = (TICK, false);
            }
        });
        ledger
    }

    /// What a client is to be metered by that spends for this payer, out of what a job has set aside, where there is one.
    pub(crate) fn meter(&self, payer: Payer, job: Option<Job>) -> Meter {
        let ledger = self.clone();
        Meter::new(move |expense| {
            let (ledger, payer, job) = (ledger.clone(), payer.clone(), job.clone());
            async move { ledger.told(&payer, job.as_ref(), expense).await }
        })
    }

    /// The same, refusing what is beyond these units of the shared quota.
    pub(crate) fn meter_within(&self, payer: Payer, units: Units) -> Meter {
        let ledger = self.clone();
        Meter::new(move |expense| {
            let (ledger, payer, units) = (ledger.clone(), payer.clone(), units.clone());
            async move {
                let taken = match &expense {
                    Expense::Call(method) if method.bucket() == Bucket::Shared => method.units(),
                    _ => 0,
                };
                if taken > 0 && !units.take(taken) {
                    return Err(UpstreamError::QuotaSetAside { until: ledger.day_ends_at() });
                }
                let told = ledger.told(&payer, None, expense).await;
                if taken > 0 && told.is_err() {
                    units.give_back(taken);
                }
                told
            }
        })
    }

    /// How it stands with freshness, as far as known here.
    pub fn freshness(&self) -> FreshnessReport {
        self.0.freshness.report(&self.0.book)
    }

    /// For how long what is no longer fresh is served without asking anybody, while little is left; `None` as long as enough is.
    pub(crate) fn spared_for(&self, kind: EntryKind) -> Option<Duration> {
        self.0.freshness.stale_for(kind, &self.0.book)
    }

    /// Whether work that nobody waits for pauses.
    pub(crate) fn is_paused(&self) -> bool {
        self.0.freshness.is_paused(&self.0.book)
    }

    /// When all quotas begin anew.
    pub fn day_ends_at(&self) -> Timestamp {
        self.0.book.today().end()
    }

    /// What tokens of a model cost today, in millionths of a dollar; `None` without a price.
    pub fn micro_dollars(&self, model: &str, tokens_in: u64, tokens_out: u64) -> Option<u64> {
        self.0.prices.micro_dollars(model, self.0.clock.now(), tokens_in, tokens_out)
    }

    /// The cost entry of some tokens; without a price it says nothing of dollars.
    pub(crate) fn token_cost(&self, model: &str, usage: TokenUsage) -> Cost {
        let micro_dollars = self.micro_dollars(model, usage.input, usage.output).unwrap_or_default();
        Cost { tokens_in: usage.input, tokens_out: usage.output, micro_dollars, ..Cost::default() }
    }

    /// A budget in dollars cannot be kept for a model without a price.
    pub(crate) fn check_model(&self, model: &str) -> Result<(), ServiceError> {
        if self.0.budgets.gemini_micro_dollars.is_some() && self.micro_dollars(model, 0, 0).is_none() {
            return Err(ServiceError::Invalid {
                field: "gemini_model",
                message: format!("`{model}` has no price in the table, and there is a budget in dollars"),
            });
        }
        Ok(())
    }

    /// Prices of tokens.
    pub(crate) fn prices(&self) -> &Prices {
        &self.0.prices
    }

    /// What may be spent.
    pub fn budgets(&self) -> &Budgets {
        &self.0.budgets
    }

    /// Sets aside what a job may come to take of a bucket, or as much of it as there is. It takes out of it first, and gives back what
    /// is left at its end.
    pub(crate) async fn reserve(&self, payer: &Payer, bucket: Bucket, units: u64) -> Job {
        let limit = self.0.budgets.units_for(bucket, payer.purpose);
        let held = match self.check_used_up(bucket) {
            Ok(()) => self.set_aside(&counters::units(bucket), units, 1, limit).await,
            Err(_) => None,
        };
        Job::new(bucket, units, held)
    }

    /// Gives back what a job did not take, at once: without it, it goes with the job's last clone and is told within seconds.
    pub(crate) async fn settle(&self, job: Job) {
        if job.give_back() {
            self.exchange(None).await;
        }
    }

    /// Ends the upkeep and writes what is still to be written.
    pub(crate) async fn close(&self) {
        self.0.stop.cancel();
        self.0.upkeep.close();
        let _ = tokio::time::timeout(CLOSING, self.0.upkeep.wait()).await;
        if !self.0.book.pending().is_empty() {
            self.write().await;
        }
    }

    /// What is left of a bucket for this purpose, as far as known here: nothing is asked.
    pub(crate) fn left(&self, bucket: Bucket, purpose: Purpose) -> u64 {
        if self.check_used_up(bucket).is_err() {
            return 0;
        }
        let limit = self.0.budgets.units_for(bucket, purpose);
        limit.saturating_sub(self.0.book.taken(&counters::units(bucket)))
    }

    /// What Gemini may still cost today; `None` without a limit.
    pub(crate) fn micro_dollars_left(&self) -> Option<u64> {
        let limit = self.0.budgets.gemini_micro_dollars?;
        Some(limit.saturating_sub(self.0.book.taken(counters::MICRO_DOLLARS)))
    }

    /// Whether YouTube itself has said that there is nothing left.
    fn check_used_up(&self, bucket: Bucket) -> Result<(), UpstreamError> {
        let (day, sums) = self.0.book.view();
        if book::amount(&sums.totals, &counters::used_up(bucket)) > 0 {
            return Err(UpstreamError::QuotaExhausted { until: day.end() });
        }
        Ok(())
    }

    /// Brings what is known here up to date with the store and all others.
    pub async fn refresh(&self) {
        self.write().await;
        self.exchange(None).await;
    }

    /// The first one learns what was spent before this process began. Without others there is nothing to be told later, but what could not
    /// be written.
    async fn tick(&self, first: bool) {
        let day = self.0.book.today();
        let shared = self.0.cache.tally(&format!("ledger:{day}")).is_ok_and(|tally| tally.is_shared());
        if shared {
            self.refresh().await;
            self.tell_lines().await;
        } else if first || !self.0.book.pending().is_empty() {
            self.write().await;
        }
    }

    /// Writes what is noted and learns the sums. It goes on to its end without whoever waits for it.
    async fn write(&self) {
        let ledger = self.clone();
        let writing = self.0.tasks.spawn(async move { ledger.write_now().await });
        // A panic is told where it happens; what was noted stays noted.
        let _ = writing.await;
    }

    async fn write_now(&self) {
        let inner = &*self.0;
        let _turn = inner.writing.lock().await;
        let lines = inner.book.pending();
        let day = inner.book.today();
        let written = async {
            if lines.is_empty() {
                inner.store.ledger_sums(day).await
            } else {
                inner.store.add_to_ledger(&lines, day).await
            }
        };
        match written.await {
            Ok(sums) => {
                inner.book.written(&lines, day, &sums);
                inner.freshness.update(&inner.book);
                if inner.store_failed.swap(false, Ordering::Relaxed) {
                    tracing::info!("the ledger is written again");
                }
            }
            Err(error) => {
                if !inner.store_failed.swap(true, Ordering::Relaxed) {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the ledger cannot be written; it is kept in memory until it can");
                }
            }
        }
    }

    /// Tells the others, and sets more aside where it is wanted. `None` where nobody could be asked.
    async fn exchange(&self, wanted: Option<&TallyWanted>) -> Option<Option<Held>> {
        let inner = &*self.0;
        let _turn = inner.exchanging.lock().await;
        let (part, holder) = self.names().await.ok()?;
        let (day, part, holding) = inner.book.to_tell(part, holder);
        let tally = inner.cache.tally(&format!("ledger:{day}")).ok()?;
        let sums = tally.exchange(&part, &holding, wanted).await;
        inner.heard.store(sums.is_ok() && tally.is_shared(), Ordering::Relaxed);
        match sums {
            Ok(sums) => {
                let counter = wanted.map(|wanted| wanted.counter.as_str());
                inner.book.heard(day, &holding, counter, &sums);
                inner.freshness.update(&inner.book);
                // Before the turn is over: the next exchange says what is held.
                let held = counter.filter(|_| sums.granted > 0);
                Some(held.map(|counter| inner.book.hold(day, counter, sums.granted)))
            }
            Err(error) => {
                tracing::debug!(%error, "the ledger is not told to others for now");
                None
            }
        }
    }

    /// Whether what is known here is of the whole fleet.
    fn is_heard(&self) -> bool {
        self.0.heard.load(Ordering::Relaxed)
    }

    async fn names(&self) -> Result<(&str, &str), ServiceError> {
        let (part, holder) = self.0.names.get_or_try_init(|| self.0.store.ledger_names()).await?;
        Ok((part, holder))
    }

    /// Sets an amount aside below a limit, or what is left and not less than the least. Where the others cannot be asked, what is known of them decides.
    async fn set_aside(&self, counter: &str, amount: u64, least: u64, limit: u64) -> Option<Held> {
        let wanted = TallyWanted { counter: counter.to_owned(), amount, least, limit };
        match self.exchange(Some(&wanted)).await {
            Some(held) => held,
            None => self.0.book.hold_below(&wanted),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
