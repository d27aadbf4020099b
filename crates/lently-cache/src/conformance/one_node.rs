//! What holds on one node, whatever stands behind its memory.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::{
    Kept, MAX_VALUE_BYTES, Needs, Promise, Site, THING, Upstream, ensure, ensure_eq, eventually, failing,
    is_missing, look, policy, promises, put,
};
use crate::{
    CacheError, Controls, Cost, FailureClass, FailureTtl, FetchError, Fetched, Lookup, MissReason, Outcome,
    Pattern, Policy, Tier, WarmEntry,
};

pub(super) static PROMISES: [Promise; 22] = promises! {
    Needs::Nothing;
    what_is_set_is_found_until_it_is_no_longer_fresh
    a_deleted_key_is_gone_and_counted_once
    get_or_set_fetches_once_and_then_hits
    refresh_fetches_although_there_is_a_value
    callers_at_the_same_time_share_one_fetch
    a_caller_that_leaves_does_not_waste_the_fetch
    a_key_deleted_while_it_is_fetched_is_not_stored
    a_key_set_while_it_is_fetched_keeps_what_was_set
    a_fetch_that_panics_frees_those_who_wait
    a_fetch_that_takes_too_long_ends
    a_failed_fetch_stores_nothing_and_tells_its_class
    a_failure_is_remembered_until_the_key_is_changed
    a_rate_limit_is_minded_for_as_long_as_the_upstream_asks
    exists_and_ttl_agree_with_get
    a_pattern_deletes_what_it_matches_and_measures_it_before
    glob_characters_in_a_key_delete_nothing_else
    flush_empties_the_cache
    warming_stores_many_and_counts_what_it_could_not
    a_value_may_live_shorter_than_its_policy_says
    nothing_lives_beyond_its_retention
    unusable_keys_and_values_are_refused
    a_large_value_comes_back_byte_by_byte
};

async fn what_is_set_is_found_until_it_is_no_longer_fresh(site: &Site) -> Kept {
    let node = site.node().await?;
    put(&node, "thing:1", "{\"a\":1}").await?;
    let entry = node.get(THING, "thing:1").await.entry().ok_or("a value that was just set is missing")?;
    ensure_eq!((&entry.value[..], entry.tier), (&b"{\"a\":1}"[..], Tier::Memory), "just set");
    site.clock.advance(Duration::from_secs(20));
    let entry = node.get(THING, "thing:1").await.entry().ok_or("missing after 20 of 60 seconds")?;
    let now = site.clock.now();
    ensure_eq!(
        (entry.age(now), entry.ttl(now)),
        (Duration::from_secs(20), Duration::from_secs(40)),
        "age, ttl"
    );
    site.clock.advance(Duration::from_secs(40));
    let lookup = node.get(THING, "thing:1").await;
    ensure_eq!(lookup, Lookup::Missing(MissReason::Expired), "after 60 of 60 seconds");
    ensure_eq!(node.get(THING, "thing:2").await, Lookup::Missing(MissReason::Absent), "never set");
    Ok(())
}

async fn a_deleted_key_is_gone_and_counted_once(site: &Site) -> Kept {
    let node = site.node().await?;
    put(&node, "thing:1", "1").await?;
    ensure_eq!(node.delete("thing:1").await?, 1, "deleted");
    ensure!(is_missing(&node.get(THING, "thing:1").await), "it is found after it was deleted");
    ensure_eq!(node.delete("thing:1").await?, 0, "deleted again");
    ensure_eq!(node.stats().deletes, 1, "deletes counted");
    Ok(())
}

