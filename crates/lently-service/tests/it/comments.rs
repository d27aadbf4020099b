//! What comments cost: pages are bought once, and only as far as something has changed.

use std::collections::HashSet;
use std::time::Duration;

use lently_cache::{AcceptStale, Controls, Outcome, StaleReason};
use lently_emulator::{Change, Fault, FaultKind, Method, NewComment};
use lently_service::youtube::{Comments, Doubt};
use lently_service::{Cached, CommentsRequest, Economy, ServiceError, UserPlan};
use lently_upstream::{CommentOrder, HarvestEnd};

use crate::house::{House, Options, body, plain, request};

pub const HOUR: Duration = Duration::from_secs(3_600);
/// Whoever says so waits for what is read, rather than take what is no longer fresh.
pub const NOTHING_STALE: Controls =
    Controls { stale: AcceptStale::Within(Duration::ZERO), ..Controls::DEFAULT };

/// The sample has 249 threads, on pages of 100, 99 and 50; with their replies 520 comments.
pub const THREADS: usize = 249;

pub fn wanted(max_comments: u32, order: CommentOrder) -> CommentsRequest {
    let video_id = plain().parse().expect("an id");
    CommentsRequest { video_id, max_comments, order, include_replies: false }
}

pub async fn ask(
    house: &House,
    request: &CommentsRequest,
    controls: &Controls,
) -> Result<Cached<Comments>, ServiceError> {
    house.lently.youtube().fetch_comments_cached(request, UserPlan::Unlimited, controls).await
}

pub async fn read(house: &House, max_comments: u32, order: CommentOrder) -> Comments {
    let cached = ask(house, &wanted(max_comments, order), &NOTHING_STALE).await.expect("comments");
    cached.value().expect("comments")
}

pub fn ids(comments: &Comments) -> Vec<&str> {
    let ids: Vec<_> = comments.comments.iter().map(|comment| comment.id.as_str()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "each comment once");
    ids
}

/// Comments that are written now.
pub fn come(house: &House, names: &[&str]) {
    let published_at = Some(house.clock.now());
    let add = |id: &&str| {
        Change::Add(NewComment {
            id: (*id).to_owned(),
            text: "new".to_owned(),
            published_at,
            ..NewComment::default()
        })
    };
    assert_eq!(house.emulator.change(plain(), names.iter().map(add)), names.len());
}

fn delete(house: &House, id: &str) {
    assert_eq!(house.emulator.change(plain(), [Change::Delete { id: id.to_owned() }]), 1);
}

/// Pages of threads bought so far.
pub fn pages(house: &House) -> u64 {
    house.counts().comment_threads
}

#[tokio::test]
async fn what_was_read_for_a_larger_request_serves_smaller_ones_of_the_same_order() {
    for order in [CommentOrder::Relevance, CommentOrder::Time] {
        let house = House::open().await;
        let all = read(&house, 150, order).await;
        assert_eq!((all.end, pages(&house)), (HarvestEnd::LimitReached, 2));
        for fewer in [1, 99, 100, 149] {
            let cached = ask(&house, &wanted(fewer, order), &Controls::DEFAULT).await.expect("comments");
            let part = cached.value().expect("comments");
            assert_eq!(
                (cached.outcome, cached.spent().quota_units, part.end),
                (Outcome::Hit, 0, HarvestEnd::LimitReached)
            );
            assert_eq!(part.comments, all.comments[..fewer as usize]);
        }
        // A page holds more than was asked for, and that is kept.
        assert_eq!(read(&house, 199, order).await.comments.len(), 199);
        assert_eq!(pages(&house), 2);
    }
}

#[tokio::test]
async fn asking_for_more_goes_on_where_reading_stopped() {
    for order in [CommentOrder::Relevance, CommentOrder::Time] {
        let house = House::open().await;
        let some = read(&house, 10, order).await;
        assert_eq!((some.comments.len(), pages(&house)), (10, 1));
        house.clock.advance(HOUR / 4);
        let cached = ask(&house, &wanted(1_000, order), &Controls::DEFAULT).await.expect("comments");
        assert_eq!(cached.spent().quota_units, 2, "the first page was there");
        assert_eq!(cached.age, HOUR / 4, "and is as old as it is");
        let all = cached.value().expect("comments");
        assert_eq!(
            (ids(&all).len(), all.end, all.pages, pages(&house)),
            (THREADS, HarvestEnd::Complete, 3, 3)
        );
        assert_eq!(all.comments[..10], some.comments);
        assert_eq!(read(&house, 5_000, order).await.comments.len(), THREADS, "there are no more");
        assert_eq!(pages(&house), 3);
    }
}

