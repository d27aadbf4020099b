//! What is owed, in which order it is paid, and what gives way.

use super::{owed::MAX_KEYS, *};
use crate::{Cost, Kind, Tags, clock::Clock, entry::Tier, envelope};

const THING: Kind = Kind { name: "thing", schema: 1 };

fn value(text: &'static str) -> Debt {
    let now = "2026-11-24T12:00:00Z".parse::<Timestamp>().expect("a time");
    let policy = crate::Policy {
        kind: THING,
        fresh: Duration::from_secs(60),
        stale: Duration::ZERO,
        retention: Duration::from_secs(600),
        refresh_ahead: Duration::ZERO,
        fetch_timeout: Duration::from_secs(1),
        after_wait: crate::AfterWait::Fetch,
        failures: crate::FailureTtl::default(),
        tags: Tags::NONE,
    };
    let entry = envelope::entry(&policy, text.into(), Cost::default(), policy.fresh, now);
    Debt::Value { kind: THING, entry, since: Instant::now(), token: None, over: false }
}

fn delete() -> Debt {
    Debt::Delete(Instant::now())
}

fn repairs() -> Repairs {
    Repairs::new(Arc::new(Teller::new(&[THING], Clock::system())))
}

/// All that was told since, by word.
fn heard(events: &mut crate::Events) -> Vec<String> {
    let events = std::iter::from_fn(|| events.try_next());
    let told = events.map(|heard| match heard {
        crate::Heard::Event(event) => match event.what {
            What::Owed { change } => format!("owed {change:?}"),
            What::ToldLate { change } => format!("told {change:?}"),
            What::GivenUp { change, why } => format!("given up {change:?}: {why:?}"),
            what => panic!("{what:?}"),
        },
        crate::Heard::Missed(missed) => panic!("{missed} missed"),
    });
    told.collect()
}

fn key(text: &str) -> Arc<str> {
    Arc::from(text)
}

/// All that is paid, in its order, by word.
fn paid(repairs: &Repairs) -> Vec<String> {
    let mut paid = Vec::new();
    while let Some(next) = repairs.next() {
        paid.push(match &next {
            Next::Pattern(_, pattern, _) => format!("pattern {}", pattern.as_str()),
            Next::Tag(_, tag, debt) => {
                format!("{} {tag}", if debt.expire { "expire" } else { "invalidate" })
            }
            Next::Key(_, key, Debt::Delete(_)) => format!("delete {key}"),
            Next::Key(_, key, Debt::Expire(..)) => format!("expire {key}"),
            Next::Key(_, key, Debt::Value { entry, over, .. }) => {
                format!("{key} = {}{}", entry.value.escape_ascii(), if *over { " or delete" } else { "" })
            }
        });
        repairs.done(&next, false);
    }
    paid
}

#[test]
fn what_takes_values_away_is_told_before_what_brings_some() {
    let repairs = repairs();
    repairs.owe(&key("thing:1"), value("1"));
    repairs.owe(&key("thing:2"), delete());
    repairs.owe_tag(&key("red"), TagDebt { expire: false, at: Clock::system().now() });
    repairs.owe_pattern(&Pattern::parse("other:*").expect("a pattern"), Instant::now());
    assert_eq!(repairs.stats().owed, 4);
    assert_eq!(paid(&repairs), ["pattern other:*", "invalidate red", "delete thing:2", "thing:1 = 1"]);
    assert_eq!(repairs.stats(), RepairStats { made: 4, ..RepairStats::default() });
}

#[test]
fn of_two_changes_of_a_key_the_later_is_owed() {
    let now = Clock::system().now();
    let expire = || Debt::Expire(Instant::now(), now);
    let cases: [(Debt, Debt, &str); 7] = [
        (value("1"), value("2"), "thing:1 = 2"),
        (value("1"), delete(), "delete thing:1"),
        (delete(), value("2"), "thing:1 = 2 or delete"),
        (expire(), value("2"), "thing:1 = 2 or delete"),
        (value("1"), expire(), "thing:1 = 1 or delete"),
        (delete(), expire(), "delete thing:1"),
        (expire(), delete(), "delete thing:1"),
    ];
    for (first, second, owed) in cases {
        let repairs = repairs();
        repairs.owe(&key("thing:1"), first);
        repairs.owe(&key("thing:1"), second);
        assert_eq!(paid(&repairs), [owed]);
    }
}

