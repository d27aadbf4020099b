//! The ledger beside the emulator's own count: what was sent is what was counted, whoever sent it and whatever ended meanwhile.

use std::sync::Arc;
use std::time::Duration;

use lently_cache::{Controls, RedisConfig, RemoteConfig, StaleReason};
use lently_emulator::{Fault, FaultKind};
use lently_service::ledger::{Budgets, LedgerReport, Payer};
use lently_service::{AnalysisRequest, CommentsRequest, Lently, ServiceError, UserPlan};
use lently_testing::{RedisServer, wait_until};
use lently_upstream::{CommentOrder, UpstreamError, VideoId};
use tempfile::TempDir;

use crate::comments::{HOUR, NOTHING_STALE, come, wanted};
use crate::house::{House, Options, body, plain, request, user};

const BOUND: Duration = Duration::from_secs(30);

async fn report(lently: &Lently) -> LedgerReport {
    lently.ledger().report(None).await.expect("a report")
}

fn on(server: &RedisServer, directory: &TempDir) -> Options {
    let remote = RemoteConfig::Redis(RedisConfig { port: server.port(), ..RedisConfig::default() });
    let directory = Some(directory.path().to_owned());
    Options { remote, directory, gemini: true, ..Options::default() }
}

fn comments_of(video_id: &str, max_comments: u32) -> CommentsRequest {
    let video_id: VideoId = video_id.parse().expect("an id");
    CommentsRequest { video_id, max_comments, order: CommentOrder::Time, include_replies: true }
}

#[tokio::test]
async fn the_ledger_is_what_the_emulator_counted_with_two_nodes_a_redis_that_is_replaced_and_a_node_that_is_killed()
 {
    let mut server = RedisServer::start().await;
    let (mine, theirs) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let one = House::with(on(&server, &mine)).await;
    let emulator = Arc::clone(&one.emulator);
    let other = House::beside(Arc::clone(&emulator), on(&server, &theirs)).await;
    let ids: Vec<&str> = lently_emulator::SAMPLES.iter().map(|sample| sample.video_id).collect();
    let read = async |house: &House, id: &str, max: u32| {
        let youtube = house.lently.youtube().paid_by(Payer::interactive(user("ann")));
        // Some of them have no comments; that costs too.
        let _ = youtube
            .fetch_comments_cached(&comments_of(id, max), UserPlan::Unlimited, &Controls::NO_CACHE)
            .await;
    };
    let (first, second) = (request(ids[0]), request(ids[1]));
    let (a, b, ..) = tokio::join!(
        one.analyze(&first),
        other.analyze(&second),
        read(&one, ids[2], 150),
        read(&other, ids[3], 50)
    );
    a.expect("an analysis");
    b.expect("an analysis");
    server.replace_by_empty().await;
    // The link may still be down: then it is counted in the store and told later.
    tokio::join!(read(&one, ids[0], 70), read(&other, ids[0], 30));
    // Killed: nothing is told at its end. What it counted is in its store, with which another process begins.
    drop(other);
    let third = House::beside(Arc::clone(&emulator), on(&server, &theirs)).await;
    read(&third, ids[1], 20).await;
    wait_until("all are told again", BOUND, async || {
        third.lently.ledger().refresh().await;
        let report = report(&one.lently).await;
        report.whole_fleet && report.buckets[0].spent_units == emulator.counts().units
    })
    .await;
    let (told, counted) = (report(&one.lently).await, emulator.counts());
    assert_eq!(told.models.len(), 1, "{told:?}");
    let model = &told.models[0];
    assert_eq!(
        (model.calls, model.tokens_in, model.tokens_out),
        (counted.gemini_calls, counted.tokens_in, counted.tokens_out)
    );
    assert_eq!(model.micro_dollars, Some(told.gemini.spent_micro_dollars));
    wait_until("who spent it is told too", BOUND, async || {
        let _ = third.lently.ledger().report(None).await;
        let users = report(&one.lently).await.users;
        users.iter().map(|user| user.shared_units).sum::<u64>() == counted.units
    })
    .await;
}

#[tokio::test]
async fn an_analysis_is_its_users_and_a_hit_is_nobodys() {
    let house = House::with(Options { gemini: true, ..Options::default() }).await;
    let ann = user("ann");
    house.analyze_as(&ann, &request(plain()), false).await.expect("an analysis");
    house.analyze_as(&user("bob"), &request(plain()), false).await.expect("a hit");
    let (told, counts) = (report(&house.lently).await, house.counts());
    let by = |reports: &[lently_service::ledger::SpenderReport], name: &str| {
        reports.iter().find(|one| one.name == name).map_or((0, 0), |one| (one.shared_units, one.tokens_out))
    };
    assert_eq!(by(&told.users, "ann"), (counts.units, counts.tokens_out));
    assert_eq!(by(&told.users, "bob"), (0, 0));
    assert_eq!(by(&told.purposes, "analysis"), (counts.units, counts.tokens_out));
    let spent = house.lently.ledger().spent_by(&ann).await.expect("a report").spent;
    assert_eq!((spent.shared_units, spent.tokens_out), (counts.units, counts.tokens_out));
    assert_eq!(told.buckets[0].reserved_units, 0, "what was set aside is given back");
}

