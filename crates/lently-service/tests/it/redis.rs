//! With a real Redis: shared between nodes, and no reason to fail when it is gone.

use std::time::Duration;

use lently_cache::{Controls, RedisConfig, RemoteConfig};
use lently_service::{AnalysisRequest, AnswerSource, ServiceError, UserId, UserPlan};
use lently_testing::{Proxy, RedisServer, Wire, wait_until};

use crate::house::{House, Options, plain, request, user};

fn on(redis: &RedisServer) -> Options {
    let config = RedisConfig { port: redis.port(), ..RedisConfig::default() };
    Options { remote: RemoteConfig::Redis(config), ..Options::default() }
}

async fn connected(house: &House) {
    wait_until("redis is connected", Duration::from_secs(20), async || house.lently.cache().health().is_up())
        .await;
}

#[tokio::test]
async fn what_one_node_has_made_another_finds_in_redis() {
    let redis = RedisServer::start().await;
    let (first, second) = (House::with(on(&redis)).await, House::with(on(&redis)).await);
    connected(&first).await;
    connected(&second).await;
    let made = first.analyze(&request(plain())).await.expect("an analysis");
    let found = second.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(found.source, AnswerSource::Redis);
    assert_eq!(found.body, made.body);
    assert_eq!(second.counts().units, 0);
}

#[tokio::test]
async fn keys_in_redis_are_spelled_as_documented() {
    let redis = RedisServer::start().await;
    let house = House::with(on(&redis)).await;
    connected(&house).await;
    let made = house.analyze(&request(plain())).await.expect("an analysis");
    house.lently.usage(&user("a*b")).await.expect("usage");
    let mut keys: Vec<String> = redis.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    // The cache's own beside them: docs/redis.md.
    keys.retain(|key| !key.starts_with("test:~"));
    keys.sort_unstable();
    let video = plain();
    assert_eq!(
        keys,
        [
            format!("test:analysis:{}", made.id),
            format!("test:comments:{video}:order_relevance"),
            "test:quota:a%2Ab".to_owned(),
            format!("test:video:{video}"),
        ]
    );
}

#[tokio::test]
async fn redis_killed_and_back_again_fails_nobody() {
    let mut redis = RedisServer::start().await;
    let house = House::with(on(&redis)).await;
    connected(&house).await;
    let ask = |max_comments: u32| AnalysisRequest { max_comments, ..request(plain()) };
    house.analyze(&ask(1)).await.expect("with redis");
    redis.kill();
    house.analyze(&ask(1)).await.expect("from memory or the store");
    house.analyze(&ask(2)).await.expect("made without redis");
    assert!(house.analyze(&ask(2)).await.expect("from memory").cached);
    house.lently.set_plan(&user("ann"), UserPlan::Pro).await.expect("a plan does not need redis");
    assert_eq!(house.lently.usage(&user("ann")).await.expect("usage").plan, UserPlan::Pro);
    redis.restart().await;
    connected(&house).await;
    house.analyze(&ask(3)).await.expect("with redis again");
}

#[tokio::test]
async fn a_redis_that_is_not_there_at_the_start_is_no_reason_not_to_start() {
    let redis = RedisServer::absent();
    let house = House::with(on(&redis)).await;
    assert!(!house.analyze(&request(plain())).await.expect("an analysis").cached);
    assert!(house.analyze(&request(plain())).await.expect("an analysis").cached);
}

#[tokio::test]
async fn a_hit_in_redis_takes_one_round_trip() {
    let redis = RedisServer::start().await;
    let house = House::with(on(&redis)).await;
    connected(&house).await;
    house.analyze(&request(plain())).await.expect("an analysis");
    // What the link does by itself is not the request's.
    let commands = || -> u64 {
        let told = redis.cli(&["INFO", "commandstats"]);
        let of_keys = ["cmdstat_get:", "cmdstat_pttl:", "cmdstat_ttl:", "cmdstat_exists:", "cmdstat_mget:"];
        let lines = told.lines().filter(|line| of_keys.iter().any(|name| line.starts_with(name)));
        lines.filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok()).sum()
    };
    // Another node: its memory is empty.
    let other = House::with(on(&redis)).await;
    connected(&other).await;
    let before = commands();
    assert_eq!(other.analyze(&request(plain())).await.expect("a hit").source, AnswerSource::Redis);
    assert_eq!(commands() - before, 1);
}

