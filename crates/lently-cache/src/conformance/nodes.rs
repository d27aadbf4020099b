//! What several nodes can rely on that share a remote tier.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Kept, Needs, Promise, Site, THING, THING_OF_LATER, Upstream, ensure, ensure_eq, eventually, failing,
    is_missing, look, policy, promises, put,
};
use crate::{
    CacheService, Cost, FailureClass, FailureTtl, FetchError, Fetched, Lookup, MEMORY_TRUST, MissReason,
    Outcome, Pattern, Policy, Tags, Tier, WarmEntry,
};

pub(super) static PROMISES: [Promise; 9] = promises! {
    Needs::Sharing;
    another_node_finds_what_one_has_stored
    another_node_finds_many_at_once_each_in_its_place
    the_remote_tier_minds_the_times_of_an_entry
    any_bytes_come_back_from_the_remote_tier
    an_entry_of_another_schema_is_a_miss
    what_another_node_changes_is_noticed_within_the_bound
    what_another_node_flushes_is_gone_within_the_bound
    an_invalidated_tag_takes_its_entries_on_every_node
    a_tag_lasts_as_long_as_the_longest_entry_that_has_it
};

pub(super) static PROMISES_OF_A_SERVER: [Promise; 9] = promises! {
    Needs::Server;
    changes_by_others_are_told
    two_nodes_share_one_fetch
    a_key_may_have_braces
    a_key_deleted_by_another_node_while_it_is_fetched_is_not_stored
    a_failure_spares_the_other_nodes
    an_owner_that_gives_up_is_followed_by_one_other
    garbage_is_a_counted_miss_and_is_replaced
    a_value_of_another_program_is_read_for_as_long_as_it_lives
    flush_reaches_nothing_beside_its_prefix
};

async fn another_node_finds_what_one_has_stored(site: &Site) -> Kept {
    let (here, there, upstream) = (site.node().await?, site.node().await?, Upstream::open());
    let cost = Cost { quota_units: 7, tokens_in: 1, tokens_out: 2, micro_dollars: 3, milliseconds: 4 };
    let fetch = upstream.fetch(Ok(Fetched::new("{\"a\":1}").with_cost(cost)));
    let answer = here.get_or_set("thing:1", &policy(), fetch).await?;
    let found = there.get(THING, "thing:1").await.entry().ok_or("the other node finds nothing")?;
    ensure!(found.tier != Tier::Memory, "it says that it had it in memory");
    ensure_eq!(
        (&found.value, found.cost, &found.etag),
        (&answer.entry.value, cost, &answer.entry.etag),
        "value, cost, etag"
    );
    ensure_eq!(
        (found.fetched_at, found.fresh_until),
        (answer.entry.fetched_at, answer.entry.fresh_until),
        "fetched at, fresh until"
    );
    let again = there.get_or_set("thing:1", &policy(), upstream.value("2")).await?;
    ensure_eq!((again.outcome, upstream.calls()), (Outcome::Hit, 1), "get_or_set on the other node");
    Ok(())
}

async fn another_node_finds_many_at_once_each_in_its_place(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.forgetful_node().await?);
    let keys: Vec<String> = (0..120).map(|n| format!("thing:{n}")).collect();
    // Every sixth is not there.
    let entries = keys.iter().enumerate().filter(|(n, _)| n % 6 != 0).map(|(_, key)| WarmEntry {
        key: key.clone(),
        policy: policy(),
        value: key.clone().into(),
        cost: Cost::default(),
    });
    for stored in here.set_many(entries.collect()).await {
        ensure!(stored?.remote, "the remote tier took less than all");
    }
    for (n, lookup) in there.get_many(THING, &keys).await.into_iter().enumerate() {
        let expected = (n % 6 != 0).then(|| Bytes::from(keys[n].clone()));
        ensure_eq!(lookup.entry().map(|entry| entry.value.clone()), expected, keys[n]);
    }
    Ok(())
}

