//! Random growth, edits, deletions and requests against a model: an answer is never older than promised, and never pays for what
//! it does not need, as far as a simple model can say.

use std::collections::BTreeMap;
use std::time::Duration;

use lently_emulator::{Change, NewComment};
use lently_upstream::CommentOrder;

use crate::comments::{NOTHING_STALE, ask, ids, pages, wanted};
use crate::house::{House, plain};

const FRESH: Duration = Duration::from_secs(1_800);

/// The same numbers for the same seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What pages a plain reading of so many takes: the first has 100, each other 99.
fn plain_pages(all: usize, most: usize) -> u64 {
    let wanted = all.min(most);
    let beyond = wanted.saturating_sub(100).div_ceil(99) as u64;
    // The end is only known by a page without a token.
    1 + beyond
}

#[tokio::test]
async fn answers_are_as_fresh_as_promised_and_cost_no_more_than_reading_anew() {
    for seed in 0..10 {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let house = House::open().await;
    let mut dice = Dice(seed);
    // When each of the comments that the sample does not have was written.
    let mut written: BTreeMap<String, jiff::Timestamp> = BTreeMap::new();
    let mut count = 249;
    let (mut paid, mut plain_cost) = (0, 0);
    // For a plain cache: what each amount and order has, and since when.
    let mut plain_entries: BTreeMap<(u32, bool), jiff::Timestamp> = BTreeMap::new();
    // By what is checked together: how many were wanted when it was checked last, and YouTube's count then.
    let mut checked: BTreeMap<(bool, bool), (u32, usize)> = BTreeMap::new();
    for step in 0..40 {
        house.clock.advance(Duration::from_secs(60 * (1 + dice.roll(90))));
        if dice.roll(3) > 0 {
            let most = if dice.roll(5) == 0 { 150 } else { 6 };
            let come = 1 + dice.roll(most);
            for n in 0..come {
                let (id, now) = (format!("s{step:02}n{n:03}"), house.clock.now());
                let new = NewComment { id: id.clone(), published_at: Some(now), ..NewComment::default() };
                assert_eq!(house.emulator.change(plain(), [Change::Add(new)]), 1);
                written.insert(id, now);
                count += 1;
            }
            // Fewer go than come, so that the count never says that nothing has happened.
            if come > 1 && dice.roll(4) == 0 {
                let place = dice.roll(written.len() as u64) as usize;
                let id = written.keys().nth(place).expect("one").clone();
                let edit = Change::Edit { id: id.clone(), text: "edited".to_owned(), updated_at: None };
                assert_eq!(house.emulator.change(plain(), [edit, Change::Delete { id: id.clone() }]), 2);
                written.remove(&id);
                count -= 1;
            }
        }
        let by_time = dice.roll(2) == 0;
        let order = if by_time { CommentOrder::Time } else { CommentOrder::Relevance };
        let most = [1, 50, 100, 150, 300, 5_000][dice.roll(6) as usize];
        let before = pages(&house);
        let cached = ask(&house, &wanted(most, order), &NOTHING_STALE).await.expect("comments");
        let answer = cached.value().expect("comments");
        let (now, cost) = (house.clock.now(), pages(&house) - before);
        let said = format!("seed {seed}, step {step}: {most} by {order}");
        let ids = ids(&answer);
        assert!(
            answer.checked_at < now || ids.len() >= count.min(most as usize),
            "{said}: {} of {count}",
            ids.len()
        );
        assert!(cached.age < FRESH, "{said}: {:?} old", cached.age);
        // By time, whatever was there half an hour ago and is newer than the last one given is given; all of it, where all is wanted.
        let oldest = answer.comments.last().and_then(|comment| comment.published_at);
        for (id, at) in &written {
            let was_there = *at <= now.checked_sub(FRESH).expect("a time");
            let belongs = if by_time { Some(*at) > oldest } else { most == 5_000 };
            assert!(!was_there || !belongs || ids.contains(&id.as_str()), "{said}: {id} is missing");
        }
        let anew = plain_pages(count, most as usize);
        assert!(cost <= anew + 1, "{said}: {cost} pages where {anew} would do");
        // A request for no more than was there at the last check, when nothing has happened since, pays nothing.
        let is_front = !by_time && most <= 100;
        if let Some((last, then)) = checked.get(&(by_time, is_front))
            && *then == count
            && most <= *last
        {
            assert_eq!(cost, 0, "{said}: nothing has happened");
        }
        if answer.checked_at == now {
            checked.insert((by_time, is_front), (most, count));
        }
        if is_front && cost > 0 {
            // It may have been all that was wanted anew, and the rest is no longer there.
            checked.remove(&(false, false));
        }
        paid += cost;
        let entry = plain_entries.get(&(most, by_time));
        if entry.is_none_or(|at| now.duration_since(*at) >= FRESH.try_into().expect("a duration")) {
            plain_cost += anew;
            plain_entries.insert((most, by_time), now);
        }
    }
    assert!(paid <= plain_cost, "seed {seed}: {paid} pages, and a plain cache buys {plain_cost}");
}
