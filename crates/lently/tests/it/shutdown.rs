//! Starting where it may, and ending well.

use std::{net::TcpStream, time::Duration};

use lently::http::{self, ServeError};
use lently_testing::wait_until;
use tokio::net::TcpListener;

use crate::house::{House, LONG, Options, plain, slow};

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_the_request_that_runs_and_takes_no_other() {
    let house = House::with(Options { latency: slow(300), ..Options::default() }).await;
    let idle = house.get("/livez").await.expect(200);
    assert_eq!(idle.body, "ok\n");
    let running = house.analyze(plain());
    let shutdown = async {
        wait_until("the request is at work", LONG, async || house.counts().units > 0).await;
        house.app.tasks.begin_shutdown();
        wait_until("nobody listens", LONG, async || TcpStream::connect(house.address).is_err()).await;
    };
    let (answer, ()) = tokio::join!(running, shutdown);
    assert_eq!(answer.expect(200).json()["status"], "completed");
    let served = tokio::time::timeout(LONG, house.serving).await.expect("the server ends").expect("no panic");
    assert!(served.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_within_its_bound_whatever_runs() {
    let latency = slow(60_000);
    let options = Options { latency, ..Options::default() }.set("LENTLY_SHUTDOWN_SECONDS", 1);
    let house = House::with(options).await;
    let running = TaskGuard(tokio_util::task::TaskTracker::new().spawn({
        let request =
            house.start(&serde_json::json!({ "video_url_or_id": plain() })).header("Prefer", "wait=60");
        async move { request.send().await.is_ok() }
    }));
    wait_until("the request is at work", LONG, async || {
        house.app.lently.spending().quota_units > 0
            || house.counts().units > 0
            || house.app.cache.stats().misses >= 2
    })
    .await;
    house.app.tasks.begin_shutdown();
    let ended = tokio::time::timeout(Duration::from_secs(15), house.serving).await;
    assert!(ended.expect("within the bound").expect("no panic").is_ok());
    drop(running);
}

struct TaskGuard(tokio::task::JoinHandle<bool>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_is_refused_with_the_reason() {
    let anywhere = "0.0.0.0:0".parse().expect("an address");
    let error = http::bind(anywhere).await.expect_err("a refusal");
    assert!(matches!(error, ServeError::NotLoopback(_)));
    assert!(error.to_string().contains("LENTLY_LISTEN"), "{error}");

    let house = House::open().await;
    let listener = TcpListener::bind(anywhere).await.expect("a listener");
    assert!(matches!(http::serve(house.app.clone(), listener).await, Err(ServeError::NotLoopback(_))));
}
