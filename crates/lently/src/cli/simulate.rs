//! `lently simulate`: what a day of traffic costs, for several ways of caching side by side. A trace or a generator's requests go
//! through the service as it is, by a clock that is moved, against the emulator's made-up world.

mod chart;
mod oracle;
mod outcome;
mod replay;
mod report;
mod workload;

use std::{path::PathBuf, sync::Arc};

use futures::stream::{self, StreamExt as _};
use lently_emulator::{World, WorldConfig};
use lently_service::Economy;

use self::{
    outcome::{Comparison, Outcome},
    workload::{GrowthChoice, Workload},
};
use super::{CliError, Terminal, configured, print, tell};

const EXAMPLES: &str = "\
Examples:
  lently simulate trace.csv
  lently simulate trace.csv --html report.html --json > report.json
  lently simulate --users 400 --days 14 --warm-up-days 7
  LENTLY_TTL_COMMENTS_SECONDS=7200 lently simulate trace.csv --policy lently

A trace has the columns seconds,client,video[,max_comments,order]. Times to live are those that the configuration names. Nothing is
asked of YouTube or Gemini, and nothing of it is kept.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A file of requests; without one, requests are generated.
    #[arg(value_name = "TRACE.csv")]
    trace: Option<PathBuf>,
    /// Generated: users, each a creator with a channel.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Generated: how many days.
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// The first so many days are played and not counted.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=365))]
    warm_up_days: u32,
    /// Generated: each user asks at least and at most so often a day.
    #[arg(long, value_name = "MIN..MAX", default_value = "5..60", value_parser = workload::parse_range)]
    requests_a_day: (u32, u32),
    /// Generated: how often a user publishes, in days; requests are for the five newest videos.
    #[arg(long, value_name = "DAYS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=366))]
    publishes_every: u32,
    /// Generated: videos that everybody asks for.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    popular: u32,
    /// Generated: the share of requests that is for these.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = workload::parse_share)]
    popular_share: f64,
    /// Generated: how unequal these are asked for; Zipf's exponent.
    #[arg(long, value_name = "S", default_value_t = 0.8, value_parser = workload::parse_positive)]
    zipf: f64,
    /// How many comments requests ask for, where the trace does not say; each number as often as the others.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [100, 500], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_comments: Vec<u32>,
    /// The median of the comments under a video; default 22 for a trace, 300 for generated requests.
    #[arg(long, value_name = "N", value_parser = workload::parse_positive)]
    median: Option<f64>,
    /// The deviation of their logarithm; default 1.5 for a trace, 1.4 for generated requests.
    #[arg(long, value_name = "S", value_parser = workload::parse_positive)]
    sigma: Option<f64>,
    /// How comments arrive: `none` come, or as many a day as 30 % of a video's size divided by its age in days, from the eleventh day on
    /// 1 %; default `none` for a trace, whose videos have no age, `fading` for generated requests.
    #[arg(long, value_enum)]
    growth: Option<GrowthChoice>,
    /// Everything that is drawn is drawn from this.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Play this way of caching alone; may be given several times. Default: all.
    #[arg(long, value_enum, value_name = "POLICY")]
    policy: Vec<Policy>,
    /// Write a page with a chart, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

/// A way of caching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Policy {
    /// Everything is fetched anew for each request.
    NoCache,
    /// Answers, comments and metadata are kept under their own keys for a fixed time, as most backends do.
    Plain,
    /// The same, and of more comments fewer are answered.
    Supersets,
    /// And the statistics are asked first whether anything is new.
    Statistics,
    /// And of comments only what is new is read.
    Increments,
    /// And of comments only what is new is judged: all that Lently does.
    Lently,
    /// The bound without foresight: has to read what has come to know whether it is wanted.
    Looking,
    /// Pays for nothing but what nobody has fetched yet: a lower bound.
    Oracle,
}

impl Policy {
    pub(super) const ALL: [Self; 8] = [
        Self::NoCache,
        Self::Plain,
        Self::Supersets,
        Self::Statistics,
        Self::Increments,
        Self::Lently,
        Self::Looking,
        Self::Oracle,
    ];

    /// The name in the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NoCache => "no cache",
            Self::Plain => "plain cache",
            Self::Supersets => "+ supersets",
            Self::Statistics => "+ statistics first",
            Self::Increments => "+ increments",
            Self::Lently => "+ verdicts = Lently",
            Self::Looking => "bound, no foresight",
            Self::Oracle => "lower bound",
        }
    }

    fn economy(self) -> Economy {
        Economy {
            supersets: self >= Self::Supersets,
            statistics_first: self >= Self::Statistics,
            increments: self >= Self::Increments,
            verdicts: self >= Self::Lently,
            gathering: false,
        }
    }
}

pub(super) async fn run(args: Args, terminal: Terminal) -> Result<(), CliError> {
    let config = configured(true)?;
    let workload = Arc::new(workload(&args)?);
    let world = Arc::new(
        World::new(WorldConfig {
            seed: args.seed,
            median: args.median.unwrap_or(if args.trace.is_some() { 22.0 } else { 300.0 }),
            sigma: args.sigma.unwrap_or(if args.trace.is_some() { 1.5 } else { 1.4 }),
            growth: args.growth.unwrap_or(GrowthChoice::of_trace(args.trace.is_some())).into(),
            published: workload.published.clone(),
        })
        .map_err(|error| CliError::Usage(error.to_string()))?,
    );
    let policies = if args.policy.is_empty() { Policy::ALL.to_vec() } else { args.policy.clone() };
    tell(&format!(
        "{} requests of {} clients for {} videos; {} counted",
        workload.requests.len(),
        workload.clients(),
        workload.videos(),
        workload.counted(),
    ));
    let replays = stream::iter(policies).map(|policy| {
        let (workload, world, ttl) = (Arc::clone(&workload), Arc::clone(&world), config.ttl.clone());
        async move {
            let replaying = move || match policy {
                Policy::Looking | Policy::Oracle => Ok(oracle::replay(policy, &workload, world, &ttl)),
                policy => replay::run(policy, world, ttl, &workload),
            };
            let outcome =
                tokio::task::spawn_blocking(replaying).await.map_err(|error| CliError::of(&error))??;
            tell(&format!("{}: {} units, {} tokens", policy.name(), outcome.units, outcome.tokens()));
            Ok(outcome)
        }
    });
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let replayed: Vec<Result<Outcome, CliError>> = replays.buffered(threads).collect().await;
    let outcomes = replayed.into_iter().collect::<Result<Vec<_>, _>>()?;
    let comparison = Comparison::of(&workload, outcomes);
    if let Some(path) = &args.html {
        let page = chart::page(&comparison)?;
        tokio::fs::write(path, page)
            .await
            .map_err(|error| CliError::Failed(format!("cannot write `{}`: {error}", path.display())))?;
    }
    print(&if args.json { report::json(&comparison)? } else { report::text(&comparison, terminal.paint) })
}

fn workload(args: &Args) -> Result<Workload, CliError> {
    let workload = match &args.trace {
        Some(path) => workload::read(path, &args.max_comments, args.seed)?,
        None => workload::generate(&workload::Population {
            users: args.users,
            days: args.days,
            requests_a_day: args.requests_a_day,
            publishes_every: args.publishes_every,
            popular: args.popular,
            popular_share: args.popular_share,
            zipf: args.zipf,
            max_comments: &args.max_comments,
            seed: args.seed,
        })?,
    };
    workload.counted_from(args.warm_up_days)
}
