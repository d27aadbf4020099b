//! Made-up videos whose comments arrive as time goes by. How many there are, when each was written and what it says is drawn from
//! a seed and the video's id, so nothing of a world is stored, however large it is, and each look at it shows the same.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use lently_upstream::Comment;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use rand_distr::{Distribution as _, LogNormal};

use crate::data::{Thread, Video};

/// So many comments are held as they were drawn: some hundred bytes each.
const DRAWN_AT_MOST: usize = 1_000_000;
/// No video has more.
const MOST_COMMENTS: u64 = 200_000;
const DAY_MS: f64 = 86_400_000.0;
/// When videos came out of which nothing is said, and a minute later the first of their comments.
const LONG_AGO: i64 = 1_735_689_600_000;
/// Up to this day of a video's life new comments fade; then they trickle.
const FADING_DAYS: f64 = 10.0;
/// Of a video's size, on the first day; on the second half of that, on the third a third.
const FIRST_DAY: f64 = 0.3;
const TRICKLE: f64 = 0.01;
/// The share of comments that say what many say.
const STOCK_SHARE: f64 = 0.12;
const STOCK: [&str; 12] = [
    "first!",
    "Nice video",
    "❤️❤️❤️",
    "love it",
    "Great content, keep it up!",
    "who's watching this in winter?",
    "😂😂😂",
    "thank you so much",
    "subscribed!",
    "amazing",
    "this is so underrated",
    "lol",
];
const WORDS: [&str; 48] = [
    "the",
    "sound",
    "really",
    "helped",
    "me",
    "understand",
    "why",
    "camera",
    "shakes",
    "at",
    "minute",
    "four",
    "but",
    "editing",
    "is",
    "great",
    "please",
    "make",
    "another",
    "one",
    "about",
    "prices",
    "where",
    "did",
    "you",
    "buy",
    "that",
    "lens",
    "I",
    "tried",
    "it",
    "and",
    "broke",
    "after",
    "two",
    "weeks",
    "honestly",
    "best",
    "channel",
    "for",
    "beginners",
    "too",
    "long",
    "intro",
    "could",
    "be",
    "shorter",
    "thanks",
];

/// What kind of world it is; complete before it is made.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Two worlds of the same seed and configuration are the same.
    pub seed: u64,
    /// The median size of a video: its comments, or where they grow, what they are reckoned from.
    pub median: f64,
    /// How far sizes lie apart: they are log-normal, and this is the deviation of their logarithm.
    pub sigma: f64,
    /// How comments arrive.
    pub growth: Growth,
    /// When videos came out, by id; all others did so long ago.
    pub published: HashMap<String, Timestamp>,
}

/// How comments arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// They are all there.
    None,
    /// In a day come 30 % of the video's size, divided by its age in days, up to the tenth; then 1 %. A video of which nobody
    /// says when it came out does not grow any more.
    Fading,
}

/// Why there is no such world.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("sizes of videos cannot be log-normal with median `{median}` and sigma `{sigma}`")]
pub struct WorldError {
    median: f64,
    sigma: f64,
}

/// The world. Every id of a video is one.
pub struct World {
    config: WorldConfig,
    sizes: LogNormal<f64>,
    /// Videos as they were drawn last: a comment that was drawn once is copied.
    drawn: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    videos: HashMap<String, Arc<Video>>,
    comments: usize,
}

impl Drawn {
    fn put(&mut self, video: &Arc<Video>) {
        if self.comments > DRAWN_AT_MOST {
            *self = Self::default();
        }
        self.comments += video.threads.len();
        if let Some(before) = self.videos.insert(video.id.clone(), Arc::clone(video)) {
            self.comments -= before.threads.len();
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.config.seed).finish_non_exhaustive()
    }
}

impl World {
    /// Makes a world.
    ///
    /// # Errors
    /// A median that is not above zero, or a sigma that is no number.
    pub fn new(config: WorldConfig) -> Result<Self, WorldError> {
        let (median, sigma) = (config.median, config.sigma);
        let sizes = LogNormal::new(median.ln(), sigma)
            .ok()
            .filter(|_| median > 0.0)
            .ok_or(WorldError { median, sigma })?;
        Ok(Self { config, sizes, drawn: Mutex::default() })
    }