#[tokio::test]
async fn callers_who_want_other_amounts_at_the_same_time_share_what_is_bought() {
    let house = House::open().await;
    let one = |most| {
        let house = &house;
        async move { (most, read(house, most, CommentOrder::Time).await) }
    };
    let read = futures::future::join_all((1..=60).map(|n| one(n * 7))).await;
    for (most, comments) in read {
        assert_eq!(ids(&comments).len(), THREADS.min(most as usize));
    }
    assert_eq!(pages(&house), 3);
}

#[tokio::test]
async fn an_unchanged_count_buys_nothing() {
    for order in [CommentOrder::Relevance, CommentOrder::Time] {
        let house = House::open().await;
        let first = read(&house, 150, order).await;
        let (bought, asked) = (pages(&house), house.counts().statistics);
        for hours in 1..=48 {
            house.clock.advance(HOUR);
            let cached = ask(&house, &wanted(150, order), &NOTHING_STALE).await.expect("comments");
            assert_eq!((cached.spent().quota_units, cached.age), (0, Duration::ZERO));
            let again = cached.value().expect("comments");
            assert_eq!(
                (&again.comments, again.checked_at, again.read_at),
                (&first.comments, house.clock.now(), first.read_at)
            );
            assert_eq!(house.counts().statistics, asked + hours);
        }
        assert_eq!(pages(&house), bought);
    }
}

#[tokio::test]
async fn a_video_whose_metadata_was_just_read_is_not_asked_for_its_count() {
    let house = House::open().await;
    house.analyze(&request(plain())).await.expect("an analysis");
    house.clock.advance(2 * HOUR);
    house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!((house.counts().units, house.counts().statistics), (2, 1), "the metadata's own");
}

/// The count is as old as the entry that has it, and so is what is said by it.
#[tokio::test]
async fn comments_are_no_fresher_than_the_count_they_are_checked_by() {
    let house = House::open().await;
    read(&house, 150, CommentOrder::Time).await;
    house.clock.advance(HOUR);
    let video = plain().parse().expect("an id");
    house.lently.youtube().get_video_metadata_cached(&video, &NOTHING_STALE).await.expect("a video");
    house.clock.advance(HOUR / 4);
    come(&house, &["a"]);
    let checked = ask(&house, &wanted(150, CommentOrder::Time), &NOTHING_STALE).await.expect("comments");
    assert_eq!((checked.age, checked.ttl, pages(&house)), (HOUR / 4, HOUR / 4, 2));
    house.clock.advance(HOUR / 4);
    let next = read(&house, 150, CommentOrder::Time).await;
    assert_eq!((ids(&next)[0], pages(&house)), ("a", 3));
}