async fn the_remote_tier_minds_the_times_of_an_entry(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.forgetful_node().await?);
    put(&here, "thing:1", "1").await?;
    site.clock.advance(Duration::from_secs(59));
    ensure_eq!(look(&there, "thing:1").await, Some("1".into()), "after 59 of 60 seconds");
    site.clock.advance(Duration::from_secs(1));
    let lookup = there.get(THING, "thing:1").await;
    ensure!(is_missing(&lookup), "after 60 of 60 seconds: {lookup:?}");
    Ok(())
}

async fn any_bytes_come_back_from_the_remote_tier(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.forgetful_node().await?);
    for size in [0, 1, 1023, 1024, 1025, 100_000, super::MAX_VALUE_BYTES as usize] {
        // Of few different bytes, which packs well, and of all of them.
        for different in [2_u32, 256] {
            let bytes = (0..size as u32).map(|n| ((n.wrapping_mul(2_654_435_761) >> 16) % different) as u8);
            let value: Bytes = bytes.collect();
            put(&here, "thing:1", value.clone()).await?;
            let found = look(&there, "thing:1").await;
            ensure!(found == Some(value), "{size} bytes of {different} different ones came back otherwise");
        }
    }
    Ok(())
}

async fn an_entry_of_another_schema_is_a_miss(site: &Site) -> Kept {
    let (here, there, upstream) = (site.node().await?, site.forgetful_node().await?, Upstream::open());
    put(&here, "thing:1", "1").await?;
    let lookup = there.get(THING_OF_LATER, "thing:1").await;
    ensure_eq!(lookup, Lookup::Missing(MissReason::Unreadable), "of another schema version");
    let later = Policy { kind: THING_OF_LATER, ..policy() };
    let answer = there.get_or_set("thing:1", &later, upstream.value("2")).await?;
    ensure_eq!(answer.outcome, Outcome::Fetched { stored: true }, "fetched for the later version");
    let found = there.get(THING_OF_LATER, "thing:1").await.entry().map(|entry| entry.value.clone());
    ensure_eq!(found, Some("2".into()), "afterwards");
    Ok(())
}

/// Waits until `node` serves `expected` and nothing else, after the time in which it may believe its copy.
async fn serves(site: &Site, node: &CacheService, expected: Option<&'static str>) -> Kept {
    site.clock.advance(MEMORY_TRUST);
    let what = format!("the other node serves {expected:?}");
    eventually(&what, async || look(node, "thing:1").await == expected.map(Bytes::from)).await
}

async fn what_another_node_changes_is_noticed_within_the_bound(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    put(&here, "thing:1", "1").await?;
    ensure_eq!(look(&there, "thing:1").await, Some("1".into()), "at first");
    put(&here, "thing:1", "2").await?;
    serves(site, &there, Some("2")).await?;
    put(&there, "thing:1", "3").await?;
    serves(site, &here, Some("3")).await?;
    here.delete("thing:1").await?;
    serves(site, &there, None).await
}

async fn what_another_node_flushes_is_gone_within_the_bound(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    put(&here, "thing:1", "1").await?;
    ensure_eq!(look(&there, "thing:1").await, Some("1".into()), "at first");
    here.flush_all().await?;
    serves(site, &there, None).await
}

/// In a cluster the version of a tag may lie at another server than the entries.
async fn an_invalidated_tag_takes_its_entries_on_every_node(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    let keys: Vec<String> = (0..8).map(|n| format!("thing:{n}")).collect();
    let all = |tag: &str| Policy { tags: Tags::new([tag, "all"]), ..policy() };
    for key in &keys {
        here.set(key, &all(key), "1".into(), Cost::default()).await?;
        ensure_eq!(look(&there, key).await, Some("1".into()), key);
    }
    let (one, others) = keys.split_first().expect("eight");
    for (tag, gone) in [(one.as_str(), std::slice::from_ref(one)), ("all", others)] {
        here.invalidate_tag(tag).await?;
        for key in gone {
            ensure_eq!(look(&here, key).await, None, key);
        }
        site.clock.advance(MEMORY_TRUST);
        for key in gone {
            eventually("the other node serves none", async || look(&there, key).await.is_none()).await?;
        }
        if tag == one {
            for key in others {
                ensure_eq!(look(&there, key).await, Some("1".into()), key);
            }
        }
    }
    there.set(one, &all(one), "2".into(), Cost::default()).await?;
    ensure_eq!(look(&here, one).await, Some("2".into()), "what is stored since");
    Ok(())
}

