//! What goes wrong in the middle of the work: nothing is paid twice that was heard, nothing is lost, and the ledger is what the
//! emulator counted.

use std::sync::Arc;
use std::time::Duration;

use lently_cache::{RedisConfig, RemoteConfig};
use lently_emulator::{Data, Emulator, EmulatorConfig, Fault, FaultKind, Latency, Method};
use lently_service::{AnalysisRequest, Progress, UserId};
use lently_testing::{RedisServer, wait_until};
use lently_upstream::CommentOrder;
use tokio::sync::watch;

use crate::comments::{THREADS, ids, pages, read};
use crate::house::{self, House, Killed, Options, body, plain, request, sample};

const PATIENCE: Duration = Duration::from_secs(30);
const FIVE_MINUTES: Duration = Duration::from_secs(301);

fn gemini() -> Options {
    Options { gemini: true, ..Options::default() }
}

/// Comments that say one thing each.
fn said(name: &str, comments: u32) -> AnalysisRequest {
    let lines: Vec<String> = (0..comments).map(|n| format!("I love part {n} of this video")).collect();
    house::file(name, format!("text\n{}\n", lines.join("\n")).as_bytes())
}

async fn emulator(latency: Latency) -> Arc<Emulator> {
    let (listen, data) = ("127.0.0.1:0".parse().expect("an address"), Data::samples());
    let config = EmulatorConfig {
        listen,
        data,
        latency,
        quota_units: 10_000,
        statistics_units: 10_000,
        api_key: None,
    };
    Arc::new(Emulator::start(config).await.expect("an emulator"))
}

#[tokio::test]
async fn after_an_hour_without_gemini_each_text_has_been_paid_for_once() {
    let hours = [
        FaultKind::Unavailable,
        FaultKind::RateLimited { retry_after: None },
        FaultKind::RateLimited { retry_after: Some(600) },
        FaultKind::QuotaExceeded,
        FaultKind::Cut,
    ];
    for kind in hours {
        let house = House::with(gemini()).await;
        assert_eq!(body(&house.analyze(&said("a.csv", 60)).await.expect("whole")).engine.judged.gemini, 60);
        let fault = Fault { kind: kind.clone(), method: Some(Method::Gemini), times: None };
        house.emulator.set_fault(Some(fault));
        for n in 0..12 {
            house.clock.advance(FIVE_MINUTES);
            let asked = house.counts().gemini_calls;
            let engine = body(&house.analyze(&said("b.csv", 200 + n)).await.expect("all the same")).engine;
            assert_eq!((engine.judged.gemini, engine.judged.local), (60, 140 + u64::from(n)), "{kind:?}");
            assert!(engine.degraded.is_some_and(|said| said.contains("judged locally")), "{kind:?}");
            let asked = house.counts().gemini_calls - asked;
            assert!(asked <= 4 + 1, "a call of each kind under way at once, and no more: {kind:?}: {asked}");
        }
        house.emulator.set_fault(None);
        house.clock.advance(Duration::from_secs(24 * 3_600));
        let engine = body(&house.analyze(&said("b.csv", 211)).await.expect("whole")).engine;
        assert_eq!((engine.judged.gemini, engine.reused, engine.degraded), (211, 60, None), "{kind:?}");
        assert_eq!(house.counts().texts, 211, "each was judged once: {kind:?}");
        house.books_are_exact().await;
    }
}

/// A useless answer is paid for, too.
#[tokio::test]
async fn the_ledger_has_what_useless_answers_of_gemini_cost() {
    let useless = [FaultKind::Truncated, FaultKind::Blocked, FaultKind::NoParts, FaultKind::Malformed];
    for kind in useless {
        let house = House::with(gemini()).await;
        let fault = Fault { kind: kind.clone(), method: Some(Method::Gemini), times: None };
        house.emulator.set_fault(Some(fault));
        let made = body(&house.analyze(&said("a.csv", 120)).await.expect("all the same"));
        assert_eq!(made.engine.judged.local, 120, "{kind:?}");
        assert_eq!(made.cost.tokens_in, house.counts().tokens_in, "{kind:?}");
        house.books_are_exact().await;
    }
}

