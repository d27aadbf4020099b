//! Nothing of YouTube's outlives its 28 days, wherever it lies, and what an operator erases is gone.

use std::path::Path;
use std::time::Duration;

use lently_cache::{Controls, RemoteConfig};
use lently_emulator::{Fault, FaultKind};
use lently_service::ttl::RETENTION;
use lently_service::{
    AnalysisState, AnswerSource, Author, CommentsRequest, Erasure, ServiceError, Stage, Started, StorePart,
    UserId, UserPlan,
};
use lently_testing::wait_until;
use lently_upstream::{Comment, CommentOrder};
use tempfile::TempDir;

use crate::house::{House, Options, body, file, plain, request, slow};

const BOUND: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn on_disk(directory: &TempDir) -> Options {
    let remote = RemoteConfig::Disk { path: directory.path().join("cache.db"), max_bytes: 1 << 30 };
    Options { remote, directory: Some(directory.path().to_owned()), gemini: true, ..Options::default() }
}

async fn comments(house: &House) -> Vec<Comment> {
    let wanted = CommentsRequest {
        video_id: plain().parse().expect("an id"),
        max_comments: 50,
        order: CommentOrder::Relevance,
        include_replies: false,
    };
    let (youtube, controls) = (house.lently.youtube(), Controls::DEFAULT);
    let read = youtube.fetch_comments_cached(&wanted, UserPlan::Unlimited, &controls).await;
    read.expect("comments").value().expect("a list").comments
}

/// Whether a text stands in any file of a directory: also where SQLite has only let go of it.
fn stands_in(directory: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(directory).expect("a directory");
    let contents = files.map(|file| std::fs::read(file.expect("an entry").path()).expect("a file"));
    contents.into_iter().any(|content| content.windows(text.len()).any(|at| at == text.as_bytes()))
}

/// The rows of YouTube's in the store, and the entries in the tiers.
async fn held(house: &House) -> (u64, u64) {
    let report = house.lently.retention().report().await.expect("a report");
    assert!(report.tiers_complete);
    let rows = report.store.iter().filter(|part| part.from_youtube).map(|part| part.rows).sum();
    (rows, report.tiers.iter().filter(|kind| kind.kind != "quota").map(|kind| kind.rows).sum())
}

#[tokio::test]
async fn after_28_days_nothing_of_youtubes_is_in_any_tier_or_in_the_stores_file() {
    let directory = TempDir::new().expect("a directory");
    let house = House::with(on_disk(&directory)).await;
    house.analyze(&request(plain())).await.expect("an analysis");
    house.settled().await;
    let authors: Vec<String> = comments(&house).await.into_iter().map(|comment| comment.author).collect();
    let in_store = |directory: &Path| {
        let only = TempDir::new().expect("a directory");
        for name in ["lently.db", "lently.db-wal"] {
            let _ = std::fs::copy(directory.join(name), only.path().join(name));
        }
        authors.iter().filter(|author| stands_in(only.path(), author)).count()
    };
    let (rows, entries) = held(&house).await;
    assert!(rows > 100 && entries > 4, "{rows} rows, {entries} entries");
    assert_eq!(in_store(directory.path()), authors.len());
    house.clock.advance(RETENTION - DAY);
    house.lently.retention().sweep().await.expect("swept");
    assert!(held(&house).await.0 > 100, "a day before");
    house.clock.advance(DAY);
    let swept = house.lently.retention().sweep().await.expect("swept");
    assert_eq!(held(&house).await, (0, 0));
    assert_eq!(in_store(directory.path()), 0, "they are still readable in the file");
    let of = |part| swept.store.iter().find(|swept| swept.part == part).expect("a part").deleted;
    assert_eq!(of(StorePart::Analyses), 1);
    assert_eq!(of(StorePart::Summaries), 1);
    assert!(of(StorePart::Comments) >= 100 && of(StorePart::Verdicts) > 0 && swept.tiers.memory > 0);
    assert!(swept.tiers.disk > 0);
}

#[tokio::test]
async fn an_analysis_of_old_comments_is_kept_no_longer_than_they_are() {
    let directory = TempDir::new().expect("a directory");
    let house = House::with(on_disk(&directory)).await;
    comments(&house).await;
    house.clock.advance(27 * DAY);
    house.emulator.set_fault(Some(Fault {
        kind: FaultKind::QuotaExceeded,
        method: Some(lently_emulator::Method::CommentThreads),
        times: None,
    }));
    let answer = house.analyze(&request(plain())).await.expect("an analysis of what there is");
    assert!(body(&answer).report.caution.is_some_and(|caution| caution.contains("were read at")));
    house.settled().await;
    house.clock.advance(DAY);
    let again = house.lently.analysis(&UserId::local(), &answer.id).await;
    assert!(matches!(again, Err(ServiceError::NotFound)), "{again:?}");
    house.lently.retention().sweep().await.expect("swept");
    let report = house.lently.retention().report().await.expect("a report");
    let rows = |part| report.store.iter().find(|told| told.part == part).expect("a part").rows;
    assert_eq!((rows(StorePart::Analyses), rows(StorePart::Summaries), rows(StorePart::Comments)), (0, 0, 0));
    assert!(
        report.tiers.iter().all(|kind| !["analysis", "summary", "comments"].contains(&kind.kind)),
        "{report:?}"
    );
}

