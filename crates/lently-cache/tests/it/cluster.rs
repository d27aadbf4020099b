//! One fetch in the whole cluster: several nodes on one Redis, in this process and in processes of their own that are killed
//! and stopped in mid-fetch.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use futures::future::join_all;
use lently_cache::{
    AfterWait, Answer, Batch, Batching, CacheService, Clock, Controls, Cost, FailureClass, FetchError,
    FetchFailure, Fetched, LinkState, Outcome, Pattern, Policy, RedisConfig, Wanted,
};
use lently_testing::{RedisServer, wait_until};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    BOUND, Bench, Gate, THING, Upstream, config, is_missing, look, on_a_strict_redis, on_redis, policy, put,
};

async fn node(server: &RedisServer) -> Bench {
    let bench = on_redis(server).await;
    wait_until("the link is up", BOUND, async || bench.cache.health().tracking).await;
    bench
}

/// The number lies in the same hash slot as the key.
const LEASE_KEY: &str = "lently-test:~lease:{19247}thing:1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_miss_at_the_same_moment_fetch_once_between_them() {
    let server = RedisServer::start().await;
    let nodes = [node(&server).await, node(&server).await, node(&server).await];
    let gate = Gate::new();
    let callers = nodes.iter().flat_map(|node| {
        (0..100).map(|_| {
            let (cache, fetch) = (node.cache.clone(), gate.fetch("1"));
            async move { cache.get_or_set("thing:1", &policy(), fetch).await.expect("an answer") }
        })
    });
    let opener = async {
        gate.reached().await;
        wait_until("the others wait", BOUND, async || {
            nodes.iter().all(|node| node.cache.stats().by_kind["thing"].misses == 0)
                && !server.cli(&["GET", LEASE_KEY]).is_empty()
        })
        .await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(join_all(callers), opener);
    assert!(answers.iter().all(|answer| answer.entry.value == "1"));
    let fetched = |answer: &&lently_cache::Answer| answer.outcome == Outcome::Fetched { stored: true };
    assert_eq!((answers.iter().filter(fetched).count(), gate.calls()), (1, 1));
    assert_eq!(server.cli(&["EXISTS", LEASE_KEY]), "0", "the lease was given back");
}

#[tokio::test]
async fn callers_who_leave_too_early_again_and_again_cause_one_fetch_that_is_kept() {
    let server = RedisServer::start().await;
    let bench = node(&server).await;
    let gate = Gate::new();
    for _ in 0..10 {
        let own = policy();
        let caller = bench.cache.get_or_set("thing:1", &own, gate.fetch("1"));
        assert!(tokio::time::timeout(Duration::from_millis(5), caller).await.is_err(), "the caller left");
    }
    gate.reached().await;
    gate.open();
    wait_until("it is kept", BOUND, async || look(&bench.cache, "thing:1").await.is_some()).await;
    assert_eq!(gate.calls(), 1);
}

#[tokio::test]
async fn what_another_node_invalidates_during_a_fetch_is_answered_and_not_stored() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    for round in 0..4 {
        let gate = Gate::new();
        let own = policy();
        let fetching = here.cache.get_or_set("thing:1", &own, gate.fetch("old"));
        let changing = async {
            gate.reached().await;
            match round {
                0 => assert_eq!(there.cache.delete("thing:1").await.expect("a delete"), 0),
                1 => assert_eq!(there.cache.flush_all().await.expect("a flush"), 0),
                2 => {
                    let pattern = Pattern::parse("thing:?").expect("a pattern");
                    assert_eq!(there.cache.delete_pattern(&pattern).await.expect("a delete"), 0);
                }
                _ => put(&there.cache, "thing:1", "new").await,
            }
            gate.open();
        };
        let (answer, ()) = tokio::join!(fetching, changing);
        let answer = answer.expect("who waited gets the value");
        assert_eq!(
            (&answer.entry.value[..], answer.outcome),
            (&b"old"[..], Outcome::Fetched { stored: false })
        );
        let seen = look(&here.cache, "thing:1").await.map(|(value, _)| value);
        assert_eq!(seen.as_deref(), (round == 3).then_some(&b"new"[..]), "round {round}");
        there.cache.delete("thing:1").await.expect("a delete");
        wait_until("it is gone", BOUND, async || is_missing(&here.cache.get(THING, "thing:1").await)).await;
    }
}