    /// How many comments a video has at a time.
    #[must_use]
    pub fn count_at(&self, video_id: &str, now: Timestamp) -> u64 {
        let size = self.size(video_id);
        match self.growing_since(video_id) {
            None => size,
            Some(published) => {
                let age = now.duration_since(published).as_millis() as f64 / DAY_MS;
                ((size as f64 * share_by(age)) as u64).min(MOST_COMMENTS)
            }
        }
    }

    /// When the comment of that number, the oldest being 0, was written.
    #[must_use]
    pub fn written_at(&self, video_id: &str, number: u64) -> Timestamp {
        let after = |start: Timestamp, ms: i64| {
            start.checked_add(SignedDuration::from_millis(ms)).unwrap_or(Timestamp::MAX)
        };
        match self.growing_since(video_id) {
            None => after(long_ago(), (number as i64 + 1).saturating_mul(60_000)),
            Some(published) => {
                let share = (number + 1) as f64 / self.size(video_id).max(1) as f64;
                after(published, (age_at(share) * DAY_MS).ceil() as i64)
            }
        }
    }

    /// What it says.
    #[must_use]
    pub fn text(&self, video_id: &str, number: u64) -> String {
        let mut chance = self.chance(video_id, number, "text");
        if chance.random_bool(STOCK_SHARE) {
            return STOCK.choose(&mut chance).copied().unwrap_or_default().to_owned();
        }
        let words = chance.random_range(4..28);
        let words: Vec<&str> = (0..words).filter_map(|_| WORDS.choose(&mut chance).copied()).collect();
        words.join(" ")
    }

    /// How often it is liked, which puts it in its place by relevance.
    #[must_use]
    pub fn likes(&self, video_id: &str, number: u64) -> u64 {
        let rare: f64 = self.chance(video_id, number, "likes").random();
        (1.0 / (1.0 - rare).max(1e-6)) as u64 - 1
    }

    /// The video with its comments, as it is at a time.
    pub(crate) fn video(&self, video_id: &str, now: Timestamp) -> Arc<Video> {
        let count = self.count_at(video_id, now);
        let drawn = || self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = drawn().videos.get(video_id).cloned();
        let known: &[Thread] = before.as_ref().map_or(&[], |video| &video.threads);
        if let Some(video) = before.as_ref().filter(|_| known.len() as u64 == count) {
            return Arc::clone(video);
        }
        let comment = |number| {
            let written = self.written_at(video_id, number);
            let author = self.chance(video_id, number, "author").random_range(0..1_000_000);
            Comment {
                id: format!("{video_id}.{number}"),
                parent_id: None,
                author: format!("@viewer{author}"),
                author_channel_id: Some(format!("UCviewer{author:016}")),
                text: self.text(video_id, number),
                like_count: self.likes(video_id, number),
                reply_count: 0,
                published_at: Some(written),
                updated_at: Some(written),
            }
        };
        let video = Arc::new(Video {
            id: video_id.to_owned(),
            title: format!("Video {video_id}"),
            channel: "Simulated channel".to_owned(),
            channel_id: format!("UC{}", &blake3::hash(video_id.as_bytes()).to_hex()[..22]),
            description: String::new(),
            published: Some(self.growing_since(video_id).unwrap_or_else(long_ago)),
            duration_seconds: 600,
            views: count.saturating_mul(300),
            likes: count.saturating_mul(10),
            language: Some("en".to_owned()),
            comments_disabled: false,
            hidden: 0,
            threads: {
                let new = (known.len() as u64..count)
                    .map(|number| Thread { top: comment(number), replies: Vec::new() });
                known.iter().take(usize::try_from(count).unwrap_or(usize::MAX)).cloned().chain(new).collect()
            },
        });
        drawn().put(&video);
        video
    }

    fn size(&self, video_id: &str) -> u64 {
        let size = self.sizes.sample(&mut self.chance(video_id, 0, "size"));
        // Beyond what an integer holds it saturates.
        (size.round() as u64).min(MOST_COMMENTS)
    }

    fn growing_since(&self, video_id: &str) -> Option<Timestamp> {
        match self.config.growth {
            Growth::None => None,
            Growth::Fading => self.config.published.get(video_id).copied(),
        }
    }

