//! The command line from outside: the real binary in processes of its own, as a user runs it.

mod analyze;
mod bench;
mod cache;
mod comments;
mod compare;
mod doctor;
mod emulated;
mod evaluate;
mod ledger;
mod output;
mod retention;
mod simulate;
mod traces;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A user's machine: a home of its own and nothing in the environment.
pub(crate) struct Machine {
    pub home: TempDir,
    pub variables: Vec<(String, String)>,
}

/// What a command left.
pub(crate) struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// `lently serve` in a process of its own, which ends with this.
pub(crate) struct Serving {
    pub address: String,
    process: Child,
    /// Kept open: what is logged must not fail.
    _log: BufReader<ChildStderr>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().expect("a folder"), variables: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lently"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(args).output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// Starts a server on a free port.
    pub(crate) fn serve(&self) -> Serving {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut process =
            command.env("LENTLY_LOG", "error").stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut log = BufReader::new(process.stderr.take().expect("its log"));
        let mut line = String::new();
        log.read_line(&mut line).expect("a line");
        let address = line.split_whitespace().find(|word| word.starts_with("http://"));
        let address =
            address.unwrap_or_else(|| panic!("no address in {line}")).trim_end_matches('/').to_owned();
        Serving { address, process, _log: log }
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).expect("a file is written");
        path.display().to_string()
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "out: {}\nerr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}
