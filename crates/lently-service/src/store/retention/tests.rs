//! Moved clocks and counted rows.

use bytes::Bytes;
use lently_cache::{Clock, Cost};
use lently_upstream::{Comment, CommentOrder, Place, VideoId};

use super::*;
use crate::ids::{AnalysisId, TextHash, UserId};
use crate::keys::EntryKind;
use crate::store::{Origin, PaidAnswer, StoredAnalysis};
use crate::youtube::{Check, Doubt, Head, Shelf};

const NOON: &str = "2026-11-24T12:00:00Z";

fn clock() -> Clock {
    Clock::manual(NOON.parse().expect("a time"))
}

fn store(clock: &Clock) -> Store {
    Store::new("sqlite::memory:", clock.clone()).expect("an address")
}

fn video() -> VideoId {
    "dQw4w9WgXcQ".parse().expect("an id")
}

fn shelf(clock: &Clock, comments: usize) -> Shelf {
    let check = Check { at: clock.now(), count: None };
    let head = Head {
        held: comments,
        place: Place::default(),
        cut: None,
        pages: 1,
        read_at: clock.now(),
        ranked_at: clock.now(),
        all: check,
        front: check,
        merged: 0,
        doubt: Doubt::None,
    };
    let comment = |n: usize| Comment { id: n.to_string(), ..Comment::default() };
    Shelf { head, comments: (0..comments).map(comment).collect() }
}

async fn keep_shelf(store: &Store, shelf: &Shelf) {
    store.save_shelf(&video(), CommentOrder::Time, false, shelf, store.removals()).await.expect("saved");
}

async fn keep_analysis(store: &Store, clock: &Clock, name: &str, left: Duration) -> AnalysisId {
    let analysis = StoredAnalysis {
        id: AnalysisId::derive(&[name]),
        body: Bytes::from_static(b"{}"),
        cost: Cost::default(),
        title: name.to_owned(),
        video_id: None,
        comments: 0,
        created_at: clock.now(),
        fresh_until: clock.now(),
        retain_until: later(clock.now(), left),
    };
    store.save_analysis(&analysis, None, None).await.expect("saved");
    analysis.id
}

async fn keep_answer(store: &Store, kind: EntryKind, name: &str) {
    let origin = Origin { kind, engine: "gemini", model: "m".to_owned(), prompt_version: "1".to_owned() };
    let answer =
        PaidAnswer { hash: TextHash::of(name), json: Bytes::from_static(b"{}"), cost: Cost::default() };
    store.save_answers(&origin, &[answer]).await.expect("saved");
}

async fn rows(store: &Store, part: StorePart) -> u64 {
    let parts = store.parts().await.expect("parts");
    parts.into_iter().find(|told| told.part == part).expect("a part").rows
}

fn deleted(swept: &[(StorePart, u64)]) -> Vec<(&'static str, u64)> {
    swept.iter().filter(|(_, rows)| *rows > 0).map(|(part, rows)| (part.name(), *rows)).collect()
}

/// Rows come on each of forty days, and each day is swept: on none is there one that is older than it may be, and none went early.
#[tokio::test]
async fn on_every_day_there_is_what_is_younger_than_28_days_and_nothing_else() {
    let clock = clock();
    let store = store(&clock);
    for day in 1..=40_u64 {
        // What was made of old material has less time left.
        keep_analysis(&store, &clock, &format!("full {day}"), RETENTION).await;
        keep_analysis(&store, &clock, &format!("aged {day}"), DAY.saturating_mul(3)).await;
        keep_answer(&store, EntryKind::Verdict, &format!("verdict {day}")).await;
        keep_answer(&store, EntryKind::Summary, &format!("summary {day}")).await;
        store.link(&UserId::local(), &AnalysisId::derive(&[&format!("gone {day}")])).await.expect("linked");
        clock.advance(DAY);
        store.sweep().await.expect("swept");
        let young = day.min(27);
        assert_eq!(rows(&store, StorePart::Analyses).await, young + day.min(2), "on day {day}");
        for part in [StorePart::Verdicts, StorePart::Summaries, StorePart::History] {
            assert_eq!(rows(&store, part).await, young, "{} on day {day}", part.name());
        }
        for told in store.parts().await.expect("parts") {
            assert_eq!(told.overdue, 0, "{told:?}");
            assert!(
                told.oldest_at.is_none_or(|at| clock.now() < later(at, told.kept_seconds_as_time())),
                "{told:?}"
            );
        }
    }
}

