//! A Redis Cluster: what moving slots and losing primaries cost those who ask the cache.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use lently_cache::{
    CacheService, Cost, Deployment, Fetched, Outcome, Pattern, Policy, RedisClient, RedisConfig,
    RemoteConfig, Tags, Tier, TlsConfig,
};
use lently_testing::{ClusterDeployment, Proxy, RedisOptions, RedisServer, Wire, wait_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    sentinel::{ask_until, is_listened_to},
    support::{BOUND, Bench, Gate, PREFIX, THING, Upstream, look, manual_clock, open, policy, put},
};

pub fn cluster_config(cluster: &ClusterDeployment) -> RedisConfig {
    let port = cluster.servers[0].port();
    RedisConfig { deployment: Deployment::Cluster, port, ..RedisConfig::default() }
}

pub async fn on(cluster: &ClusterDeployment) -> Bench {
    let bench = open(RemoteConfig::Redis(cluster_config(cluster))).await;
    is_up(&bench.cache).await;
    bench
}

async fn is_up(cache: &CacheService) {
    wait_until("every slot is served", BOUND, async || cache.health().is_up() && cache.health().tracking)
        .await;
}

fn full(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// A key that lies at the given primary of the start.
fn key_at(cluster: &ClusterDeployment, primary: usize) -> String {
    let port = cluster.servers[primary].port();
    let mut keys = (0..).map(|n| format!("thing:{n}"));
    keys.find(|key| cluster.owner_port(&full(key)) == Some(port)).expect("a key of any slot")
}

/// A tag whose version lies there.
fn tag_at(cluster: &ClusterDeployment, primary: usize) -> String {
    let port = cluster.servers[primary].port();
    let mut tags = (0..).map(|n| n.to_string());
    tags.find(|tag| cluster.owner_port(&full(&format!("~tag:{tag}"))) == Some(port))
        .expect("a tag of any slot")
}

async fn value_of(cache: &CacheService, key: &str) -> Option<Bytes> {
    look(cache, key).await.map(|(value, _)| value)
}

#[tokio::test]
async fn each_key_lies_where_the_cluster_wants_it_and_two_nodes_fetch_it_once() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (on(&cluster).await, on(&cluster).await);
    assert_eq!(here.cache.redis().expect("Redis").servers().len(), 3, "its primaries");
    for key in (0..3).map(|primary| key_at(&cluster, primary)).chain(["thing:{tag}:a}".to_owned()]) {
        let (gate, own) = (Gate::new(), policy());
        let (first, second, ()) = tokio::join!(
            here.cache.get_or_set(&key, &own, gate.fetch("1")),
            there.cache.get_or_set(&key, &own, gate.fetch("1")),
            async {
                gate.reached().await;
                gate.open();
            }
        );
        let (first, second) = (first.expect("an answer"), second.expect("an answer"));
        assert!(first.entry.value == "1" && second.entry.value == "1" && gate.calls() == 1, "{key}");
        assert!(cluster.owner_of(&full(&key)).bytes_of(&full(&key)).ends_with(b"1"), "{key}");
    }
}

#[tokio::test]
async fn what_is_changed_at_any_primary_leaves_the_memory_of_every_node() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (on(&cluster).await, on(&cluster).await);
    for key in (0..3).map(|primary| key_at(&cluster, primary)) {
        put(&here.cache, &key, "1").await;
        assert_eq!(value_of(&there.cache, &key).await.expect("a value"), "1");
        assert_eq!(look(&there.cache, &key).await.expect("a copy").1, Tier::Memory);
        put(&here.cache, &key, "2").await;
        wait_until("the other node has the new one", BOUND, async || {
            value_of(&there.cache, &key).await.is_some_and(|value| value == "2")
        })
        .await;
        cluster.owner_of(&full(&key)).cli(&["DEL", &full(&key)]);
        for node in [&here, &there] {
            wait_until("no copy is left", BOUND, async || look(&node.cache, &key).await.is_none()).await;
        }
    }
}