fn behind(wire: &Proxy) -> Options {
    let config = RedisConfig { port: wire.address().port(), ..RedisConfig::default() };
    Options { remote: RemoteConfig::Redis(config), ..Options::default() }
}

/// The wire is cut and not Redis, which so still holds what could not be deleted when it is whole again.
#[tokio::test]
async fn what_is_erased_while_redis_is_away_does_not_come_back_with_it() {
    for restart in [false, true] {
        let redis = RedisServer::start().await;
        let wire = Proxy::to(redis.address()).await;
        let directory = tempfile::tempdir().expect("a directory");
        let options = || Options { directory: Some(directory.path().to_owned()), ..behind(&wire) };
        let (house, user) = (House::with(options()).await, UserId::local());
        connected(&house).await;
        let made = house.analyze(&request(plain())).await.expect("an analysis");
        let key = format!("test:analysis:{}", made.id);
        wire.set(Wire::Cut);
        house.lently.erase(&user, &made.id).await.expect("erased without redis");
        assert!(matches!(house.lently.erase(&user, &made.id).await, Err(ServiceError::NotFound)));
        assert_eq!(redis.cli(&["EXISTS", &key]), "1", "it is still there");
        wire.set(Wire::Whole);
        let next = if restart { House::with(options()).await } else { house };
        connected(&next).await;
        let again = next.analyze(&request(plain())).await.expect("an analysis");
        assert_eq!(again.source, AnswerSource::Fetched, "after a restart: {restart}");
        let hit = next.analyze(&request(plain())).await.expect("an analysis");
        assert_eq!((hit.cached, hit.body), (true, again.body), "the new one is served");
    }
}

#[tokio::test]
async fn what_is_made_again_while_redis_is_away_is_served_and_what_was_erased_is_not() {
    let redis = RedisServer::start().await;
    let wire = Proxy::to(redis.address()).await;
    let house = House::with(behind(&wire)).await;
    connected(&house).await;
    let made = house.analyze(&request(plain())).await.expect("an analysis");
    wire.set(Wire::Cut);
    house.lently.erase(&UserId::local(), &made.id).await.expect("erased without redis");
    house.clock.advance(Duration::from_secs(1));
    let again = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(again.source, AnswerSource::Fetched);
    assert_ne!(again.body, made.body, "it tells when it was made");
    for cut in [true, false] {
        if !cut {
            wire.set(Wire::Whole);
            connected(&house).await;
        }
        let hit = house.analyze(&request(plain())).await.expect("an analysis");
        assert_eq!((hit.cached, &hit.body), (true, &again.body), "redis is away: {cut}");
    }
}

/// Whoever shares this Redis may write what they like under our keys.
#[tokio::test]
async fn json_of_another_shape_is_removed_and_fetched_anew() {
    let redis = RedisServer::start().await;
    let house = House::with(on(&redis)).await;
    connected(&house).await;
    let (video, ann) = (plain(), user("ann"));
    let id = house.lently.analysis_id(&request(video));
    let foreign = [
        (format!("test:video:{video}"), "{}"),
        (format!("test:comments:{video}:order_relevance"), "[]"),
        (format!("test:analysis:{id}"), "{\"status\":\"completed\"}"),
        ("test:quota:ann".to_owned(), "{\"plan\":\"gold\"}"),
    ];
    for (key, value) in &foreign {
        redis.put(key, value.as_bytes(), 3_600);
    }
    let youtube = house.lently.youtube();
    let served = youtube
        .get_video_metadata_cached(&video.parse().expect("an id"), &Controls::DEFAULT)
        .await
        .expect("a video");
    assert_eq!(served.value().expect("of its kind").id.to_string(), video);
    let made = house.analyze_as(&ann, &request(video), false).await.expect("an analysis");
    assert_eq!(made.source, AnswerSource::Fetched);
    assert_eq!(house.lently.usage(&ann).await.expect("usage").used, 1);
    assert_eq!(house.counts().units, 2, "each was fetched once");
    for (key, value) in &foreign {
        assert_ne!(redis.bytes_of(key), value.as_bytes(), "{key}");
    }
    // One that comes again later: the change is heard of, and memory asks again.
    redis.put(&format!("test:analysis:{id}"), b"[1]", 3_600);
    let mut again = made.clone();
    wait_until("the change is heard of", Duration::from_secs(20), async || {
        again = house.analyze_as(&ann, &request(video), false).await.expect("an analysis");
        again.source != AnswerSource::Memory
    })
    .await;
    assert_eq!((again.source, again.body), (AnswerSource::Store, made.body));
}
