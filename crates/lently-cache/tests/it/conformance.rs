//! The promises of `lently_cache::conformance`, over each remote tier there is.

use lently_cache::{Deployment, RedisConfig, RemoteConfig, TlsConfig, conformance};
use lently_testing::{ClusterDeployment, RedisOptions, RedisServer, SentinelDeployment, SentinelOptions};
use tempfile::TempDir;

use crate::{
    redis_cluster::cluster_config,
    sentinel::sentinel_config,
    support::{PREFIX, disk, redis, redis_config},
};

/// What `docs/redis.md` says that a user needs.
pub const RULES: &str = ">secret resetkeys ~lently-test:* -@all +get +set +unlink +exists +pttl +pexpire +scan +ping +strlen \
    +getrange +select +client|tracking +eval";

#[tokio::test]
async fn memory_alone_keeps_the_promises_it_can_make() {
    let report = conformance::run(&RemoteConfig::None, PREFIX).await;
    report.assert_kept();
    assert!(report.not_made.contains(&"another node finds what one has stored".to_owned()));
}

#[tokio::test]
async fn a_disk_file_keeps_the_promises_it_can_make() {
    let folder = TempDir::new().expect("a folder");
    let report = conformance::run(&disk(&folder.path().join("cache.sqlite")), PREFIX).await;
    report.assert_kept();
    assert!(report.not_made.contains(&"two nodes share one fetch".to_owned()));
}

#[tokio::test]
async fn redis_keeps_every_promise_and_nothing_is_left_in_it() {
    let server = RedisServer::start().await;
    let report = conformance::run(&redis(&server), PREFIX).await;
    report.assert_kept();
    assert_eq!(report.not_made, Vec::<String>::new());
    let left = server.cli(&["KEYS", "*"]);
    let expires = |key: &str| [":~lease:", ":~tag:", ":~gone"].iter().any(|ours| key.contains(ours));
    assert!(left.lines().all(expires), "{left}");
}

async fn keeps_every_promise(config: RedisConfig) {
    let report = conformance::run(&RemoteConfig::Redis(config), PREFIX).await;
    report.assert_kept();
    assert_eq!(report.not_made, Vec::<String>::new());
}

#[tokio::test]
async fn a_primary_watched_by_sentinels_keeps_every_promise() {
    let deployment = SentinelDeployment::start().await;
    keeps_every_promise(sentinel_config(&deployment)).await;
}

#[tokio::test]
async fn a_cluster_keeps_every_promise() {
    let cluster = ClusterDeployment::start().await;
    keeps_every_promise(cluster_config(&cluster)).await;
}

fn as_user(config: RedisConfig, trusting: &RedisServer) -> RedisConfig {
    RedisConfig {
        username: Some("lently".into()),
        password: Some("secret".to_owned().into()),
        tls: Some(TlsConfig { ca_file: Some(trusting.ca_file()) }),
        // Each handshake takes its time, and each node of each promise is a new one.
        max_connections: 1,
        ..config
    }
}

#[tokio::test]
async fn redis_keeps_every_promise_to_a_user_of_few_rights_over_tls() {
    let user = Some(("lently".into(), RULES.into()));
    let server = RedisServer::start_with(RedisOptions { tls: true, user, ..RedisOptions::default() }).await;
    keeps_every_promise(as_user(redis_config(&server), &server)).await;
}

#[tokio::test]
async fn a_primary_watched_by_sentinels_keeps_every_promise_to_a_user_of_few_rights_over_tls() {
    let user = Some(("lently".into(), format!("{RULES} +role")));
    let watching =
        ">secret resetkeys -@all +auth +ping +hello +sentinel|get-master-addr-by-name +sentinel|master";
    let options = SentinelOptions {
        server: RedisOptions { tls: true, user, ..RedisOptions::default() },
        sentinel_user: Some(("lently".into(), watching.into())),
        ..SentinelOptions::default()
    };
    let deployment = SentinelDeployment::start_with(options).await;
    let mut config = as_user(sentinel_config(&deployment), &deployment.servers[0]);
    let Deployment::Sentinel(sentinel) = &mut config.deployment else { unreachable!("it names Sentinels") };
    (sentinel.username, sentinel.password) = (config.username.clone(), config.password.clone());
    keeps_every_promise(config).await;
}

#[tokio::test]
async fn a_cluster_keeps_every_promise_to_a_user_of_few_rights_over_tls() {
    let user = Some(("lently".into(), format!("{RULES} +cluster|info +cluster|nodes +asking")));
    let options = RedisOptions { tls: true, user, ..RedisOptions::default() };
    let cluster = ClusterDeployment::start_with(options).await;
    keeps_every_promise(as_user(cluster_config(&cluster), &cluster.servers[0])).await;
}

#[tokio::test]
async fn a_broken_promise_is_told_by_name() {
    let folder = TempDir::new().expect("a folder");
    let report = conformance::run(&disk(folder.path()), PREFIX).await;
    assert_eq!(report.broken.len(), 1);
    assert_eq!(report.broken[0].promise, "the remote tier can be opened and reached");
    let told = report.to_string();
    assert!(
        told.contains("- the remote tier can be opened and reached: cannot use the cache file"),
        "{told}"
    );
}
