//! Verdicts and summaries are paid for once: whoever asks, on whatever node, and whatever becomes of the cache.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lently_cache::{RedisConfig, RemoteConfig};
use lently_emulator::{Change, Counts, Fault, FaultKind, Latency, Method, NewComment};
use lently_service::{
    AnalysisBody, AnalysisRequest, CacheTtl, EngineChoice, EntryKind, Progress, Stage, Started, UserId,
};
use lently_testing::{RedisServer, wait_until};
use tokio::sync::watch;

use crate::house::{self, House, Options, body, plain, request};

fn gemini() -> Options {
    Options { gemini: true, ..Options::default() }
}

/// A file of comments that say one thing each.
fn said(name: &str, numbers: Range<usize>) -> AnalysisRequest {
    let lines: Vec<String> = numbers.map(|n| format!("I love part {n} of this video")).collect();
    texts(name, &lines)
}

fn texts(name: &str, lines: &[String]) -> AnalysisRequest {
    house::file(name, format!("text\n{}\n", lines.join("\n")).as_bytes())
}

async fn analyzed(house: &House, request: &AnalysisRequest) -> AnalysisBody {
    body(&house.analyze(request).await.expect("an analysis"))
}

/// What analyzing it sent to Gemini, and what came of it.
async fn sent(house: &House, request: &AnalysisRequest) -> (Counts, AnalysisBody) {
    house.emulator.reset_counts();
    let body = analyzed(house, request).await;
    let counts = house.counts();
    assert_eq!(
        (body.cost.tokens_in, body.cost.tokens_out),
        (counts.tokens_in, counts.tokens_out),
        "the analysis costs what it caused to be paid"
    );
    (counts, body)
}

fn fault(kind: FaultKind, times: Option<u64>) -> Option<Fault> {
    Some(Fault { kind, method: Some(Method::Gemini), times })
}

#[tokio::test]
async fn a_second_analysis_sends_what_is_new_in_full_batches() {
    let house = House::with(gemini()).await;
    let (first, _) = sent(&house, &said("a.csv", 0..520)).await;
    assert_eq!((first.texts, first.gemini_calls), (520, 11 + 1), "and the summary");
    // What is new stands among what is known.
    let lines: Vec<String> = (0..600).map(|n| format!("I love part {} of this video", n * 2)).collect();
    let (second, body) = sent(&house, &texts("b.csv", &lines)).await;
    assert_eq!((second.texts, second.gemini_calls), (340, 7 + 1));
    assert_eq!((body.engine.judged.gemini, body.engine.reused), (600, 260));
    let (third, body) = sent(&house, &said("c.csv", 0..520)).await;
    assert_eq!((third.texts, third.tokens_in), (0, 0), "the same facts have the same summary");
    assert_eq!((body.engine.judged.gemini, body.engine.reused), (520, 520));
    assert!(body.engine.model_version.is_some());
}

#[tokio::test]
async fn equal_texts_are_judged_once_within_a_video_and_across_videos() {
    let house = House::with(gemini()).await;
    let lines = |spelled: &[&str]| spelled.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (first, body) = sent(&house, &texts("a.csv", &lines(&["first!", "first! ", "Café  is nice"]))).await;
    assert_eq!((first.texts, body.engine.judged.gemini, body.engine.reused), (2, 3, 0));
    let (second, body) =
        sent(&house, &texts("b.csv", &lines(&["FIRST!", "first!", "Cafe\u{301} is nice"]))).await;
    assert_eq!((second.texts, body.engine.reused), (1, 2), "another case is another text");
}

