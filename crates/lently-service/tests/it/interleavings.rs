//! Random interleavings of analyses on several nodes, of what goes wrong and of what comes: in whatever order, the ledger is what the
//! emulator counted, no text is judged twice, and nothing is lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lently_cache::{RedisConfig, RemoteConfig};
use lently_emulator::{
    Change, Data, Emulator, EmulatorConfig, Fault, FaultKind, Latency, Method, NewComment, SAMPLES,
};
use lently_service::{AnalysisRequest, CommentsRequest, EngineChoice, UserPlan};
use lently_testing::RedisServer;
use lently_upstream::CommentOrder;
use tempfile::TempDir;

use crate::comments::{NOTHING_STALE, THREADS};
use crate::comments_random::Dice;
use crate::house::{House, Options, body, plain, request};

const NODES: u64 = 2;
const ROUNDS: u64 = 12;

/// Whether Redis may be lost while work is under way. Then two nodes may do the same work; the books are exact all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Losses {
    Between,
    AnyTime,
}

/// Takes so many milliseconds off the life of every key: the clock of Redis goes along with that of the nodes.
const AGE: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do \
    local left = redis.call('PTTL', key) - ARGV[1] \
    if redis.call('PTTL', key) >= 0 then \
        if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end \
    end \
end";

/// Nodes on one Redis and one store.
struct Fleet {
    redis: RedisServer,
    emulator: Arc<Emulator>,
    directory: TempDir,
    nodes: Vec<House>,
    elapsed: Duration,
    came: usize,
    gemini_fails: bool,
    dice: Dice,
}

impl Fleet {
    async fn new(seed: u64) -> Self {
        let latency = Duration::from_millis(5);
        let latency =
            Latency { videos: latency, comment_threads: latency, comments: latency, gemini: latency };
        let (listen, data) = ("127.0.0.1:0".parse().expect("an address"), Data::samples());
        let config = EmulatorConfig {
            listen,
            data,
            latency,
            quota_units: 10_000,
            statistics_units: 10_000,
            api_key: None,
        };
        let mut fleet = Self {
            redis: RedisServer::start().await,
            emulator: Arc::new(Emulator::start(config).await.expect("an emulator")),
            directory: tempfile::tempdir().expect("a directory"),
            nodes: Vec::new(),
            elapsed: Duration::ZERO,
            came: 0,
            gemini_fails: false,
            dice: Dice(seed),
        };
        for _ in 0..NODES {
            fleet.nodes.push(fleet.node().await);
        }
        fleet
    }

    async fn node(&self) -> House {
        let redis = RedisConfig { port: self.redis.port(), ..RedisConfig::default() };
        let options = Options {
            remote: RemoteConfig::Redis(redis),
            gemini: true,
            directory: Some(self.directory.path().to_owned()),
            ..Options::default()
        };
        let house = House::connected(Arc::clone(&self.emulator), options).await;
        house.clock.advance(self.elapsed);
        house
    }

    fn advance(&mut self, by: Duration) {
        self.elapsed += by;
        self.redis.cli(&["EVAL", AGE, "0", &by.as_millis().to_string()]);
        self.nodes.iter().for_each(|node| node.clock.advance(by));
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice.roll(sides)
    }

    fn come(&mut self, comments: u64) {
        let published_at = Some(self.nodes[0].clock.now());
        for _ in 0..comments {
            self.came += 1;
            let (id, text) = (format!("came{}", self.came), format!("I love part {} of it", self.came));
            let new = NewComment { id, text, published_at, ..NewComment::default() };
            assert_eq!(self.emulator.change(plain(), [Change::Add(new)]), 1);
        }
    }

    /// What happens before a round.
    async fn happens(&mut self) {
        match self.roll(10) {
            0 => drop(self.redis.cli(&["FLUSHALL"])),
            1 => self.redis.replace_by_empty().await,
            // Killed: nothing is written or told at its end.
            2 => {
                let place = self.roll(NODES) as usize;
                drop(self.nodes.remove(place));
                self.nodes.push(self.node().await);
            }
            3 | 4 => {
                let comments = 1 + self.roll(30);
                self.come(comments);
            }
            5 | 6 => {
                self.gemini_fails = !self.gemini_fails;
                let kind = FaultKind::Unavailable;
                let fault = Fault { kind, method: Some(Method::Gemini), times: None };
                self.emulator.set_fault(self.gemini_fails.then_some(fault));
            }
            7 if !self.gemini_fails => {
                let kind = match self.roll(4) {
                    0 => FaultKind::QuotaExceeded,
                    1 => FaultKind::Cut,
                    _ => FaultKind::Unavailable,
                };
                let times = Some(1 + self.roll(4));
                self.emulator.set_fault(Some(Fault { kind, method: Some(Method::CommentThreads), times }));
            }
            _ => {}
        }
        for node in &self.nodes {
            node.is_connected().await;
        }
    }

