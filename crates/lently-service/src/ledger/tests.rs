//! Several ledgers on stores and a Redis of their own making: whatever ends, is lost or begins anew, the sum is what was spent.

use lently_cache::{Budget, CacheConfig, RedisConfig, RemoteConfig};
use lently_testing::{RedisServer, wait_until};
use lently_upstream::{Expense, Method, TokenUsage};
use tempfile::TempDir;

use super::*;
use crate::ids::UserId;
use crate::keys;

const NOON: &str = "2026-11-24T20:00:00Z";
const BOUND: Duration = Duration::from_secs(30);

fn clock() -> Clock {
    Clock::manual(NOON.parse().expect("a time"))
}

/// A ledger as a process has it.
async fn process(database_url: &str, remote: RemoteConfig, clock: &Clock, budgets: Budgets) -> Ledger {
    let cache = CacheService::open(CacheConfig {
        kinds: &keys::KINDS,
        prefix: "test:".to_owned(),
        memory_bytes: 1 << 20,
        remote,
        clock: clock.clone(),
        tasks: TaskTracker::new(),
        max_value_bytes: 1 << 16,
        budget: Budget::UNLIMITED,
    });
    Ledger::open(LedgerConfig {
        budgets,
        ttl: CacheTtl::default(),
        prices: Arc::new(Prices::built_in()),
        refreshes: RefreshBudget::default(),
        store: Store::new(database_url, clock.clone()).expect("an address"),
        cache: cache.await.expect("a cache"),
        clock: clock.clone(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    })
}

/// One that nobody else knows of.
pub(crate) async fn alone() -> Ledger {
    alone_with(Budgets::default()).await
}

async fn alone_with(budgets: Budgets) -> Ledger {
    process("sqlite::memory:", RemoteConfig::None, &clock(), budgets).await
}

fn file(directory: &TempDir, name: &str) -> String {
    format!("sqlite:{}", directory.path().join(name).display())
}

fn redis(server: &RedisServer) -> RemoteConfig {
    RemoteConfig::Redis(RedisConfig { port: server.port(), ..RedisConfig::default() })
}

fn payer(purpose: Purpose) -> Payer {
    Payer { user: UserId::new("ann").expect("a user"), purpose }
}

async fn call(ledger: &Ledger, purpose: Purpose, method: Method) -> Result<(), UpstreamError> {
    ledger.told(&payer(purpose), None, Expense::Call(method)).await.map(drop)
}

async fn calls(ledger: &Ledger, times: u32) {
    for _ in 0..times {
        call(ledger, Purpose::Interactive, Method::CommentThreads).await.expect("there is enough");
    }
}

async fn shared(ledger: &Ledger) -> BucketReport {
    ledger.report(None).await.expect("a report").buckets.swap_remove(0)
}

/// The next of a row of numbers that looks like chance and is the same in every run.
fn next(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[tokio::test]
async fn whatever_is_lost_and_begun_anew_the_sum_is_what_was_spent() {
    let server = RedisServer::start().await;
    for seed in 1..=6_u64 {
        server.cli(&["FLUSHALL"]);
        let (directory, clock, mut state) = (tempfile::tempdir().expect("a directory"), clock(), seed);
        // Two processes on one store, and one on another.
        let stores = [file(&directory, "a.db"), file(&directory, "a.db"), file(&directory, "b.db")];
        let mut ledgers = Vec::new();
        for store in &stores {
            ledgers.push(process(store, redis(&server), &clock, Budgets::default()).await);
        }
        let mut spent = 0;
        for _ in 0..40 {
            let place = next(&mut state, 3) as usize;
            match next(&mut state, 10) {
                0 => drop(server.cli(&["FLUSHALL"])),
                // Killed: nothing is written or told at its end.
                1 => {
                    ledgers[place] =
                        process(&stores[place], redis(&server), &clock, Budgets::default()).await;
                }
                2 => ledgers[place].refresh().await,
                3 => {
                    let job = ledgers[place].reserve(&payer(Purpose::Analysis), Bucket::Shared, 5).await;
                    let method = Expense::Call(Method::Comments);
                    ledgers[place].told(&payer(Purpose::Analysis), Some(&job), method).await.expect("enough");
                    spent += 1;
                }
                _ => {
                    calls(&ledgers[place], 1).await;
                    spent += 1;
                }
            }
        }
        for ledger in &ledgers {
            ledger.refresh().await;
        }
        for ledger in &ledgers {
            let report = ledger.report(None).await.expect("a report");
            assert_eq!(report.buckets[0].spent_units, spent, "seed {seed}");
            assert!(report.whole_fleet);
            let by_purpose: u64 = report.purposes.iter().map(|purpose| purpose.shared_units).sum();
            let by_user: u64 = report.users.iter().map(|user| user.shared_units).sum();
            assert!(by_purpose <= spent && by_user == by_purpose, "{report:?}");
        }
        for ledger in &ledgers {
            ledger.tell_lines().await;
        }
        let report = ledgers[0].report(None).await.expect("a report");
        assert_eq!(report.users.iter().map(|user| user.shared_units).sum::<u64>(), spent, "{report:?}");
    }
}

#[tokio::test]
async fn nodes_that_take_at_once_take_no_more_than_there_is() {
    let server = RedisServer::start().await;
    let (directory, clock) = (tempfile::tempdir().expect("a directory"), clock());
    let budgets = Budgets { shared_units: 50, ..Budgets::default() };
    let mut ledgers = Vec::new();
    for name in ["a.db", "b.db", "b.db"] {
        ledgers.push(process(&file(&directory, name), redis(&server), &clock, budgets.clone()).await);
    }
    let taking = (0..90).map(|number| call(&ledgers[number % 3], Purpose::Interactive, Method::Videos));
    let taken = futures::future::join_all(taking).await;
    let mut taken = taken.iter().filter(|taken| taken.is_ok()).count();
    assert!(taken <= 50, "{taken}");
    // What is on its way from set aside to counted may be taken for both; afterwards all there is can be had.
    while call(&ledgers[0], Purpose::Interactive, Method::Videos).await.is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 50);
    let until = "2026-11-25T08:00:00Z".parse().expect("a time");
    let late = call(&ledgers[2], Purpose::Interactive, Method::Videos).await.expect_err("all is spent");
    assert_eq!(late, UpstreamError::QuotaExhausted { until });
    assert_eq!((shared(&ledgers[0]).await.spent_units, shared(&ledgers[1]).await.left_units), (50, 0));
}

#[tokio::test]
async fn without_redis_the_store_is_the_sum_and_is_written_before_anything_is_sent() {
    let (directory, clock) = (tempfile::tempdir().expect("a directory"), clock());
    let url = file(&directory, "a.db");
    let budgets = Budgets { shared_units: 3, ..Budgets::default() };
    let first = process(&url, RemoteConfig::None, &clock, budgets.clone()).await;
    calls(&first, 2).await;
    let second = process(&url, RemoteConfig::None, &clock, budgets).await;
    assert_eq!(shared(&second).await.spent_units, 2);
    calls(&second, 1).await;
    call(&second, Purpose::Interactive, Method::Videos).await.expect_err("a refusal");
    assert_eq!(shared(&first).await.spent_units, 3);
}

#[tokio::test]
async fn what_nobody_waits_for_stops_first_and_each_bucket_is_its_own() {
    let ledger = alone_with(Budgets { shared_units: 10, search_units: 1, ..Budgets::default() }).await;
    calls(&ledger, 8).await;
    let kept =
        call(&ledger, Purpose::Warm, Method::Videos).await.expect_err("the rest is for those who wait");
    assert!(matches!(kept, UpstreamError::QuotaSetAside { .. }), "nobody may take it for used up: {kept}");
    calls(&ledger, 2).await;
    call(&ledger, Purpose::Analysis, Method::Videos).await.expect_err("nothing is left");
    call(&ledger, Purpose::Analysis, Method::VideoStats).await.expect("another bucket");
    call(&ledger, Purpose::Analysis, Method::Search).await.expect("another bucket");
    call(&ledger, Purpose::Analysis, Method::Search).await.expect_err("there is one search");
}

#[tokio::test]
async fn a_day_ends_at_midnight_pacific_time_and_its_books_stay() {
    let (directory, clock) = (tempfile::tempdir().expect("a directory"), clock());
    let budgets = Budgets { shared_units: 2, ..Budgets::default() };
    let ledger = process(&file(&directory, "a.db"), RemoteConfig::None, &clock, budgets).await;
    let job = ledger.reserve(&payer(Purpose::Analysis), Bucket::Shared, 1).await;
    calls(&ledger, 1).await;
    call(&ledger, Purpose::Interactive, Method::Videos).await.expect_err("one is set aside");
    clock.advance(Duration::from_secs(12 * 3_600));
    assert_eq!(shared(&ledger).await.left_units, 2, "what was set aside was of the day before");
    ledger
        .told(&payer(Purpose::Analysis), Some(&job), Expense::Call(Method::Videos))
        .await
        .expect("of today");
    drop(job);
    let today = shared(&ledger).await;
    assert_eq!((today.spent_units, today.reserved_units, today.left_units), (1, 0, 1));
    let yesterday = ledger.report(Some("2026-11-24".parse().expect("a day"))).await.expect("a report");
    assert_eq!((yesterday.buckets[0].spent_units, yesterday.users[0].shared_units), (1, 1));
    assert_eq!(yesterday.resets_at, "2026-11-25T08:00:00Z".parse().expect("a time"));
}

#[tokio::test]
async fn a_job_takes_what_it_set_aside_and_others_do_not() {
    let ledger = alone_with(Budgets { shared_units: 5, ..Budgets::default() }).await;
    let job = ledger.reserve(&payer(Purpose::Analysis), Bucket::Shared, 4).await;
    assert_eq!(job.granted(), (4, 4));
    let less = ledger.reserve(&payer(Purpose::Analysis), Bucket::Shared, 4).await;
    assert_eq!(less.granted(), (1, 4), "as much as there is");
    let kept = call(&ledger, Purpose::Interactive, Method::Videos).await.expect_err("all of it is set aside");
    assert!(matches!(kept, UpstreamError::QuotaSetAside { .. }), "it may be given back: {kept}");
    let method = Expense::Call(Method::CommentThreads);
    ledger.told(&payer(Purpose::Analysis), Some(&job), method).await.expect("its own");
    ledger.settle(job).await;
    ledger.settle(less).await;
    let settled = shared(&ledger).await;
    assert_eq!((settled.spent_units, settled.reserved_units, settled.left_units), (1, 0, 4));
}

#[tokio::test]
async fn youtubes_word_that_nothing_is_left_counts_for_all_nodes_until_midnight() {
    let server = RedisServer::start().await;
    let (directory, clock) = (tempfile::tempdir().expect("a directory"), clock());
    let one = process(&file(&directory, "a.db"), redis(&server), &clock, Budgets::default()).await;
    let other = process(&file(&directory, "b.db"), redis(&server), &clock, Budgets::default()).await;
    let until = "2026-11-25T08:00:00Z".parse().expect("a time");
    let told = Expense::UsedUp { bucket: Bucket::Shared, until };
    one.told(&payer(Purpose::Interactive), None, told).await.expect("noted");
    let error = call(&other, Purpose::Interactive, Method::Videos).await.expect_err("nothing is left");
    assert_eq!(error, UpstreamError::QuotaExhausted { until });
    assert!(shared(&other).await.used_up);
    call(&other, Purpose::Interactive, Method::VideoStats).await.expect("another bucket");
    clock.advance(Duration::from_secs(12 * 3_600));
    call(&other, Purpose::Interactive, Method::Videos).await.expect("a new day");
}

#[tokio::test]
async fn dollars_are_counted_by_model_and_never_exceed_their_budget() {
    let ledger = alone_with(Budgets { gemini_micro_dollars: Some(1_000), ..Budgets::default() }).await;
    let model = "gemini-3.5-flash-lite";
    let asking = |most| Expense::Asking { model: model.to_owned(), bytes: 1_000, max_output_tokens: most };
    // 300 and 500 micro-dollars at the most, and as much again is more than there is.
    let kept = ledger.told(&payer(Purpose::Analysis), None, asking(200)).await.expect("enough");
    ledger
        .told(&payer(Purpose::Analysis), None, asking(200))
        .await
        .map(drop)
        .expect_err("the rest may be used");
    let usage = TokenUsage { input: 100, output: 100 };
    let answered = Expense::Answered { model: model.to_owned(), usage };
    ledger.told(&payer(Purpose::Analysis), None, answered).await.expect("noted");
    drop(kept);
    drop(ledger.told(&payer(Purpose::Analysis), None, asking(100)).await.expect("there is enough again"));
    let report = ledger.report(None).await.expect("a report");
    let lite = &report.models[0];
    assert_eq!((lite.calls, lite.tokens_in, lite.tokens_out, lite.micro_dollars), (2, 100, 100, Some(280)));
    assert_eq!((report.gemini.spent_micro_dollars, report.users[0].micro_dollars), (280, 280));
    assert!(ledger.check_model("somebody-elses").is_err(), "without a price no budget can be kept");
}

#[tokio::test]
async fn a_model_without_a_price_is_told_as_such() {
    let ledger = alone().await;
    let usage = TokenUsage { input: 7, output: 8 };
    let answered = Expense::Answered { model: "somebody-elses".to_owned(), usage };
    ledger.told(&payer(Purpose::Analysis), None, answered).await.expect("noted");
    let report = ledger.report(None).await.expect("a report");
    let model = &report.models[0];
    assert_eq!((model.tokens_in, model.micro_dollars, model.unpriced_answers), (7, None, 1));
    ledger.check_model("somebody-elses").expect("without a budget it may be used");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_made_good_when_it_can() {
    let directory = tempfile::tempdir().expect("a directory");
    let in_the_way = directory.path().join("data");
    std::fs::write(&in_the_way, "not a directory").expect("a file");
    let url = format!("sqlite:{}", in_the_way.join("lently.db").display());
    let ledger = process(&url, RemoteConfig::None, &clock(), Budgets::default()).await;
    calls(&ledger, 2).await;
    assert_eq!(ledger.buckets()[0].spent_units, 2, "it is counted in memory");
    std::fs::remove_file(&in_the_way).expect("removed");
    calls(&ledger, 1).await;
    assert!(ledger.0.book.pending().is_empty());
    assert_eq!(shared(&ledger).await.spent_units, 3);
}

#[tokio::test]
async fn while_redis_is_away_what_was_heard_of_others_counts_and_nothing_waits() {
    let mut server = RedisServer::start().await;
    let (directory, clock) = (tempfile::tempdir().expect("a directory"), clock());
    let budgets = Budgets { shared_units: 10, ..Budgets::default() };
    let one = process(&file(&directory, "a.db"), redis(&server), &clock, budgets.clone()).await;
    let other = process(&file(&directory, "b.db"), redis(&server), &clock, budgets).await;
    calls(&one, 6).await;
    other.refresh().await;
    server.kill();
    calls(&other, 4).await;
    call(&other, Purpose::Interactive, Method::Videos).await.expect_err("six are the other's");
    assert!(!other.report(None).await.expect("a report").whole_fleet);
    server.restart().await;
    wait_until("both are told again", BOUND, async || {
        one.refresh().await;
        other.refresh().await;
        let report = one.report(None).await.expect("a report");
        report.whole_fleet && report.buckets[0].spent_units == 10
    })
    .await;
}

#[tokio::test]
async fn what_is_served_may_be_older_the_less_is_left_until_midnight() {
    let refreshes = RefreshBudget::default();
    assert_eq!(format!("{:?}", refreshes.budget()), "Budget(asked)");
    let ledger = alone_with(Budgets { shared_units: 100, ..Budgets::default() }).await;
    let own = (Arc::clone(&ledger.0.book), Arc::clone(&ledger.0.freshness));
    refreshes.0.set(own).map_err(drop).expect("empty");
    let spared = |stale_for| Allowance::Spare { stale_for };
    let allowed = |kind: EntryKind| refreshes.allows(kind.kind());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    calls(&ledger, 75).await;
    assert_eq!(allowed(EntryKind::Comments), Allowance::Refresh);
    assert_eq!((ledger.freshness().step, ledger.freshness().until), (0, None));
    calls(&ledger, 1).await;
    assert_eq!(allowed(EntryKind::Comments), spared(minutes(30)), "twice its half hour");
    assert_eq!(allowed(EntryKind::Analysis), spared(minutes(60)));
    assert_eq!(allowed(EntryKind::Quota), Allowance::Refresh, "it takes nothing of YouTube");
    let report = ledger.freshness();
    assert_eq!((report.step, report.steps, report.background_paused), (1, 3, false));
    assert_eq!(report.why, "less than 25 % of today's 100 shared units is left");
    calls(&ledger, 15).await;
    assert_eq!(allowed(EntryKind::Comments), spared(minutes(90)));
    assert!(ledger.freshness().background_paused);
    let paused = call(&ledger, Purpose::Warm, Method::VideoStats).await;
    assert!(
        matches!(paused, Err(UpstreamError::QuotaSetAside { .. })),
        "a bucket of its own is no way around"
    );
    calls(&ledger, 8).await;
    assert_eq!(allowed(EntryKind::Comments), spared(Duration::MAX));
    let report = ledger.freshness();
    assert_eq!((report.step, report.tolerance), (3, Tolerance::Retention));
    assert_eq!(report.until, Some("2026-11-25T08:00:00Z".parse().expect("a time")));
    ledger.0.clock.advance(Duration::from_secs(20 * 3_600));
    assert_eq!(
        allowed(EntryKind::Comments),
        Allowance::Refresh,
        "midnight Pacific Time, though nobody has spent anything"
    );
    let report = ledger.freshness();
    assert_eq!((report.step, report.until, report.since), (0, None, ledger.0.clock.now()));
    call(&ledger, Purpose::Warm, Method::VideoStats).await.expect("background work goes on");
}

#[tokio::test]
async fn what_another_node_spends_makes_this_one_spare_and_so_does_youtubes_word() {
    let server = RedisServer::start().await;
    let (directory, clock) = (tempfile::tempdir().expect("a directory"), clock());
    let budgets = Budgets { shared_units: 20, ..Budgets::default() };
    let one = process(&file(&directory, "a.db"), redis(&server), &clock, budgets.clone()).await;
    let other = process(&file(&directory, "b.db"), redis(&server), &clock, budgets).await;
    calls(&one, 16).await;
    other.refresh().await;
    assert_eq!((one.freshness().step, other.freshness().step), (1, 1));
    let told = Expense::UsedUp { bucket: Bucket::Shared, until: other.day_ends_at() };
    one.told(&payer(Purpose::Interactive), None, told).await.expect("noted");
    other.refresh().await;
    assert_eq!((one.freshness().step, other.freshness().step), (3, 3));
}