#[tokio::test]
async fn patterns_and_flush_reach_every_primary_and_nothing_of_others() {
    let cluster = ClusterDeployment::start().await;
    let bench = on(&cluster).await;
    for key in ["thing", "other"].iter().flat_map(|kind| (0..600).map(move |n| format!("{kind}:{n}"))) {
        put(&bench.cache, &key, "1").await;
    }
    for primary in &cluster.servers[..3] {
        assert!(primary.cli(&["DBSIZE"]).parse::<u64>().expect("a number") > 300);
    }
    let foreign: Vec<String> = (0..3).map(|primary| key_at(&cluster, primary)).collect();
    for key in &foreign {
        cluster.owner_of(&full(key)).cli(&["SET", &format!("foreign:{{{}}}", full(key)), "1"]);
    }
    let things = Pattern::parse("thing:*").expect("a pattern");
    assert_eq!(bench.cache.measure_pattern(&things).await.expect("a report").keys, 600);
    assert_eq!(bench.cache.delete_pattern(&things).await.expect("deleted"), 600);
    assert_eq!(bench.cache.measure_pattern(&Pattern::any()).await.expect("a report").keys, 600);
    assert_eq!(bench.cache.flush_all().await.expect("flushed"), 600);
    let left: Vec<String> = cluster.servers[..3].iter().map(|server| server.cli(&["KEYS", "*"])).collect();
    let left: Vec<&str> = left
        .iter()
        .flat_map(|keys| keys.lines())
        .filter(|key| !key.is_empty() && !key.ends_with("~gone"))
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().all(|key| key.starts_with("foreign:")), "{left:?}");
}

fn tagged(tags: &[&str]) -> Policy {
    Policy { tags: Tags::new(tags), ..policy() }
}

/// The version of a tag lies in a slot of its own: the entries that have it are, as a rule, at other servers.
#[tokio::test]
async fn a_tag_takes_its_entries_at_every_primary_wherever_its_version_lies() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (on(&cluster).await, on(&cluster).await);
    let keys: Vec<String> = (0..3).map(|primary| key_at(&cluster, primary)).collect();
    for tag in (0..3).map(|primary| tag_at(&cluster, primary)) {
        for key in &keys {
            let own = tagged(&[&tag, "common"]);
            here.cache.set(key, &own, Bytes::from_static(b"1"), Cost::default()).await.expect("taken");
            assert_eq!(value_of(&there.cache, key).await.expect("a value"), "1", "{key}");
            assert_eq!(look(&there.cache, key).await.expect("a copy").1, Tier::Memory, "{key}");
        }
        here.cache.invalidate_tag(&tag).await.expect("invalidated");
        for key in &keys {
            assert!(value_of(&here.cache, key).await.is_none(), "{key}");
            wait_until("the other node has heard", BOUND, async || {
                value_of(&there.cache, key).await.is_none()
            })
            .await;
        }
    }
}

/// While the slot of its version is on its way, a tag is asked for, begun and changed as ever.
#[tokio::test]
async fn a_tag_whose_version_is_being_moved_still_takes_its_entries() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (on(&cluster).await, on(&cluster).await);
    let tags = ["{tag}:0", "{tag}:1"];
    let keys: Vec<String> = (0..3).map(|primary| key_at(&cluster, primary)).collect();
    let place = full("~tag:{tag}:0");
    let store = async |tag| {
        for key in &keys {
            let own = tagged(&[tag]);
            here.cache.set(key, &own, Bytes::from_static(b"1"), Cost::default()).await.expect("taken");
            assert_eq!(value_of(&there.cache, key).await.expect("a value"), "1", "{key}");
        }
    };
    let take = async |tag| {
        here.cache.invalidate_tag(tag).await.expect("invalidated");
        for key in &keys {
            wait_until("no node serves it", BOUND, async || {
                value_of(&here.cache, key).await.is_none() && value_of(&there.cache, key).await.is_none()
            })
            .await;
        }
    };
    store(tags[0]).await;
    let (slot, from) = (cluster.slot_of(&place), cluster.owner_of(&place));
    let to = cluster.servers[..3].iter().find(|server| server.port() != from.port()).expect("another");
    cluster.begin_to_move(&slot, from, to);
    take(tags[0]).await;
    store(tags[0]).await;
    assert_eq!(cluster.move_keys(&slot, 100, from, to), 1);
    for tag in tags {
        store(tag).await;
        take(tag).await;
        store(tag).await;
    }
    cluster.end_to_move(&slot, from, to);
    take(tags[1]).await;
    assert_eq!(to.cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), "2");
    assert_eq!(here.cache.health().swallowed_errors + there.cache.health().swallowed_errors, 0);
}