async fn get_or_set_fetches_once_and_then_hits(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    let cost = Cost { quota_units: 7, ..Cost::default() };
    let fetch = || upstream.fetch(Ok(Fetched::new("[1]").with_cost(cost)));
    let answer = node.get_or_set("thing:1", &policy(), fetch()).await?;
    ensure_eq!(answer.outcome, Outcome::Fetched { stored: true }, "the first answer");
    let again = node.get_or_set("thing:1", &policy(), fetch()).await?;
    ensure_eq!(again.outcome, Outcome::Hit, "the second answer");
    ensure_eq!(again.entry.value, answer.entry.value, "the value");
    ensure_eq!(again.entry.etag, answer.entry.etag, "the etag");
    ensure_eq!(again.entry.cost.quota_units, 7, "the cost");
    ensure_eq!(upstream.calls(), 1, "fetches");
    Ok(())
}

async fn refresh_fetches_although_there_is_a_value(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    put(&node, "thing:1", "1").await?;
    let policy = policy();
    let anew = node.get_or_set_with("thing:1", &policy, &Controls::NO_CACHE, upstream.value("2"));
    let answer = anew.await?;
    ensure_eq!((answer.outcome, upstream.calls()), (Outcome::Fetched { stored: true }, 1), "refreshed");
    site.clock.advance(Duration::from_secs(5));
    ensure_eq!(look(&node, "thing:1").await, Some("2".into()), "afterwards");
    Ok(())
}

async fn callers_at_the_same_time_share_one_fetch(site: &Site) -> Kept {
    const CALLERS: usize = 200;
    let (node, upstream, policy) = (site.node().await?, Upstream::closed(), policy());
    let callers = join_all((0..CALLERS).map(|_| node.get_or_set("thing:1", &policy, upstream.value("1"))));
    let (answers, reached) = futures::join!(callers, async {
        let reached = upstream.reached().await;
        upstream.let_through();
        reached
    });
    reached?;
    let mut fetched = 0;
    for answer in answers {
        let answer = answer?;
        ensure_eq!(answer.entry.value, "1", "the value");
        fetched += usize::from(answer.outcome == Outcome::Fetched { stored: true });
    }
    ensure_eq!((fetched, upstream.calls()), (1, 1), "answers that were fetched, and fetches");
    Ok(())
}

async fn a_caller_that_leaves_does_not_waste_the_fetch(site: &Site) -> Kept {
    let (node, upstream, policy) = (site.node().await?, Upstream::closed(), policy());
    let caller = node.get_or_set("thing:1", &policy, upstream.value("1"));
    tokio::select! {
        _ = caller => return Err("it was answered before the fetch ended".into()),
        reached = upstream.reached() => reached?,
    }
    upstream.let_through();
    eventually("the value is there", async || look(&node, "thing:1").await.is_some()).await?;
    ensure_eq!(upstream.calls(), 1, "fetches");
    Ok(())
}

async fn a_key_deleted_while_it_is_fetched_is_not_stored(site: &Site) -> Kept {
    let (node, upstream, policy) = (site.node().await?, Upstream::closed(), policy());
    let (answer, deleted) =
        futures::join!(node.get_or_set("thing:1", &policy, upstream.value("old")), async {
            upstream.reached().await?;
            let deleted = node.delete("thing:1").await;
            upstream.let_through();
            deleted?;
            Kept::Ok(())
        });
    deleted?;
    let answer = answer?;
    ensure_eq!(
        (&answer.entry.value[..], answer.outcome),
        (&b"old"[..], Outcome::Fetched { stored: false }),
        "the answer"
    );
    let lookup = node.get(THING, "thing:1").await;
    ensure!(is_missing(&lookup), "afterwards it was found: {lookup:?}");
    Ok(())
}

async fn a_key_set_while_it_is_fetched_keeps_what_was_set(site: &Site) -> Kept {
    let (node, upstream, policy) = (site.node().await?, Upstream::closed(), policy());
    let (answer, set) = futures::join!(node.get_or_set("thing:1", &policy, upstream.value("old")), async {
        upstream.reached().await?;
        let set = put(&node, "thing:1", "new").await;
        upstream.let_through();
        set?;
        Kept::Ok(())
    });
    set?;
    ensure_eq!(answer?.entry.value, "old", "the answer");
    ensure_eq!(look(&node, "thing:1").await, Some("new".into()), "afterwards");
    site.clock.advance(Duration::from_secs(5));
    ensure_eq!(look(&node, "thing:1").await, Some("new".into()), "once the copy in memory is asked about");
    Ok(())
}

