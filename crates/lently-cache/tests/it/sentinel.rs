//! A primary watched by Sentinels: what a failover costs those who ask the cache, and what becomes of the old primary.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use lently_cache::{CacheService, Deployment, Fetched, RedisConfig, RemoteConfig, SentinelConfig, Tier};
use lently_testing::{
    Proxy, RedisOptions, RedisServer, SentinelDeployment, SentinelOptions, Wire, wait_until,
};

use crate::support::{BOUND, Bench, PREFIX, look, open, policy, put};

/// The promise, counted from the moment at which a Sentinel names the new primary.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);

pub fn sentinel_config(deployment: &SentinelDeployment) -> RedisConfig {
    let mut sentinels = deployment.sentinels.iter().map(|sentinel| ("127.0.0.1".to_owned(), sentinel.port()));
    let (host, port) = sentinels.next().expect("a Sentinel");
    let service = SentinelDeployment::SERVICE.to_owned();
    RedisConfig {
        deployment: Deployment::Sentinel(Box::new(SentinelConfig { service, ..SentinelConfig::default() })),
        host,
        port,
        others: sentinels.collect(),
        ..RedisConfig::default()
    }
}

async fn on(deployment: &SentinelDeployment) -> Bench {
    let bench = open(RemoteConfig::Redis(sentinel_config(deployment))).await;
    wait_until("the primary is found", BOUND, async || bench.cache.health().is_up()).await;
    bench
}

fn server(cache: &CacheService) -> Option<String> {
    cache.redis().expect("Redis").servers().pop()
}