#[tokio::test]
async fn what_each_verdict_cost_adds_up_to_what_was_paid() {
    let house = House::with(gemini()).await;
    // One batch is paid for twice, for its first answer is of no use.
    house.emulator.set_fault(fault(FaultKind::Malformed, Some(1)));
    house.analyze(&said("a.csv", 0..77)).await.expect("an analysis");
    let paid = house.lently.spending();
    house.analyze(&said("b.csv", 0..77)).await.expect("an analysis");
    let stats = house.lently.cache().stats();
    let saved = |kind: EntryKind| stats.by_kind[kind.name()].saved;
    let (verdicts, summary) = (saved(EntryKind::Verdict), saved(EntryKind::Summary));
    assert_eq!(verdicts.tokens_in + summary.tokens_in, paid.tokens_in);
    assert_eq!(verdicts.tokens_out + summary.tokens_out, paid.tokens_out);
    assert!(verdicts.micro_dollars > 0);
    let verdict = stats.by_kind[EntryKind::Verdict.name()];
    assert_eq!((verdict.hits, verdict.misses), (77, 77), "each is asked for once by each analysis");
}

#[tokio::test]
async fn two_analyses_at_the_same_moment_pay_once() {
    let latency = Latency { gemini: Duration::from_millis(200), ..Latency::default() };
    let house = House::with(Options { latency, ..gemini() }).await;
    let (a, b) = (said("a.csv", 0..150), said("b.csv", 100..220));
    let (a, b) = tokio::join!(analyzed(&house, &a), analyzed(&house, &b));
    let counts = house.counts();
    assert_eq!(counts.texts, 220);
    assert_eq!(a.cost.tokens_in + b.cost.tokens_in, counts.tokens_in, "what one pays the other does not");
    assert_eq!((a.engine.judged.gemini, b.engine.judged.gemini), (150, 120));
    assert_eq!(a.engine.reused + b.engine.reused, 50);
}

fn on(redis: &RedisServer) -> Options {
    let config = RedisConfig { port: redis.port(), ..RedisConfig::default() };
    Options { remote: RemoteConfig::Redis(config), ..gemini() }
}

async fn connected(house: &House) {
    wait_until("redis is connected", Duration::from_secs(20), async || house.lently.cache().health().is_up())
        .await;
}

#[tokio::test]
async fn two_nodes_at_the_same_moment_pay_once() {
    let redis = RedisServer::start().await;
    let latency = Latency { gemini: Duration::from_millis(300), ..Latency::default() };
    let one = House::with(Options { latency, ..on(&redis) }).await;
    let other = House::beside(Arc::clone(&one.emulator), on(&redis)).await;
    connected(&one).await;
    connected(&other).await;
    let (a, b) = (said("a.csv", 0..120), said("b.csv", 60..180));
    let (a, b) = tokio::join!(analyzed(&one, &a), analyzed(&other, &b));
    let counts = one.counts();
    assert_eq!(counts.texts, 180);
    assert_eq!(a.cost.tokens_in + b.cost.tokens_in, counts.tokens_in);
    assert_eq!((a.engine.judged.gemini, b.engine.judged.gemini), (120, 120));
    // What is in Redis alone is no less known: the store of this node has but its own.
    let (again, body) = sent(&other, &said("c.csv", 0..180)).await;
    assert_eq!((again.texts, body.engine.reused), (0, 180));
}

#[tokio::test]
async fn verdicts_in_redis_are_spelled_as_documented_and_what_is_none_is_asked_anew() {
    let redis = RedisServer::start().await;
    let house = House::with(on(&redis)).await;
    connected(&house).await;
    let one = |name| texts(name, &["first!".to_owned()]);
    let (counts, _) = sent(&house, &one("a.csv")).await;
    assert_eq!(counts.texts, 1);
    let hash = &blake3::hash(b"first!").to_hex()[..32];
    let version = lently_analysis::prompt::VERDICT_PROMPT_VERSION;
    let key = format!("test:verdict:gemini:gemini-3.5-flash-lite:{version}:{hash}");
    let stored = redis.bytes_of(&key);
    let value = stored.split(|byte| *byte == b'\n').nth(1).expect("a value behind the header");
    let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
    let members: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["category", "language", "model_version", "score", "sentiment", "toxic"]);
    // Another node, whose store knows nothing; somebody has written what they liked.
    redis.put(&key, b"{\"sentiment\":\"splendid\"}", 3_600);
    let other = House::beside(Arc::clone(&house.emulator), on(&redis)).await;
    connected(&other).await;
    let (counts, body) = sent(&other, &one("b.csv")).await;
    assert_eq!((counts.texts, body.engine.judged.gemini), (1, 1));
}