async fn a_fetch_that_panics_frees_those_who_wait(site: &Site) -> Kept {
    let (node, upstream, policy) = (site.node().await?, Upstream::closed(), policy());
    // Of two who come at the same time either may be the one whose fetch is run.
    let panicking = || {
        let fetch = upstream.value("1");
        move || async move {
            drop(fetch().await);
            // Without the hook: nobody is to be alarmed by what is expected.
            std::panic::resume_unwind(Box::new("a fetch that panics"))
        }
    };
    let (one, other, reached) = futures::join!(
        node.get_or_set("thing:1", &policy, panicking()),
        node.get_or_set("thing:1", &policy, panicking()),
        async {
            let reached = upstream.reached().await;
            upstream.let_through();
            reached
        }
    );
    reached?;
    for answer in [one, other] {
        ensure!(matches!(answer, Err(FetchError::Abandoned)), "an answer: {answer:?}");
    }
    ensure_eq!(upstream.calls(), 1, "fetches");
    let answer = node.get_or_set("thing:1", &policy, upstream.value("2")).await?;
    ensure_eq!(answer.outcome, Outcome::Fetched { stored: true }, "the next caller");
    Ok(())
}

async fn a_fetch_that_takes_too_long_ends(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::closed());
    let hasty = Policy { fetch_timeout: Duration::from_millis(50), failures: FailureTtl::NONE, ..policy() };
    let answer = node.get_or_set("thing:1", &hasty, upstream.value("1")).await;
    ensure!(matches!(answer, Err(FetchError::TimedOut { .. })), "the answer: {answer:?}");
    upstream.let_through();
    let answer = node.get_or_set("thing:1", &policy(), upstream.value("2")).await?;
    ensure_eq!((&answer.entry.value[..], upstream.calls()), (&b"2"[..], 2), "the next caller");
    Ok(())
}

async fn a_failed_fetch_stores_nothing_and_tells_its_class(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    let answer =
        node.get_or_set("thing:1", &policy(), upstream.fetch(Err(failing(FailureClass::NotFound)))).await;
    let Err(FetchError::Failed(failure)) = answer else {
        return Err(format!("the answer: {answer:?}").into());
    };
    ensure_eq!(
        (failure.class, failure.to_string().as_str()),
        (FailureClass::NotFound, "it failed"),
        "the failure"
    );
    ensure!(!node.exists("thing:1").await, "there is a value after a failed fetch");
    ensure_eq!(node.measure_pattern(&Pattern::any()).await?.keys, 0, "keys afterwards");
    Ok(())
}

async fn a_failure_is_remembered_until_the_key_is_changed(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    for _ in 0..3 {
        let fetch = upstream.fetch(Err(failing(FailureClass::Forbidden)));
        let answer = node.get_or_set("thing:1", &policy(), fetch).await;
        let Err(FetchError::Failed(failure)) = answer else {
            return Err(format!("the answer: {answer:?}").into());
        };
        ensure_eq!(failure.class, FailureClass::Forbidden, "the class");
        ensure_eq!(failure.detail.as_deref(), Some("{\"why\":1}"), "the detail");
    }
    ensure_eq!(upstream.calls(), 1, "fetches while the failure is remembered");
    node.delete("thing:1").await?;
    let answer = node.get_or_set("thing:1", &policy(), upstream.value("1")).await?;
    ensure_eq!((answer.outcome, upstream.calls()), (Outcome::Fetched { stored: true }, 2), "after a delete");
    Ok(())
}

