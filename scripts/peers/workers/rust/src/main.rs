//! One process of the peer table: takes orders as lines of JSON on its standard input, answers as lines of JSON.
//! The protocol is told in `scripts/peers/README.md`.

mod hitbox;
mod lently;
mod moka;
mod upstream;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::{hitbox::Hitbox, lently::Lently, moka::Moka, upstream::Upstream};

/// A cache as a user would set it up.
enum Peer {
    Lently(Lently),
    Moka(Moka),
    Hitbox(Hitbox),
}

impl Peer {
    async fn get(&self, key: &str) -> Result<String, String> {
        match self {
            Self::Lently(peer) => peer.get(key).await,
            Self::Moka(peer) => peer.get(key).await,
            Self::Hitbox(peer) => peer.get(key).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<(), String> {
        match self {
            Self::Lently(peer) => peer.delete(key).await,
            Self::Moka(peer) => peer.delete(key).await,
            Self::Hitbox(peer) => peer.delete(key).await,
        }
    }
}

#[derive(Deserialize)]
struct Order {
    id: u64,
    what: What,
    key: String,
    /// How many ask.
    #[serde(default)]
    callers: u32,
    /// When the first does, in milliseconds since the epoch; at once if that has passed.
    #[serde(default)]
    at_ms: u64,
    /// How long after one the next does.
    #[serde(default)]
    every_ms: u64,
    /// How long each waits.
    #[serde(default)]
    patience_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Get,
    Delete,
}

#[derive(Default, Serialize)]
struct Report {
    id: u64,
    /// How many got which answer.
    answers: BTreeMap<String, u64>,
    /// How many got which error.
    failed: BTreeMap<String, u64>,
    /// How many left before they got anything.
    left: u64,
}

async fn obey(peer: Arc<Peer>, order: Order) -> Report {
    let mut report = Report { id: order.id, ..Report::default() };
    if matches!(order.what, What::Delete) {
        if let Err(error) = peer.delete(&order.key).await {
            report.failed.insert(error, 1);
        }
        return report;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    sleep(Duration::from_millis(order.at_ms).saturating_sub(now)).await;
    let (key, patience) = (order.key.as_str(), Duration::from_millis(order.patience_ms));
    let callers = (0..order.callers).map(|n| {
        let peer = &peer;
        async move {
            sleep(Duration::from_millis(order.every_ms) * n).await;
            timeout(patience, peer.get(key)).await
        }
    });
    for answer in join_all(callers).await {
        match answer {
            Ok(Ok(value)) => *report.answers.entry(value).or_default() += 1,
            Ok(Err(error)) => *report.failed.entry(error.chars().take(120).collect()).or_default() += 1,
            Err(_) => report.left += 1,
        }
    }
    report
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, redis, upstream] = arguments.as_slice() else {
        panic!("usage: peer-worker lently|moka|hitbox REDIS_PORT UPSTREAM_PORT")
    };
    let redis = redis.parse().expect("a port");
    let upstream = Upstream::new(upstream.parse().expect("a port"));
    let peer = Arc::new(match name.as_str() {
        "lently" => Peer::Lently(Lently::open(redis, upstream).await),
        "moka" => Peer::Moka(Moka::open(upstream)),
        "hitbox" => Peer::Hitbox(Hitbox::open(redis, upstream)),
        other => panic!("no such peer: {other}"),
    });
    let (told, mut reports) = mpsc::unbounded_channel::<Report>();
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        let mut out = tokio::io::stdout();
        out.write_all(b"{\"ready\":true}\n").await.expect("an open pipe");
        out.flush().await.expect("an open pipe");
        while let Some(report) = reports.recv().await {
            let line = serde_json::to_string(&report).expect("a report") + "\n";
            out.write_all(line.as_bytes()).await.expect("an open pipe");
            out.flush().await.expect("an open pipe");
        }
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let order: Order = serde_json::from_str(&line).expect("an order");
        let (peer, told) = (peer.clone(), told.clone());
        tasks.spawn(async move {
            let _ = told.send(obey(peer, order).await);
        });
    }
}