async fn on_store(directory: &Path, house: Option<&House>, options: Options) -> House {
    let options = Options { directory: Some(directory.to_owned()), ..options };
    match house {
        Some(house) => House::beside(Arc::clone(&house.emulator), options).await,
        None => House::with(options).await,
    }
}

#[tokio::test]
async fn nothing_is_paid_again_when_the_cache_is_flushed_or_lost_or_the_process_restarted() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut redis = RedisServer::start().await;
    let house = on_store(directory.path(), None, on(&redis)).await;
    connected(&house).await;
    assert_eq!(sent(&house, &said("a.csv", 0..70)).await.0.texts, 70);
    house.lently.cache().flush_all().await.expect("flushed");
    let (counts, body) = sent(&house, &said("b.csv", 0..71)).await;
    assert_eq!((counts.texts, body.engine.reused), (1, 70), "out of the store");
    house.lently.cache().flush_all().await.expect("flushed");
    let (counts, _) = sent(&house, &said("c.csv", 0..71)).await;
    assert_eq!((counts.texts, counts.gemini_calls), (0, 0), "the summary too");
    let keys = redis.cli(&["--scan", "--pattern", "test:verdict:gemini:*"]);
    assert_eq!(keys.lines().count(), 71, "the tiers have it again, for the other nodes");
    redis.kill();
    let restarted = on_store(directory.path(), Some(&house), gemini()).await;
    assert_eq!(sent(&restarted, &said("d.csv", 0..72)).await.0.texts, 1);
}

#[tokio::test]
async fn a_verdict_out_of_the_store_lives_no_longer_for_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = on_store(directory.path(), None, gemini()).await;
    house.analyze(&said("a.csv", 0..3)).await.expect("an analysis");
    let day = Duration::from_secs(24 * 3_600);
    let restarted = on_store(directory.path(), Some(&house), gemini()).await;
    restarted.clock.advance(27 * day);
    assert_eq!(sent(&restarted, &said("b.csv", 0..3)).await.0.texts, 0);
    restarted.clock.advance(day);
    assert_eq!(sent(&restarted, &said("c.csv", 0..3)).await.0.texts, 3, "28 days since it was judged");
}

#[tokio::test]
async fn another_model_judges_anew_and_the_verdicts_of_the_first_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = on_store(directory.path(), None, gemini()).await;
    assert_eq!(sent(&first, &said("a.csv", 0..9)).await.0.texts, 9);
    let other = Options { model: "gemini-3.8-flash", ..gemini() };
    let other = on_store(directory.path(), Some(&first), other).await;
    assert_eq!(sent(&other, &said("a.csv", 0..9)).await.0.texts, 9);
    let back = on_store(directory.path(), Some(&first), gemini()).await;
    assert_eq!(sent(&back, &said("b.csv", 0..9)).await.0.texts, 0);
}

#[tokio::test]
async fn what_was_judged_before_gemini_failed_is_not_paid_for_again() {
    let house = House::with(gemini()).await;
    let request = said("a.csv", 0..600);
    let (progress, mut steps) = watch::channel(Progress::default());
    let user = UserId::local();
    let making = house.lently.analyze(&user, request.clone(), false, progress);
    let failing = async {
        let judged = |progress: &Progress| progress.stage == Stage::Judging && progress.done > 0;
        steps.wait_for(judged).await.expect("a batch");
        house.emulator.set_fault(fault(FaultKind::Unavailable, None));
    };
    let (answer, ()) = tokio::join!(making, failing);
    let first = body(&answer.expect("an analysis"));
    assert!(first.engine.judged.gemini >= 50 && first.engine.judged.local > 0, "{:?}", first.engine.judged);
    assert!(first.engine.degraded.is_some_and(|said| said.contains("Gemini failed")));
    house.emulator.set_fault(None);
    house.clock.advance(Duration::from_secs(301));
    let second = analyzed(&house, &request).await;
    assert_eq!((second.engine.judged.gemini, second.engine.degraded), (600, None));
    assert_eq!(second.engine.reused, first.engine.judged.gemini);
    assert_eq!(house.counts().texts, 600, "each was judged once");
}

