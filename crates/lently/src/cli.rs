//! The command line: what is asked, in which process it runs, and what the shell is told. Data goes to standard output,
//! everything else to standard error.

mod analyze;
mod bench;
mod cache;
mod client;
mod comments;
mod compare;
mod demo;
mod doctor;
mod emulate;
mod estimate;
mod evaluate;
mod input;
mod ledger;
mod output;
mod retention;
mod serve;
mod shown;
mod simulate;
mod wanted;

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    app::{close_traces, init_logging},
    config::{Config, ConfigError, Env},
    report::Paint,
};

const EXAMPLES: &str = "\
Examples:
  lently analyze https://www.youtube.com/watch?v=dQw4w9WgXcQ
  lently analyze comments.info.json --json > analysis.json
  lently estimate dQw4w9WgXcQ --max-comments 5000
  lently serve
  lently demo --once
  lently cache pattern 'comments:*' --dry-run
  lently doctor

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
Configuration is by environment variables or a .env file; see `lently doctor`.";

/// What your audience is saying: reads the comments under a video, judges them, reports, and pays for each thing once.
#[derive(Debug, Parser)]
#[command(name = "lently", version, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    /// When to color: only on a terminal, and never where NO_COLOR is set, unless told otherwise.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Analyze videos or files of comments.
    Analyze(analyze::Args),
    /// Search and filter the comments behind an analysis.
    Comments(comments::Args),
    /// Compare several videos, or one with what it was.
    Compare(compare::Args),
    /// Tell what an analysis would cost, and spend nothing.
    Estimate(estimate::Args),
    /// Tell how well an engine judges, by a file of labelled comments.
    Evaluate(evaluate::Args),
    /// Tell what was spent today, by whom, and what is left.
    Ledger(ledger::Args),
    /// Serve the HTTP API on loopback.
    Serve(serve::Args),
    /// Show it all at work with sample videos, without a key.
    Demo(demo::Args),
    /// Emulate YouTube and Gemini on loopback, out of files of comments.
    Emulate(emulate::Args),
    /// Look into the cache or change it, here or at a server.
    Cache(cache::Args),
    /// Tell what is kept of YouTube's and for how long yet, delete what is due, erase a video or an author.
    Retention(retention::Args),
    /// Check configuration, Redis and keys, and say what to do.
    Doctor(doctor::Args),
    /// Measure.
    Bench(bench::Args),
    /// Play a day of requests against several ways of caching, and see what each costs.
    Simulate(simulate::Args),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Of the whole command: the message says what to do.
    #[error("{0}")]
    Failed(String),
    /// What was asked cannot be.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Whoever read our output has left; that is no failure.
    #[error("the output was closed")]
    OutputClosed,
    /// Already told, line by line.
    #[error("some failed")]
    Told,
}

impl CliError {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(chain(error))
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        source = cause.source();
    }
    told
}

/// What every command may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// For standard output.
    pub paint: Paint,
    /// Whether standard error is a terminal, so that progress may move.
    pub lively: bool,
}

impl Terminal {
    fn new(color: Color) -> Self {
        let wanted = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal() && Env::process().allows_color(),
        };
        Self { paint: Paint { color: wanted }, lively: io::stderr().is_terminal() }
    }
}

/// Prints to standard output; a reader that has left ends the command quietly.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    print_bytes(text.as_bytes())
}

pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CliError::OutputClosed),
        Err(error) => Err(CliError::Failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Tells people something, on standard error. That nobody may be there to read it is no reason to fail.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The configuration of the process; what is odd in it is told. Commands that are no server log only warnings.
pub(crate) fn configured(quiet: bool) -> Result<Config, CliError> {
    let mut config = Config::from_env(&Env::process())?;
    if quiet && config.log.filter == "info" {
        config.log.filter = "warn".to_owned();
    }
    init_logging(&config.log, config.traces.as_ref());
    for warning in &config.warnings {
        tell(&format!("lently: {warning}"));
    }
    Ok(config)
}

/// Runs the command the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.color);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("lently: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let result = match cli.command {
            Command::Analyze(args) => analyze::run(args, terminal).await,
            Command::Comments(args) => comments::run(args, terminal).await,
            Command::Compare(args) => compare::run(args, terminal).await,
            Command::Estimate(args) => estimate::run(args).await,
            Command::Evaluate(args) => evaluate::run(args, terminal).await,
            Command::Ledger(args) => ledger::run(args).await,
            Command::Retention(args) => retention::run(args).await,

            Command::Serve(args) => serve::run(args).await,
            Command::Demo(args) => demo::run(args, terminal).await,
            Command::Emulate(args) => emulate::run(args).await,
            Command::Cache(args) => cache::run(args, terminal).await,
            Command::Doctor(args) => doctor::run(args, terminal).await,
            Command::Bench(args) => bench::run(args, terminal).await,
            Command::Simulate(args) => simulate::run(args, terminal).await,
        };
        close_traces().await;
        result
    });
    // What still blocks, such as a write to a disk that hangs, must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) | Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(CliError::Told) => ExitCode::FAILURE,
        Err(error @ CliError::Failed(_)) => {
            tell(&format!("lently: {error}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            tell(&format!("lently: {error}"));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