/// Nobody can say whether a tag was changed at a primary that is lost: until one can, entries that have it are fetched.
#[tokio::test]
async fn a_tag_whose_primary_is_lost_is_believed_no_longer_than_the_bound() {
    let lines = vec!["cluster-require-full-coverage no".to_owned()];
    let options = RedisOptions { lines, ..RedisOptions::default() };
    let cluster = ClusterDeployment::start_with(options).await;
    let (here, there) = (on(&cluster).await, on(&cluster).await);
    let (tag, key) = (tag_at(&cluster, 0), key_at(&cluster, 1));
    let own = tagged(&[&tag]);
    here.cache.set(&key, &own, Bytes::from_static(b"1"), Cost::default()).await.expect("taken");
    assert_eq!(value_of(&there.cache, &key).await.expect("a value"), "1");
    cluster.servers[0].stop();
    wait_until("what may have been changed is not served", BOUND, async || {
        value_of(&there.cache, &key).await.is_none()
    })
    .await;
    let upstream = Upstream::default();
    let answer = there.cache.get_or_set(&key, &own, upstream.fetch("2")).await;
    assert_eq!((&answer.expect("an answer").entry.value[..], upstream.calls()), (&b"2"[..], 1));
    wait_until("its replica has taken over", BOUND, async || {
        here.cache.health().is_up() && here.cache.invalidate_tag(&tag).await.is_ok()
    })
    .await;
    wait_until("the change is heard of", BOUND, async || value_of(&there.cache, &key).await.is_none()).await;
}

/// In the middle of a move each key is at one server or the other; whoever asks the wrong one is told where to ask.
#[tokio::test]
async fn a_slot_that_is_being_moved_is_read_written_and_fetched_as_ever() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (on(&cluster).await, on(&cluster).await);
    let keys: Vec<String> = (0..20).map(|n| format!("thing:{{tag}}:{n}")).collect();
    for key in &keys {
        put(&here.cache, key, "1").await;
    }
    let slot = cluster.slot_of(&full(&keys[0]));
    let from = cluster.owner_of(&full(&keys[0]));
    let to = cluster.servers[..3].iter().find(|server| server.port() != from.port()).expect("another");
    cluster.begin_to_move(&slot, from, to);
    assert_eq!(cluster.move_keys(&slot, 10, from, to), 10);
    for key in &keys {
        assert_eq!(value_of(&there.cache, key).await.expect("a value"), "1", "{key}");
    }
    for key in &keys[..15] {
        put(&here.cache, key, "2").await;
    }
    for key in &keys[15..] {
        assert_eq!(here.cache.delete(key).await.expect("deleted"), 1, "{key}");
    }
    for (at, key) in keys.iter().enumerate() {
        wait_until("the other node sees the change", BOUND, async || {
            value_of(&there.cache, key).await == (at < 15).then(|| Bytes::from_static(b"2"))
        })
        .await;
    }
    // A fetch can be led and followed although its lease and its value may be at two servers; to commit, it waits for the end.
    let (gate, own) = (Gate::new(), policy());
    let (first, second, ()) = tokio::join!(
        here.cache.get_or_set("thing:{tag}:new", &own, gate.fetch("3")),
        there.cache.get_or_set("thing:{tag}:new", &own, gate.fetch("3")),
        async {
            gate.reached().await;
            gate.open();
            while cluster.move_keys(&slot, 100, from, to) > 0 {}
            cluster.end_to_move(&slot, from, to);
        }
    );
    let outcomes = [first.expect("an answer").outcome, second.expect("an answer").outcome];
    assert!(outcomes.contains(&Outcome::Fetched { stored: true }), "{outcomes:?}");
    assert_eq!(gate.calls(), 1);
    assert!(to.bytes_of(&full("thing:{tag}:new")).ends_with(b"3"));
    assert_eq!(here.cache.delete_pattern(&Pattern::any()).await.expect("deleted"), 16);
    assert_eq!(here.cache.health().swallowed_errors + there.cache.health().swallowed_errors, 0);
}