#[tokio::test]
async fn a_text_that_gemini_refuses_is_not_put_to_it_with_each_analysis() {
    let house = House::with(gemini()).await;
    house.emulator.set_fault(fault(FaultKind::BlockedFor { word: "part 33 ".to_owned() }, None));
    let first = house.analyze(&said("a.csv", 0..60)).await.expect("an analysis");
    let engine = body(&first).engine;
    assert_eq!((engine.judged.gemini, engine.judged.local), (59, 1));
    assert!(engine.degraded.is_some_and(|said| said.contains("refuses")));
    assert!(first.ttl > Duration::from_secs(300), "soon it would be no better");
    let (counts, body) = sent(&house, &said("b.csv", 0..65)).await;
    assert_eq!((counts.texts, counts.gemini_calls), (5, 1 + 1));
    assert_eq!((body.engine.judged.local, body.engine.reused), (1, 59));
    house.clock.advance(Duration::from_secs(24 * 3_600));
    house.emulator.set_fault(None);
    let (counts, body) = sent(&house, &said("c.csv", 0..65)).await;
    assert_eq!((counts.texts, body.engine.judged.local), (1, 0), "tomorrow it may be another thing");
}

#[tokio::test]
async fn after_a_time_of_useless_answers_one_bad_text_costs_the_others_of_its_batch_nothing() {
    let house = House::with(gemini()).await;
    house.emulator.set_fault(fault(FaultKind::Malformed, None));
    assert_eq!(analyzed(&house, &said("a.csv", 0..60)).await.engine.judged.local, 60);
    house.clock.advance(Duration::from_secs(2));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    house.emulator.set_fault(fault(FaultKind::BlockedFor { word: "part 3 ".to_owned() }, None));
    let judged = analyzed(&house, &said("b.csv", 0..40)).await.engine.judged;
    assert_eq!((judged.gemini, judged.local), (39, 1));
}

/// Gemini is silent, and nothing but the deadline is left to happen: time is moved there.
#[tokio::test]
async fn ten_thousand_texts_have_few_calls_at_once_and_all_an_end_at_the_deadline() {
    let house = House::with(Options { latency: Latency::default(), ..gemini() }).await;
    house.emulator.set_fault(fault(FaultKind::Hang, None));
    let ttl = CacheTtl { analysis_timeout: Duration::from_secs(60), ..CacheTtl::default() };
    let house = House::beside(Arc::clone(&house.emulator), Options { ttl, ..gemini() }).await;
    let (progress, mut steps) = watch::channel(Progress::default());
    let user = UserId::local();
    let making = house.lently.analyze(&user, said("a.csv", 0..10_000), false, progress);
    let waiting = async {
        wait_until("Gemini is asked", Duration::from_secs(20), async || house.counts().gemini_calls == 4)
            .await;
        tokio::time::pause();
        steps.wait_for(|progress| progress.done > 0).await.expect("progress");
        tokio::time::resume();
        house.emulator.set_fault(None);
    };
    let (answer, ()) = tokio::join!(making, waiting);
    let engine = body(&answer.expect("an analysis")).engine;
    assert_eq!((engine.judged.gemini, engine.judged.local), (0, 10_000));
    assert!(engine.degraded.is_some_and(|said| said.contains("the time for Gemini was over")));
    assert_eq!(house.counts().gemini_calls, 4 + 1, "and the summary");
}

