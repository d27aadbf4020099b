//! What was bought is kept: across a lost cache, a killed process, a used-up quota, several nodes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lently_cache::{Controls, RedisConfig, RemoteConfig};
use lently_emulator::{Data, Emulator, EmulatorConfig, Latency};
use lently_service::AnalysisRequest;
use lently_testing::{RedisServer, wait_until};
use lently_upstream::{CommentOrder, HarvestEnd};

use crate::comments::{HOUR, NOTHING_STALE, THREADS, ask, come, ids, pages, read, wanted};
use crate::house::{House, Killed, Options, body, plain, request};

const PATIENCE: Duration = Duration::from_secs(30);

async fn emulator(data: Data, latency: Latency, quota_units: u64) -> Arc<Emulator> {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let config =
        EmulatorConfig { listen, data, latency, quota_units, statistics_units: 10_000, api_key: None };
    Arc::new(Emulator::start(config).await.expect("an emulator"))
}

#[tokio::test]
async fn a_cache_that_is_lost_does_not_buy_the_comments_again() {
    let house = House::open().await;
    let first = read(&house, 1_000, CommentOrder::Relevance).await;
    house.lently.cache().flush_all().await.expect("flushed");
    let again = read(&house, 1_000, CommentOrder::Relevance).await;
    assert_eq!((again, pages(&house)), (first, 3));
    house.lently.cache().flush_all().await.expect("flushed");
    house.clock.advance(HOUR);
    come(&house, &["a"]);
    assert_eq!(read(&house, 1_000, CommentOrder::Relevance).await.merged, 1);
    assert_eq!(pages(&house), 4, "what is new is bought");
}

#[tokio::test]
async fn comments_that_are_invalidated_are_read_again_and_none_are_kept_beyond_28_days() {
    let house = House::open().await;
    let video = plain().parse().expect("an id");
    read(&house, 1_000, CommentOrder::Time).await;
    house.lently.youtube().invalidate_video(&video).await.expect("invalidated");
    read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!(pages(&house), 6);
    let pattern = lently_cache::Pattern::parse("comments:*").expect("a pattern");
    house.lently.analyses().invalidate_pattern(&pattern).await.expect("invalidated");
    read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!(pages(&house), 9);
    house.clock.advance(6 * 24 * HOUR);
    read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!(pages(&house), 9, "checked");
    house.clock.advance(22 * 24 * HOUR);
    let kept = Controls {
        only_if_cached: true,
        stale: lently_cache::AcceptStale::Within(Duration::MAX),
        ..Controls::DEFAULT
    };
    let beyond = ask(&house, &wanted(1_000, CommentOrder::Time), &kept).await;
    assert_eq!(beyond.expect_err("28 days since it was read").code(), "not-cached");
}

#[tokio::test]
async fn a_quota_that_ends_in_the_middle_is_gone_on_with_when_it_is_back() {
    // One page for each of two requests of a day's quota.
    let emulator = emulator(Data::samples(), Latency::default(), 2).await;
    let house = House::beside(emulator, Options::default()).await;
    let some = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!((ids(&some).len(), some.end, house.counts().comment_threads), (199, HarvestEnd::Failed, 3));
    house.books_are_exact().await;
    house.clock.advance(24 * HOUR);
    house.emulator.reset_counts();
    let all = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!((ids(&all).len(), all.end), (THREADS, HarvestEnd::Complete));
    assert_eq!(pages(&house), 1, "the last page");
    assert_eq!(all.comments[..199], some.comments);
}

async fn opened(emulator: Arc<Emulator>, remote: RemoteConfig) -> House {
    House::connected(emulator, Options { remote, ..Options::default() }).await
}

fn slow() -> Latency {
    Latency { comment_threads: Duration::from_millis(400), ..Latency::default() }
}