    /// What is drawn for one thing of one video is drawn from a source of its own.
    fn chance(&self, video_id: &str, number: u64, what: &str) -> SmallRng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.config.seed.to_le_bytes()).update(&number.to_le_bytes());
        hasher.update(what.as_bytes()).update(video_id.as_bytes());
        let mut seed = [0; 8];
        seed.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        SmallRng::seed_from_u64(u64::from_le_bytes(seed))
    }
}

fn long_ago() -> Timestamp {
    Timestamp::from_millisecond(LONG_AGO).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The comments that a video has got by an age in days, as a share of its size.
fn share_by(age: f64) -> f64 {
    if age <= 0.0 {
        return 0.0;
    }
    let whole = age.floor().min(FADING_DAYS);
    let full: f64 = (1..=whole as u32).map(|day| FIRST_DAY / f64::from(day)).sum();
    full + (age - whole) * if age < FADING_DAYS { FIRST_DAY / (whole + 1.0) } else { TRICKLE }
}

/// The age at which it has got that share.
fn age_at(share: f64) -> f64 {
    let mut left = share;
    for day in 1..=FADING_DAYS as u32 {
        let of_day = FIRST_DAY / f64::from(day);
        if left <= of_day {
            return f64::from(day - 1) + left / of_day;
        }
        left -= of_day;
    }
    FADING_DAYS + left / TRICKLE
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: &str = "LentlyWorld";

    fn world(growth: Growth, published: Option<Timestamp>) -> World {
        let published = published.map(|at| (VIDEO.to_owned(), at)).into_iter().collect();
        World::new(WorldConfig { seed: 7, median: 300.0, sigma: 1.4, growth, published }).expect("a world")
    }

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + number * 86_400).expect("a time")
    }

    #[test]
    fn a_comment_is_there_from_when_it_was_written() {
        let world = world(Growth::Fading, Some(day(0)));
        let mut seen = 0;
        for hour in 0..24 * 20 {
            let now = day(0).checked_add(SignedDuration::from_hours(hour)).expect("a time");
            let count = world.count_at(VIDEO, now);
            assert!(count >= seen);
            seen = count;
            if count > 0 {
                assert!(world.written_at(VIDEO, count - 1) <= now);
            }
            assert!(world.written_at(VIDEO, count) > now);
        }
        assert!(seen > 10);
    }

    #[test]
    fn comments_fade_and_then_trickle() {
        for (age, share) in [
            (0.0, 0.0),
            (0.5, 0.15),
            (1.0, 0.3),
            (2.0, 0.45),
            (3.0, 0.55),
            (10.0, 0.878_690),
            (20.0, 0.978_690),
        ] {
            assert!((share_by(age) - share).abs() < 1e-6, "{age}: {}", share_by(age));
            assert!((age_at(share_by(age)) - age).abs() < 1e-6, "{age}");
        }
    }

    #[test]
    fn sizes_are_log_normal() {
        let world = world(Growth::None, None);
        let mut sizes: Vec<u64> = (0..4_001).map(|number| world.size(&format!("v{number}"))).collect();
        sizes.sort_unstable();
        let quantile = |share: f64| sizes[(share * 4_000.0) as usize] as f64;
        assert!((270.0..330.0).contains(&quantile(0.5)), "{}", quantile(0.5));
        // One deviation above the median.
        let above = quantile(0.8413) / quantile(0.5);
        assert!((3.5..4.6).contains(&above), "e to the 1.4 is 4.06, not {above}");
    }

    #[test]
    fn a_world_is_the_same_each_time() {
        let (one, other) = (world(Growth::None, None), world(Growth::None, None));
        let at = day(1);
        assert_eq!(one.count_at(VIDEO, at), other.count_at(VIDEO, at));
        for (left, right) in one.video(VIDEO, at).threads.iter().zip(&other.video(VIDEO, at).threads) {
            assert_eq!(left.top, right.top);
        }
        let stock = (0..1_000).filter(|number| STOCK.contains(&one.text(VIDEO, *number).as_str())).count();
        assert!((80..170).contains(&stock), "{stock}");
    }
}