#[tokio::test]
async fn who_waited_for_an_invalidated_fetch_fetches_anew() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    let (old, new) = (Gate::new(), Upstream::default());
    let (first, second) = (policy(), policy());
    let leader = here.cache.get_or_set("thing:1", &first, old.fetch("old"));
    let follower = async {
        old.reached().await;
        let waiting = there.cache.get_or_set("thing:1", &second, new.fetch("new"));
        let deleting = async {
            // The follower is there before or after the delete; it must not get what was fetched before.
            here.cache.delete("thing:1").await.expect("a delete");
        };
        let (answer, ()) = tokio::join!(waiting, deleting);
        old.open();
        answer.expect("an answer")
    };
    let (leader, follower) = tokio::join!(leader, follower);
    assert_eq!(leader.expect("an answer").entry.value, "old");
    assert_eq!((&follower.entry.value[..], new.calls()), (&b"new"[..], 1));
    assert_eq!(look(&here.cache, "thing:1").await.expect("a hit").0, "new");
}

#[tokio::test]
async fn a_fetch_that_fails_or_panics_frees_the_other_nodes_at_once() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    let gate = Gate::new();
    let panicking = {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            if gate.calls() > 0 {
                panic!("a fetch that panics");
            }
            Ok(Fetched::new("never"))
        }
    };
    let (first, second, upstream) = (policy(), policy(), Upstream::default());
    let leader = here.cache.get_or_set("thing:1", &first, panicking);
    let follower = async {
        gate.reached().await;
        let waiting = there.cache.get_or_set("thing:1", &second, upstream.fetch("2"));
        gate.open();
        waiting.await
    };
    let (leader, follower) = tokio::join!(leader, follower);
    assert!(matches!(leader, Err(FetchError::Abandoned)));
    assert_eq!((&follower.expect("an answer").entry.value[..], upstream.calls()), (&b"2"[..], 1));
}

#[tokio::test]
async fn a_wait_ends_with_the_policys_choice() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    let gate = Gate::new();
    let long = policy();
    let leader = here.cache.get_or_set("thing:1", &long, gate.fetch("slow"));
    let followers = async {
        gate.reached().await;
        let impatient = Policy { fetch_timeout: Duration::from_millis(50), ..policy() };
        let failing = Policy { after_wait: AfterWait::Fail, ..impatient.clone() };
        let upstream = Upstream::default();
        let failed = there.cache.get_or_set("thing:1", &failing, upstream.fetch("own")).await;
        assert!(matches!(failed, Err(FetchError::TimedOut { .. })), "{failed:?}");
        assert_eq!(upstream.calls(), 0);
        let own =
            there.cache.get_or_set("thing:1", &impatient, upstream.fetch("own")).await.expect("an answer");
        assert_eq!((&own.entry.value[..], upstream.calls()), (&b"own"[..], 1));
        gate.open();
    };
    let (answer, ()) = tokio::join!(leader, followers);
    assert_eq!(answer.expect("an answer").entry.value, "slow");
}

#[tokio::test]
async fn a_refresh_joins_the_refresh_of_another_node_and_never_takes_the_old_value() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    put(&here.cache, "thing:1", "old").await;
    let (gate, upstream) = (Gate::new(), Upstream::default());
    let (first, second) = (policy(), policy());
    let leader = here.cache.get_or_set_with("thing:1", &first, &Controls::NO_CACHE, gate.fetch("new"));
    let follower = async {
        gate.reached().await;
        let waiting =
            there.cache.get_or_set_with("thing:1", &second, &Controls::NO_CACHE, upstream.fetch("newer"));
        let opener = async {
            wait_until("the second asks", BOUND, async || there.cache.stats().fetches == 0).await;
            gate.open();
        };
        tokio::join!(waiting, opener).0.expect("an answer")
    };
    let (leader, follower) = tokio::join!(leader, follower);
    assert_eq!(leader.expect("an answer").entry.value, "new");
    assert!(follower.entry.value != "old", "{follower:?}");
    assert!(follower.outcome == Outcome::Collapsed || upstream.calls() == 1, "{follower:?}");
}

