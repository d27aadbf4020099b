//! What others left behind our keys: bare JSON of an older service, garbage, bombs. Never an error, always counted.

use std::time::Duration;

use lently_cache::{Lookup, MissReason, Outcome, Tier};
use lently_testing::RedisServer;

use crate::support::{Bench, THING, Upstream, on_redis, policy};

#[tokio::test]
async fn a_bare_json_value_of_another_program_is_served_with_an_age_from_its_ttl() {
    let server = RedisServer::start().await;
    let Bench { cache, clock, .. } = on_redis(&server).await;
    server.put("lently-test:thing:1", b"{\"old\": [1, 2]}", 20);
    let upstream = Upstream::default();
    let answer = cache.get_or_set("thing:1", &policy(), upstream.fetch("2")).await.expect("an answer");
    assert_eq!((answer.outcome, upstream.calls()), (Outcome::Hit, 0));
    assert_eq!((&answer.entry.value[..], answer.entry.tier), (&b"{\"old\": [1, 2]}"[..], Tier::Redis));
    let age = answer.entry.age(clock.now());
    assert!(
        age >= Duration::from_secs(39) && age < Duration::from_secs(60),
        "60 s of life, 20 left: {age:?}"
    );
}

#[tokio::test]
async fn whatever_cannot_be_read_is_a_counted_miss_and_is_replaced_by_the_next_fetch() {
    let server = RedisServer::start().await;
    let Bench { cache, .. } = on_redis(&server).await;
    let header = |extra: &str| {
        format!(
            "{{\"envelope\":1,\"kind\":\"thing\",\"schema\":1,\"fetched_at\":\"2026-01-01T00:00:00Z\",\
             \"fresh_until\":\"9000-01-01T00:00:00Z\",\"stale_until\":\"9000-01-01T00:00:00Z\",\
             \"retain_until\":\"9000-01-01T00:00:00Z\",\"cost\":{{}},\"etag\":\"0\",\"tags\":{{}},{extra}}}\n"
        )
    };
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).expect("a bomb");
    let bombed = |length: &str| {
        let mut stored = header(&format!("\"encoding\":\"zstd\",\"length\":{length}")).into_bytes();
        stored.extend_from_slice(&bomb);
        stored
    };
    let poison: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("garbage", b"\x00\xff\xfe garbage".to_vec()),
        ("half a JSON", b"{\"a\":".to_vec()),
        ("a header cut short", header("\"encoding\":\"identity\",\"length\":1").into_bytes()[..60].to_vec()),
        ("a body cut short", (header("\"encoding\":\"identity\",\"length\":9") + "1").into_bytes()),
        ("an unknown encoding", (header("\"encoding\":\"brotli\",\"length\":1") + "1").into_bytes()),
        ("not zstd", (header("\"encoding\":\"zstd\",\"length\":1") + "1").into_bytes()),
        ("a bomb that says its size", bombed("67108864")),
        ("a bomb that lies", bombed("10")),
        ("a negative length", (header("\"encoding\":\"identity\",\"length\":-1") + "1").into_bytes()),
        (
            "another schema",
            header("\"encoding\":\"identity\",\"length\":0").replace("schema\":1", "schema\":2").into(),
        ),
        ("another kind", header("\"encoding\":\"identity\",\"length\":0").replace("thing", "other").into()),
        (
            "a later envelope",
            header("\"encoding\":\"identity\",\"length\":0").replace("lope\":1", "lope\":2").into(),
        ),
    ];
    for (count, (what, stored)) in poison.into_iter().enumerate() {
        let key = format!("thing:{count}");
        server.put(&format!("lently-test:{key}"), &stored, 600);
        assert_eq!(cache.get(THING, &key).await, Lookup::Missing(MissReason::Unreadable), "{what}");
        assert_eq!(cache.stats().misses as usize, 2 * count + 1);
        let answer =
            cache.get_or_set(&key, &policy(), Upstream::default().fetch("1")).await.expect("an answer");
        assert_eq!(answer.outcome, Outcome::Fetched { stored: true }, "{what}");
        assert!(server.bytes_of(&format!("lently-test:{key}")).ends_with(b"\n1"), "{what}");
    }
    assert_eq!(cache.stats().errors, 0, "nobody was to blame but the values");
}

#[tokio::test]
async fn a_key_of_another_type_is_a_miss() {
    let server = RedisServer::start().await;
    let Bench { cache, .. } = on_redis(&server).await;
    server.cli(&["LPUSH", "lently-test:thing:1", "x"]);
    assert!(matches!(cache.get(THING, "thing:1").await, Lookup::Missing(_)));
    let answer = cache.get_or_set("thing:1", &policy(), Upstream::default().fetch("1")).await;
    assert_eq!(answer.expect("an answer").outcome, Outcome::Fetched { stored: true });
}

#[tokio::test]
async fn a_bare_value_that_lives_forever_has_no_age_and_is_not_served() {
    let server = RedisServer::start().await;
    let Bench { cache, .. } = on_redis(&server).await;
    server.cli(&["SET", "lently-test:thing:1", "{}"]);
    assert_eq!(cache.get(THING, "thing:1").await, Lookup::Missing(MissReason::Unreadable));
}