#[tokio::test]
async fn a_pattern_reaches_the_keys_of_a_slot_that_is_being_moved() {
    let cluster = ClusterDeployment::start().await;
    let bench = on(&cluster).await;
    let keys: Vec<String> = (0..20).map(|n| format!("thing:{{tag}}:{n}")).collect();
    for key in &keys {
        put(&bench.cache, key, "1").await;
    }
    let slot = cluster.slot_of(&full(&keys[0]));
    let from = cluster.owner_of(&full(&keys[0]));
    let to = cluster.servers[..3].iter().find(|server| server.port() != from.port()).expect("another");
    cluster.begin_to_move(&slot, from, to);
    cluster.move_keys(&slot, 10, from, to);
    assert_eq!(bench.cache.delete_pattern(&Pattern::any()).await.expect("deleted"), 20);
    for server in [from, to] {
        assert_eq!(server.cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), "0");
    }
}

/// One node writes ever higher numbers, the other reads, and the slot goes back and forth between two primaries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_moved_under_load_without_a_failed_call_or_an_old_value() {
    let cluster = ClusterDeployment::start().await;
    let (here, there) = (on(&cluster).await, on(&cluster).await);
    let keys: Vec<String> = (0..8).map(|n| format!("thing:{{tag}}:{n}")).collect();
    let slot = cluster.slot_of(&full(&keys[0]));
    for key in &keys {
        put(&here.cache, key, "0").await;
    }
    let done = CancellationToken::new();
    let writing = keys.iter().map(|key| {
        let (cache, done) = (here.cache.clone(), done.clone());
        async move {
            let mut number = 0_u64;
            while !done.is_cancelled() {
                number += 1;
                let value = Bytes::from(number.to_string());
                let stored = cache.set(key, &policy(), value.clone(), Cost::default()).await;
                assert!(stored.expect("taken").remote, "{key}");
                assert_eq!(value_of(&cache, key).await, Some(value), "its own write");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            number
        }
    });
    let reading = keys.iter().map(|key| {
        let (cache, done) = (there.cache.clone(), done.clone());
        async move {
            let mut last = 0_u64;
            while !done.is_cancelled() {
                let answer = cache.get_or_set(key, &policy(), || async { Ok(Fetched::new("-")) }).await;
                let value = answer.expect("an answer").entry.value.clone();
                let number = std::str::from_utf8(&value).expect("text").parse().expect("a number");
                assert!(number >= last, "{number} after {last}");
                last = number;
                tokio::task::yield_now().await;
            }
        }
    });
    let moving = async {
        let mut from = cluster.owner_of(&full(&keys[0]));
        for _ in 0..6 {
            let to =
                cluster.servers[..3].iter().find(|server| server.port() != from.port()).expect("another");
            cluster.begin_to_move(&slot, from, to);
            tokio::time::sleep(Duration::from_millis(20)).await;
            while cluster.move_keys(&slot, 2, from, to) > 0 {
                tokio::task::yield_now().await;
            }
            cluster.end_to_move(&slot, from, to);
            from = to;
        }
        done.cancel();
    };
    let (numbers, _, ()) = tokio::join!(join_all(writing), join_all(reading), moving);
    for (key, number) in keys.iter().zip(numbers) {
        wait_until("the last one is read everywhere", BOUND, async || {
            value_of(&there.cache, key).await == Some(Bytes::from(number.to_string()))
        })
        .await;
        assert!(cluster.owner_of(&full(key)).bytes_of(&full(key)).ends_with(number.to_string().as_bytes()));
    }
}

/// Waits until the slot of `key` is served by another than `old`, and the cache has followed.
async fn followed(cluster: &ClusterDeployment, cache: &CacheService, key: &str, old: u16) -> u16 {
    let mut new = old;
    wait_until("a replica is promoted", BOUND, async || {
        new = cluster.owner_port(&full(key)).unwrap_or(old);
        new != old
    })
    .await;
    let address = format!("127.0.0.1:{new}");
    wait_until("the cache has followed", BOUND, async || {
        cache.health().is_up() && cache.redis().expect("Redis").servers().contains(&address)
    })
    .await;
    new
}