    fn wanted(&mut self) -> (usize, AnalysisRequest) {
        let video = SAMPLES[self.roll(3) as usize].video_id;
        let max_comments = [50, 100, 150, 300][self.roll(4) as usize];
        let order = [CommentOrder::Time, CommentOrder::Relevance][self.roll(2) as usize];
        let engine = EngineChoice::Gemini;
        (self.roll(NODES) as usize, AnalysisRequest { max_comments, order, engine, ..request(video) })
    }

    /// Analyses at the same time, and, if it may be, a loss in the midst of them.
    async fn round(&mut self, losses: Losses, said: &str) {
        let asked: Vec<_> = (0..1 + self.roll(4)).map(|_| self.wanted()).collect();
        let calls = |emulator: &Emulator| emulator.counts().gemini_calls + emulator.counts().comment_threads;
        let then = calls(&self.emulator) + self.roll(6);
        let is_lost = losses == Losses::AnyTime && self.roll(2) == 0;
        let (nodes, redis, emulator) = (&self.nodes, &self.redis, &self.emulator);
        let work = futures::future::join_all(asked.iter().map(|(node, wanted)| nodes[*node].analyze(wanted)));
        let loss = async {
            while calls(emulator) < then {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if is_lost {
                redis.cli(&["FLUSHALL"]);
            }
        };
        // There may be fewer calls than the loss waits for.
        let answers = match futures::future::select(std::pin::pin!(work), std::pin::pin!(loss)).await {
            futures::future::Either::Left((answers, _)) => answers,
            futures::future::Either::Right(((), work)) => work.await,
        };
        for ((_, wanted), answer) in asked.iter().zip(answers) {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let code = error.code();
                    assert!(["quota-exhausted", "upstream-unavailable"].contains(&code), "{said}: {code}");
                    continue;
                }
            };
            let made = body(&answer);
            let (judged, read) = (made.engine.judged, made.report.coverage.read);
            assert!(read > 0 && read <= u64::from(wanted.max_comments), "{said}: {read}");
            assert_eq!(judged.gemini + judged.local, read, "{said}");
            let each: HashSet<&str> = made.verdicts.iter().map(|verdict| verdict.id.as_str()).collect();
            assert_eq!(each.len() as u64, read, "{said}: each comment once");
            if !self.gemini_fails && !answer.cached {
                assert_eq!((judged.local, made.engine.degraded), (0, None), "{said}");
            }
        }
    }

    /// Everything is well again, and everything is asked for on each node. How many texts there are.
    async fn ends(&mut self, said: &str) -> usize {
        self.emulator.set_fault(None);
        self.advance(Duration::from_secs(24 * 3_600));
        let mut texts = HashSet::new();
        for sample in &SAMPLES[..3] {
            for node in &self.nodes {
                let engine = EngineChoice::Gemini;
                let order = CommentOrder::Time;
                let wanted =
                    AnalysisRequest { max_comments: 5_000, order, engine, ..request(sample.video_id) };
                let made = body(&node.analyze(&wanted).await.expect("an analysis"));
                assert_eq!((made.engine.judged.local, &made.engine.degraded), (0, &None), "{said}");
                if sample.video_id == plain() {
                    assert_eq!(
                        made.verdicts.len(),
                        THREADS + self.came,
                        "{said}: {:?}",
                        made.report.coverage
                    );
                }
                let video_id = sample.video_id.parse().expect("an id");
                let all = CommentsRequest { video_id, max_comments: 5_000, order, include_replies: false };
                let youtube = node.lently.youtube();
                let all = youtube.fetch_comments_cached(&all, UserPlan::Unlimited, &NOTHING_STALE).await;
                let all = all.expect("comments").value().expect("comments");
                let normalized = |text: &str| lently_analysis::prompt::normalized(text);
                texts.extend(all.comments.iter().map(|comment| normalized(&comment.text)));
            }
        }
        for node in &self.nodes {
            node.books_are_exact().await;
        }
        texts.len()
    }
}

async fn run(seed: u64, losses: Losses) {
    let mut fleet = Fleet::new(seed).await;
    for round in 0..ROUNDS {
        let minutes = 1 + fleet.roll(90);
        fleet.advance(Duration::from_secs(60 * minutes));
        fleet.happens().await;
        fleet.round(losses, &format!("seed {seed}, round {round}")).await;
    }
    let texts = fleet.ends(&format!("seed {seed}")).await as u64;
    let judged = fleet.emulator.counts().texts;
    match losses {
        Losses::Between => assert_eq!(judged, texts, "seed {seed}: each text once"),
        Losses::AnyTime => assert!(judged >= texts, "seed {seed}: {judged} of {texts}"),
    }
}

#[tokio::test]
async fn whatever_goes_wrong_between_analyses_the_books_are_exact_and_each_text_is_judged_once() {
    for seed in 0..3 {
        run(seed, Losses::Between).await;
    }
}

#[tokio::test]
async fn whenever_redis_loses_all_the_books_are_exact_and_nothing_is_lost() {
    for seed in 100..103 {
        run(seed, Losses::AnyTime).await;
    }
}