fn disk(directory: &Path) -> RemoteConfig {
    RemoteConfig::Disk { path: directory.join("cache.db"), max_bytes: 1 << 30 }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_a_killed_process_begins_behind_the_last_page_that_it_bought() {
    let redis = RedisServer::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let on_redis = || RemoteConfig::Redis(RedisConfig { port: redis.port(), ..RedisConfig::default() });
    for remote in [&on_redis as &dyn Fn() -> RemoteConfig, &|| disk(directory.path())] {
        let emulator = emulator(Data::samples(), slow(), 10_000).await;
        let store = tempfile::tempdir().expect("a directory");
        let options = || {
            let directory = Some(store.path().to_owned());
            Options { remote: remote(), directory, ..Options::default() }
        };
        let killed = Killed::begin(&emulator, options(), async |lently| {
            let (youtube, plan) = (lently.youtube(), lently_service::UserPlan::Unlimited);
            youtube.fetch_comments_cached(&wanted(1_000, CommentOrder::Time), plan, &NOTHING_STALE).await
        });
        // The third page is asked for once the second is kept.
        wait_until("the third page is asked for", PATIENCE, async || emulator.counts().comment_threads == 3)
            .await;
        killed.kill();
        emulator.set_latency(Latency::default());
        let house = House::connected(emulator, options()).await;
        let all = read(&house, 1_000, CommentOrder::Time).await;
        assert_eq!((ids(&all).len(), all.end), (THREADS, HarvestEnd::Complete));
        assert_eq!(
            pages(&house),
            4,
            "nobody was there to hear the third page's answer, so that one is bought again"
        );
        house.books_are_exact().await;
    }
}

#[tokio::test]
async fn two_nodes_that_read_one_video_buy_each_page_once() {
    let redis = RedisServer::start().await;
    let emulator = emulator(
        Data::samples(),
        Latency { comment_threads: Duration::from_millis(50), ..Latency::default() },
        10_000,
    )
    .await;
    let on_redis = || RemoteConfig::Redis(RedisConfig { port: redis.port(), ..RedisConfig::default() });
    let houses = [opened(emulator.clone(), on_redis()).await, opened(emulator, on_redis()).await];
    let amounts = [(0, 1_000), (1, 1_000), (0, 150), (1, 20)];
    let one = |(node, most): (usize, u32)| read(&houses[node], most, CommentOrder::Time);
    for (comments, (_, most)) in futures::future::join_all(amounts.map(one)).await.iter().zip(amounts) {
        assert_eq!(ids(comments).len(), THREADS.min(most as usize));
    }
    assert_eq!(pages(&houses[0]), 3);
    for house in &houses {
        house.books_are_exact().await;
    }
}

/// 206 of the 210 new ones are the newest; four came late onto the list, with older times.
#[tokio::test]
async fn the_second_crawl_of_a_real_video_reads_only_as_many_pages_as_the_new_comments_need() {
    let Some(folder) = lently_testing::real_data() else { return };
    let crawl = |name: &str| Data::load(&folder.join("comments").join(name)).expect("a crawl");
    for order in [CommentOrder::Time, CommentOrder::Relevance] {
        let early = crawl("one_video_two_crawls_early.csv");
        let emulator = emulator(early, Latency::default(), 10_000).await;
        let start = "2025-11-09T01:00:00Z";
        let house = House::beside(emulator, Options { start, ..Options::default() }).await;
        let video_id = "JLad2025xx1".parse().expect("an id");
        let request =
            lently_service::CommentsRequest { video_id, max_comments: 5_000, order, include_replies: false };
        let get = async || ask(&house, &request, &NOTHING_STALE).await.expect("comments");
        assert_eq!(get().await.value().expect("comments").comments.len(), 1_218);
        house.clock.advance(20 * HOUR);
        house.emulator.set_data(crawl("one_video_two_crawls_late.csv"));
        let second = get().await;
        let comments = second.value().expect("comments");
        assert_eq!(second.spent().quota_units, 3, "{order}");
        assert_eq!(comments.merged, 206, "{order}");
        house.lently.youtube().invalidate_video(&request.video_id).await.expect("invalidated");
        let anew = get().await;
        assert_eq!((anew.value().expect("comments").comments.len(), anew.spent().quota_units), (1_419, 15));
    }
}

#[tokio::test]
async fn the_second_analysis_of_a_real_video_pays_for_its_new_comments_only() {
    let Some(folder) = lently_testing::real_data() else { return };
    let crawl = |name: &str| Data::load(&folder.join("comments").join(name)).expect("a crawl");
    let emulator = emulator(crawl("one_video_two_crawls_early.csv"), Latency::default(), 10_000).await;
    let options = Options { gemini: true, start: "2025-11-09T01:00:00Z", ..Options::default() };
    let house = House::beside(emulator, options).await;
    let order = CommentOrder::Time;
    let wanted = AnalysisRequest { max_comments: 5_000, order, ..request("JLad2025xx1") };
    // What is analyzed, and what that sends for.
    let analyze = async || {
        let before = house.counts();
        let made = body(&house.analyze(&wanted).await.expect("an analysis"));
        let after = house.counts();
        assert_eq!((made.engine.judged.local, &made.engine.degraded), (0, &None));
        assert_eq!(
            (made.cost.tokens_in, made.cost.tokens_out),
            (after.tokens_in - before.tokens_in, after.tokens_out - before.tokens_out)
        );
        let video_id = "JLad2025xx1".parse().expect("an id");
        let there =
            lently_service::CommentsRequest { video_id, max_comments: 5_000, order, include_replies: false };
        let there = ask(&house, &there, &NOTHING_STALE).await.expect("comments").value().expect("comments");
        let texts = there.comments.iter().map(|comment| lently_analysis::prompt::normalized(&comment.text));
        let texts: std::collections::HashSet<String> = texts.collect();
        (
            made.report.coverage.read,
            texts,
            after.comment_threads - before.comment_threads,
            after.texts - before.texts,
        )
    };
    let (read, first, pages, sent) = analyze().await;
    assert_eq!((read, pages, sent), (1_218, 13, first.len() as u64));
    house.clock.advance(20 * HOUR);
    house.emulator.set_data(crawl("one_video_two_crawls_late.csv"));
    let (read, second, pages, sent) = analyze().await;
    assert_eq!((read, pages), (1_218 + 206 - 1, 3), "one is gone from where it was looked for");
    let new = second.difference(&first).count() as u64;
    assert!(sent == new && (1..=206).contains(&new), "{sent} texts are sent, and {new} are new");
    assert_eq!(house.counts().videos, 1, "the video is asked for its numbers, which take no unit");
    house.books_are_exact().await;
}