#[tokio::test]
async fn a_refused_call_is_in_the_ledger_and_the_refusal_is_not_bought_twice() {
    let house = House::open().await;
    for (what, code) in [("disabled", "comments-disabled"), ("removed", "video-not-found")] {
        for _ in 0..2 {
            let refused = house.analyze(&request(sample(what).video_id)).await.expect_err(what);
            assert_eq!(refused.code(), code);
        }
    }
    let kind = FaultKind::Private;
    house.emulator.set_fault(Some(Fault { kind, method: Some(Method::CommentThreads), times: None }));
    for _ in 0..2 {
        assert_eq!(house.analyze(&request(plain())).await.expect_err("private").code(), "forbidden");
    }
    let counts = house.counts();
    assert_eq!((counts.videos, counts.comment_threads, counts.units), (3, 2, 5));
    house.books_are_exact().await;
}

/// Killed while four calls to Gemini are under way and others are answered.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_a_process_that_was_killed_while_it_judged_pays_for_the_rest() {
    let latency = Latency { gemini: Duration::from_millis(300), ..Latency::default() };
    let emulator = emulator(latency).await;
    let store = tempfile::tempdir().expect("a directory");
    let options = || Options { directory: Some(store.path().to_owned()), ..gemini() };
    let killed = Killed::begin(&emulator, options(), async |lently| {
        let (progress, _) = watch::channel(Progress::default());
        lently.analyze(&UserId::local(), said("a.csv", 600), false, progress).await
    });
    wait_until("two are answered", PATIENCE, async || emulator.counts().gemini_calls >= 4 + 2).await;
    killed.kill();
    let before = emulator.counts();
    assert!(before.texts < 600, "it was killed in the middle: {before:?}");
    emulator.set_latency(Latency::default());
    let house = House::connected(Arc::clone(&emulator), options()).await;
    let made = body(&house.analyze(&said("a.csv", 600)).await.expect("an analysis"));
    assert_eq!((made.engine.judged.gemini, made.engine.degraded), (600, None));
    assert!(made.engine.reused >= 50, "what was heard is kept: {}", made.engine.reused);
    let twice = emulator.counts().texts - 600;
    assert!(twice <= 4 * 50, "at most what nobody was there to hear any more: {twice}");
    // A call is booked before it is sent, so that none is ever left out.
    let unsent = house.booked().await.gemini_calls - emulator.counts().gemini_calls;
    assert!(unsent <= 4, "beside what it was about to send when it was killed: {unsent}");
}

#[tokio::test]
async fn a_redis_that_loses_all_in_mid_harvest_loses_nobodys_pages_and_no_unit() {
    let mut redis = RedisServer::start().await;
    let slow = Latency { comment_threads: Duration::from_millis(200), ..Latency::default() };
    let emulator = emulator(slow).await;
    let on_redis = || {
        let config = RedisConfig { port: redis.port(), ..RedisConfig::default() };
        Options { remote: RemoteConfig::Redis(config), ..Options::default() }
    };
    let one = House::connected(Arc::clone(&emulator), on_redis()).await;
    let other = House::connected(Arc::clone(&emulator), on_redis()).await;
    let replaced = async {
        wait_until("the second page is asked for", PATIENCE, async || emulator.counts().comment_threads >= 2)
            .await;
        redis.replace_by_empty().await;
    };
    let all = |house| read(house, 1_000, CommentOrder::Time);
    let (first, second, ()) = tokio::join!(all(&one), all(&other), replaced);
    assert_eq!((ids(&first).len(), ids(&second).len()), (THREADS, THREADS));
    assert!(pages(&one) <= 2 * 3, "what a node without Redis buys, and no more: {}", pages(&one));
    let before = pages(&one);
    all(&one).await;
    all(&other).await;
    assert_eq!(pages(&one), before);
    one.books_are_exact().await;
    other.books_are_exact().await;
}
