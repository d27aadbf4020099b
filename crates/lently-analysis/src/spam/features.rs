//! What of a comment speaks for spam: begging, addresses and how one points at oneself. Each is a plain rule over words,
//! nothing in it is learned.

use std::{collections::HashMap, sync::LazyLock};

use crate::tokens::is_address;

/// A text, and what its words are.
pub(crate) struct Seen {
    /// Its words in order, each with a space before and behind it.
    pub(super) said: String,
    classes: Vec<u32>,
    addresses: Vec<String>,
    lower: String,
}

type Feature = (&'static str, fn(&Seen) -> f64);

/// The features by name, 0 to 1 each.
pub(crate) const FEATURES: [Feature; 20] = [
    ("subscribe_please", |seen| truth(seen.subscribe_please())),
    ("subscribers_wanted", |seen| truth(seen.subscribers_wanted())),
    ("subscriptions_exchanged", |seen| truth(seen.has(EXCHANGE) || seen.near(SUBS, 0, 2, TO_ME))),
    ("own_channel", |seen| truth(seen.own_channel())),
    ("own_work", |seen| truth(seen.near(OWN, 0, 3, WORK))),
    ("own_shown", |seen| truth(seen.own_shown())),
    ("channel_shown", |seen| truth(seen.classes.len() <= 8 && seen.near(CHANNEL, 3, 0, CALL))),
    ("address", |seen| truth(seen.points())),
    ("address_alone", |seen| truth(seen.shared() || (seen.points() && seen.classes.len() < FEW_WORDS))),
    ("address_shown", |seen| truth(seen.points() && seen.has(CALL))),
    ("address_of_a_shop_or_profile", |seen| truth(seen.address(|address| hosted(address, &SOCIAL_HOSTS)))),
    ("address_elsewhere", |seen| truth(seen.sends_elsewhere())),
    ("address_spelled_out", |seen| truth(seen.addresses.is_empty() && seen.spells_an_address())),
    ("follow_me", |seen| truth(seen.near(FOLLOW, 0, 1, TO_ME))),
    ("something_for_nothing", |seen| truth(seen.near(GAIN, 0, 4, GOODS) || seen.says(&OFFERS))),
    ("likes_begged", |seen| truth(seen.says(&LIKES_BEGGED))),
    ("pleaded", |seen| truth(seen.begs() && (seen.has(PLEASE) || seen.says(&PLEAS)))),
    ("cause", |seen| truth(seen.campaigns())),
    ("maker", |seen| truth(seen.near(MAKER, 6, 0, ME))),
    ("everyone_greeted", |seen| truth(seen.says(&GREETINGS))),
];

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// An address in fewer words than this is all that a comment has to say.
const FEW_WORDS: usize = 5;

// Classes of words, a bit each.
const OWN: u32 = 1;
const CHANNEL: u32 = 1 << 1;
const YOUTUBE: u32 = 1 << 2;
const WORK: u32 = 1 << 3;
const CALL: u32 = 1 << 4;
const LOOK: u32 = 1 << 5;
const PLEASE: u32 = 1 << 6;
const WHOM: u32 = 1 << 7;
const TO_ME: u32 = 1 << 8;
const SUBS: u32 = 1 << 9;
const SUBSCRIBERS: u32 = 1 << 10;
const EXCHANGE: u32 = 1 << 11;
const ME: u32 = 1 << 12;
const WANTED: u32 = 1 << 13;
const NOT_ASKING: u32 = 1 << 14;
const GAIN: u32 = 1 << 15;
const GOODS: u32 = 1 << 16;
const CAUSE: u32 = 1 << 17;
const CAMPAIGN: u32 = 1 << 18;
const MAKER: u32 = 1 << 19;
const FOLLOW: u32 = 1 << 20;
const FAVORED: u32 = 1 << 21;
const SUBSCRIBE: u32 = 1 << 22;
const CLASSES: [(&str, u32); 22] = [
    ("own", OWN),
    ("channel", CHANNEL),
    ("youtube", YOUTUBE),
    ("work", WORK),
    ("call", CALL),
    ("look", LOOK),
    ("please", PLEASE),
    ("whom", WHOM),
    ("to_me", TO_ME),
    ("subs", SUBS),
    ("subscribers", SUBSCRIBERS),
    ("exchange", EXCHANGE),
    ("me", ME),
    ("wanted", WANTED),
    ("not_asking", NOT_ASKING),
    ("gain", GAIN),
    ("goods", GOODS),
    ("cause", CAUSE),
    ("campaign", CAMPAIGN),
    ("maker", MAKER),
    ("follow", FOLLOW),
    ("favored", FAVORED),
];

/// Beginnings of "subscribe" as it is written, and what the forms that ask for nothing end in.
const SUBSCRIBE_BEGINS: [&str; 6] = ["subscri", "suscrib", "subcri", "sucscri", "sbscri", "subsri"];
const SUBSCRIBED_ENDS: [&str; 8] = ["bed", "bd", "ber", "bers", "ption", "ptions", "bing", "bes"];
const SOCIAL_HOSTS: [&str; 20] = [
    "facebook",
    "fb.",
    "twitter",
    "instagram",
    "twitch",
    "snapchat",
    "soundcloud",
    "t.me",
    "wa.me",
    "telegram",
    "ebay",
    "amazon",
    "amzn",
    "gofundme",
    "indiegogo",
    "kickstarter",
    "bit.ly",
    "goo.gl",
    "tinyurl",
    "tsu.co",
];
const YOUTUBE_HOSTS: [&str; 2] = ["youtube.", "youtu.be"];
/// The ready-made sentences of a "share" button.
const SHARED: [&str; 3] = [
    " check out this video on youtu",
    " check out this playlist on youtu",
    " take a look at this video on youtu",
];
const LIKES_BEGGED: [&str; 7] = [
    " like this comment ",
    " like my comment ",
    " like and comment ",
    " like and share ",
    " like share ",
    " give me likes ",
    " like and subscribe ",
];
const OFFERS: [&str; 11] = [
    " earn money ",
    " make money online ",
    " make money from ",
    " make money by ",
    " earn cash ",
    " get free ",
    " for free at ",
    " click here ",
    " click this link ",
    " click the link ",
    " sign up here ",
];
const ME_SHOWN: [&str; 4] = [" check me out ", " check us out ", " look me up ", " look us up "];
const PLEAS: [&str; 4] = [" mean the world ", " mean a lot if ", " give me a chance ", " give us a chance "];
const GREETINGS: [&str; 9] = [
    " hey guys ",
    " hi guys ",
    " hello guys ",
    " hey everyone ",
    " hi everyone ",
    " hello everyone ",
    " hey everybody ",
    " hi everybody ",
    " hello everybody ",
];
/// Ends of addresses that are spelled so as not to look like one.
const ENDINGS: [&str; 6] = ["com", "net", "org", "tv", "info", "tk"];

static WORDS: LazyLock<HashMap<&'static str, u32>> = LazyLock::new(|| {
    let mut words: HashMap<&str, u32> = HashMap::new();
    let rows = include_str!("../../data/spam_words.tsv").lines().filter_map(|line| line.split_once('\t'));
    for (class, listed) in rows {
        let Some((_, bit)) = CLASSES.iter().find(|(name, _)| *name == class) else { continue };
        for word in listed.split(' ') {
            *words.entry(word).or_default() |= bit;
        }
    }
    words
});

