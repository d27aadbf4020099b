//! `lently comments` as a user runs it.

use lently_emulator::SAMPLES;

use crate::{Machine, emulated::emulated};

const FILE: &str = "id,author,text,likes,published_at\n\
    c1,@ann,I love the sound of this café,9,2026-11-01T10:00:00Z\n\
    c2,@bob,the sound is awful and I hate it,4,2026-11-02T10:00:00Z\n\
    c3,@cid,what camera do you use?,7,2026-11-03T10:00:00Z\n";

fn ids(found: &serde_json::Value) -> Vec<&str> {
    let comments = found["comments"].as_array().expect("a list");
    comments.iter().map(|comment| comment["id"].as_str().expect("an id")).collect()
}

#[test]
fn the_comments_of_a_file_are_searched_and_filtered() {
    let machine = Machine::new();
    let file = machine.write("comments.csv", FILE);
    let found = |args: &[&str]| machine.run(&[&["comments", &file, "--json"], args].concat()).ok().json();
    assert_eq!(ids(&found(&[])), ["c1", "c3", "c2"], "the most liked first");
    assert_eq!(ids(&found(&["--text", "CAFE sound"])), ["c1"]);
    assert_eq!(ids(&found(&["--sentiment", "negative"])), ["c2"]);
    assert_eq!(ids(&found(&["--category", "question", "--since", "2026-11-03"])), ["c3"]);
    let page = found(&["--sort", "oldest", "--offset", "1", "--limit", "1"]);
    assert_eq!((ids(&page), &page["total"], &page["next_offset"]), (vec!["c2"], &3.into(), &2.into()));
    assert_eq!(page["comments"][0]["verdict"]["sentiment"], "negative");
    let id = page["analysis_id"].as_str().expect("an id");
    let by_id = machine.run(&["comments", id, "--author", "bob", "--json"]).ok().json();
    assert_eq!(ids(&by_id), ["c2"], "an analysis is found by its id, and an author without the @");
    let text = machine.run(&["comments", &file, "--limit", "1"]).ok().out;
    assert!(
        text.contains("I love the sound") && text.contains("1 to 1 of 3; more with --offset 1"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_searched_for_is_refused_by_its_name() {
    let machine = Machine::new();
    let file = machine.write("comments.csv", FILE);
    for (args, told) in [
        (vec!["--limit", "0"], "`limit` must be 1 to 200"),
        (vec!["--min-likes", "2", "--max-likes", "1"], "`min_likes` must not be more than `max_likes`"),
        (vec!["--since", "yesterday"], "expected a day as in 2026-11-01"),
        (vec!["--sentiment", "glad"], "expected one of `positive`, `neutral`, `negative`"),
    ] {
        let ran = machine.run(&[&["comments", &file], &args[..]].concat());
        assert!(ran.code != Some(0) && ran.err.contains(told), "{told}: {}", ran.err);
    }
    let unknown = machine.run(&["comments", "0123456789abcdef0123456789abcdef"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("not found"), "{}", unknown.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_comments_of_a_video_are_read_where_all_are_wanted_and_none_twice() {
    let (emulator, machine) = emulated().await;
    let id = SAMPLES[0].video_id;
    let run = |args: &[&str]| {
        tokio::task::block_in_place(|| machine.run(&[&["comments", id, "--json"], args].concat()).ok().json())
    };
    let all = run(&["--max-comments", "all", "--replies"]);
    assert!(all["total"].as_u64().expect("a number") > 500, "{}", all["total"]);
    let units = emulator.counts().units;
    let liked = run(&["--max-comments", "all", "--replies", "--min-likes", "1"]);
    assert!(liked["total"].as_u64() < all["total"].as_u64());
    assert_eq!(emulator.counts().units, units, "a search costs nothing");
}
