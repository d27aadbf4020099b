//! A tally on real Redis processes: what is counted is neither lost nor counted twice, and no more is set aside than there is.

use std::time::Duration;

use futures::future::join_all;
use lently_cache::{
    Amounts, CacheError, CacheService, Holding, Part, RedisConfig, RemoteConfig, Sums, Tally, TallyWanted,
};
use lently_testing::{ClusterDeployment, RedisOptions, RedisServer, wait_until};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    conformance, redis_cluster,
    support::{BOUND, in_memory, on_a_strict_redis, on_redis, open, redis_config},
};

const UNITS: &str = "units";
const KEY: &str = "lently-test:~tally:today";
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A process that counts.
struct Counter {
    tally: Tally,
    part: Part,
    holding: Holding,
}

impl Counter {
    fn new(cache: &CacheService, name: &str) -> Self {
        Self {
            tally: cache.tally("today").expect("a tally"),
            part: Part { name: name.to_owned(), totals: Amounts::new() },
            holding: Holding {
                holder: format!("{name}-1"),
                version: 0,
                amounts: Amounts::new(),
                lasts: LONG,
            },
        }
    }

    fn count(&mut self, units: u64) {
        *self.part.totals.entry(UNITS.to_owned()).or_default() += units;
    }

    fn hold(&mut self, units: u64) {
        self.holding.amounts.insert(UNITS.to_owned(), units);
    }

    async fn exchange(&mut self) -> Result<Sums, CacheError> {
        self.holding.version += 1;
        self.tally.exchange(&self.part, &self.holding, None).await
    }

    async fn want(&mut self, amount: u64, least: u64, limit: u64) -> u64 {
        self.holding.version += 1;
        let wanted = TallyWanted { counter: UNITS.to_owned(), amount, least, limit };
        let granted =
            self.tally.exchange(&self.part, &self.holding, Some(&wanted)).await.expect("sums").granted;
        *self.holding.amounts.entry(UNITS.to_owned()).or_default() += granted;
        granted
    }
}

fn units(amounts: &Amounts) -> u64 {
    amounts.get(UNITS).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_sum_is_over_all_parts_and_a_loss_of_redis_is_made_good_by_each() {
    let mut server = RedisServer::start().await;
    let (one, other) = (on_redis(&server).await, on_redis(&server).await);
    let (mut one, mut other) = (Counter::new(&one.cache, "one"), Counter::new(&other.cache, "other"));
    one.count(3);
    other.count(4);
    one.exchange().await.expect("sums");
    assert_eq!(units(&other.exchange().await.expect("sums").totals), 7);
    // Told again, nothing changes.
    assert_eq!(units(&other.exchange().await.expect("sums").totals), 7);
    server.cli(&["FLUSHALL"]);
    one.count(1);
    assert_eq!(units(&one.exchange().await.expect("sums").totals), 4);
    assert_eq!(units(&other.exchange().await.expect("sums").totals), 8);
    server.replace_by_empty().await;
    wait_until("it is told again", BOUND, async || one.exchange().await.is_ok()).await;
    wait_until("the other too", BOUND, async || {
        other.exchange().await.is_ok_and(|sums| units(&sums.totals) == 8)
    })
    .await;
    assert!(server.cli(&["PTTL", KEY]).parse::<i64>().expect("a life") > 0, "it does not live forever");
}

#[tokio::test]
async fn an_older_number_that_comes_late_changes_nothing() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    let mut counter = Counter::new(&bench.cache, "one");
    counter.count(2);
    counter.hold(5);
    let (part, holding) = (counter.part.clone(), Holding { version: 1, ..counter.holding.clone() });
    counter.exchange().await.expect("sums");
    counter.count(5);
    counter.hold(0);
    counter.exchange().await.expect("sums");
    let wanted = TallyWanted { counter: UNITS.to_owned(), amount: 1, least: 1, limit: 100 };
    let late = counter.tally.exchange(&part, &holding, Some(&wanted)).await.expect("sums");
    assert_eq!((units(&late.totals), units(&late.part), units(&late.held), late.granted), (7, 7, 0, 0));
}

#[tokio::test]
async fn many_that_want_at_once_are_given_no_more_than_there_is() {
    let server = RedisServer::start().await;
    let benches = [on_redis(&server).await, on_redis(&server).await];
    let mut counters: Vec<Counter> =
        (0..40).map(|number| Counter::new(&benches[number % 2].cache, &format!("part{number}"))).collect();
    counters[0].count(10);
    counters[0].exchange().await.expect("sums");
    let granted = join_all(counters.iter_mut().map(|counter| counter.want(4, 1, 100))).await;
    assert_eq!(granted.iter().sum::<u64>(), 90, "{granted:?}");
    assert!(granted.contains(&2), "what was left, and no less than the least: {granted:?}");
    // What is given back is there for others.
    let first = granted.iter().position(|granted| *granted == 4).expect("one of them");
    counters[first].hold(0);
    counters[first].exchange().await.expect("sums");
    assert_eq!(counters[0].want(9, 5, 100).await, 0);
    assert_eq!(counters[0].want(9, 1, 100).await, 4);
}

