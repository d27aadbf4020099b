//! What is asked for, when and by whom: read from a trace or drawn for a population of creators. It knows nothing of caching.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use lently_emulator::Growth;
use lently_upstream::{CommentOrder, VideoId};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use rand_distr::{Distribution as _, Zipf};

use crate::cli::CliError;

/// When every simulation begins: midnight in California, when quotas do.
pub(super) const START: Timestamp = Timestamp::constant(1_767_254_400, 0);
const DAY_SECONDS: f64 = 86_400.0;
const NEWEST: u32 = 5;
/// Popular videos are so many days old at the beginning, at least and at most.
const POPULAR_AGE_DAYS: (f64, f64) = (10.0, 100.0);
/// No trace is longer: its requests are held in memory.
const MOST_REQUESTS: usize = 20_000_000;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub at: Timestamp,
    pub client: u32,
    pub video: VideoId,
    pub max_comments: u32,
    pub order: CommentOrder,
}

/// All requests, in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Workload {
    pub requests: Vec<Asked>,
    /// When videos came out, where that is known.
    pub published: HashMap<String, Timestamp>,
    /// Requests before this one are played and not counted.
    pub first_counted: usize,
}

/// How comments arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum GrowthChoice {
    None,
    Fading,
}

impl GrowthChoice {
    pub(super) const fn of_trace(is_trace: bool) -> Self {
        if is_trace { Self::None } else { Self::Fading }
    }
}

impl From<GrowthChoice> for Growth {
    fn from(choice: GrowthChoice) -> Self {
        match choice {
            GrowthChoice::None => Self::None,
            GrowthChoice::Fading => Self::Fading,
        }
    }
}

impl Workload {
    pub(super) fn clients(&self) -> usize {
        self.requests.iter().map(|asked| asked.client).collect::<HashSet<_>>().len()
    }

    pub(super) fn videos(&self) -> usize {
        self.requests.iter().map(|asked| &asked.video).collect::<HashSet<_>>().len()
    }

    /// How many requests are counted.
    pub(super) fn counted(&self) -> usize {
        self.requests.len() - self.first_counted
    }

    /// Counts from the end of so many days on.
    pub(super) fn counted_from(mut self, warm_up_days: u32) -> Result<Self, CliError> {
        let from = after(START, f64::from(warm_up_days) * DAY_SECONDS);
        self.first_counted = self.requests.partition_point(|asked| asked.at < from);
        if self.counted() == 0 {
            return Err(CliError::Usage(format!("no request comes after {warm_up_days} days of warm-up")));
        }
        Ok(self)
    }
}

/// Reads `seconds,client,video[,max_comments,order]`; a first line that does not begin with a number is a heading.
pub(super) fn read(path: &Path, amounts: &[u32], seed: u64) -> Result<Workload, CliError> {
    let fail = |why: String| CliError::Failed(format!("{}: {why}", path.display()));
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| fail(error.to_string()))?;
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut clients: HashMap<String, u32> = HashMap::new();
    let mut requests = Vec::new();
    for (index, row) in rows.records().enumerate() {
        let row = row.map_err(|error| fail(error.to_string()))?;
        let field = |place: usize| row.get(place).unwrap_or_default();
        let wrong =
            |what: &str, place: usize| fail(format!("line {}: `{}` is no {what}", index + 1, field(place)));
        let seconds = match field(0).parse::<f64>() {
            Ok(seconds) if seconds >= 0.0 && seconds.is_finite() => seconds,
            _ if index == 0 => continue,
            _ => return Err(wrong("number of seconds", 0)),
        };
        let next = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let client = *clients.entry(field(1).to_owned()).or_insert(next);
        let video = field(2).parse().map_err(|_| wrong("id of a video", 2))?;
        // Drawn for every line, so that one that says it changes no other's.
        let drawn = amounts.choose(&mut chance).copied().unwrap_or(100);
        let max_comments = match field(3) {
            "" => drawn,
            text => text
                .parse()
                .ok()
                .filter(|amount| (1..=100_000).contains(amount))
                .ok_or_else(|| wrong("number of comments from 1 to 100,000", 3))?,
        };
        let order = match field(4) {
            "" => CommentOrder::default(),
            text => text.parse().map_err(|_| wrong("order; it is `relevance` or `time`", 4))?,
        };
        requests.push(Asked { at: after(START, seconds), client, video, max_comments, order });
        if requests.len() > MOST_REQUESTS {
            return Err(fail(format!("it has more than {MOST_REQUESTS} requests")));
        }
    }
    if requests.is_empty() {
        return Err(fail("it has no requests".to_owned()));
    }
    requests.sort_by_key(|asked| asked.at);
    Ok(Workload { requests, ..Workload::default() })
}

