//! How likely a comment advertises or begs: a logistic model over features that can be read ([`features`]), with weights that
//! `scripts/train-spam` makes. Knows no text by heart.

use std::{collections::HashMap, sync::LazyLock};

use self::features::{FEATURES, Seen};
use crate::{phrases, tokens};

pub(crate) mod features;

/// From here on a comment counts as spam. High, for what is taken for spam is heard no more.
pub(crate) const FROM: f64 = 0.7;
/// What a phrase of the list says by itself: the model learns from English alone.
const LISTED: f64 = 0.9;

/// The weight of each feature, and what the sum begins with.
static WEIGHTS: LazyLock<(f64, [f64; FEATURES.len()])> = LazyLock::new(|| {
    let rows: HashMap<&str, f64> = include_str!("../data/spam_weights.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(name, weight)| Some((name, weight.parse().ok()?)))
        .collect();
    let of = |name: &str| rows.get(name).copied().unwrap_or_default();
    (of("bias"), FEATURES.map(|(name, _)| of(name)))
});

/// The probability that a text is spam, where half of the texts are. `words` are the text's.
pub(crate) fn probability(text: &str, words: &[String]) -> f64 {
    let seen = Seen::new(text, words);
    let (bias, weights) = &*WEIGHTS;
    let sum: f64 = FEATURES.iter().zip(weights).map(|((_, of), weight)| weight * of(&seen)).sum();
    let learned = 1.0 / (1.0 + (-(bias + sum)).exp());
    if phrases::spam(&seen.said) { learned.max(LISTED) } else { learned }
}

/// The features of a text by name, for whoever makes the weights.
#[doc(hidden)]
#[must_use]
pub fn spam_features(text: &str) -> Vec<(&'static str, f64)> {
    let seen = Seen::new(text, &tokens::words(text));
    FEATURES.iter().map(|(name, of)| (*name, of(&seen))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> f64 {
        probability(text, &tokens::words(text))
    }

    #[test]
    fn what_advertises_or_begs_is_spam() {
        for text in [
            "Check out my channel for free gift cards",
            "Hey guys, please subscribe to me, I upload covers every week!",
            "sub4sub anyone?",
            "Help me reach 500 subscribers",
            "I earn $300 per week online, ask me how",
            "https://bit.ly/abc wow",
            "check this out http://www.example.org/win/?ref=7",
            "Suscríbete a mi canal por favor",
            "Abonniert meinen Kanal, ich mache auch Videos",
            "kanalıma abone olun lütfen",
        ] {
            assert!(of(text) >= FROM, "{text}: {}", of(text));
        }
    }

    #[test]
    fn what_speaks_of_channels_money_and_pages_is_not_yet_spam() {
        for text in [
            "I subscribed because of this video",
            "I love your channel, keep it up",
            "My favorite channel on this site",
            "Does it work with WhatsApp and Telegram?",
            "I'm saving money for this one",
            "The source is https://example.org/a?b=c and it explains all of this much better than the video does",
            "Is the link in the description still working? https://www.youtube.com/watch?v=aaaaaaaaaaa says it is private",
            "Please follow up on this, I would watch a second part",
            "You made me buy this camera, my wife will kill me",
            "Look at my cat's face when this song comes on",
            "My favourite channel of all, I can only say",
            "first",
            "",
        ] {
            assert!(of(text) < FROM, "{text}: {}", of(text));
        }
    }
}
