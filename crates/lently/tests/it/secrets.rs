//! Secrets are planted everywhere they can be given and looked for everywhere something is told.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use lently_testing::{RedisOptions, RedisServer};
use serde_json::json;
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

use crate::house::{ADMIN_KEY, House, Options, YOUTUBE_KEY, plain, send};

const REDIS_PASSWORD: &str = "planted-redis-password-0003";
const GEMINI_KEY: &str = "planted-gemini-key-0004";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("a log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_an_answer_a_number_or_the_log() {
    let log = Log::default();
    // Everything that is ours, down to the least; the libraries' own bytes on the wire are theirs.
    let filter = tracing_subscriber::EnvFilter::new("trace,hyper=info,hyper_util=info,h2=info,mio=info");
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(log.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(layer))
        .expect("the only test with a log of its own");
    let mut redis = RedisServer::start_with(RedisOptions {
        password: Some(REDIS_PASSWORD.to_owned()),
        ..RedisOptions::default()
    })
    .await;
    let house = House::with(
        Options::default()
            .redis(&redis)
            .set("REDIS_PASSWORD", REDIS_PASSWORD)
            .set("GEMINI_API_KEY", GEMINI_KEY)
            // Nobody listens there: the engine fails and says so.
            .set("GEMINI_BASE_URL", "http://127.0.0.1:1/")
            .set("GEMINI_TIMEOUT_SECONDS", 1),
    )
    .await;
    house.until_health("ok").await;
    let mut told = String::new();
    let mut tell = |answer: crate::house::Answer| {
        told.push_str(&format!("{answer:?}\n"));
    };
    let local = json!({ "video_url_or_id": plain(), "engine": "local" });
    tell(send(house.start(&local).header("Prefer", "wait=60")).await);
    tell(house.get("/api/youtube/videos/AAAAAAAAAAA").await);
    tell(house.admin("DELETE", "/api/cache/analysis/x").await);
    tell(send(house.request("DELETE", "/api/cache/all").header("X-Admin-Key", "wrong")).await);
    redis.kill();
    house.until_health("degraded").await;
    tell(house.admin("DELETE", "/api/cache/all?confirm=CONFIRM_FLUSH").await);
    for route in lently::http::route_table() {
        let path = route.path.replace("{video_id}", plain()).replace("{analysis_id}", &"a".repeat(32));
        tell(house.admin(route.method, &path.replace("{user_id}", "local")).await);
    }
    tell(house.get("/health").await);
    tell(house.get("/metrics").await);
    house.app.tasks.begin_shutdown();
    house.serving.await.expect("no panic").expect("an end");

    let log = String::from_utf8_lossy(&log.0.lock().expect("a log")).into_owned();
    assert!(log.contains("admin request") && told.contains("cache_hits_total"), "nothing was looked at");
    for secret in [ADMIN_KEY, YOUTUBE_KEY, REDIS_PASSWORD, GEMINI_KEY] {
        assert!(!told.contains(secret), "{secret} was answered");
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} was logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_why_redis_is_not_used_and_not_the_password_it_refused() {
    let redis = RedisServer::start_with(RedisOptions {
        password: Some("the-right-one".to_owned()),
        ..RedisOptions::default()
    })
    .await;
    let user = "planted-redis-user-0007";
    let house = House::with(
        Options::default().redis(&redis).set("REDIS_PASSWORD", REDIS_PASSWORD).set("REDIS_USERNAME", user),
    )
    .await;
    let health = house.get("/health").await.expect(200);
    assert_eq!(health.json()["status"], "degraded");
    let reason = health.json()["cache"]["last_error"].as_str().expect("a reason").to_owned();
    assert!(reason.to_lowercase().contains("password"), "{reason}");
    for secret in [REDIS_PASSWORD, "the-right-one"] {
        assert!(!format!("{health:?}").contains(secret), "{health:?}");
    }
    // Where there is nothing to tell, that is what is told.
    let well = House::open().await.get("/health").await.expect(200).json();
    assert_eq!(well["cache"]["last_error"], serde_json::Value::Null, "{well}");
    assert!(well["cache"].as_object().is_some_and(|cache| cache.contains_key("last_error")), "{well}");
}