/// The calls that are under way at the deadline are answered after it.
#[tokio::test]
async fn what_gemini_answers_after_the_deadline_is_kept_for_the_next_analysis() {
    let ttl = CacheTtl { analysis_timeout: Duration::from_secs(60), ..CacheTtl::default() };
    let latency = Latency { gemini: Duration::from_secs(46), ..Latency::default() };
    let house = House::with(Options { ttl, latency, ..gemini() }).await;
    let request = said("a.csv", 0..300);
    let (progress, mut steps) = watch::channel(Progress::default());
    let user = UserId::local();
    let making = house.lently.analyze(&user, request.clone(), false, progress);
    let waiting = async {
        wait_until("Gemini is asked", Duration::from_secs(20), async || house.counts().gemini_calls == 4)
            .await;
        tokio::time::pause();
        steps.wait_for(|progress| progress.done > 0).await.expect("progress");
        tokio::time::resume();
        house.emulator.set_latency(Latency::default());
    };
    let (answer, ()) = tokio::join!(making, waiting);
    assert_eq!(body(&answer.expect("an analysis")).engine.judged.gemini, 0);
    house.clock.advance(Duration::from_secs(301));
    let second = analyzed(&house, &request).await;
    assert_eq!((second.engine.judged.gemini, second.engine.reused), (300, 200));
    assert_eq!(house.counts().texts, 300, "each was judged once");
}

#[tokio::test]
async fn a_store_that_fails_is_no_reason_not_to_judge() {
    let directory = tempfile::tempdir().expect("a directory");
    let in_the_way = directory.path().join("data");
    std::fs::write(&in_the_way, "not a directory").expect("a file");
    let house = on_store(&in_the_way, None, gemini()).await;
    assert_eq!(sent(&house, &said("a.csv", 0..5)).await.0.texts, 5);
    assert_eq!(sent(&house, &said("b.csv", 0..6)).await.0.texts, 1, "the cache has it all the same");
}

#[tokio::test]
async fn without_reuse_every_analysis_pays_for_its_texts() {
    let mut options = gemini();
    options.economy.verdicts = false;
    let house = House::with(options).await;
    for name in ["a.csv", "b.csv"] {
        let (counts, body) = sent(&house, &said(name, 0..60)).await;
        assert_eq!((counts.texts, counts.gemini_calls, body.engine.reused), (60, 2 + 1, 0));
    }
}

#[tokio::test]
async fn a_summary_that_was_refused_is_not_asked_for_again_for_a_day() {
    let house = House::with(gemini()).await;
    house.emulator.set_fault(fault(FaultKind::Invented, None));
    for (name, hours, calls) in [("a.csv", 0, 2), ("b.csv", 1, 0), ("c.csv", 24, 1)] {
        house.clock.advance(Duration::from_secs(hours * 3_600));
        let (counts, body) = sent(&house, &said(name, 0..5)).await;
        assert_eq!(counts.gemini_calls, calls, "{name}");
        assert!(body.engine.degraded.is_some_and(|said| said.contains("not counted")), "{name}");
        assert!(!body.report.summary.contains("987654"), "{}", body.report.summary);
    }
}

#[tokio::test]
async fn a_summary_is_used_until_a_tenth_of_the_comments_has_changed_and_its_numbers_are_todays() {
    let house = House::with(gemini()).await;
    let video = AnalysisRequest { max_comments: 1_000, engine: EngineChoice::Gemini, ..request(plain()) };
    let (counts, first) = sent(&house, &video).await;
    assert_eq!((counts.summaries, first.engine.words.map(|words| words.changed)), (1, Some(0)));
    let read = first.report.coverage.read;
    let mut came = 0;
    loop {
        house.clock.advance(Duration::from_secs(3_600));
        let liked = |n| NewComment {
            id: format!("new{came}.{n}"),
            text: "I love this, it is great!".to_owned(),
            published_at: Some(house.clock.now()),
            ..NewComment::default()
        };
        house.emulator.change(plain(), (0..9).map(liked).map(Change::Add));
        came += 9;
        let (counts, next) = sent(&house, &video).await;
        assert_eq!(next.report.coverage.read, read + came);
        assert!(
            next.report.summary.starts_with(&format!("Of {} comments", read + came)),
            "{}",
            next.report.summary
        );
        let words = next.engine.words.expect("Gemini's words");
        assert_eq!(counts.summaries, u64::from(came > read / 10), "{came} of {read}");
        if counts.summaries == 0 {
            assert_eq!((words.changed, words.made_at), (came, first.created_at));
        } else {
            assert_eq!((words.changed, words.made_at), (0, next.created_at));
            break;
        }
    }
}