fn class(word: &str) -> u32 {
    let listed = WORDS.get(word).copied().unwrap_or_default();
    let subscribe = SUBSCRIBE_BEGINS.iter().any(|begin| word.starts_with(begin))
        && !SUBSCRIBED_ENDS.iter().any(|end| word.ends_with(end));
    listed | if subscribe { SUBSCRIBE } else { 0 }
}

fn hosted(address: &str, hosts: &[&str]) -> bool {
    hosts.iter().any(|host| address.contains(host))
}

impl Seen {
    pub(crate) fn new(text: &str, words: &[String]) -> Self {
        let lower = text.to_lowercase();
        let addresses =
            lower.split_whitespace().filter(|token| is_address(token)).map(str::to_owned).collect();
        Self {
            said: format!(" {} ", words.join(" ")),
            classes: words.iter().map(|word| class(word)).collect(),
            addresses,
            lower,
        }
    }

    fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.said.contains(phrase))
    }

    fn has(&self, class: u32) -> bool {
        self.classes.iter().any(|of| of & class != 0)
    }

    /// Whether a word of the one class has one of the other so close before or behind it.
    fn near(&self, class: u32, before: usize, behind: usize, other: u32) -> bool {
        self.places(class).any(|place| self.around(place, before, behind, other))
    }

    fn places(&self, class: u32) -> impl Iterator<Item = usize> {
        self.classes.iter().enumerate().filter(move |(_, of)| **of & class != 0).map(|(place, _)| place)
    }

    fn around(&self, place: usize, before: usize, behind: usize, class: u32) -> bool {
        let end = self.classes.len().min(place + 1 + behind);
        let around =
            self.classes[place.saturating_sub(before)..place].iter().chain(&self.classes[place + 1..end]);
        around.into_iter().any(|of| of & class != 0)
    }

    /// "Subscribe!", and not "I would subscribe".
    fn subscribe_please(&self) -> bool {
        self.places(SUBSCRIBE).any(|place| {
            let asked = self.around(place, 0, 3, WHOM)
                || self.around(place, 3, 0, PLEASE)
                || self.around(place, 5, 0, LOOK);
            self.classes.len() <= 3 || (asked && !self.around(place, 2, 0, NOT_ASKING))
        })
    }

    /// "Help me get 500 subs", "subscribers please".
    fn subscribers_wanted(&self) -> bool {
        self.places(SUBSCRIBERS).any(|place| {
            (self.around(place, 6, 0, ME) && self.around(place, 6, 0, WANTED))
                || self.around(place, 0, 1, PLEASE)
        })
    }

    /// "My gaming channel", and not "my favorite channel".
    fn own_channel(&self) -> bool {
        self.places(OWN)
            .any(|place| self.around(place, 0, 3, CHANNEL | YOUTUBE) && !self.around(place, 0, 2, FAVORED))
    }

    /// "Check out my songs", "my channel, come and look".
    fn own_shown(&self) -> bool {
        let own = self.places(OWN).any(|place| {
            self.around(place, 0, 3, CHANNEL | YOUTUBE | WORK)
                && (self.around(place, 5, 0, CALL) || self.around(place, 0, 7, LOOK))
        });
        own || self.says(&ME_SHOWN)
    }

    fn address(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.addresses.iter().any(|address| fits(address))
    }

    fn shared(&self) -> bool {
        self.classes.len() <= 9 && self.says(&SHARED)
    }

    fn points(&self) -> bool {
        !self.addresses.is_empty() || self.shared()
    }

    fn begs(&self) -> bool {
        self.subscribe_please() || self.points() || self.own_channel()
    }

    /// Away from YouTube, with a call or a word of oneself, or without a word: a source that is named beside what it says sends nobody.
    fn sends_elsewhere(&self) -> bool {
        self.address(|address| !hosted(address, &YOUTUBE_HOSTS))
            && (self.has(CALL | PLEASE | ME | OWN)
                || self.classes.len() < FEW_WORDS
                || self.addresses.len() > 1)
    }

    /// For votes, signatures and money.
    fn campaigns(&self) -> bool {
        (self.has(CAUSE) && (self.has(PLEASE | CALL) || self.points()))
            || (self.has(CAMPAIGN) && self.has(PLEASE))
    }

    /// `name . com`, `name dot com`.
    fn spells_an_address(&self) -> bool {
        let tokens: Vec<&str> = self.lower.split_whitespace().collect();
        let ends = |token: &str| ENDINGS.contains(&token.trim_end_matches(|c: char| !c.is_alphanumeric()));
        let whole = |token: &str| {
            token
                .split('/')
                .next()
                .and_then(|host| host.rsplit_once('.'))
                .is_some_and(|(name, end)| name.len() >= 3 && !name.ends_with('.') && ends(end))
        };
        tokens.iter().any(|token| whole(token))
            || tokens
                .windows(3)
                .any(|three| matches!(three[1], "." | "dot") && three[0].len() >= 3 && ends(three[2]))
            || tokens.windows(2).any(|two| two[0].len() > 3 && two[0].ends_with('.') && ends(two[1]))
    }
}