async fn a_rate_limit_is_minded_for_as_long_as_the_upstream_asks(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    let limited = FailureClass::RateLimited { retry_after: Some(Duration::from_millis(200)) };
    let answer = node.get_or_set("thing:1", &policy(), upstream.fetch(Err(failing(limited)))).await;
    ensure!(matches!(answer, Err(FetchError::Failed(_))), "the answer: {answer:?}");
    eventually("it is fetched again", async || {
        // A server minds its own clock.
        site.clock.advance(Duration::from_millis(5));
        node.get_or_set("thing:1", &policy(), upstream.value("1")).await.is_ok()
    })
    .await?;
    ensure_eq!(upstream.calls(), 2, "fetches");
    Ok(())
}

async fn exists_and_ttl_agree_with_get(site: &Site) -> Kept {
    let node = site.node().await?;
    ensure_eq!((node.exists("thing:1").await, node.ttl("thing:1").await), (false, None), "before");
    put(&node, "thing:1", "1").await?;
    ensure!(node.exists("thing:1").await, "a value that was just set does not exist");
    let ttl = node.ttl("thing:1").await.ok_or("no ttl")?;
    ensure!(ttl > Duration::from_secs(25) && ttl <= Duration::from_secs(60), "the ttl is {ttl:?}");
    ensure_eq!(node.stats().total_requests, 0, "requests counted; neither is one");
    Ok(())
}

async fn a_pattern_deletes_what_it_matches_and_measures_it_before(site: &Site) -> Kept {
    let node = site.node().await?;
    let cost = Cost { quota_units: 2, micro_dollars: 5, ..Cost::default() };
    for key in ["thing:a:1", "thing:a:2", "thing:b:1"] {
        node.set(key, &policy(), Bytes::from_static(b"1"), cost).await?;
    }
    let pattern = Pattern::parse("thing:a:*")?;
    let report = node.measure_pattern(&pattern).await?;
    ensure_eq!(
        (report.keys, report.cost.quota_units, report.cost.micro_dollars),
        (2, 4, 10),
        "keys, units, dollars"
    );
    ensure!(report.bytes >= 2, "two values in {} bytes", report.bytes);
    ensure_eq!(node.delete_pattern(&pattern).await?, 2, "deleted");
    ensure!(!node.exists("thing:a:1").await, "what matches is still there");
    ensure!(node.exists("thing:b:1").await, "what does not match is gone");
    ensure_eq!(node.measure_pattern(&pattern).await?.keys, 0, "keys afterwards");
    Ok(())
}

async fn glob_characters_in_a_key_delete_nothing_else(site: &Site) -> Kept {
    let node = site.node().await?;
    let keys = ["thing:*", "thing:?", "thing:[a-z]", "thing:a", "thing:\\", "thing:[^a]", "thing:ab"];
    for key in keys {
        put(&node, key, "1").await?;
    }
    for (already_deleted, key) in keys.iter().enumerate() {
        let pattern = Pattern::parse(&Pattern::escape(key))?;
        ensure_eq!(node.delete_pattern(&pattern).await?, 1, format!("deleted by `{pattern}`"));
        let left = node.measure_pattern(&Pattern::any()).await?.keys;
        ensure_eq!(left as usize, keys.len() - already_deleted - 1, format!("left after `{pattern}`"));
    }
    Ok(())
}

async fn flush_empties_the_cache(site: &Site) -> Kept {
    let node = site.node().await?;
    for key in ["thing:1", "thing:2", "other:3"] {
        put(&node, key, "1").await?;
    }
    ensure_eq!(node.flush_all().await?, 3, "flushed");
    ensure!(is_missing(&node.get(THING, "thing:1").await), "a value is found after the flush");
    ensure_eq!(node.flush_all().await?, 0, "flushed again");
    Ok(())
}

