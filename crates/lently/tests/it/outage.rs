//! Redis dies, hangs, comes back and is replaced by an empty one, under a load of mixed requests.
//!
//! The bound: no answer 5xx, and none slower than the slowest uncached request of the same load with a healthy Redis by
//! more than half a second. It is relative, because the machine that runs this test is shared and unoptimized.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use lently_testing::{RedisServer, wait_until};
use serde_json::json;

use crate::house::{House, LONG, Options, plain, send, slow};

const WORKERS: u64 = 6;
/// What the outage may add to a request.
const ADDED: Duration = Duration::from_millis(500);
/// Requests looked at in each state of Redis.
const PER_PHASE: usize = 150;

const ERASE: &str = "erasing";

/// One request as it was seen.
#[derive(Clone, Debug)]
struct Seen {
    what: String,
    status: u16,
    took: Duration,
    uncached: bool,
}

struct Load {
    house: House,
    seen: Mutex<Vec<Seen>>,
    stop: AtomicBool,
    fresh: AtomicU64,
    /// Analyses made under the load and not erased yet.
    made: Mutex<Vec<String>>,
}

impl Load {
    /// One request of the mix, the `turn`th of its worker.
    async fn one(&self, turn: u64) {
        let video = format!("/api/youtube/videos/{}", plain());
        let house = &self.house;
        let start = |max_comments: u64, order: &str| {
            let body = json!({ "video_url_or_id": plain(), "max_comments": max_comments, "order": order });
            house.start(&body).header("Prefer", "wait=60")
        };
        let (what, request) = match turn % 9 {
            // What nobody has asked for yet: uncached, whatever Redis does. One page, so that each costs the same.
            0 => {
                let fresh = self.fresh.fetch_add(1, SeqCst);
                let order = if (fresh / 100).is_multiple_of(2) { "relevance" } else { "time" };
                ("a new analysis", start(100 - fresh % 100, order))
            }
            1 | 2 => ("a known analysis", start(20, "relevance")),
            3 => ("comments", house.request("GET", &format!("{video}/comments?max_comments=20"))),
            4 => ("metadata", house.request("GET", &video)),
            5 => ("usage", house.request("GET", "/api/usage")),
            6 => ("history", house.request("GET", "/api/analyses")),
            7 => match self.made.lock().expect("no panic").pop() {
                Some(id) => (ERASE, house.request("DELETE", &format!("/api/analysis/{id}"))),
                None => ("a known analysis", start(20, "relevance")),
            },
            _ => ("stats", house.request("GET", "/api/cache/stats")),
        };
        let began = Instant::now();
        let answer = send(request).await;
        let uncached = answer.header("cache-status").contains("fwd=");
        if what == "a new analysis" && answer.status == 200 {
            let id = answer.json()["analysis_id"].as_str().expect("an id").to_owned();
            self.made.lock().expect("no panic").push(id);
        }
        let seen =
            Seen { what: what.to_owned(), status: answer.status.as_u16(), took: began.elapsed(), uncached };
        self.seen.lock().expect("no panic").push(seen);
    }

    async fn worker(self: Arc<Self>, number: u64) {
        let mut turn = number;
        while !self.stop.load(SeqCst) {
            self.one(turn).await;
            turn += 1;
        }
    }

    /// Takes what was seen while `PER_PHASE` more requests ended.
    async fn phase(&self) -> Vec<Seen> {
        wait_until("the load goes on", LONG * 4, async || {
            self.seen.lock().expect("no panic").len() >= PER_PHASE
        })
        .await;
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_killed_stopped_restarted_and_replaced_is_a_slow_day_and_no_outage() {
    let mut redis = RedisServer::start().await;
    let house = House::with(Options { latency: slow(100), ..Options::default() }.redis(&redis)).await;
    house.until_health("ok").await;
    // The engine loads its models once; that is not what is measured.
    house.analyze(plain()).await.expect(200);
    let load = Arc::new(Load {
        house,
        seen: Mutex::default(),
        stop: AtomicBool::new(false),
        fresh: AtomicU64::new(0),
        made: Mutex::default(),
    });
    let workers = join_all((0..WORKERS).map(|number| Arc::clone(&load).worker(number)));

    let story = async {
        let healthy = load.phase().await;
        let uncached = healthy.iter().filter(|seen| seen.uncached).map(|seen| seen.took).max();
        let uncached = uncached.expect("new analyses are uncached");
        let mut phases = Vec::new();
        redis.kill();
        phases.push(("killed", load.phase().await));
        load.house.until_health("degraded").await;
        redis.restart().await;
        phases.push(("restarted", load.phase().await));
        load.house.until_health("ok").await;
        redis.stop();
        phases.push(("stopped", load.phase().await));
        load.house.until_health("degraded").await;
        redis.cont();
        phases.push(("continued", load.phase().await));
        load.house.until_health("ok").await;
        redis.replace_by_empty().await;
        phases.push(("replaced by an empty one", load.phase().await));
        load.house.until_health("ok").await;
        phases.push(("healed", load.phase().await));
        load.stop.store(true, SeqCst);
        (uncached, healthy, phases)
    };
    let ((uncached, healthy, phases), _) = tokio::join!(story, workers);

    println!("uncached with a healthy Redis: {uncached:?} at most; bound {:?}", uncached + ADDED);
    for (phase, seen) in [("healthy", healthy)].into_iter().chain(phases) {
        let slowest = seen.iter().max_by_key(|one| one.took).expect("requests");
        println!("{phase}: {} requests, slowest {:?} ({})", seen.len(), slowest.took, slowest.what);
        for one in &seen {
            assert!(one.status < 500, "{phase}: {one:?}");
            assert!(one.what != ERASE || one.status == 204, "{phase}: {one:?}");
            assert!(one.took <= uncached + ADDED, "{phase}: {one:?}, uncached {uncached:?}");
        }
    }
    assert!(
        redis.cli(&["DBSIZE"]).parse::<u64>().is_ok_and(|keys| keys > 0),
        "nothing is cached in the new one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_at_the_start_is_connected_later() {
    let mut redis = RedisServer::absent();
    let house = House::with(Options::default().redis(&redis)).await;
    assert_eq!(house.get("/health").await.expect(200).json()["status"], "degraded");
    house.analyze(plain()).await.expect(200);
    house.admin("DELETE", "/api/cache/all?confirm=CONFIRM_FLUSH").await.problem(503, "cache-unavailable");
    redis.restart().await;
    house.until_health("ok").await;
    house.admin("DELETE", "/api/cache/all?confirm=CONFIRM_FLUSH").await.expect(200);
}