/// The store gives it back to the tiers late in its life: there it must not begin a life of its own.
#[tokio::test]
async fn an_analysis_that_came_back_out_of_the_store_leaves_the_tiers_on_time() {
    let directory = TempDir::new().expect("a directory");
    let mut options = on_disk(&directory);
    options.ttl.analysis = RETENTION;
    let house = House::with(options).await;
    house.analyze(&request(plain())).await.expect("an analysis");
    house.settled().await;
    // Fresh for three quarters of that.
    house.clock.advance(20 * DAY);
    house.lently.cache().flush_all().await.expect("flushed");
    let again = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(again.source, AnswerSource::Store);
    house.clock.advance(8 * DAY);
    house.lently.retention().sweep().await.expect("swept");
    assert_eq!(held(&house).await, (0, 0));
}

#[tokio::test]
async fn the_report_tells_the_oldest_and_what_is_due_next() {
    let directory = TempDir::new().expect("a directory");
    let house = House::with(on_disk(&directory)).await;
    house.analyze(&request(plain())).await.expect("an analysis");
    let begun = house.clock.now();
    house.clock.advance(DAY);
    let report = house.lently.retention().report().await.expect("a report");
    let analyses = report.store.iter().find(|part| part.part == StorePart::Analyses).expect("a part");
    assert_eq!((analyses.rows, analyses.overdue), (1, 0));
    assert_eq!((analyses.oldest_at, analyses.next_due_at), (Some(begun), Some(begun + RETENTION)));
    for tier in ["memory", "disk"] {
        let of_it =
            |kind: &&lently_service::retention::KindReport| kind.tier == tier && kind.kind == "analysis";
        let told = report.tiers.iter().find(of_it).expect("a tier");
        assert_eq!((told.rows, told.oldest_at, told.next_due_at), (1, Some(begun), Some(begun + RETENTION)));
    }
    house.clock.advance(RETENTION);
    let report = house.lently.retention().report().await.expect("a report");
    assert_eq!(report.store.iter().find(|part| part.part == StorePart::Analyses).expect("a part").overdue, 1);
    assert_eq!(report.last_sweep, None);
}

#[tokio::test]
async fn a_server_sweeps_by_itself_until_it_is_stopped() {
    let directory = TempDir::new().expect("a directory");
    let house = House::with(on_disk(&directory)).await;
    house.analyze(&request(plain())).await.expect("an analysis");
    house.settled().await;
    let (retention, soon) = (house.lently.retention().clone(), Duration::from_millis(20));
    house.tasks.spawn(retention.keep_sweeping(soon, soon, house.stop.clone()));
    house.clock.advance(RETENTION);
    wait_until("it is swept", BOUND, async || held(&house).await == (0, 0)).await;
    house.stop.cancel();
    house.settled().await;
}

#[tokio::test]
async fn an_author_who_is_erased_is_nowhere_and_nothing_is_bought_anew() {
    let directory = TempDir::new().expect("a directory");
    let house = House::with(on_disk(&directory)).await;
    let answer = house.analyze(&request(plain())).await.expect("an analysis");
    let before = comments(&house).await;
    let report = body(&answer).report;
    let is_there = |author: &String| before.iter().any(|comment| comment.author == *author);
    let mut quoted = report.most_liked.iter().map(|quote| quote.author.clone());
    let quoted = quoted.find(is_there).expect("one of the first fifty");
    let dump = format!("author,text\n{quoted},good\nsomebody,bad\n");
    let of_file = house.analyze(&file("theirs.csv", dump.as_bytes())).await.expect("an analysis");
    let of_other =
        house.analyze(&file("others.csv", b"author,text\nsomebody,bad\n")).await.expect("an analysis");
    house.settled().await;
    let theirs = before.iter().filter(|comment| comment.author == quoted).count();
    assert!(theirs > 0);
    let author: Author = quoted.parse().expect("an author");
    let (counts, rows) = (house.counts(), held(&house).await.0);

    let rehearsal = house.lently.erase_author(&author, true).await.expect("a rehearsal");
    assert_eq!(
        (held(&house).await.0, comments(&house).await),
        (rows, before.clone()),
        "a rehearsal changes nothing"
    );
    let erased = house.lently.erase_author(&author, false).await.expect("erased");
    assert_eq!(Erasure { dry_run: false, ..rehearsal }, erased);
    assert!(erased.comments >= theirs as u64 && erased.entries >= 1, "{erased:?}");
    assert_eq!((erased.analyses, erased.running), (2, 0));

    let after = comments(&house).await;
    assert!(after.iter().all(|comment| comment.author != quoted));
    let others: Vec<_> = before.iter().filter(|comment| comment.author != quoted).collect();
    assert!(others.iter().all(|comment| after.contains(comment)), "others' stay");
    assert_eq!(house.counts(), counts, "they were bought before");
    for id in [&answer.id, &of_file.id] {
        let gone = house.lently.analysis(&UserId::local(), id).await;
        assert!(matches!(gone, Err(ServiceError::NotFound)), "{gone:?}");
    }
    let other = house.lently.analysis(&UserId::local(), &of_other.id).await.expect("not theirs");
    assert!(matches!(other, AnalysisState::Ready(_)));
    let anew = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(anew.source, AnswerSource::Fetched);
    assert!(!String::from_utf8_lossy(&anew.body).contains(&quoted));
    assert!(house.counts().units <= counts.units + 1, "but for the page that makes up the hundred");
    let nothing = house.lently.erase_author(&author, false).await.expect("erased");
    assert_eq!(nothing, Erasure::default());
}

