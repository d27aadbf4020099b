//! What a listener hears of what the cache does, in which order, and what it never hears.

use std::time::Duration;

use bytes::Bytes;
use lently_cache::{
    Cost, Event, Events, FailureClass, FetchFailure, Heard, Pattern, Policy, Tags, Tier, What,
};
use lently_testing::RedisServer;
use serde_json::json;
use tokio::time::timeout;

use crate::support::{BOUND, Upstream, everywhere, in_memory, on_redis, policy, put, tracks};

const KEY: &str = "thing:somebody@example.org";

/// All that was told by now.
fn heard(events: &mut Events) -> Vec<What> {
    std::iter::from_fn(|| events.try_next())
        .map(|heard| match heard {
            Heard::Event(event) => event.what,
            Heard::Missed(missed) => panic!("{missed} missed"),
        })
        // Notices come when they come.
        .filter(|what| !matches!(what, What::Changed | What::NoticesBegan))
        .collect()
}

fn answered(outcome: &'static str, tier: Option<Tier>) -> What {
    What::Answered { outcome, tier }
}

#[tokio::test]
async fn a_fetch_a_hit_and_a_refresh_are_told_in_order() {
    everywhere(async |bench| {
        let (mut events, upstream) = (bench.cache.events(), Upstream::default());
        let ask =
            async || bench.cache.get_or_set(KEY, &policy(), upstream.fetch("1")).await.expect("an answer");
        ask().await;
        let mut told = heard(&mut events);
        let ended = told.remove(1);
        assert!(matches!(ended, What::FetchEnded { outcome: "ok", .. }), "{ended:?}");
        assert!(matches!(told[1], What::Stored { .. }) && told.len() == 3, "{told:?}");
        assert_eq!((&told[0], &told[2]), (&What::FetchBegan, &answered("fetched", None)));
        put(&bench.cache, KEY, "2").await;
        let _ = heard(&mut events);
        let tier = ask().await.entry.tier;
        assert_eq!(heard(&mut events), [answered("hit", Some(tier))]);
        bench.clock.advance(Duration::from_secs(61));
        ask().await;
        let mut told = Vec::new();
        let is_stale = |what: &What| matches!(what, What::Answered { outcome: "stale", .. });
        let is_stored = |what: &What| matches!(what, What::Stored { .. });
        // The refresh does not wait for whoever is answered.
        while !(told.iter().any(is_stale) && told.iter().any(is_stored)) {
            let next = timeout(BOUND, events.next()).await.expect("in time").expect("the cache is there");
            let Heard::Event(event) = next else { panic!("{next:?}") };
            assert_eq!((event.kind, event.digest), (Some("thing"), Some(Event::digest_of(KEY))));
            told.push(event.what);
        }
        assert!(told.contains(&What::RefreshBegan) && told.contains(&What::FetchBegan), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn failures_and_changes_are_told() {
    everywhere(async |bench| {
        let mut events = bench.cache.events();
        for outcome in ["failed", "remembered"] {
            let failing = || async {
                Err(FetchFailure::new(FailureClass::NotFound, std::io::Error::other("somebody@example.org")))
            };
            assert!(bench.cache.get_or_set(KEY, &policy(), failing).await.is_err());
            assert_eq!(heard(&mut events).pop(), Some(answered(outcome, None)));
        }
        let tagged = Policy { tags: Tags::new(["t"]), ..policy() };
        let set = bench.cache.set(KEY, &tagged, Bytes::from_static(b"1"), Cost::default()).await;
        assert!(set.expect("a set").anywhere());
        bench.cache.expire_tag("t").await.expect("expired");
        bench.cache.expire(KEY).await.expect("expired");
        bench.cache.invalidate_tag("t").await.expect("invalidated");
        bench.cache.delete(KEY).await.expect("deleted");
        put(&bench.cache, KEY, "1").await;
        let pattern = Pattern::parse("thing:*").expect("a pattern");
        bench.cache.delete_pattern(&pattern).await.expect("deleted");
        let mut told = heard(&mut events);
        told.retain(|what| !matches!(what, What::Stored { .. }));
        assert_eq!(
            told,
            [
                What::TagExpired,
                What::Expired,
                What::TagInvalidated,
                What::Deleted,
                What::PatternDeleted { keys: 1 }
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_change_by_another_is_told_when_memory_has_lost_its_copy() {
    let mut server = RedisServer::start().await;
    let (here, there) = (on_redis(&server).await, on_redis(&server).await);
    for bench in [&here, &there] {
        tracks(bench).await;
    }
    put(&here.cache, KEY, "1").await;
    let mut events = here.cache.events();
    there.cache.delete(KEY).await.expect("deleted");
    let next = timeout(BOUND, events.next()).await.expect("in time");
    let Some(Heard::Event(event)) = next else { panic!("{next:?}") };
    assert_eq!((event.what, event.digest), (What::Changed, Some(Event::digest_of(KEY))));
    let explained = here.cache.explain(KEY, &policy()).await.expect("an explanation");
    assert_eq!(explained.tiers[0].bytes, 0);
    server.kill();
    let mut lost = false;
    while !lost {
        let next = timeout(BOUND, events.next()).await.expect("in time").expect("the cache is there");
        lost = matches!(next, Heard::Event(Event { what: What::NoticesLost, .. }));
    }
    drop((here, there));
    // The cache is gone, and what it told before is heard to the end.
    while timeout(BOUND, events.next()).await.expect("in time").is_some() {}
}

#[tokio::test]
async fn a_listener_may_ask_for_the_text_and_others_never_see_it() {
    let bench = in_memory().await;
    let (mut plain, mut with_text) = (bench.cache.events(), bench.cache.events().with_text());
    put(&bench.cache, KEY, "1").await;
    let Some(Heard::Event(event)) = plain.try_next() else { panic!("an event") };
    let mut told = serde_json::to_value(&event).expect("JSON");
    assert!(told["at"].take().is_string());
    assert_eq!(
        told,
        json!({
            "at": null, "kind": "thing", "digest": Event::digest_of(KEY), "event": "stored", "memory": true, "remote": false
        })
    );
    let Some(Heard::Event(event)) = with_text.try_next() else { panic!("an event") };
    assert_eq!(event.text.as_deref(), Some(KEY));
}