#[tokio::test]
async fn what_a_shelf_takes_is_whose_who_had_it_read() {
    let house = House::open().await;
    let read = async |name: &str, request: CommentsRequest| {
        let before = house.counts();
        let youtube = house.lently.youtube().paid_by(Payer::interactive(user(name)));
        youtube.fetch_comments_cached(&request, UserPlan::Unlimited, &NOTHING_STALE).await.expect("comments");
        let after = house.counts();
        (after.units - before.units, after.statistics - before.statistics)
    };
    let of = |max_comments| wanted(max_comments, CommentOrder::Time);
    let ann = read("ann", of(150)).await;
    assert_eq!(ann, (2, 1), "two pages, and their count");
    assert_eq!(read("bob", of(50)).await, (0, 0), "there already");
    let cat = read("cat", of(1_000)).await;
    assert_eq!(cat, (1, 0), "the page behind them");
    house.clock.advance(HOUR);
    let dan = read("dan", of(1_000)).await;
    assert_eq!(dan, (0, 1), "nothing has changed");
    house.clock.advance(HOUR);
    come(&house, &["new"]);
    let eve = read("eve", of(1_000)).await;
    assert_eq!(eve, (1, 1), "what came since");
    let fay = read("fay", comments_of(plain(), 1_000)).await;
    assert!(fay.0 > 3, "pages of replies beside those of threads: {fay:?}");
    let (told, counts) = (report(&house.lently).await, house.counts());
    let by = |name: &str| {
        told.users
            .iter()
            .find(|one| one.name == name)
            .map_or((0, 0), |one| (one.shared_units, one.stats_units))
    };
    let spent = ["ann", "bob", "cat", "dan", "eve", "fay"].map(by);
    assert_eq!(spent, [ann, (0, 0), cat, dan, eve, fay]);
    assert_eq!(
        (told.buckets[0].spent_units, told.buckets[2].spent_units),
        (counts.units, counts.statistics),
        "and nobody else's"
    );
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_as_youtubes_own_and_what_is_stale_is_served() {
    let house = House::with(Options {
        budgets: Budgets { shared_units: 2, ..Budgets::default() },
        ..Options::default()
    })
    .await;
    house.analyze(&request(plain())).await.expect("metadata and a page");
    let youtube = house.lently.youtube();
    let more = comments_of(plain(), 20);
    let refused = youtube.fetch_comments_cached(&more, UserPlan::Unlimited, &Controls::DEFAULT).await;
    let Err(ServiceError::Upstream(error)) = refused else { panic!("nothing is left: {refused:?}") };
    assert_eq!(
        error,
        UpstreamError::QuotaExhausted { until: "2026-11-25T08:00:00Z".parse().expect("a time") }
    );
    house.clock.advance(7 * HOUR);
    come(&house, &["new"]);
    let again = house.analyze(&request(plain())).await.expect("as it is");
    assert_eq!(again.stale, Some(StaleReason::Budget));
    let fewer = AnalysisRequest { max_comments: 50, ..request(plain()) };
    let other = house.analyze(&fewer).await.expect("of stale comments");
    assert!(body(&other).report.caution.is_some_and(|caution| caution.contains("used up")));
    assert_eq!(house.counts().units, 2, "nothing was sent");
}

#[tokio::test]
async fn with_less_left_than_a_video_takes_what_that_pays_for_is_analyzed_and_said() {
    let budgets = Budgets { shared_units: 2, ..Budgets::default() };
    let house = House::with(Options { budgets, ..Options::default() }).await;
    let wanted = lently_service::AnalysisRequest { max_comments: 200, ..request(plain()) };
    let report = body(&house.analyze(&wanted).await.expect("what was read")).report;
    assert_eq!((report.coverage.read, house.counts().units), (100, 2));
    let caution = report.caution.expect("a caution");
    assert!(
        caution.contains("Of the 2 units of quota that its comments may take, 1 was left today."),
        "{caution}"
    );
}

#[tokio::test]
async fn beyond_the_budget_in_dollars_comments_are_judged_locally_and_labelled() {
    let house = House::with(Options {
        gemini: true,
        budgets: Budgets { gemini_micro_dollars: Some(0), ..Budgets::default() },
        ..Options::default()
    })
    .await;
    let analysis = body(&house.analyze(&request(plain())).await.expect("an analysis"));
    assert_eq!(analysis.engine.judged.gemini, 0);
    assert!(analysis.engine.degraded.is_some_and(|reason| reason.contains("used up")));
    assert_eq!(house.counts().gemini_calls, 0);
}

#[tokio::test]
async fn youtubes_refusal_is_believed_until_midnight() {
    let house = House::open().await;
    house.emulator.set_fault(Some(Fault { kind: FaultKind::QuotaExceeded, method: None, times: Some(1) }));
    house.analyze(&request(plain())).await.expect_err("no quota");
    let asked = house.counts().units;
    house.analyze(&request(lently_emulator::SAMPLES[1].video_id)).await.expect_err("no quota");
    assert_eq!(house.counts().units, asked, "it is not asked again");
    assert!(report(&house.lently).await.buckets[0].used_up);
    house.clock.advance(Duration::from_secs(21 * 3_600));
    house.analyze(&request(plain())).await.expect("a new day");
}

#[tokio::test]
async fn an_estimate_spends_nothing_and_is_what_the_analysis_then_takes() {
    let house = House::with(Options { gemini: true, ..Options::default() }).await;
    let (ann, wanted) = (user("ann"), request(plain()));
    let unknown = house.lently.estimate(&ann, &wanted).await.expect("an estimate");
    assert_eq!((unknown.comments_known, unknown.comments, unknown.shared_units), (false, 100, 2));
    assert_eq!(house.counts().units + house.counts().gemini_calls, 0);
    let video: VideoId = plain().parse().expect("an id");
    house.lently.youtube().get_video_metadata_cached(&video, &Controls::DEFAULT).await.expect("a video");
    let known = house.lently.estimate(&ann, &wanted).await.expect("an estimate");
    assert!(known.comments_known && known.cached.video && known.allowed, "{known:?}");
    assert_eq!(known.shared_units, 1);
    house.clock.advance(Duration::from_secs(3_601));
    let stale = house.lently.estimate(&ann, &wanted).await.expect("an estimate");
    assert_eq!((stale.shared_units, stale.stats_units), (1, 1), "its statistics alone are read again");
    let made = house.analyze_as(&ann, &wanted, false).await.expect("an analysis");
    let cost = made.cost;
    assert_eq!((cost.quota_units, house.counts().statistics), (1, 1));
    let stats = &report(&house.lently).await.buckets[2];
    assert_eq!((stats.bucket, stats.spent_units), ("stats", 1));
    assert!(known.tokens_in.abs_diff(cost.tokens_in) <= cost.tokens_in, "{known:?} {cost:?}");
    assert!(known.micro_dollars.is_some_and(|dollars| dollars > 0));
    let there = house.lently.estimate(&ann, &wanted).await.expect("an estimate");
    assert!(there.cached.analysis && there.cost() == lently_cache::Cost::default(), "{there:?}");
}

#[tokio::test]
async fn an_estimate_knows_what_was_read_for_others_and_the_analysis_takes_no_more() {
    let house = House::open().await;
    let ann = user("ann");
    let video: VideoId = plain().parse().expect("an id");
    let youtube = house.lently.youtube();
    youtube.get_video_metadata_cached(&video, &Controls::DEFAULT).await.expect("a video");
    let of = |max_comments| lently_service::AnalysisRequest { max_comments, ..request(plain()) };
    // What is told, and what it then takes.
    let takes = async |max_comments: u32| {
        let estimate = house.lently.estimate(&ann, &of(max_comments)).await.expect("an estimate");
        let before = house.counts();
        house.analyze_as(&ann, &of(max_comments), false).await.expect("an analysis");
        let after = house.counts();
        let told = (estimate.shared_units, estimate.stats_units);
        (estimate.cached.comments, told, (after.units - before.units, after.statistics - before.statistics))
    };
    youtube
        .fetch_comments_cached(&wanted(150, CommentOrder::Relevance), UserPlan::Unlimited, &Controls::DEFAULT)
        .await
        .expect("comments");
    assert_eq!(takes(100).await, (true, (0, 0), (0, 0)), "fewer than were read");
    assert_eq!(takes(200).await, (false, (1, 0), (1, 0)), "a page behind them");
    let told = report(&house.lently).await;
    assert_eq!((told.buckets[0].spent_units, told.buckets[0].reserved_units), (house.counts().units, 0));
    // The comments are no longer fresh, and the video is.
    house.clock.advance(HOUR / 2);
    let stale = house.lently.estimate(&ann, &of(150)).await.expect("an estimate");
    assert_eq!((stale.cached.video, stale.cached.comments), (true, false));
    assert_eq!((stale.shared_units, stale.stats_units), (2, 1), "at most, and their count");
    house.clock.advance(8 * 24 * HOUR);
    let old = house.lently.estimate(&ann, &of(150)).await.expect("an estimate");
    assert_eq!((old.shared_units, old.stats_units), (3, 0), "the video and its comments in full");
}

#[tokio::test]
async fn an_estimate_says_what_is_not_allowed() {
    let house = House::with(Options {
        budgets: Budgets { shared_units: 5, ..Budgets::default() },
        default_plan: UserPlan::Free,
        ..Options::default()
    })
    .await;
    let mut wanted = request(plain());
    wanted.max_comments = 50_000;
    let estimate = house.lently.estimate(&user("ann"), &wanted).await.expect("an estimate");
    assert!(!estimate.allowed);
    let notes = estimate.notes.join("\n");
    assert!(notes.contains("501 units are needed and 5 are left today") && notes.contains("plan"), "{notes}");
}