#[tokio::test]
async fn an_author_is_erased_by_channel_too_also_out_of_tiers_alone() {
    let directory = TempDir::new().expect("a directory");
    let house = House::with(Options {
        remote: RemoteConfig::Disk { path: directory.path().join("cache.db"), max_bytes: 1 << 30 },
        ..Options::default()
    })
    .await;
    let answer = house.analyze(&request(plain())).await.expect("an analysis");
    house.settled().await;
    let first = comments(&house).await[0].clone();
    // The same tier beside another store: a second node.
    let other = House::beside(
        std::sync::Arc::clone(&house.emulator),
        Options {
            remote: RemoteConfig::Disk { path: directory.path().join("cache.db"), max_bytes: 1 << 30 },
            ..Options::default()
        },
    )
    .await;
    let channel = first.author_channel_id.clone().expect("a channel");
    let author: Author = channel.parse().expect("an author");
    let erased = other.lently.erase_author(&author, false).await.expect("erased");
    assert_eq!((erased.comments, erased.analyses), (0, 1), "{erased:?}");
    assert!(erased.entries >= 1);
    assert!(
        other
            .lently
            .cache()
            .keys(&lently_cache::Pattern::any())
            .await
            .expect("keys")
            .iter()
            .all(|key| { !key.starts_with("comments:") && !key.starts_with("analysis:") })
    );
    assert!(other.lently.analyses().get_cached_analysis(&answer.id).await.is_none());
}

#[tokio::test]
async fn what_is_being_made_of_what_is_erased_is_kept_nowhere() {
    for by_video in [true, false] {
        let directory = TempDir::new().expect("a directory");
        let house = House::with(Options { latency: slow(), ..on_disk(&directory) }).await;
        let read = comments(&house).await;
        let user = UserId::local();
        let started = house.lently.start(&user, request(plain()), false).await.expect("begun");
        let Started::Running(id) = started else { panic!("it cannot be ready yet") };
        wait_until("it is at work", BOUND, async || {
            house.lently.progress(&id).is_some_and(|progress| progress.borrow().stage == Stage::Judging)
        })
        .await;
        let erased = if by_video {
            house.lently.erase_video(&plain().parse().expect("an id"), false).await.expect("erased")
        } else {
            house
                .lently
                .erase_author(&read[0].author.parse().expect("an author"), false)
                .await
                .expect("erased")
        };
        assert_eq!(erased.running, 1);
        house.settled().await;
        let gone = house.lently.analysis(&user, &id).await;
        assert!(matches!(gone, Err(ServiceError::NotFound)), "{gone:?}");
        assert!(!stands_in(directory.path(), "\"analysis_id\""), "it is in a file");
    }
}

#[tokio::test]
async fn a_video_is_erased_with_all_that_was_made_of_it_and_no_other() {
    let directory = TempDir::new().expect("a directory");
    let house = House::with(on_disk(&directory)).await;
    let other = lently_emulator::SAMPLES[1].video_id;
    let answer = house.analyze(&request(plain())).await.expect("an analysis");
    let spared = house.analyze(&request(other)).await.expect("an analysis");
    house.settled().await;
    let video = plain().parse().expect("an id");
    let rehearsal = house.lently.erase_video(&video, true).await.expect("a rehearsal");
    assert_eq!(house.analyze(&request(plain())).await.expect("it is there").source, AnswerSource::Memory);
    let erased = house.lently.erase_video(&video, false).await.expect("erased");
    assert_eq!(Erasure { dry_run: false, ..rehearsal }, erased);
    assert_eq!((erased.comments >= 100, erased.entries >= 2, erased.analyses), (true, true, 1), "{erased:?}");
    let keys = house.lently.cache().keys(&lently_cache::Pattern::any()).await.expect("keys");
    assert!(keys.iter().all(|key| !key.contains(plain())), "{keys:?}");
    let user = UserId::local();
    assert!(matches!(house.lently.analysis(&user, &answer.id).await, Err(ServiceError::NotFound)));
    assert!(matches!(house.lently.analysis(&user, &spared.id).await, Ok(AnalysisState::Ready(_))));
    house.clock.advance(HOUR);
    assert_eq!(house.analyze(&request(plain())).await.expect("made anew").source, AnswerSource::Fetched);
}