async fn a_tag_lasts_as_long_as_the_longest_entry_that_has_it(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    for (key, retention) in [("thing:short", 1), ("thing:long", 600)] {
        let retention = Duration::from_secs(retention);
        let own = Policy { tags: Tags::new(["a"]), fresh: retention, retention, ..policy() };
        here.set(key, &own, "1".into(), Cost::default()).await?;
        ensure_eq!(look(&there, key).await, Some("1".into()), key);
    }
    Ok(())
}

async fn changes_by_others_are_told(site: &Site) -> Kept {
    let node = site.node().await?;
    eventually("notices of changes (client-side caching, RESP3) arrive", async || node.health().tracking)
        .await
}

async fn two_nodes_share_one_fetch(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    let (upstream, policy) = (Upstream::closed(), policy());
    let (first, second, reached) = futures::join!(
        here.get_or_set("thing:1", &policy, upstream.value("1")),
        there.get_or_set("thing:1", &policy, upstream.value("1")),
        async {
            let reached = upstream.reached().await;
            upstream.let_through();
            reached
        }
    );
    reached?;
    for answer in [first?, second?] {
        ensure_eq!(answer.entry.value, "1", "the value");
    }
    ensure_eq!(upstream.calls(), 1, "fetches");
    Ok(())
}

/// In a cluster braces decide where a key lies, and its lease must lie there too.
async fn a_key_may_have_braces(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    for key in ["thing:{1}", "thing:a{b}c", "thing:}{", "thing:{}", "thing:{}{a}", "thing:{", "thing:{{a}}"] {
        let upstream = Upstream::open();
        let answer = here.get_or_set(key, &policy(), upstream.value("1")).await?;
        ensure_eq!(answer.outcome, Outcome::Fetched { stored: true }, key);
        let answer = there.get_or_set(key, &policy(), upstream.value("2")).await?;
        ensure_eq!((&answer.entry.value[..], upstream.calls()), (&b"1"[..], 1), key);
        ensure_eq!(there.delete(key).await?, 1, key);
    }
    Ok(())
}