#[tokio::test]
async fn a_killed_primary_is_replaced_without_a_failed_call_or_a_second_fetch() {
    let mut cluster = ClusterDeployment::start().await;
    let bench = on(&cluster).await;
    let (old, key) = (cluster.servers[0].port(), key_at(&cluster, 0));
    let upstream = Upstream::default();
    let keys: Vec<String> = (1000..1100).map(|n| format!("thing:{n}")).collect();
    let ask_all = async || {
        for key in &keys {
            let answer = bench.cache.get_or_set(key, &policy(), upstream.fetch("1")).await;
            assert_eq!(answer.expect("an answer").entry.value, "1");
        }
    };
    ask_all().await;
    for key in &keys {
        wait_until("it is in memory", BOUND, async || {
            look(&bench.cache, key).await.is_some_and(|(_, tier)| tier == Tier::Memory)
        })
        .await;
    }
    cluster.servers[0].kill();
    ask_until(&bench.cache, async {
        wait_until("it is noticed", BOUND, async || !bench.cache.health().is_up()).await;
        let told = bench.cache.health().last_error.unwrap_or_default();
        assert!(!told.is_empty());
        ask_all().await;
        followed(&cluster, &bench.cache, &key, old).await;
    })
    .await;
    ask_all().await;
    assert_eq!(upstream.calls(), 100, "what is in memory is not paid for again");
    let new = cluster.owner_of(&full(&key));
    put(&bench.cache, &key, "2").await;
    assert!(new.bytes_of(&full(&key)).ends_with(b"2"));
    assert_eq!(look(&bench.cache, &key).await.expect("a hit").1, Tier::Memory);
    new.cli(&["DEL", &full(&key)]);
    wait_until("the copy is gone", BOUND, async || look(&bench.cache, &key).await.is_none()).await;
    // It comes back as a replica of the new one.
    cluster.servers[0].restart().await;
    let returned = &cluster.servers[0];
    ask_until(&bench.cache, async {
        wait_until("it follows the new one", BOUND, async || {
            assert!(!is_listened_to(returned), "nobody is connected to it");
            returned.cli(&["INFO", "replication"]).contains("master_link_status:up")
        })
        .await;
        is_up(&bench.cache).await;
    })
    .await;
}

#[tokio::test]
async fn a_primary_that_hangs_costs_its_own_slots_and_no_others() {
    let cluster = ClusterDeployment::start().await;
    let bench = on(&cluster).await;
    let old = cluster.servers[0].port();
    let (hung, other) = (key_at(&cluster, 0), key_at(&cluster, 1));
    put(&bench.cache, &hung, "1").await;
    put(&bench.cache, &other, "1").await;
    cluster.servers[0].stop();
    wait_until("it is noticed", BOUND, async || {
        assert_eq!(value_of(&bench.cache, &hung).await.expect("in memory"), "1");
        !bench.cache.health().is_up()
    })
    .await;
    // What others change elsewhere is heard of.
    put(&bench.cache, &other, "2").await;
    let changed = cluster.at(cluster.servers[1].port());
    wait_until("the copy of what is deleted elsewhere is gone", BOUND, async || {
        changed.cli(&["DEL", &full(&other)]);
        look(&bench.cache, &other).await.is_none()
    })
    .await;
    // The survivors can be asked of, not the one that hangs.
    wait_until("a replica is promoted", BOUND, async || {
        let nodes = changed.cli(&["CLUSTER", "NODES"]);
        let replica = format!(":{}@", cluster.servers[3].port());
        nodes.lines().any(|line| line.contains(&replica) && line.contains("master"))
    })
    .await;
    is_up(&bench.cache).await;
    put(&bench.cache, &hung, "2").await;
    assert!(cluster.servers[3].bytes_of(&full(&hung)).ends_with(b"2"));
    cluster.servers[0].cont();
    wait_until("nobody listens to the old one", BOUND, async || {
        assert_eq!(value_of(&bench.cache, &hung).await.expect("a value"), "2");
        !is_listened_to(&cluster.servers[0])
            && cluster.servers[0].cli(&["INFO", "replication"]).contains("role:slave")
    })
    .await;
    let servers = bench.cache.redis().expect("Redis").servers();
    assert!(!servers.contains(&format!("127.0.0.1:{old}")), "{servers:?}");
}

