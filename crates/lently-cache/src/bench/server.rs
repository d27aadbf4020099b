//! A `redis-server` for the time of the measurements, and `redis-benchmark` against it.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
    time::Duration,
};

use redis::{FromRedisValue, aio::MultiplexedConnection};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::BenchError;

/// A start takes milliseconds.
const START_BOUND: Duration = Duration::from_secs(20);
/// A command that keeps it busy for longer, in microseconds, is in its log.
pub(super) const LOGGED_US: u64 = 100;

/// Another process may take the port between our choice and the server's bind.
const PORT_ATTEMPTS: u32 = 8;

/// Killed when dropped.
pub(super) struct Server {
    port: u16,
    client: redis::Client,
    process: Child,
}

impl Server {
    pub(super) async fn start() -> Result<Self, BenchError> {
        for _ in 0..PORT_ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let process = match command(port).spawn() {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(BenchError::NoServer),
                spawned => spawned?,
            };
            let mut server = Self { port, client: redis::Client::open(("127.0.0.1", port))?, process };
            if server.is_up().await? {
                return Ok(server);
            }
        }
        Err(BenchError::Server(format!("found no port after {PORT_ATTEMPTS} attempts")))
    }

    /// Waits until it answers; false if it ended, as it does where its port was taken.
    async fn is_up(&mut self) -> Result<bool, BenchError> {
        let began = Instant::now();
        while began.elapsed() < START_BOUND {
            if self.process.try_wait()?.is_some() {
                return Ok(false);
            }
            // Whoever answers may be another that took the port: everything in it is deleted later on.
            if let Ok(pid) = self.info("server", "process_id").await
                && Some(pid) == self.process.id().map(u64::from)
            {
                return Ok(true);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(BenchError::Server(format!("did not answer within {START_BOUND:?}")))
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// A connection of redis-rs alone.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection, BenchError> {
        Ok(self.client.get_multiplexed_async_connection().await?)
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, BenchError> {
        Ok(command.query_async(&mut self.connection().await?).await?)
    }

    /// What its data and their keys take.
    pub(super) async fn used_bytes(&self) -> Result<u64, BenchError> {
        self.info("memory", "used_memory").await
    }

    /// The commands that kept it busy since its log was emptied, with the microseconds by its own clock.
    pub(super) async fn slow_commands(&self) -> Result<Vec<(String, u64)>, BenchError> {
        // Each entry is its number, when it was, the microseconds, the command, and more.
        let log: Vec<Vec<redis::Value>> = self.ask(redis::cmd("SLOWLOG").arg("GET").arg(-1)).await?;
        let commands = log.into_iter().filter_map(|entry| match entry.as_slice() {
            [_, _, redis::Value::Int(took), command, ..] => {
                let words: Vec<String> = redis::from_redis_value(command.clone()).ok()?;
                // Emptying or reading the log is logged too.
                let name = words.into_iter().next().filter(|name| name != "SLOWLOG")?;
                Some((name, u64::try_from(*took).ok()?))
            }
            _ => None,
        });
        Ok(commands.collect())
    }

    async fn info(&self, section: &str, name: &str) -> Result<u64, BenchError> {
        let told: String = self.ask(redis::cmd("INFO").arg(section)).await?;
        let number =
            told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
        number.ok_or_else(|| BenchError::Server(format!("does not tell its `{name}`")))
    }

    /// Microseconds a `GET` of one of `keys` keys takes `redis-benchmark`, which has a connection for each that is under way.
    /// `None` where it is not installed.
    pub(super) async fn benchmark(
        &self,
        prefix: &str,
        keys: usize,
        concurrency: usize,
        requests: usize,
    ) -> Result<Option<f64>, BenchError> {
        let output = Command::new("redis-benchmark")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "--csv"])
            .args(["-c", &concurrency.to_string(), "-n", &requests.to_string(), "-r", &keys.to_string()])
            .args(["GET", &format!("{prefix}__rand_int__")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .await;
        let output = match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // "test","rps", … and below the figures, each in quotes.
        let rate = output.lines().last().and_then(|line| line.split("\",\"").nth(1));
        let rate = rate.and_then(|rate| rate.trim_matches('"').parse::<f64>().ok());
        let rate = rate.ok_or_else(|| BenchError::Wrong("redis-benchmark tells no rate".to_owned()))?;
        Ok(Some(1e6 / rate))
    }
}

fn command(port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .args(["--slowlog-log-slower-than", &LOGGED_US.to_string(), "--slowlog-max-len", "100000"])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}