async fn a_key_deleted_by_another_node_while_it_is_fetched_is_not_stored(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    let (upstream, policy) = (Upstream::closed(), policy());
    let (answer, deleted) =
        futures::join!(here.get_or_set("thing:1", &policy, upstream.value("old")), async {
            upstream.reached().await?;
            let deleted = there.delete("thing:1").await;
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
    for node in [&here, &there] {
        let lookup = node.get(THING, "thing:1").await;
        ensure!(is_missing(&lookup), "afterwards it was found: {lookup:?}");
    }
    Ok(())
}

async fn a_failure_spares_the_other_nodes(site: &Site) -> Kept {
    let (here, there, upstream) = (site.node().await?, site.node().await?, Upstream::open());
    for node in [&here, &there, &here] {
        let fetch = upstream.fetch(Err(failing(FailureClass::Forbidden)));
        let answer = node.get_or_set("thing:1", &policy(), fetch).await;
        let Err(FetchError::Failed(failure)) = answer else {
            return Err(format!("the answer: {answer:?}").into());
        };
        ensure_eq!(
            (failure.class, failure.to_string().as_str(), failure.detail.as_deref()),
            (FailureClass::Forbidden, "it failed", Some("{\"why\":1}")),
            "class, words, detail"
        );
    }
    ensure_eq!(upstream.calls(), 1, "fetches");
    Ok(())
}

async fn an_owner_that_gives_up_is_followed_by_one_other(site: &Site) -> Kept {
    let (here, there) = (site.node().await?, site.node().await?);
    let (failing_one, upstream) = (Upstream::closed(), Upstream::open());
    let policy = Policy { failures: FailureTtl::NONE, ..policy() };
    let (failed, answer) = futures::join!(
        here.get_or_set("thing:1", &policy, failing_one.fetch(Err(failing(FailureClass::Permanent)))),
        async {
            failing_one.reached().await?;
            let (answer, ()) =
                futures::join!(there.get_or_set("thing:1", &policy, upstream.value("1")), async {
                    failing_one.let_through();
                });
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer?)
        }
    );
    ensure!(matches!(failed, Err(FetchError::Failed(_))), "the owner's answer: {failed:?}");
    ensure_eq!(answer?.entry.value, "1", "the follower's answer");
    ensure_eq!((failing_one.calls(), upstream.calls()), (1, 1), "fetches");
    Ok(())
}

/// What another program may have left: each is written past the cache, found, told apart from a value and replaced.
async fn garbage_is_a_counted_miss_and_is_replaced(site: &Site) -> Kept {
    let (node, upstream) = (site.node().await?, Upstream::open());
    put(&node, "thing:good", "{\"a\":1}").await?;
    let raw = node.redis().ok_or("there is no server behind the cache")?;
    let good = raw.get("thing:good").await?.ok_or("the server has nothing")?;
    let cut = &good[..good.len() - 1];
    let garbage: [&[u8]; 5] = [b"", b"\xff\x00garbage", cut, &good[..20], b"{\"envelope\":1}\n1"];
    for (n, bytes) in garbage.into_iter().enumerate() {
        let key = format!("thing:{n}");
        raw.set(&key, bytes, Duration::from_secs(60)).await?;
        let lookup = node.get(THING, &key).await;
        ensure_eq!(lookup, Lookup::Missing(MissReason::Unreadable), format!("garbage {n}"));
        let answer = node.get_or_set(&key, &policy(), upstream.value("1")).await?;
        ensure_eq!(answer.outcome, Outcome::Fetched { stored: true }, format!("fetched over garbage {n}"));
        ensure_eq!(look(&node, &key).await, Some("1".into()), format!("in place of garbage {n}"));
    }
    ensure_eq!(upstream.calls(), garbage.len() as u64, "fetches");
    Ok(())
}

async fn a_value_of_another_program_is_read_for_as_long_as_it_lives(site: &Site) -> Kept {
    let node = site.node().await?;
    let raw = node.redis().ok_or("there is no server behind the cache")?;
    raw.set("thing:1", b"{\"old\":\"service\"}", Duration::from_secs(30)).await?;
    let found = node.get(THING, "thing:1").await.entry().ok_or("it is not found")?;
    ensure_eq!(found.value, "{\"old\":\"service\"}", "the value");
    let ttl = found.ttl(site.clock.now());
    ensure!(ttl <= Duration::from_secs(30), "it lives for {ttl:?}, by the server for 30 s at most");
    Ok(())
}

async fn flush_reaches_nothing_beside_its_prefix(site: &Site) -> Kept {
    let here = site.node().await?;
    // Below the same prefix, so that what is left of it goes with the rest.
    let beside = site.open(16 << 20, &format!("{}beside:", site.prefix)).await?;
    put(&here, "thing:1", "1").await?;
    put(&beside, "thing:1", "2").await?;
    ensure_eq!(beside.flush_all().await?, 1, "flushed");
    ensure_eq!(look(&here, "thing:1").await, Some("1".into()), "beside what was flushed");
    ensure_eq!(
        here.measure_pattern(&Pattern::parse("thing:*").map_err(|error| error.to_string())?).await?.keys,
        1,
        "keys that are left"
    );
    Ok(())
}