/// Creators who ask for their own newest videos, and for what everybody asks for.
#[derive(Debug)]
pub(super) struct Population<'a> {
    pub users: u32,
    pub days: u32,
    pub requests_a_day: (u32, u32),
    pub publishes_every: u32,
    pub popular: u32,
    pub popular_share: f64,
    pub zipf: f64,
    pub max_comments: &'a [u32],
    pub seed: u64,
}

pub(super) fn generate(population: &Population<'_>) -> Result<Workload, CliError> {
    let mut chance = SmallRng::seed_from_u64(population.seed);
    let zipf = Zipf::new(f64::from(population.popular), population.zipf)
        .map_err(|error| CliError::Usage(format!("--zipf: {error}")))?;
    let every = f64::from(population.publishes_every) * DAY_SECONDS;
    let span = f64::from(population.days) * DAY_SECONDS;
    let mut workload = Workload::default();
    for number in 0..population.popular {
        let age = chance.random_range(POPULAR_AGE_DAYS.0..POPULAR_AGE_DAYS.1) * DAY_SECONDS;
        workload.published.insert(popular_id(number), after(START, -age));
    }
    for user in 0..population.users {
        let first = chance.random_range(0.0..every);
        // The five that are the newest at the beginning, and those that come.
        let publications = NEWEST + (span / every) as u32 + 1;
        let published = |number: u32| first + (f64::from(number) - f64::from(NEWEST)) * every;
        for number in 0..publications {
            workload.published.insert(own_id(user, number), after(START, published(number)));
        }
        let a_day = chance.random_range(population.requests_a_day.0..=population.requests_a_day.1);
        for day in 0..population.days {
            for _ in 0..a_day {
                let at = (f64::from(day) + chance.random::<f64>()) * DAY_SECONDS;
                let video = if chance.random_bool(population.popular_share) {
                    popular_id(zipf.sample(&mut chance) as u32 - 1)
                } else {
                    // The newest is the last that came out by then.
                    let newest = ((at - first) / every).floor() as i64 + i64::from(NEWEST);
                    let behind = i64::from(chance.random_range(0..NEWEST));
                    own_id(user, u32::try_from(newest - behind).unwrap_or(0))
                };
                workload.requests.push(Asked {
                    at: after(START, at),
                    client: user,
                    video: video
                        .parse()
                        .map_err(|_| CliError::Failed(format!("`{video}` is no id of a video")))?,
                    max_comments: population.max_comments.choose(&mut chance).copied().unwrap_or(100),
                    order: CommentOrder::default(),
                });
            }
        }
        if workload.requests.len() > MOST_REQUESTS {
            return Err(CliError::Usage(format!("these are more than {MOST_REQUESTS} requests")));
        }
    }
    if workload.requests.is_empty() {
        return Err(CliError::Usage("--requests-a-day: nobody asks for anything".to_owned()));
    }
    workload.requests.sort_by_key(|asked| asked.at);
    Ok(workload)
}

/// Ids of videos have eleven characters.
fn own_id(user: u32, number: u32) -> String {
    format!("U{user:06}{:04}", number % 10_000)
}

fn popular_id(number: u32) -> String {
    format!("P{number:010}")
}

