//! `lently doctor`: what it finds, and that it says what to do.

use lently_testing::{RedisOptions, RedisServer};
use serde_json::Value;

use crate::{Machine, Ran};

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("no check of {name}: {report}"))
}

#[test]
fn with_nothing_set_all_is_usable_and_the_missing_key_is_told() {
    let ran = Machine::new().run(&["doctor", "--json"]).ok();
    let report = ran.json();
    assert_eq!(check(&report, "store")["status"], "ok");
    assert_eq!(check(&report, "cache")["status"], "ok");
    assert_eq!(check(&report, "YouTube key")["status"], "warning");
    assert!(check(&report, "YouTube key")["remedy"].as_str().expect("a remedy").contains("YOUTUBE_API_KEY"));
}

#[test]
fn a_key_that_was_not_tried_is_not_called_good() {
    let machine = Machine::new()
        .with("YOUTUBE_API_KEY", format!("AIza{}", "a".repeat(35)))
        .with("GEMINI_API_KEY", "some-key");
    let report = machine.run(&["doctor", "--json"]).ok().json();
    for name in ["YouTube key", "Gemini key"] {
        assert!(
            check(&report, name)["detail"].as_str().is_some_and(|told| told.contains("not tried")),
            "{report}"
        );
    }
}

#[tokio::test]
async fn redis_is_looked_at_and_its_absence_fails() {
    let mut redis = RedisServer::start_with(RedisOptions {
        password: Some("s3cret-pass".into()),
        ..RedisOptions::default()
    })
    .await;
    let machine = Machine::new()
        .with("REDIS_HOST", "127.0.0.1")
        .with("REDIS_PORT", redis.port().to_string())
        .with("REDIS_PASSWORD", "s3cret-pass");
    let report = machine.run(&["doctor", "--json"]).ok().json();
    assert_eq!(check(&report, "Redis")["status"], "ok");
    assert_eq!(check(&report, "Redis memory")["status"], "warning", "no limit is set");
    assert!(check(&report, "Redis eviction")["remedy"].as_str().expect("a remedy").contains("allkeys-lru"));
    redis.kill();
    let Ran { code, out, err } = machine.run(&["doctor"]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("FAIL  Redis") && !out.contains("s3cret-pass") && !err.contains("s3cret-pass"),
        "{out}{err}"
    );
}