/// Goes on asking until `done`; every call is answered.
pub async fn ask_until(cache: &CacheService, done: impl Future<Output = ()>) -> u64 {
    let mut done = std::pin::pin!(done);
    let mut asked = 0;
    while (&mut done).now_or_never().is_none() {
        let key = format!("thing:{}", asked % 200);
        let answer = cache.get_or_set(&key, &policy(), || async { Ok(Fetched::new("1")) }).await;
        assert_eq!(answer.expect("an answer").entry.value, "1");
        if asked % 7 == 0 {
            cache.set(&key, &policy(), Bytes::from_static(b"1"), Default::default()).await.expect("taken");
        }
        asked += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    asked
}

/// Waits until another server than `old` is named by a Sentinel, and then until the cache is on it. No failover comes after.
async fn followed(deployment: &SentinelDeployment, cache: &CacheService, old: u16) -> u16 {
    let mut new = old;
    deployment.be_watchful(true);
    wait_until("a replica is promoted", BOUND, async || {
        new = deployment.primary_port().unwrap_or(old);
        new != old
    })
    .await;
    deployment.be_watchful(false);
    let address = format!("127.0.0.1:{new}");
    wait_until("the cache has followed", FOLLOWED_WITHIN, async || {
        cache.health().is_up() && server(cache).as_deref() == Some(address.as_str())
    })
    .await;
    new
}

/// Whether a connection that hears of changes is open to it.
pub fn is_listened_to(server: &RedisServer) -> bool {
    let clients = server.cli(&["CLIENT", "LIST"]);
    clients
        .split_whitespace()
        .any(|field| field.strip_prefix("flags=").is_some_and(|flags| flags.contains('t')))
}

#[tokio::test]
async fn a_killed_primary_is_replaced_without_a_failed_call_and_not_written_to_when_it_comes_back() {
    let mut deployment = SentinelDeployment::start().await;
    let bench = on(&deployment).await;
    let old = deployment.servers[0].port();
    put(&bench.cache, "thing:old", "1").await;
    assert_eq!(server(&bench.cache), Some(format!("127.0.0.1:{old}")));
    deployment.servers[0].kill();
    let asked = ask_until(&bench.cache, async {
        followed(&deployment, &bench.cache, old).await;
    })
    .await;
    assert!(asked > 0);
    let new = deployment.at(deployment.primary_port().expect("a primary")).port();
    put(&bench.cache, "thing:new", "2").await;
    assert!(deployment.at(new).bytes_of(&format!("{PREFIX}thing:new")).ends_with(b"2"));
    // It comes back as the primary it was, until the Sentinels tell it otherwise.
    deployment.servers[0].restart().await;
    let returned = &deployment.servers[0];
    ask_until(&bench.cache, async {
        wait_until("it follows the new one", BOUND, async || {
            assert!(!is_listened_to(returned), "nobody is connected to it");
            returned.cli(&["INFO", "replication"]).contains("role:slave")
        })
        .await;
    })
    .await;
    assert_eq!(server(&bench.cache), Some(format!("127.0.0.1:{new}")));
}

#[tokio::test]
async fn a_primary_that_hangs_is_left_and_what_is_changed_at_its_successor_is_heard_of() {
    let deployment = SentinelDeployment::start().await;
    let bench = on(&deployment).await;
    let old = deployment.servers[0].port();
    put(&bench.cache, "thing:kept", "1").await;
    deployment.servers[0].stop();
    ask_until(&bench.cache, async {
        followed(&deployment, &bench.cache, old).await;
    })
    .await;
    deployment.servers[0].cont();
    let new = deployment.at(deployment.primary_port().expect("a primary"));
    // The old one believes itself the primary for some seconds yet.
    put(&bench.cache, "thing:after", "2").await;
    assert!(new.bytes_of(&format!("{PREFIX}thing:after")).ends_with(b"2"));
    assert_eq!(look(&bench.cache, "thing:after").await.expect("a hit").1, Tier::Memory);
    new.cli(&["DEL", &format!("{PREFIX}thing:after")]);
    wait_until("the copy is gone", BOUND, async || look(&bench.cache, "thing:after").await.is_none()).await;
    wait_until("nobody listens to the old one", BOUND, async || !is_listened_to(&deployment.servers[0]))
        .await;
}

#[tokio::test]
async fn a_primary_that_is_demoted_is_left_although_it_answers() {
    let deployment = SentinelDeployment::start().await;
    let bench = on(&deployment).await;
    let old = deployment.servers[0].port();
    assert_eq!(deployment.sentinels[0].cli(&["SENTINEL", "FAILOVER", SentinelDeployment::SERVICE]), "OK");
    ask_until(&bench.cache, async {
        followed(&deployment, &bench.cache, old).await;
    })
    .await;
    let new = deployment.at(deployment.primary_port().expect("a primary"));
    put(&bench.cache, "thing:after", "2").await;
    assert!(new.bytes_of(&format!("{PREFIX}thing:after")).ends_with(b"2"));
    wait_until("nobody listens to the old one", BOUND, async || !is_listened_to(&deployment.servers[0]))
        .await;
}

/// The one Sentinel that answers was not told of the failover, and the server it names thinks itself the primary.
#[tokio::test]
async fn a_sentinel_that_knows_less_than_another_did_is_not_followed_back() {
    let mut deployment = SentinelDeployment::start().await;
    let bench = on(&deployment).await;
    let old = deployment.servers[0].port();
    deployment.servers[0].kill();
    let new = followed(&deployment, &bench.cache, old).await;
    deployment.sentinels[0].kill();
    deployment.sentinels[1].kill();
    let (service, behind) = (SentinelDeployment::SERVICE, &deployment.sentinels[2]);
    assert_eq!(behind.cli(&["SENTINEL", "REMOVE", service]), "OK");
    assert_eq!(behind.cli(&["SENTINEL", "MONITOR", service, "127.0.0.1", &old.to_string(), "2"]), "OK");
    deployment.servers[0].restart().await;
    // Neither while it is connected nor when it connects anew.
    for connects_anew in [false, true] {
        if connects_anew {
            deployment.at(new).cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        let asked = calls_of_role(deployment.at(new));
        wait_until("it has looked three times", BOUND, async || {
            assert!(!is_listened_to(&deployment.servers[0]), "nobody is connected to the old one");
            calls_of_role(deployment.at(new)) >= asked + 3
        })
        .await;
        wait_until("it is connected", BOUND, async || bench.cache.health().is_up()).await;
        assert_eq!(server(&bench.cache), Some(format!("127.0.0.1:{new}")));
    }
}

fn calls_of_role(server: &RedisServer) -> u64 {
    let told = server.cli(&["INFO", "commandstats"]);
    let calls =
        told.split_once("cmdstat_role:calls=").and_then(|(_, calls)| calls.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

/// A Sentinel may be behind: what it names is asked for its role.
#[tokio::test]
async fn a_sentinel_that_names_a_replica_is_not_believed() {
    let mut deployment = SentinelDeployment::start().await;
    // Two that do not run cannot be asked; the third is told of the replica as if it were the primary.
    deployment.sentinels[0].kill();
    deployment.sentinels[1].kill();
    let (service, replica) = (SentinelDeployment::SERVICE, deployment.servers[1].port().to_string());
    let behind = &deployment.sentinels[2];
    assert_eq!(behind.cli(&["SENTINEL", "REMOVE", service]), "OK");
    assert_eq!(behind.cli(&["SENTINEL", "MONITOR", service, "127.0.0.1", &replica, "2"]), "OK");
    let bench = open(RemoteConfig::Redis(sentinel_config(&deployment))).await;
    let refusal = format!("127.0.0.1:{replica} is not the primary");
    wait_until("it was refused", BOUND, async || {
        bench.cache.health().last_error.is_some_and(|error| error == refusal)
    })
    .await;
    assert!(!bench.cache.health().is_up());
    put(&bench.cache, "thing:1", "1").await;
    assert_eq!(look(&bench.cache, "thing:1").await.expect("memory has it").0, "1");
    assert_eq!(behind.cli(&["SENTINEL", "REMOVE", service]), "OK");
    let primary = deployment.servers[0].port().to_string();
    assert_eq!(behind.cli(&["SENTINEL", "MONITOR", service, "127.0.0.1", &primary, "2"]), "OK");
    wait_until("the primary is found", BOUND, async || bench.cache.health().is_up()).await;
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own_and_speak_tls() {
    let server = RedisOptions { password: Some("redis".into()), tls: true, ..RedisOptions::default() };
    let options =
        SentinelOptions { server, sentinel_password: Some("sentinel".into()), ..SentinelOptions::default() };
    let deployment = SentinelDeployment::start_with(options).await;
    let with = |sentinel_password: &str| {
        let service = SentinelDeployment::SERVICE.to_owned();
        let password = Some(sentinel_password.to_owned().into());
        RemoteConfig::Redis(RedisConfig {
            deployment: Deployment::Sentinel(Box::new(SentinelConfig {
                service,
                password,
                ..SentinelConfig::default()
            })),
            password: Some("redis".to_owned().into()),
            tls: Some(lently_cache::TlsConfig { ca_file: Some(deployment.servers[0].ca_file()) }),
            ..sentinel_config(&deployment)
        })
    };
    let wrong = open(with("redis")).await;
    wait_until("it was refused", BOUND, async || {
        wrong
            .cache
            .health()
            .last_error
            .is_some_and(|error| error.contains("Sentinel") && error.contains("Authent"))
    })
    .await;
    let bench = open(with("sentinel")).await;
    wait_until("the primary is found", BOUND, async || bench.cache.health().is_up()).await;
    put(&bench.cache, "thing:1", "1").await;
    assert!(deployment.servers[0].bytes_of(&format!("{PREFIX}thing:1")).ends_with(b"1"));
}

/// To connect takes several round trips, over TLS the more; together they are longer than an answer may take.
#[tokio::test]
async fn sentinels_that_are_far_away_are_asked_over_tls() {
    let options = RedisOptions { password: Some("redis".into()), tls: true, ..RedisOptions::default() };
    let options = SentinelOptions { server: options, ..SentinelOptions::default() };
    let deployment = SentinelDeployment::start_with(options).await;
    let mut wires = Vec::new();
    for sentinel in &deployment.sentinels {
        let wire = Proxy::to(sentinel.address()).await;
        wire.set(Wire::Slow(Duration::from_millis(80)));
        wires.push(wire);
    }
    let at = |wire: &Proxy| (wire.address().ip().to_string(), wire.address().port());
    let (host, port) = at(&wires[0]);
    let config = RedisConfig {
        host,
        port,
        others: wires[1..].iter().map(at).collect(),
        password: Some("redis".to_owned().into()),
        tls: Some(lently_cache::TlsConfig { ca_file: Some(deployment.servers[0].ca_file()) }),
        ..sentinel_config(&deployment)
    };
    let bench = open(RemoteConfig::Redis(config)).await;
    wait_until("the primary is found", BOUND, async || bench.cache.health().is_up()).await;
}