fn after(start: Timestamp, seconds: f64) -> Timestamp {
    start.checked_add(SignedDuration::from_millis((seconds * 1e3) as i64)).unwrap_or(Timestamp::MAX)
}

/// `MIN..MAX`.
pub(super) fn parse_range(text: &str) -> Result<(u32, u32), String> {
    let parsed =
        text.split_once("..").and_then(|(least, most)| Some((least.parse().ok()?, most.parse().ok()?)));
    parsed
        .filter(|(least, most): &(u32, u32)| least <= most && *most <= 10_000)
        .ok_or_else(|| "expected two numbers up to 10000, such as `5..60`".to_owned())
}

/// From 0 to 1.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Above 0.
pub(super) fn parse_positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| *number > 0.0 && number.is_finite())
        .ok_or_else(|| "expected a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(seed: u64) -> Population<'static> {
        Population {
            users: 20,
            days: 7,
            requests_a_day: (5, 60),
            publishes_every: 3,
            popular: 50,
            popular_share: 0.2,
            zipf: 0.8,
            max_comments: &[100, 500],
            seed,
        }
    }

    #[test]
    fn creators_ask_for_what_is_out_and_among_their_newest() {
        let workload = generate(&population(1)).expect("requests");
        assert!(workload.requests.is_sorted_by_key(|asked| asked.at));
        let (popular, own): (Vec<_>, Vec<_>) =
            workload.requests.iter().partition(|asked| asked.video.as_str().starts_with('P'));
        let share = popular.len() as f64 / workload.requests.len() as f64;
        assert!((0.17..0.23).contains(&share), "{share}");
        for asked in own {
            let age = asked.at.duration_since(workload.published[asked.video.as_str()]).as_secs_f64();
            assert!((0.0..=15.0 * DAY_SECONDS).contains(&age), "{age}: {asked:?}");
        }
        let first = popular.iter().filter(|asked| asked.video.as_str() == popular_id(0)).count();
        let tenth = popular.iter().filter(|asked| asked.video.as_str() == popular_id(9)).count();
        assert!(first > 3 * tenth.max(1), "10 to the 0.8 is 6.3: {first}, {tenth}");
        assert_eq!(generate(&population(1)).expect("requests").requests, workload.requests);
        assert_ne!(generate(&population(2)).expect("requests").requests, workload.requests);
    }

    #[test]
    fn a_trace_is_read_with_and_without_what_may_be_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.csv");
        let text = "t_s,client,video_id\n5.5,b,LentlyEspr1,250,time\n1.25,a,LentlyPanES\n";
        std::fs::write(&path, text).expect("a file");
        let workload = read(&path, &[100], 1).expect("a trace");
        let [first, second] = &workload.requests[..] else { panic!("{workload:?}") };
        assert_eq!(
            (first.video.as_str(), first.max_comments, first.order),
            ("LentlyPanES", 100, CommentOrder::Relevance)
        );
        assert_eq!((second.max_comments, second.order), (250, CommentOrder::Time));
        assert_eq!(second.at.duration_since(first.at), SignedDuration::from_millis(4_250));
        assert_ne!(first.client, second.client);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.csv");
        for (text, says) in [
            ("1,a,LentlyPanES\nx,a,LentlyPanES\n", "line 2: `x` is no number of seconds"),
            ("1,a,short\n", "line 1: `short` is no id of a video"),
            ("1,a,LentlyPanES,0\n", "`0` is no number of comments"),
            ("1,a,LentlyPanES,5,best\n", "`best` is no order"),
            ("seconds,client,video\n", "it has no requests"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = read(&path, &[100], 1).expect_err("a wrong line").to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_warm_up_is_played_and_not_counted() {
        let workload = generate(&population(1)).expect("requests").counted_from(6).expect("a last day");
        let all = workload.requests.len() as f64;
        assert!((all / 8.0..all / 6.0).contains(&(workload.counted() as f64)));
        generate(&population(1)).expect("requests").counted_from(7).expect_err("nothing is left");
    }
}
