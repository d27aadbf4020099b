//! What is counted, and by what name it stands in the store and in the tally. The only place that spells them.

use lently_upstream::Bucket;

/// Units of a bucket.
pub(super) fn units(bucket: Bucket) -> String {
    format!("units:{bucket}")
}

/// More than zero once YouTube has said that a bucket is used up.
pub(super) fn used_up(bucket: Bucket) -> String {
    format!("used_up:{bucket}")
}

/// What Gemini cost in all, in millionths of a dollar.
pub(super) const MICRO_DOLLARS: &str = "gemini_micro_dollars";

/// What is counted of each of Gemini's models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfModel {
    /// Calls that were sent.
    Calls,
    TokensIn,
    TokensOut,
    MicroDollars,
    /// Answers for which there was no price.
    Unpriced,
}

impl OfModel {
    const ALL: [Self; 5] = [Self::Calls, Self::TokensIn, Self::TokensOut, Self::MicroDollars, Self::Unpriced];

    const fn word(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::TokensIn => "tokens_in",
            Self::TokensOut => "tokens_out",
            Self::MicroDollars => "micro_dollars",
            Self::Unpriced => "unpriced",
        }
    }

    /// The counter's name. A model's has no colon in it: its client sees to that.
    pub(super) fn counter(self, model: &str) -> String {
        format!("gemini:{model}:{}", self.word())
    }

    /// What a name means, if it is one of these, and the model.
    pub(super) fn read(counter: &str) -> Option<(&str, Self)> {
        let (model, word) = counter.strip_prefix("gemini:")?.rsplit_once(':')?;
        Some((model, Self::ALL.into_iter().find(|of| of.word() == word)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_counters_are_read_as_they_are_written() {
        for of in OfModel::ALL {
            assert_eq!(
                OfModel::read(&of.counter("gemini-3.5-flash-lite")),
                Some(("gemini-3.5-flash-lite", of))
            );
        }
        for other in [MICRO_DOLLARS, &units(Bucket::Shared), &used_up(Bucket::Stats), "gemini:x:other"] {
            assert_eq!(OfModel::read(other), None, "{other}");
        }
    }
}