#[test]
fn a_pattern_makes_up_for_what_was_owed_of_its_keys_and_not_for_what_comes_after() {
    let repairs = repairs();
    repairs.owe(&key("thing:1"), value("1"));
    repairs.owe_pattern(&Pattern::parse("thing:*").expect("a pattern"), Instant::now());
    repairs.owe(&key("thing:2"), value("2"));
    assert!(repairs.owes("thing:1") && repairs.owes("thing:3") && !repairs.owes("other:1"));
    assert_eq!(paid(&repairs), ["pattern thing:*", "thing:2 = 2"]);
    assert!(!repairs.owes("thing:1"));
}

#[test]
fn what_changed_while_it_was_paid_is_still_owed() {
    let repairs = repairs();
    repairs.owe(&key("thing:1"), value("1"));
    let paid_for = repairs.next().expect("one");
    repairs.owe(&key("thing:1"), value("2"));
    repairs.done(&paid_for, false);
    assert_eq!((repairs.stats().owed, repairs.stats().made), (1, 0));
    repairs.settle("thing:1");
    assert_eq!(repairs.stats(), RepairStats::default());
}

#[test]
fn a_value_that_is_refused_does_not_keep_the_others_waiting() {
    let repairs = repairs();
    repairs.owe(&key("thing:1"), value("1"));
    repairs.owe(&key("thing:2"), value("2"));
    repairs.put_off(&repairs.next().expect("one"));
    assert!(repairs.rests(), "nobody else tries for a moment");
    assert_eq!(paid(&repairs), ["thing:2 = 2", "thing:1 = 1"]);
    repairs.try_now();
    assert!(!repairs.rests());
}

#[test]
fn an_invalid_tag_is_not_merely_stale() {
    let at = Clock::system().now();
    let repairs = repairs();
    repairs.owe_tag(&key("red"), TagDebt { expire: true, at });
    repairs.owe_tag(&key("red"), TagDebt { expire: false, at });
    repairs.owe_tag(&key("red"), TagDebt { expire: true, at });
    assert_eq!(paid(&repairs), ["invalidate red"]);
}

#[test]
fn values_give_way_first() {
    let repairs = repairs();
    repairs.owe(&key("thing:over"), delete());
    repairs.owe(&key("thing:over"), value("1"));
    for n in 0..MAX_KEYS {
        repairs.owe(&key(&format!("thing:{n}")), delete());
    }
    let stats = repairs.stats();
    assert_eq!((stats.owed, stats.dropped, stats.owed_bytes), (MAX_KEYS as u64, 1, 0));
    for n in 0..MAX_PATTERNS + 1 {
        repairs.owe_pattern(&Pattern::parse(&format!("other:{n}")).expect("a pattern"), Instant::now());
    }
    assert_eq!(repairs.stats().dropped, 2);
    assert_eq!(repairs.value("thing:over").map(|entry| entry.tier), None::<Tier>);
}

#[test]
fn what_becomes_of_what_is_owed_is_told() {
    let repairs = repairs();
    let mut events = repairs.teller.listen();
    repairs.owe(&key("thing:1"), value("1"));
    repairs.settle("thing:1");
    repairs.settle("thing:1");
    assert_eq!(heard(&mut events), ["owed Value", "given up Value: Overtaken"]);
    repairs.owe(&key("thing:1"), delete());
    repairs.owe(&key("thing:1"), value("2"));
    let next = repairs.next().expect("one");
    repairs.put_off(&next);
    repairs.done(&next, false);
    assert_eq!(heard(&mut events), ["owed Delete", "owed Value"], "it is another one by now");
    repairs.done(&repairs.next().expect("one"), true);
    assert_eq!(heard(&mut events), ["given up Value: Outrun"]);
    repairs.owe(&key("thing:2"), delete());
    repairs.owe_pattern(&Pattern::parse("thing:*").expect("a pattern"), Instant::now());
    let told = ["owed Delete", "given up Delete: Overtaken", "owed DeletePattern"];
    assert_eq!(heard(&mut events), told);
    for n in 1..=MAX_PATTERNS {
        repairs.owe_pattern(&Pattern::parse(&format!("other:{n}")).expect("a pattern"), Instant::now());
    }
    assert_eq!(heard(&mut events).last().expect("one"), "given up DeletePattern: TooMany");
    for n in 0..=MAX_TAGS {
        repairs.owe_tag(&key(&n.to_string()), TagDebt { expire: true, at: Clock::system().now() });
    }
    let mut told = Vec::new();
    while let Some(crate::Heard::Event(event)) = events.try_next() {
        told.push(event.what);
    }
    let dropped = What::GivenUp { change: Change::ExpireTag, why: GivenUp::TooMany };
    assert_eq!(told.last(), Some(&dropped));
}
