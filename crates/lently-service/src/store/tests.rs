use super::*;
use crate::plan::UserPlan;
use crate::ttl::RETENTION;

const NOON: &str = "2026-11-24T12:00:00Z";

fn store() -> (Store, Clock) {
    let clock = Clock::manual(NOON.parse().expect("a time"));
    (Store::new("sqlite::memory:", clock.clone()).expect("an address"), clock)
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

fn analysis(name: &str, clock: &Clock) -> StoredAnalysis {
    StoredAnalysis {
        id: AnalysisId::derive(&[name]),
        body: Bytes::from(format!("{{\"name\":\"{name}\"}}")),
        cost: Cost { quota_units: 7, ..Cost::default() },
        title: name.to_owned(),
        video_id: None,
        comments: 3,
        created_at: clock.now(),
        fresh_until: later(clock.now(), Duration::from_secs(3_600)),
        retain_until: later(clock.now(), RETENTION),
    }
}

#[tokio::test]
async fn an_analysis_is_kept_for_28_days_and_not_longer() {
    let (store, clock) = store();
    let kept = analysis("a", &clock);
    store.save_analysis(&kept, None, None).await.expect("saved");
    clock.advance(RETENTION - Duration::from_secs(1));
    let found = store.load_analysis(&kept.id).await.expect("read").expect("there");
    assert_eq!(found.body, kept.body);
    assert_eq!(found.cost, kept.cost);
    clock.advance(Duration::from_secs(1));
    assert!(store.load_analysis(&kept.id).await.expect("read").is_none());
}

#[tokio::test]
async fn what_is_beyond_its_retention_is_deleted_by_a_sweep() {
    let (store, clock) = store();
    store.save_analysis(&analysis("old", &clock), None, None).await.expect("saved");
    clock.advance(RETENTION);
    store.save_analysis(&analysis("new", &clock), None, None).await.expect("saved");
    store.sweep().await.expect("swept");
    let (rows,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM analyses")
        .fetch_one(store.pool().await.expect("a pool"))
        .await
        .expect("a count");
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_history_is_the_users_own_and_continues_where_it_stopped() {
    let (store, clock) = store();
    for name in ["a", "b", "c"] {
        let analysis = analysis(name, &clock);
        store.link(&user("ann"), &analysis.id).await.expect("linked");
        store.save_analysis(&analysis, None, None).await.expect("saved");
        clock.advance(Duration::from_secs(60));
    }
    let first = store.list(&user("ann"), 2, None).await.expect("a list");
    assert_eq!(first.iter().map(|item| item.title.as_str()).collect::<Vec<_>>(), ["c", "b"]);
    let rest = store.list(&user("ann"), 2, Some(first[1].requested_at)).await.expect("a list");
    assert_eq!(rest.iter().map(|item| item.title.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(store.list(&user("bob"), 10, None).await.expect("a list").is_empty());
}

#[tokio::test]
async fn a_history_is_in_the_order_of_the_latest_requests() {
    let (store, clock) = store();
    for name in ["a", "b", "a"] {
        let analysis = analysis(name, &clock);
        store.link(&user("ann"), &analysis.id).await.expect("linked");
        store.save_analysis(&analysis, None, None).await.expect("saved");
        clock.advance(Duration::from_secs(60));
    }
    let list = store.list(&user("ann"), 10, None).await.expect("a list");
    assert_eq!(list.iter().map(|item| item.title.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(list[0].requested_at, NOON.parse::<Timestamp>().expect("a time") + Duration::from_secs(120));
}

#[tokio::test]
async fn erasing_removes_the_analysis_with_its_last_reader() {
    let (store, clock) = store();
    let kept = analysis("a", &clock);
    store.save_analysis(&kept, None, None).await.expect("saved");
    for name in ["ann", "bob"] {
        store.link(&user(name), &kept.id).await.expect("linked");
    }
    assert_eq!(store.erase(&user("eve"), &kept.id).await.expect("erased"), Erased::Nothing);
    assert_eq!(store.erase(&user("ann"), &kept.id).await.expect("erased"), Erased::Line);
    assert!(store.load_analysis(&kept.id).await.expect("read").is_some());
    let erased_at = millis(clock.now());
    let gone = store.erase(&user("bob"), &kept.id).await.expect("erased");
    assert_eq!(gone, Erased::Analysis { erased_at, summaries: Vec::new() });
    assert_eq!(store.tombstones().await.expect("read"), [(kept.id.clone(), erased_at)]);
    assert!(store.load_analysis(&kept.id).await.expect("read").is_none());
}

#[tokio::test]
async fn a_tombstone_stands_until_it_is_lifted_and_not_beyond_the_retention() {
    let (store, clock) = store();
    let ann = user("ann");
    let ids: Vec<AnalysisId> = ["a", "b"].map(|name| AnalysisId::derive(&[name])).to_vec();
    for id in &ids {
        store.link(&ann, id).await.expect("linked");
        store.erase(&ann, id).await.expect("erased");
        clock.advance(Duration::from_secs(1));
    }
    let standing = store.tombstones().await.expect("read");
    assert_eq!(standing.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&ids[1], &ids[0]]);
    store.lift_tombstone(&ids[1], standing[1].1).await.expect("another mark");
    store.lift_tombstone(&ids[0], standing[1].1).await.expect("lifted");
    assert_eq!(store.tombstones().await.expect("read"), standing[..1]);
    clock.advance(RETENTION);
    store.sweep().await.expect("swept");
    assert!(store.tombstones().await.expect("read").is_empty());
}

#[tokio::test]
async fn an_expired_analysis_stays_readable_and_is_no_longer_fresh() {
    let (store, clock) = store();
    let kept = analysis("a", &clock);
    store.save_analysis(&kept, None, None).await.expect("saved");
    assert!(store.expire_analysis(&kept.id).await.expect("expired"));
    let found = store.load_analysis(&kept.id).await.expect("read").expect("there");
    assert!(found.fresh_until <= clock.now());
    assert!(!store.expire_analysis(&kept.id).await.expect("expired"));
}

#[tokio::test]
async fn fresh_analyses_come_in_pages_and_each_once() {
    let (store, clock) = store();
    for name in ["a", "b", "c"] {
        store.save_analysis(&analysis(name, &clock), None, None).await.expect("saved");
    }
    store.expire_analysis(&AnalysisId::derive(&["b"])).await.expect("expired");
    let (mut after, mut seen) = (None, Vec::new());
    while let [(id, cost)] = &store.fresh_page(after.as_ref(), 1).await.expect("a page")[..] {
        assert_eq!(cost.quota_units, 7);
        seen.push(id.clone());
        after = Some(id.clone());
    }
    let mut expected = [AnalysisId::derive(&["a"]), AnalysisId::derive(&["c"])];
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_last_analysis_of_a_month_is_taken_once() {
    let (store, clock) = store();
    let ann = user("ann");
    let mut last = None;
    for _ in 0..10 {
        last = Some(store.reserve(&ann, UserPlan::Free).await.expect("a reservation"));
    }
    let refused = store.reserve(&ann, UserPlan::Free).await.expect_err("the eleventh");
    assert_eq!(refused.code(), "plan-limit");
    store.settle(last.expect("ten"), false).await.expect("given back");
    let taken = store.reserve(&ann, UserPlan::Free).await.expect("the one given back");
    store.settle(taken, true).await.expect("settled");
    assert_eq!(store.used(&ann).await.expect("a count").analyses, 10);
    assert_eq!(store.used(&user("bob")).await.expect("a count").analyses, 0);
    // Nine were never settled: their process died, and after an hour they no longer count.
    clock.advance(Duration::from_secs(3_601));
    assert_eq!(store.used(&ann).await.expect("a count").analyses, 1);
}

#[tokio::test]
async fn a_plan_is_what_was_set_last() {
    let (store, _clock) = store();
    let ann = user("ann");
    assert_eq!(store.plan(&ann).await.expect("a plan"), None);
    for plan in [UserPlan::Pro, UserPlan::Business] {
        store.set_plan(&ann, plan).await.expect("set");
        assert_eq!(store.plan(&ann).await.expect("a plan"), Some(plan));
    }
}

#[test]
fn an_address_that_is_not_sqlite_is_refused_at_once() {
    let clock = Clock::manual(NOON.parse().expect("a time"));
    let error = Store::new("postgres://localhost/x", clock).expect_err("not SQLite");
    assert_eq!(error.code(), "invalid-request");
}

#[tokio::test]
async fn several_processes_may_open_a_new_file_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("deep/lently.db").display());
    let clock = Clock::manual(NOON.parse().expect("a time"));
    let stores: Vec<Store> = (0..4).map(|_| Store::new(&url, clock.clone()).expect("an address")).collect();
    let opened = futures::future::join_all(stores.iter().map(Store::ping)).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    let kept = analysis("a", &clock);
    stores[0].save_analysis(&kept, None, None).await.expect("saved");
    assert!(stores[3].load_analysis(&kept.id).await.expect("read").is_some());
}

#[tokio::test]
async fn a_store_that_was_not_opened_is_looked_into_for_tombstones_and_made_by_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("lently.db");
    let clock = Clock::manual(NOON.parse().expect("a time"));
    let open = || Store::new(&format!("sqlite:{}", path.display()), clock.clone()).expect("an address");
    assert!(open().tombstones().await.expect("read").is_empty());
    assert!(!path.exists(), "looking makes no file");
    let (store, ann, id) = (open(), user("ann"), AnalysisId::derive(&["a"]));
    store.link(&ann, &id).await.expect("linked");
    store.erase(&ann, &id).await.expect("erased");
    assert_eq!(open().tombstones().await.expect("read"), store.tombstones().await.expect("read"));
    assert_eq!(open().tombstones().await.expect("read").len(), 1);
    sqlx::query("DROP TABLE tombstones").execute(store.pool().await.expect("a pool")).await.expect("dropped");
    assert!(open().tombstones().await.expect("an older store").is_empty());
}

#[tokio::test]
async fn the_comments_of_an_analysis_live_as_long_as_it_does() {
    let (store, clock) = store();
    let kept = analysis("a", &clock);
    // Made anew it has others, or none.
    for packed in [Some(&b"first"[..]), Some(b"second"), None, Some(b"third")] {
        store.save_analysis(&kept, packed, None).await.expect("saved");
        assert_eq!(store.load_comments(&kept.id).await.expect("read").as_deref(), packed);
    }
    store.erase_analysis(&kept.id).await.expect("erased");
    let (rows,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM analysis_comments")
        .fetch_one(store.pool().await.expect("a pool"))
        .await
        .expect("a count");
    assert_eq!(rows, 0);
}