#[tokio::test]
async fn what_is_new_is_read_by_time_back_to_what_is_known() {
    let house = House::open().await;
    let first = read(&house, 1_000, CommentOrder::Time).await;
    house.clock.advance(HOUR);
    come(&house, &["a", "b", "c"]);
    let second = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!(pages(&house), 4, "one more");
    assert_eq!((second.end, second.merged, ids(&second).len()), (HarvestEnd::Complete, 3, THREADS + 3));
    assert_eq!(ids(&second)[..3], ["a", "b", "c"]);
    assert_eq!(second.comments[3..], first.comments);
    house.clock.advance(HOUR);
    let many: Vec<String> = (0..130).map(|n| format!("n{n:03}")).collect();
    come(&house, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let third = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!((pages(&house), ids(&third).len()), (6, THREADS + 133), "two for 130");
    let fewer = read(&house, 120, CommentOrder::Time).await;
    assert_eq!((fewer.comments, pages(&house)), (third.comments[..120].to_vec(), 6));
}

/// So many came that what is wanted is read before anything that is known: the rest is not read.
#[tokio::test]
async fn a_gap_by_time_is_not_filled_for_who_does_not_want_it() {
    let house = House::open().await;
    read(&house, 150, CommentOrder::Time).await;
    house.clock.advance(HOUR);
    let many: Vec<String> = (0..400).map(|n| format!("n{n:03}")).collect();
    come(&house, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let newest = read(&house, 150, CommentOrder::Time).await;
    assert_eq!((pages(&house), ids(&newest)[0], newest.end), (4, "n000", HarvestEnd::LimitReached));
    let all = read(&house, 5_000, CommentOrder::Time).await;
    assert_eq!((ids(&all).len(), all.end), (THREADS + 400, HarvestEnd::Complete));
}

#[tokio::test]
async fn by_relevance_the_new_lie_where_their_likes_put_them_until_half_have_no_rank() {
    let house = House::open().await;
    let first = read(&house, 150, CommentOrder::Relevance).await;
    let loved = Change::Like { id: "new1".to_owned(), like_count: 1_000_000 };
    let few: Vec<String> = (1..=24).map(|hour| format!("new{hour}")).collect();
    for (hour, new) in few.iter().enumerate() {
        house.clock.advance(HOUR);
        come(&house, &[new]);
        house.emulator.change(plain(), [loved.clone()]);
        let next = read(&house, 150, CommentOrder::Relevance).await;
        assert_eq!((pages(&house), next.merged), (3 + hour as u64, 1 + hour as u64), "a page by time each");
        assert_eq!(ids(&next)[0], "new1");
        assert_eq!(next.comments[1..100], first.comments[..99], "nobody likes the others");
    }
    // Then as many as there were before.
    for from in [25, 115] {
        let many: Vec<String> = (from..from + 90).map(|number| format!("new{number}")).collect();
        come(&house, &many.iter().map(String::as_str).collect::<Vec<_>>());
        house.clock.advance(HOUR);
        read(&house, 150, CommentOrder::Relevance).await;
    }
    come(&house, &["one more"]);
    house.clock.advance(HOUR);
    let before = pages(&house);
    let ranked = read(&house, 150, CommentOrder::Relevance).await;
    assert_eq!((pages(&house) - before, ranked.merged), (2, 0), "in full");
    assert!(!ids(&ranked).contains(&"new24"), "it has no likes");
}

#[tokio::test]
async fn a_request_for_one_page_of_relevance_pays_one_page_and_reads_its_ranks_once_a_day() {
    let house = House::open().await;
    let first = read(&house, 150, CommentOrder::Relevance).await;
    house.clock.advance(HOUR);
    come(&house, &["new"]);
    let front = read(&house, 100, CommentOrder::Relevance).await;
    assert_eq!((&front.comments[..], pages(&house)), (&first.comments[..100], 3), "by time");
    // What was read for it is there for all.
    read(&house, 150, CommentOrder::Relevance).await;
    assert_eq!(pages(&house), 3);
    house.clock.advance(24 * HOUR);
    come(&house, &["newer"]);
    house.emulator.change(plain(), [Change::Like { id: "new".to_owned(), like_count: 1_000_000 }]);
    let front = read(&house, 100, CommentOrder::Relevance).await;
    assert_eq!((ids(&front)[0], front.comments.len(), pages(&house)), ("new", 100, 4), "its ranks");
    // Beyond the first page nothing was looked for yet.
    let all = read(&house, 150, CommentOrder::Relevance).await;
    assert_eq!((ids(&all)[0], all.comments.len(), pages(&house)), ("new", 150, 5));
    assert_eq!(read(&house, 100, CommentOrder::Relevance).await.comments, all.comments[..100]);
    assert_eq!(pages(&house), 5);
}

#[tokio::test]
async fn edits_and_deletions_are_noticed_where_pages_are_read_and_elsewhere_after_two_weeks() {
    let house = House::open().await;
    let first = read(&house, 1_000, CommentOrder::Time).await;
    let (near, other, deep, deeper) =
        (&first.comments[5].id, &first.comments[6].id, &first.comments[200].id, &first.comments[201].id);
    house.clock.advance(HOUR);
    let edit = |id: &str| Change::Edit { id: id.to_owned(), text: "edited".to_owned(), updated_at: None };
    assert_eq!(house.emulator.change(plain(), [edit(near), edit(deep)]), 2);
    delete(&house, other);
    delete(&house, deeper);
    let second = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!(pages(&house), 4, "the count went down, and the first page is read");
    let text = |comments: &Comments, id: &str| {
        comments.comments.iter().find(|comment| comment.id == id).map(|comment| comment.text.clone())
    };
    assert_eq!(text(&second, near).as_deref(), Some("edited"));
    assert_eq!(text(&second, other), None);
    assert_eq!(text(&second, deep), text(&first, deep), "not read anew yet");
    assert!(text(&second, deeper).is_some());
    house.clock.advance(14 * 24 * HOUR);
    let third = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!(pages(&house), 7, "in full");
    assert_eq!((text(&third, deep).as_deref(), text(&third, deeper)), (Some("edited"), None));
    assert_eq!(third.read_at, house.clock.now());
}

#[tokio::test]
async fn no_cache_reads_in_full() {
    let house = House::open().await;
    read(&house, 150, CommentOrder::Time).await;
    let anew = ask(&house, &wanted(150, CommentOrder::Time), &Controls::NO_CACHE).await.expect("comments");
    assert_eq!((anew.spent().quota_units, pages(&house)), (2, 4));
}

#[tokio::test]
async fn a_caller_who_wants_it_younger_has_it_checked() {
    let house = House::open().await;
    read(&house, 150, CommentOrder::Time).await;
    house.clock.advance(Duration::from_secs(120));
    let young = Controls { max_age: Some(Duration::from_secs(60)), ..Controls::DEFAULT };
    let checked = ask(&house, &wanted(150, CommentOrder::Time), &young).await.expect("comments");
    assert_eq!((checked.age, pages(&house)), (Duration::ZERO, 2));
    come(&house, &["a"]);
    house.clock.advance(Duration::from_secs(120));
    let checked = ask(&house, &wanted(150, CommentOrder::Time), &young).await.expect("comments");
    assert_eq!((ids(&checked.value().expect("comments"))[0], pages(&house)), ("a", 3));
}

#[tokio::test]
async fn all_comments_by_relevance_are_all_comments_by_time_and_replies_can_be_left_out() {
    let house = House::open().await;
    let with_replies = CommentsRequest { include_replies: true, ..wanted(1_000, CommentOrder::Relevance) };
    let all =
        ask(&house, &with_replies, &Controls::DEFAULT).await.expect("comments").value().expect("comments");
    assert_eq!((ids(&all).len(), all.replies_missing, pages(&house)), (520, 0, 3));
    let units = house.counts().units;
    let by_time = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!((ids(&by_time).len(), by_time.end), (THREADS, HarvestEnd::Complete));
    assert!(by_time.comments.is_sorted_by_key(|comment| std::cmp::Reverse(comment.published_at)));
    let by_rank = read(&house, 100, CommentOrder::Relevance).await;
    assert!(by_rank.comments.iter().all(|comment| comment.parent_id.is_none()));
    assert_eq!(house.counts().units, units);
}

/// A page holds threads that nobody asked for; their replies are bought when somebody does.
#[tokio::test]
async fn replies_are_bought_for_those_who_want_them_and_once() {
    let house = House::open().await;
    let with_replies =
        |most| CommentsRequest { include_replies: true, ..wanted(most, CommentOrder::Relevance) };
    let get = async |most| {
        let cached = ask(&house, &with_replies(most), &NOTHING_STALE).await.expect("comments");
        cached.value().expect("comments")
    };
    let few = get(20).await;
    assert_eq!((ids(&few).len(), pages(&house)), (20, 1));
    let bought = house.counts().comments;
    let all = get(1_000).await;
    assert_eq!((ids(&all).len(), all.replies_missing, pages(&house)), (520, 0, 3));
    assert_eq!(all.comments[..20], few.comments);
    let whole = house.counts().comments;
    assert!(bought < whole, "{bought} of {whole}");
    // New replies of one thread: that thread's are bought again, and no other's.
    house.clock.advance(HOUR);
    let busy = all.comments.iter().max_by_key(|comment| comment.reply_count).expect("one").id.clone();
    let reply = NewComment { id: format!("{busy}.new"), parent_id: Some(busy), ..NewComment::default() };
    assert_eq!(house.emulator.change(plain(), [Change::Add(reply)]), 1);
    let front = get(100).await;
    assert_eq!(front.comments.len(), 100);
    assert_eq!((pages(&house), house.counts().comments), (4, whole + 1));
    let all = get(1_000).await;
    assert_eq!((ids(&all).len(), all.replies_missing), (521, 0));
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_has_reading_begin_again() {
    let house = House::open().await;
    read(&house, 100, CommentOrder::Time).await;
    let kind = FaultKind::PageTokenRefused;
    house.emulator.set_fault(Some(Fault { kind, method: Some(Method::CommentThreads), times: Some(1) }));
    let all = read(&house, 1_000, CommentOrder::Time).await;
    assert_eq!((ids(&all).len(), all.end), (THREADS, HarvestEnd::Complete));
}

#[tokio::test]
async fn a_list_that_ends_far_too_early_is_not_called_complete_until_it_does_so_again() {
    let house = House::open().await;
    house.emulator.change(plain(), [Change::Hidden { comments: 400 }]);
    let doubtful = ask(&house, &wanted(1_000, CommentOrder::Time), &NOTHING_STALE).await.expect("comments");
    assert!(doubtful.ttl <= Duration::from_secs(300));
    assert_eq!(doubtful.value().expect("comments").doubt, Doubt::Short);
    let analyzed = lently_service::AnalysisRequest {
        max_comments: 1_000,
        order: CommentOrder::Time,
        ..request(plain())
    };
    let coverage = body(&house.analyze(&analyzed).await.expect("an analysis")).report.coverage;
    assert!(!coverage.complete && coverage.basis.contains("counts many more"), "{}", coverage.basis);
    house.clock.advance(Duration::from_secs(300));
    let again = ask(&house, &wanted(1_000, CommentOrder::Time), &NOTHING_STALE).await.expect("comments");
    assert_eq!((again.value().expect("comments").doubt, pages(&house)), (Doubt::ShortTwice, 6));
    assert!(again.ttl > Duration::from_secs(300), "it is believed");
}

#[tokio::test]
async fn where_no_more_can_be_had_what_there_is_is_given_and_says_so() {
    let house = House::open().await;
    read(&house, 100, CommentOrder::Time).await;
    house.emulator.set_fault(Some(Fault { kind: FaultKind::QuotaExceeded, method: None, times: None }));
    let some = ask(&house, &wanted(1_000, CommentOrder::Time), &Controls::DEFAULT).await.expect("comments");
    assert!(matches!(some.outcome, Outcome::Stale(StaleReason::Failed(_))), "{:?}", some.outcome);
    let some = some.value().expect("comments");
    assert_eq!((some.comments.len(), some.end), (100, HarvestEnd::Failed));
    let asked = pages(&house);
    ask(&house, &wanted(500, CommentOrder::Time), &Controls::DEFAULT).await.expect("comments");
    assert_eq!(pages(&house), asked, "the quota is not asked for again");
    assert_eq!(
        ask(&house, &wanted(500, CommentOrder::Time), &Controls::NO_CACHE).await.expect_err("anew").code(),
        "quota-exhausted"
    );
}

#[tokio::test]
async fn an_analysis_says_when_its_comments_were_read_and_what_came_since() {
    let house = House::open().await;
    let wanted = lently_service::AnalysisRequest { max_comments: 1_000, ..request(plain()) };
    let first = body(&house.analyze(&wanted).await.expect("an analysis")).report.coverage;
    assert_eq!(first.read as usize, THREADS);
    assert!(!first.basis.contains("checked at"), "{}", first.basis);
    house.clock.advance(2 * HOUR);
    come(&house, &["a", "b"]);
    let second = body(&house.analyze(&wanted).await.expect("an analysis")).report.coverage;
    let said = "; read in full at 2026-11-24 12:00 UTC, and checked at 2026-11-24 14:00 UTC, with 2 that came between";
    assert!(second.basis.ends_with(said), "{}", second.basis);
    assert_eq!((second.read as usize, second.of), (THREADS + 2, Some(522)));
}

#[tokio::test]
async fn without_these_means_comments_cost_what_they_cost_a_plain_cache() {
    let economy =
        Economy { supersets: false, statistics_first: false, increments: false, ..Economy::default() };
    let house = House::with(Options { economy, ..Options::default() }).await;
    for (most, bought) in [(150, 2), (100, 3), (150, 3)] {
        read(&house, most, CommentOrder::Time).await;
        assert_eq!(pages(&house), bought);
    }
    house.clock.advance(HOUR);
    read(&house, 150, CommentOrder::Time).await;
    assert_eq!((pages(&house), house.counts().statistics), (5, 0));
}