async fn warming_stores_many_and_counts_what_it_could_not(site: &Site) -> Kept {
    let node = site.node().await?;
    let entry = |key: &str, value: Vec<u8>| WarmEntry {
        key: key.to_owned(),
        policy: policy(),
        value: value.into(),
        cost: Cost::default(),
    };
    let entries = vec![
        entry("thing:1", b"1".to_vec()),
        entry("thing:2", b"2".to_vec()),
        entry("", b"3".to_vec()),
        entry("thing:4", vec![b'4'; MAX_VALUE_BYTES as usize + 1]),
    ];
    let report = node.warm(entries).await;
    ensure_eq!((report.stored, report.failed), (2, 2), "stored, failed");
    ensure_eq!(look(&node, "thing:2").await, Some("2".into()), "one that was stored");
    Ok(())
}

async fn a_value_may_live_shorter_than_its_policy_says(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    let aging = Fetched { retain: Some(Duration::from_secs(7)), ..Fetched::new("1") };
    let short = Fetched { fresh: Some(Duration::from_secs(5)), ..Fetched::new("1") };
    node.get_or_set("thing:1", &policy(), upstream.fetch(Ok(short))).await?;
    site.clock.advance(Duration::from_secs(5));
    ensure!(look(&node, "thing:1").await.is_none(), "it is found after 5 of 5 seconds");
    node.get_or_set("thing:2", &policy(), upstream.fetch(Ok(aging))).await?;
    ensure!(look(&node, "thing:2").await.is_some(), "it is not kept");
    site.clock.advance(Duration::from_secs(7));
    ensure!(is_missing(&node.peek(THING, "thing:2").await), "it is there after 7 of 7 seconds");
    Ok(())
}

async fn nothing_lives_beyond_its_retention(site: &Site) -> Kept {
    let node = site.node().await?;
    let greedy = Policy { fresh: Duration::from_secs(1000), retention: Duration::from_secs(10), ..policy() };
    node.set("thing:1", &greedy, Bytes::from_static(b"1"), Cost::default()).await?;
    site.clock.advance(Duration::from_secs(10));
    ensure!(is_missing(&node.get(THING, "thing:1").await), "it is served at the end of its retention");
    Ok(())
}

async fn unusable_keys_and_values_are_refused(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    for key in [String::new(), "a\nb".to_owned(), "k".repeat(crate::MAX_KEY_BYTES + 1)] {
        ensure_eq!(node.get(THING, &key).await, Lookup::Missing(MissReason::Absent), "a get");
        let deleted = node.delete(&key).await;
        ensure!(matches!(deleted, Err(CacheError::BadKey(_))), "a delete: {deleted:?}");
        let set = put(&node, &key, "1").await;
        ensure!(matches!(set, Err(CacheError::BadKey(_))), "a set: {set:?}");
        let answer = node.get_or_set(&key, &policy(), upstream.value("1")).await;
        ensure!(matches!(answer, Err(FetchError::BadKey(_))), "a get_or_set: {answer:?}");
    }
    ensure_eq!(upstream.calls(), 0, "fetches");
    let large = Bytes::from(vec![b'1'; MAX_VALUE_BYTES as usize + 1]);
    let set = put(&node, "thing:1", large.clone()).await;
    ensure!(matches!(set, Err(CacheError::TooLarge { .. })), "a set of a large value: {set:?}");
    let answer = node.get_or_set("thing:1", &policy(), upstream.fetch(Ok(Fetched::new(large)))).await?;
    ensure_eq!(answer.outcome, Outcome::Fetched { stored: false }, "a fetch of a large value");
    Ok(())
}

async fn a_large_value_comes_back_byte_by_byte(site: &Site) -> Kept {
    let node = site.node().await?;
    let value: Bytes = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    put(&node, "thing:1", value.clone()).await?;
    site.clock.advance(Duration::from_secs(5));
    ensure!(look(&node, "thing:1").await == Some(value), "another value came back");
    Ok(())
}