#[tokio::test]
async fn what_a_dead_holder_set_aside_is_free_again() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    let (mut dead, mut other) = (Counter::new(&bench.cache, "dead"), Counter::new(&bench.cache, "other"));
    dead.holding.lasts = Duration::from_millis(200);
    dead.count(1);
    assert_eq!(dead.want(9, 9, 10).await, 9);
    wait_until("its time is over", BOUND, async || other.want(9, 9, 10).await == 9).await;
    let sums = other.exchange().await.expect("sums");
    assert_eq!((units(&sums.totals), units(&sums.held)), (1, 9), "what it has counted stays");
}

#[tokio::test]
async fn flushing_the_cache_forgets_nothing_that_was_counted() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    let mut counter = Counter::new(&bench.cache, "one");
    counter.count(1);
    counter.exchange().await.expect("sums");
    bench.cache.flush_all().await.expect("a flush");
    assert_eq!(server.cli(&["EXISTS", KEY]), "1");
}

#[tokio::test]
async fn whatever_happens_in_between_the_sum_is_what_was_counted() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    for seed in 0..8 {
        let mut chance = StdRng::seed_from_u64(seed);
        server.cli(&["FLUSHALL"]);
        let mut counters: Vec<Counter> =
            ["a", "b", "c"].iter().map(|name| Counter::new(&bench.cache, name)).collect();
        let mut counted = 0;
        for _ in 0..60 {
            let counter = &mut counters[chance.random_range(0..3)];
            match chance.random_range(0..10) {
                0 => drop(server.cli(&["FLUSHALL"])),
                // Another process of the same part: it begins with what was kept.
                1 => {
                    counter.holding = Holding {
                        holder: format!("{}-{counted}", counter.part.name),
                        version: 0,
                        amounts: Amounts::new(),
                        lasts: LONG,
                    }
                }
                2..6 => {
                    let units = chance.random_range(0..5);
                    counter.count(units);
                    counted += units;
                }
                _ => drop(counter.exchange().await.expect("sums")),
            }
        }
        let mut sums = Sums::default();
        for counter in &mut counters {
            sums = counter.exchange().await.expect("sums");
        }
        assert_eq!(units(&sums.totals), counted, "seed {seed}");
    }
}

#[tokio::test]
async fn a_cluster_has_it_in_one_slot() {
    let cluster = ClusterDeployment::start().await;
    let bench = redis_cluster::on(&cluster).await;
    let (mut one, mut other) = (Counter::new(&bench.cache, "one"), Counter::new(&bench.cache, "other"));
    one.count(1);
    one.exchange().await.expect("sums");
    assert_eq!(other.want(9, 1, 5).await, 4);
    assert_eq!(cluster.owner_of(KEY).cli(&["EXISTS", KEY]), "1");
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough() {
    let options =
        RedisOptions { user: Some(("lently".into(), conformance::RULES.into())), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let config = RedisConfig {
        username: Some("lently".into()),
        password: Some("secret".to_owned().into()),
        ..redis_config(&server)
    };
    let bench = open(RemoteConfig::Redis(config)).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().is_up()).await;
    let mut counter = Counter::new(&bench.cache, "one");
    counter.count(3);
    assert!(counter.tally.is_shared());
    assert_eq!(counter.want(9, 1, 5).await, 2);
}

#[tokio::test]
async fn without_redis_or_its_scripts_the_sum_is_of_what_is_told() {
    let (_server, strict) = on_a_strict_redis().await;
    for bench in [in_memory().await, strict] {
        let mut counter = Counter::new(&bench.cache, "one");
        counter.count(3);
        assert!(!counter.tally.is_shared());
        assert_eq!(counter.want(9, 1, 5).await, 2);
    }
}

#[tokio::test]
async fn a_tally_that_is_full_takes_no_more_and_loses_nothing() {
    let server = RedisServer::start().await;
    let bench = on_redis(&server).await;
    let mut counter = Counter::new(&bench.cache, "one");
    counter.count(1);
    counter.exchange().await.expect("sums");
    let mut greedy = Counter::new(&bench.cache, "greedy");
    greedy.part.totals = (0..10_000).map(|number| (format!("counter{number}"), 1)).collect();
    let error = greedy.exchange().await.expect_err("a refusal");
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(units(&counter.exchange().await.expect("sums").totals), 1);
}
