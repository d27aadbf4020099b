use std::time::Duration;

use lently_cache::Clock;
use lently_upstream::Place;

use super::*;
use crate::youtube::{Check, Doubt};

const NOON: &str = "2026-11-24T12:00:00Z";

fn store() -> (Store, Clock) {
    let clock = Clock::manual(NOON.parse().expect("a time"));
    (Store::new("sqlite::memory:", clock.clone()).expect("an address"), clock)
}

fn video() -> VideoId {
    "dQw4w9WgXcQ".parse().expect("an id")
}

fn shelf(clock: &Clock, names: &[&str]) -> Shelf {
    let check = Check { at: clock.now(), count: Some(7) };
    let comment = |id: &&str| Comment {
        id: (*id).to_owned(),
        author_channel_id: Some(format!("UC{id}")),
        text: "a \"quoted\" text".to_owned(),
        ..Comment::default()
    };
    let head = Head {
        held: names.len(),
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
    Shelf { head, comments: names.iter().map(comment).collect() }
}

/// Rows written since the file was opened: SQLite counts them.
async fn rows_written(store: &Store) -> i64 {
    let pool = store.pool().await.expect("a pool");
    let (changes,): (i64,) = sqlx::query_as("SELECT total_changes()").fetch_one(pool).await.expect("a count");
    changes
}

#[tokio::test]
async fn a_shelf_is_found_as_it_was_kept_for_28_days_since_it_was_read() {
    let (store, clock) = store();
    let kept = shelf(&clock, &["a", "b"]);
    clock.advance(Duration::from_secs(3_600));
    store.save_shelf(&video(), CommentOrder::Time, false, &kept, 0).await.expect("saved");
    let load = async |order, replies| store.load_shelf(&video(), order, replies).await.expect("read");
    assert_eq!(load(CommentOrder::Time, false).await, Some(kept));
    assert_eq!(load(CommentOrder::Relevance, false).await, None);
    assert_eq!(load(CommentOrder::Time, true).await, None);
    clock.advance(RETENTION - Duration::from_secs(3_600));
    assert_eq!(load(CommentOrder::Time, false).await, None);
    store.sweep().await.expect("swept");
    let pool = store.pool().await.expect("a pool");
    let (rows,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM shelf_comments").fetch_one(pool).await.expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn what_is_put_behind_a_shelf_does_not_write_the_rest_again() {
    let (store, clock) = store();
    let names: Vec<String> = (0..500).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let save = async |shelf: &Shelf| {
        let before = rows_written(&store).await;
        store.save_shelf(&video(), CommentOrder::Time, false, shelf, 0).await.expect("saved");
        rows_written(&store).await - before
    };
    save(&shelf(&clock, &names[..400])).await;
    let written = save(&shelf(&clock, &names)).await;
    assert!((100..110).contains(&written), "{written} rows for 100 comments");
    assert!(save(&shelf(&clock, &names)).await < 10, "nothing but the head");
    let changed = shelf(&clock, &[&["new"], &names[..]].concat());
    save(&changed).await;
    let found = store.load_shelf(&video(), CommentOrder::Time, false).await.expect("read");
    assert_eq!(found, Some(changed));
}

#[tokio::test]
async fn an_authors_comments_are_found_by_an_index() {
    let (store, clock) = store();
    store
        .save_shelf(&video(), CommentOrder::Time, false, &shelf(&clock, &["a", "b"]), 0)
        .await
        .expect("saved");
    let pool = store.pool().await.expect("a pool");
    let plan: Vec<(i64, i64, i64, String)> =
        sqlx::query_as("EXPLAIN QUERY PLAN DELETE FROM shelf_comments WHERE author_channel_id = 'UCa'")
            .fetch_all(pool)
            .await
            .expect("a plan");
    assert!(plan.iter().any(|(.., step)| step.contains("shelf_comments_author")), "{plan:?}");
}

#[tokio::test]
async fn comments_that_were_removed_while_they_were_read_are_not_kept() {
    let (store, clock) = store();
    let (before, kept) = (store.removals(), shelf(&clock, &["a"]));
    store.remove_shelves(&video()).await.expect("removed");
    let load = async || store.load_shelf(&video(), CommentOrder::Time, false).await.expect("read");
    store.save_shelf(&video(), CommentOrder::Time, false, &kept, before).await.expect("passed over");
    assert_eq!(load().await, None);
    store.save_shelf(&video(), CommentOrder::Time, false, &kept, store.removals()).await.expect("saved");
    assert_eq!(load().await, Some(kept));
    let pattern = Pattern::parse("comments:*").expect("a pattern");
    store.remove_shelves_matching(&pattern).await.expect("removed");
    assert_eq!(load().await, None);
}
