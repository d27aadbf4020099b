//! A real `redis-server` process, or another program in its place, that a test starts, hurts and stops. It never outlives its
//! value.

mod cluster;
mod sentinel;
mod tls;

use std::{
    ffi::OsString,
    fmt::Write as _,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

pub use self::{
    cluster::ClusterDeployment,
    sentinel::{SentinelDeployment, SentinelOptions},
};
use crate::wait::wait_until;

/// A start takes milliseconds; only a broken one takes so long.
const START_BOUND: Duration = Duration::from_secs(20);
/// Another process may take the port between our choice and the server's bind.
const PORT_ATTEMPTS: u32 = 8;

/// How a server is to be set up. The default is a plain one without password or persistence.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// `requirepass`: the default user's password.
    pub password: Option<String>,
    /// An ACL user as `(name, rules)`, for instance `("lently", ">secret ~lently:* +@all")`.
    pub user: Option<(String, String)>,
    /// Speak TLS only, with a certificate of a private authority made for this server.
    pub tls: bool,
    /// `maxmemory` in bytes, with the policy `noeviction`: writes beyond it are refused with `OOM`.
    pub max_memory_bytes: Option<u64>,
    /// Keep the data over [`RedisServer::restart`].
    pub persistent: bool,
    /// Further lines of `redis.conf`.
    pub lines: Vec<String>,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
    /// It watches others instead of keeping data.
    sentinel: bool,
}

impl RedisServer {
    /// Starts a plain server.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts a server set up as `options` say.
    ///
    /// # Panics
    /// If there is no `redis-server` or it does not start.
    pub async fn start_with(options: RedisOptions) -> Self {
        let mut server = Self::prepared(options);
        for _ in 0..PORT_ATTEMPTS {
            if server.launch().await {
                return server;
            }
            server.port = free_port();
        }
        panic!("redis-server did not start: {}", server.log());
    }

    /// Makes a server that is not running yet: its address is known, nobody listens there.
    pub fn absent() -> Self {
        Self::prepared(RedisOptions::default())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority of a TLS server, as a PEM file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join(tls::CA_FILE)
    }

    /// Kills it without a word (`SIGKILL`).
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops it in its tracks (`SIGSTOP`): connections stay open, nobody answers.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Lets it go on (`SIGCONT`).
    pub fn cont(&self) {
        self.signal("CONT");
    }

    /// Starts it again at the same address; kills it before if it runs. Its data is there again if it is persistent.
    ///
    /// # Panics
    /// If it does not start, for instance because another process has taken the port meanwhile.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.launch().await, "redis-server did not start again: {}", self.log());
    }

    /// Puts an empty server in its place, at the same address.
    pub async fn replace_by_empty(&mut self) {
        self.kill();
        for file in ["dump.rdb", "appendonlydir"] {
            let path = self.folder.path().join(file);
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_dir_all(&path);
        }
        self.restart().await;
    }

    /// What `redis-cli` prints for a command, without the last newline.
    ///
    /// # Panics
    /// If `redis-cli` cannot be run.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.cli_command().args(arguments).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// The bytes behind `key`.
    pub fn bytes_of(&self, key: &str) -> Vec<u8> {
        let mut bytes =
            self.cli_command().args(["--raw", "GET", key]).output().expect("redis-cli runs").stdout;
        // It ends each answer with a newline of its own.
        bytes.pop();
        bytes
    }

    /// Writes any bytes behind `key`, to live for `seconds`.
    ///
    /// # Panics
    /// If the server does not take them.
    pub fn put(&self, key: &str, value: &[u8], seconds: u64) {
        let mut command = self.cli_command();
        command.args(["-x", "SETEX", key, &seconds.to_string()]);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("redis-cli runs");
        process.stdin.take().expect("a pipe").write_all(value).expect("redis-cli reads");
        let output = process.wait_with_output().expect("redis-cli ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "OK");
    }

    fn prepared(options: RedisOptions) -> Self {
        let folder = TempDir::with_prefix("lently-redis-").expect("a temporary folder");
        if options.tls {
            tls::write_certificates(folder.path());
        }
        Self { options, folder, port: free_port(), process: None, sentinel: false }
    }

    /// Trusts, and is trusted, as the other is.
    fn take_certificates_of(&self, other: &Self) {
        for file in [tls::CA_FILE, tls::CERTIFICATE_FILE, tls::KEY_FILE] {
            let (from, to) = (other.folder.path().join(file), self.folder.path().join(file));
            std::fs::copy(from, to).expect("a writable folder");
        }
    }

    /// Whether it came up; not if the port was taken.
    async fn launch(&mut self) -> bool {
        std::fs::write(self.folder.path().join("redis.conf"), self.configuration())
            .expect("a writable folder");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a writable folder");
        let process = Command::new(program())
            .arg("redis.conf")
            .args(self.sentinel.then_some("--sentinel"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("the server can be run (scripts/test installs redis-server)");
        self.process = Some(process);
        let ready = if self.sentinel { "+monitor master" } else { "Ready to accept connections" };
        let mut up = false;
        wait_until("redis-server is up", START_BOUND, async || {
            up = self.log().contains(ready);
            up || self
                .process
                .as_mut()
                .is_none_or(|process| process.try_wait().is_ok_and(|end| end.is_some()))
        })
        .await;
        up
    }

    fn configuration(&self) -> String {
        let (port, options) = (self.port, &self.options);
        let mut text = String::from("bind 127.0.0.1\ndaemonize no\n");
        if !self.sentinel {
            text.push_str("save \"\"\nrepl-diskless-sync-delay 0\n");
        }
        let mut line = |line: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{line}");
        };
        if options.tls {
            line(format_args!("port 0\ntls-port {port}\ntls-auth-clients no\ntls-replication yes"));
            line(format_args!("tls-cert-file {}\ntls-key-file {}", tls::CERTIFICATE_FILE, tls::KEY_FILE));
            line(format_args!("tls-ca-cert-file {}", tls::CA_FILE));
        } else {
            line(format_args!("port {port}"));
        }
        if let Some(password) = &options.password {
            line(format_args!("requirepass {password}"));
            if !self.sentinel {
                line(format_args!("masterauth {password}"));
            }
        }
        if let Some((name, rules)) = &options.user {
            line(format_args!("user {name} on {rules}"));
        }
        if let Some(bytes) = options.max_memory_bytes {
            line(format_args!("maxmemory {bytes}\nmaxmemory-policy noeviction"));
        }
        if options.persistent {
            line(format_args!("appendonly yes\nappendfsync always"));
        }
        for more in &options.lines {
            line(format_args!("{more}"));
        }
        text
    }

    fn cli_command(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).stderr(Stdio::null());
        if let Some(password) = &self.options.password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        if self.options.tls {
            command.arg("--tls").arg("--cacert").arg(self.ca_file());
        }
        command
    }

    fn signal(&self, name: &str) {
        let Some(process) = &self.process else { return };
        let done = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status();
        assert!(done.is_ok_and(|status| status.success()), "redis-server could not be sent SIG{name}");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server to start: what `LENTLY_REDIS_SERVER` names, for instance a `valkey-server`, or else `redis-server`.
#[expect(clippy::disallowed_methods, reason = "a variable of the tests; no configuration of Lently")]
fn program() -> OsString {
    std::env::var_os("LENTLY_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