#[tokio::test]
async fn a_pattern_cleans_the_primaries_that_can_be_asked_and_tells_of_the_one_that_cannot() {
    let lines = vec!["cluster-require-full-coverage no".to_owned()];
    let options = RedisOptions { lines, ..RedisOptions::default() };
    let mut cluster = ClusterDeployment::start_with(options).await;
    let bench = on(&cluster).await;
    let (lost, others) = (key_at(&cluster, 0), [key_at(&cluster, 1), key_at(&cluster, 2)]);
    for key in others.iter().chain([&lost]) {
        put(&bench.cache, key, "1").await;
    }
    // Nobody takes its place.
    cluster.servers[3].kill();
    cluster.servers[0].kill();
    wait_until("it is noticed", BOUND, async || !bench.cache.health().is_up()).await;
    bench.cache.delete_pattern(&Pattern::any()).await.expect_err("it may hold some yet");
    for (server, key) in cluster.servers[1..3].iter().zip(&others) {
        assert_eq!(server.cli(&["EXISTS", &full(key)]), "0");
        put(&bench.cache, key, "2").await;
        assert!(server.bytes_of(&full(key)).ends_with(b"2"));
    }
    assert!(look(&bench.cache, &lost).await.is_none(), "memory has forgotten it");
}

#[tokio::test]
async fn a_primary_that_is_demoted_is_left_although_it_answers() {
    let cluster = ClusterDeployment::start().await;
    let bench = on(&cluster).await;
    let (old, key) = (cluster.servers[0].port(), key_at(&cluster, 0));
    assert_eq!(cluster.servers[3].cli(&["CLUSTER", "FAILOVER"]), "OK");
    ask_until(&bench.cache, async {
        followed(&cluster, &bench.cache, &key, old).await;
    })
    .await;
    put(&bench.cache, &key, "2").await;
    assert!(cluster.servers[3].bytes_of(&full(&key)).ends_with(b"2"));
    wait_until("nobody listens to the old one", BOUND, async || !is_listened_to(&cluster.servers[0])).await;
}

#[tokio::test]
async fn a_cluster_is_found_by_any_node_that_runs_and_what_is_wrong_is_told() {
    let mut cluster = ClusterDeployment::start().await;
    let (absent, replica) = (RedisServer::absent(), cluster.servers[3].port());
    let others = vec![("127.0.0.1".to_owned(), replica)];
    let config = RedisConfig { port: absent.port(), others, ..cluster_config(&cluster) };
    let bench = open(RemoteConfig::Redis(config)).await;
    is_up(&bench.cache).await;
    for server in &mut cluster.servers {
        server.kill();
    }
    ask_until(&bench.cache, wait_until("it is noticed", BOUND, async || !bench.cache.health().is_up())).await;
    let alone = RedisServer::start().await;
    for (server, expected) in [(&alone, "cluster support disabled"), (&absent, "refused")] {
        let config = RedisConfig { port: server.port(), ..cluster_config(&cluster) };
        let bench = open(RemoteConfig::Redis(config)).await;
        wait_until("the reason is told", BOUND, async || {
            let told = bench.cache.health().last_error.unwrap_or_default();
            told.contains(expected) && told.contains(&server.port().to_string())
        })
        .await;
        put(&bench.cache, "thing:1", "1").await;
        assert_eq!(look(&bench.cache, "thing:1").await.expect("memory has it").1, Tier::Memory);
    }
}

/// As with Sentinels that are far away.
#[tokio::test]
async fn a_cluster_is_found_by_a_node_that_is_far_away() {
    let cluster = ClusterDeployment::start_with(RedisOptions { tls: true, ..RedisOptions::default() }).await;
    let wire = Proxy::to(cluster.servers[0].address()).await;
    wire.set(Wire::Slow(Duration::from_millis(80)));
    let bench = open(RemoteConfig::Redis(RedisConfig {
        port: wire.address().port(),
        tls: Some(TlsConfig { ca_file: Some(cluster.servers[0].ca_file()) }),
        ..cluster_config(&cluster)
    }))
    .await;
    is_up(&bench.cache).await;
}

#[tokio::test]
async fn a_prefix_or_database_that_a_cluster_cannot_have_is_refused() {
    let refused = async |prefix: &str, db| {
        let config = RedisConfig { db, deployment: Deployment::Cluster, ..RedisConfig::default() };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let words = [THING.name.to_owned()];
        let client = RedisClient::connect(config, prefix, words, manual_clock(), &tasks, &stop).await;
        client.err().expect("an error").to_string()
    };
    for prefix in ["a{b:", "{}:", "{"] {
        assert!(refused(prefix, 0).await.contains("begins a hash tag"), "{prefix}");
    }
    assert!(refused("a:", 1).await.contains("no database 1"));
}