#[tokio::test]
async fn erasing_an_analysis_takes_its_summary_along_and_leaves_the_verdicts() {
    let house = House::with(gemini()).await;
    let request = said("a.csv", 0..5);
    let made = house.analyze(&request).await.expect("an analysis");
    house.lently.erase(&UserId::local(), &made.id).await.expect("erased");
    let (counts, body) = sent(&house, &request).await;
    assert_eq!((counts.texts, counts.gemini_calls, body.engine.reused), (0, 1, 5));
}

#[tokio::test]
async fn the_second_crawl_of_a_real_video_pays_for_its_new_comments_only() {
    let Some(folder) = lently_testing::real_data() else { return };
    let crawl = |name: &str| {
        let bytes = std::fs::read(folder.join("comments").join(name)).expect("the file");
        house::file(name, &bytes)
    };
    let distinct = |request: &AnalysisRequest| -> std::collections::HashSet<String> {
        let lently_service::AnalysisSource::Dump { dump, .. } = &request.source else { panic!("a file") };
        dump.comments.iter().map(|comment| lently_analysis::prompt::normalized(&comment.text)).collect()
    };
    let early = crawl("one_video_two_crawls_early.csv");
    let late = crawl("one_video_two_crawls_late.csv");
    let new = distinct(&late).difference(&distinct(&early)).count() as u64;
    let house = House::with(gemini()).await;
    let (first, _) = sent(&house, &early).await;
    assert_eq!(first.texts, distinct(&early).len() as u64);
    let (second, body) = sent(&house, &late).await;
    println!("first {first:?}\nsecond {second:?}\n{:?} reused {}", body.engine.judged, body.engine.reused);
    assert_eq!((second.texts, second.gemini_calls), (new, new.div_ceil(50) + 1));
    assert!(new > 0 && second.tokens_in < first.tokens_in / 3, "{first:?} {second:?}");
}

#[tokio::test]
async fn what_is_erased_while_it_is_being_made_leaves_no_summary() {
    let latency = Latency { gemini: Duration::from_millis(300), ..Latency::default() };
    let house = House::with(Options { latency, ..gemini() }).await;
    let (request, user) = (said("a.csv", 0..5), UserId::local());
    let started = house.lently.start(&user, request.clone(), false).await.expect("begun");
    let Started::Running(id) = started else { panic!("it cannot be ready yet") };
    wait_until("Gemini is asked", Duration::from_secs(20), async || house.counts().gemini_calls > 0).await;
    house.lently.erase(&user, &id).await.expect("erased");
    house.settled().await;
    assert_eq!(house.counts().gemini_calls, 2, "it was made to its end for whoever waits");
    let (counts, body) = sent(&house, &request).await;
    assert_eq!((counts.texts, counts.gemini_calls, body.engine.reused), (0, 1, 5));
}

#[tokio::test]
async fn a_silent_gemini_does_not_hold_up_the_stop() {
    let house = House::with(Options { stop_grace: Duration::from_millis(50), ..gemini() }).await;
    house.emulator.set_fault(fault(FaultKind::Hang, None));
    house.lently.start(&UserId::local(), said("a.csv", 0..300), false).await.expect("begun");
    wait_until("Gemini is asked", Duration::from_secs(20), async || house.counts().gemini_calls == 4).await;
    house.stop.cancel();
    house.settled().await;
    assert_eq!(house.counts().gemini_calls, 4, "and nothing is begun any more");
}