#[tokio::test]
async fn a_paid_result_outlives_a_restart_of_redis() {
    let mut server = RedisServer::start().await;
    let bench = node(&server).await;
    let gate = Gate::new();
    let own = policy();
    let fetching = bench.cache.get_or_set("thing:1", &own, gate.fetch("1"));
    let story = async {
        gate.reached().await;
        server.replace_by_empty().await;
        wait_until("the lease is there again", BOUND, async || server.cli(&["EXISTS", LEASE_KEY]) == "1")
            .await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(fetching, story);
    assert_eq!(answer.expect("an answer").outcome, Outcome::Fetched { stored: true });
    assert_eq!(server.cli(&["EXISTS", "lently-test:thing:1"]), "1");
}

#[tokio::test]
async fn leases_are_no_entries_to_those_who_look_at_the_cache() {
    let server = RedisServer::start().await;
    let bench = node(&server).await;
    let gate = Gate::new();
    let own = policy();
    let fetching = bench.cache.get_or_set("thing:1", &own, gate.fetch("1"));
    let looking = async {
        gate.reached().await;
        assert_eq!(server.cli(&["DBSIZE"]), "1", "the lease");
        assert_eq!(bench.cache.measure_pattern(&Pattern::any()).await.expect("a report").keys, 0);
        gate.open();
    };
    let (answer, ()) = tokio::join!(fetching, looking);
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_user_that_may_run_no_scripts_fetches_for_each_node() {
    let (_server, bench) = on_a_strict_redis().await;
    let upstream = Upstream::default();
    let answer = bench.cache.get_or_set("thing:1", &policy(), upstream.fetch("1")).await.expect("an answer");
    assert_eq!(answer.outcome, Outcome::Fetched { stored: true });
    bench.cache.set("thing:2", &policy(), "1".into(), Cost::default()).await.expect("a set");
    assert_eq!(bench.cache.flush_all().await.expect("a flush"), 2);
    assert_eq!((bench.cache.stats().errors, bench.cache.health().state), (0, LinkState::Up));
}

/// A node in a process of its own. It is this test binary once more, told by a variable to be one.
struct Process {
    child: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

const ROLE: &str = "LENTLY_TEST_NODE";
/// Ids of a batch.
const MANY: usize = 50;

impl Process {
    fn start(server: &RedisServer, upstream: &TcpListener) -> Self {
        let role = format!("{} {}", server.port(), upstream.local_addr().expect("an address").port());
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "cluster::a_node_in_a_process_of_its_own", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary runs");
        let (orders, reports) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut process = Self { child, orders, reports: BufReader::new(reports) };
        process.report("ready");
        process
    }

    /// So many callers ask for the key at once.
    fn ask(&mut self, callers: usize) {
        writeln!(self.orders, "{callers}").expect("an order is taken");
    }

    /// One caller asks for many keys at once.
    fn ask_for_many(&mut self) {
        writeln!(self.orders, "many").expect("an order is taken");
    }

    /// The rest of the next line that begins with `word`.
    fn report(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.reports.read_line(&mut line).expect("a report") > 0, "no `{word}` before its end");
            if let Some(at) = line.find(word) {
                return line[at + word.len()..].trim().to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a node process does; nothing where this is an ordinary run of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the role of a process that a test started, no configuration")]
async fn a_node_in_a_process_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let ports: Vec<u16> = role.split(' ').map(|port| port.parse().expect("a port")).collect();
    let ports = [ports[0], ports[1]];
    let redis = RedisConfig { port: ports[0], ..RedisConfig::default() };
    let config = config(lently_cache::RemoteConfig::Redis(redis), Clock::system());
    let cache = CacheService::open(config).await.expect("a cache");
    wait_until("the link is up", BOUND, async || cache.health().tracking).await;
    // A batch goes out when it is full, and not before.
    let full = Batching { max_ids: MANY, window: BOUND };
    let bulk = cache.bulk(full, move |ids| ask_upstream_for_many(ports[1], ids));
    println!("ready");
    for order in std::io::stdin().lines() {
        let order = order.expect("an order");
        if order == "many" {
            let one = |id| Wanted { id, key: format!("thing:{id}"), policy: policy() };
            tell(&cache.get_or_set_many(&(0..MANY).map(one).collect::<Vec<_>>(), &bulk).await);
            continue;
        }
        let callers = (0..order.parse::<usize>().expect("a number")).map(|_| {
            let (cache, upstream) = (cache.clone(), ports[1]);
            async move { cache.get_or_set("thing:1", &policy(), move || ask_upstream(upstream)).await }
        });
        tell(&join_all(callers).await);
    }
}

fn tell(answers: &[Result<Answer, FetchError>]) {
    let value = |answer: &Result<Answer, FetchError>| match answer {
        Ok(answer) => String::from_utf8_lossy(&answer.entry.value).into_owned(),
        Err(error) => format!("error {error}"),
    };
    let values: std::collections::BTreeSet<_> = answers.iter().map(value).collect();
    println!("answers {} {:?}", answers.len(), values);
}

/// One line from the test's upstream is one paid call; `quota <time>` says that none is left until then.
async fn ask_upstream(port: u16) -> Result<Fetched, FetchFailure> {
    let failed = |error| FetchFailure::new(FailureClass::Transient, error);
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
    let line = tokio::io::BufReader::new(stream).lines().next_line().await.map_err(failed)?;
    let line = line.unwrap_or_default();
    match line.strip_prefix("quota ") {
        Some(until) => {
            let class = FailureClass::QuotaExhausted { until: until.parse().expect("a time") };
            Err(FetchFailure::new(class, std::io::Error::other("no quota is left")).with_detail("told"))
        }
        None => Ok(Fetched::new(line)),
    }
}

/// The same for many ids, which are told in one line. Each has the same answer.
async fn ask_upstream_for_many(port: u16, ids: Vec<usize>) -> Result<Batch<usize>, FetchFailure> {
    let failed = |error| FetchFailure::new(FailureClass::Transient, error);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
    stream.write_all(format!("{ids:?}\n").as_bytes()).await.map_err(failed)?;
    let line = tokio::io::BufReader::new(stream).lines().next_line().await.map_err(failed)?;
    let line = line.unwrap_or_default();
    Ok(ids.into_iter().map(|id| (id, Ok(Fetched::new(line.clone())))).collect())
}

async fn upstream() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

async fn call(upstream: &TcpListener) -> TcpStream {
    tokio::time::timeout(BOUND, upstream.accept()).await.expect("a call").expect("a connection").0
}

/// How many ids a call for many asks for.
async fn ids_of(call: &mut TcpStream) -> usize {
    let told = tokio::io::BufReader::new(call).lines().next_line().await.expect("ids").expect("a line");
    told.split(',').count()
}

async fn answer(mut call: TcpStream, value: &str) {
    call.write_all(format!("{value}\n").as_bytes()).await.expect("it takes the answer");
}

/// Whether a call waits to be taken.
async fn another_call(upstream: &TcpListener) -> bool {
    tokio::time::timeout(Duration::from_millis(1), upstream.accept()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_with_two_thousand_callers_each_pay_once() {
    let (server, upstream) = (RedisServer::start().await, upstream().await);
    let mut nodes: Vec<_> = (0..3).map(|_| Process::start(&server, &upstream)).collect();
    nodes.iter_mut().for_each(|node| node.ask(2000));
    let paid = call(&upstream).await;
    answer(paid, "1").await;
    for node in &mut nodes {
        assert_eq!(tokio::task::block_in_place(|| node.report("answers")), "2000 {\"1\"}");
    }
    assert!(!another_call(&upstream).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_owner_killed_in_mid_fetch_exactly_one_takes_over() {
    let (server, upstream) = (RedisServer::start().await, upstream().await);
    let mut nodes: Vec<_> = (0..3).map(|_| Process::start(&server, &upstream)).collect();
    nodes[0].ask(1);
    let first = call(&upstream).await;
    nodes[1].ask(100);
    nodes[2].ask(100);
    nodes[0].signal("KILL");
    let killed = std::time::Instant::now();
    let second = call(&upstream).await;
    println!("the second fetch began {:?} after the kill", killed.elapsed());
    answer(second, "2").await;
    for node in &mut nodes[1..] {
        assert_eq!(tokio::task::block_in_place(|| node.report("answers")), "100 {\"2\"}");
    }
    assert!(!another_call(&upstream).await);
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_a_batch_whose_owner_is_killed_are_fetched_once_more_and_together() {
    let (server, upstream) = (RedisServer::start().await, upstream().await);
    let mut nodes: Vec<_> = (0..2).map(|_| Process::start(&server, &upstream)).collect();
    nodes[0].ask_for_many();
    let mut first = call(&upstream).await;
    assert_eq!(ids_of(&mut first).await, MANY);
    nodes[1].ask_for_many();
    nodes[0].signal("KILL");
    let mut second = call(&upstream).await;
    assert_eq!(ids_of(&mut second).await, MANY);
    answer(second, "2").await;
    assert_eq!(tokio::task::block_in_place(|| nodes[1].report("answers")), format!("{MANY} {{\"2\"}}"));
    assert!(!another_call(&upstream).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_was_stopped_for_long_cannot_overwrite_its_successor() {
    let (server, upstream) = (RedisServer::start().await, upstream().await);
    let mut nodes: Vec<_> = (0..2).map(|_| Process::start(&server, &upstream)).collect();
    nodes[0].ask(1);
    let first = call(&upstream).await;
    nodes[0].signal("STOP");
    nodes[1].ask(10);
    let second = call(&upstream).await;
    answer(second, "new").await;
    assert_eq!(tokio::task::block_in_place(|| nodes[1].report("answers")), "10 {\"new\"}");
    answer(first, "late").await;
    nodes[0].signal("CONT");
    assert_eq!(tokio::task::block_in_place(|| nodes[0].report("answers")), "1 {\"late\"}");
    assert!(server.bytes_of("lently-test:thing:1").ends_with(b"\nnew"));
    nodes[0].ask(1);
    assert_eq!(tokio::task::block_in_place(|| nodes[0].report("answers")), "1 {\"new\"}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_in_three_processes_ask_an_exhausted_upstream_once_until_its_quota_is_back() {
    let (server, upstream) = (RedisServer::start().await, upstream().await);
    let mut nodes: Vec<_> = (0..3).map(|_| Process::start(&server, &upstream)).collect();
    nodes.iter_mut().for_each(|node| node.ask(334));
    let until = Clock::system().now() + Duration::from_secs(5);
    answer(call(&upstream).await, &format!("quota {until}")).await;
    for round in 0..3 {
        for node in &mut nodes {
            let told = tokio::task::block_in_place(|| node.report("answers"));
            assert_eq!(told, "334 {\"error no quota is left\"}", "round {round}");
            if round < 2 {
                node.ask(334);
            }
        }
    }
    assert!(!another_call(&upstream).await, "nobody asked again");
    wait_until("the quota is back", BOUND, async || {
        Clock::system().now() > until && server.cli(&["EXISTS", LEASE_KEY]) == "0"
    })
    .await;
    nodes.iter_mut().for_each(|node| node.ask(334));
    answer(call(&upstream).await, "1").await;
    for node in &mut nodes {
        assert_eq!(tokio::task::block_in_place(|| node.report("answers")), "334 {\"1\"}");
    }
    assert!(!another_call(&upstream).await, "one probe");
}

#[tokio::test]
async fn who_comes_after_another_node_changed_the_key_does_not_join_the_fetch_of_before() {
    let server = RedisServer::start().await;
    let (here, there) = (node(&server).await, node(&server).await);
    let gate = Gate::new();
    let (cache, fetch) = (here.cache.clone(), gate.fetch("old"));
    let before = here.tasks.spawn(async move { cache.get_or_set("thing:1", &policy(), fetch).await });
    gate.reached().await;
    put(&there.cache, "thing:1", "new").await;
    // The owner hears of it when it next gives a sign of life.
    wait_until("the new value is told", BOUND, async || {
        let upstream = Upstream::default();
        let (own, fetch) = (policy(), upstream.fetch("newer"));
        let asking = here.cache.get_or_set("thing:1", &own, fetch);
        let answer = tokio::time::timeout(Duration::from_millis(100), asking).await;
        answer.is_ok_and(|answer| answer.expect("an answer").entry.value == "new")
    })
    .await;
    gate.open();
    let answer = before.await.expect("a caller").expect("an answer");
    assert_eq!((&answer.entry.value[..], answer.outcome), (&b"old"[..], Outcome::Fetched { stored: false }));
    assert_eq!(look(&here.cache, "thing:1").await.expect("a hit").0, "new");
}