impl PartReport {
    fn kept_seconds_as_time(&self) -> Duration {
        Duration::from_secs(self.kept_seconds)
    }
}

#[tokio::test]
async fn a_list_that_is_half_swept_is_not_taken_for_a_whole_one() {
    let clock = clock();
    let store = store(&clock);
    let many = ROWS_AT_ONCE as usize + 500;
    keep_shelf(&store, &shelf(&clock, many)).await;
    clock.advance(RETENTION);
    let pool = store.pool().await.expect("a pool");
    assert_eq!(sweep_shelf(pool, clock.now()).await.expect("a step"), Some(u64::from(ROWS_AT_ONCE)));
    assert_eq!(rows(&store, StorePart::Comments).await, 500);
    // Read anew meanwhile, with the same comments.
    let anew = shelf(&clock, many);
    keep_shelf(&store, &anew).await;
    store.sweep().await.expect("swept");
    let found = store.load_shelf(&video(), CommentOrder::Time, false).await.expect("read").expect("there");
    assert_eq!(found.comments.len(), many);
    clock.advance(RETENTION);
    let swept = store.sweep().await.expect("swept");
    assert_eq!(deleted(&swept), [("comments", many as u64)]);
    assert_eq!(store.sweep().await.map(|swept| deleted(&swept)).expect("swept"), []);
}

#[tokio::test]
async fn a_sweep_is_written_down_and_adds_up() {
    let clock = clock();
    let store = store(&clock);
    for n in 0..3 {
        keep_analysis(&store, &clock, &format!("{n}"), RETENTION).await;
        clock.advance(RETENTION);
        store.sweep().await.expect("swept");
    }
    let told = store.parts().await.expect("parts")[0].clone();
    assert_eq!((told.part, told.rows, told.deleted, told.deleted_so_far), (StorePart::Analyses, 0, 1, 3));
    assert_eq!(told.swept_at, Some(clock.now()));
}

#[tokio::test]
async fn several_processes_may_sweep_the_same_file_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("lently.db").display());
    let clock = clock();
    let stores: Vec<Store> = (0..3).map(|_| Store::new(&url, clock.clone()).expect("an address")).collect();
    keep_shelf(&stores[0], &shelf(&clock, 3 * ROWS_AT_ONCE as usize)).await;
    for n in 0..200 {
        keep_analysis(&stores[0], &clock, &format!("{n}"), RETENTION).await;
    }
    for store in &stores {
        store.ping().await.expect("open");
    }
    clock.advance(RETENTION);
    let swept = futures::future::join_all(stores.iter().map(Store::sweep)).await;
    let all: u64 = swept.into_iter().flat_map(|swept| swept.expect("swept")).map(|(_, rows)| rows).sum();
    assert_eq!(all, 200 + 3 * u64::from(ROWS_AT_ONCE), "each row was deleted once");
    let told = stores[0].parts().await.expect("parts");
    assert!(told.iter().all(|part| part.rows == 0), "{told:?}");
}

/// Commands live too shortly for a sweep now and then, so opening is one; but not each.
#[tokio::test]
async fn opening_a_store_sweeps_it_where_nobody_has_for_an_hour() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("lently.db").display());
    let clock = clock();
    let open = || Store::new(&url, clock.clone()).expect("an address");
    let first = open();
    keep_analysis(&first, &clock, "a", RETENTION).await;
    keep_analysis(&first, &clock, "b", RETENTION + Duration::from_secs(60)).await;
    first.close().await;
    clock.advance(RETENTION);
    let second = open();
    assert_eq!(rows(&second, StorePart::Analyses).await, 1, "the one that is due");
    second.close().await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(rows(&open(), StorePart::Analyses).await, 1, "swept a minute ago");
    clock.advance(OPENING_SWEEPS_AFTER);
    assert_eq!(rows(&open(), StorePart::Analyses).await, 0);
}
