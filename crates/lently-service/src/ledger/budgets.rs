//! How much may be spent a day, and who has to stop before others do. It counts nothing.

use std::fmt;

use lently_upstream::Bucket;
use serde::Serialize;

use super::freshness::FreshnessSteps;
use crate::ids::UserId;

/// What may be spent in a Pacific day, by the whole fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// Units of YouTube's shared quota. Default 10,000, as is the next.
    pub shared_units: u64,
    /// Units of the quota for statistics.
    pub stats_units: u64,
    /// Searches. Default 100.
    pub search_units: u64,
    /// The share of each of them that is left to those who wait: work that nobody waits for stops before it. 0 to 1, default 0.2.
    pub kept_share: f64,
    /// How old what is served may be while little of the shared units is left.
    pub freshness: FreshnessSteps,
    /// What Gemini may cost, in millionths of a dollar; as much as it takes, without one. Beyond it comments are judged locally.
    pub gemini_micro_dollars: Option<u64>,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            shared_units: Bucket::Shared.units_per_day(),
            stats_units: Bucket::Stats.units_per_day(),
            search_units: Bucket::Search.units_per_day(),
            kept_share: 0.2,
            freshness: FreshnessSteps::default(),
            gemini_micro_dollars: None,
        }
    }
}

impl Budgets {
    /// What may be taken from a bucket in all.
    pub fn units(&self, bucket: Bucket) -> u64 {
        match bucket {
            Bucket::Shared => self.shared_units,
            Bucket::Search => self.search_units,
            Bucket::Stats => self.stats_units,
        }
    }

    /// What may be taken from it before this purpose has to stop.
    pub(crate) fn units_for(&self, bucket: Bucket, purpose: Purpose) -> u64 {
        let all = self.units(bucket);
        if !purpose.is_background() {
            return all;
        }
        // Shares of at most some millions are exact enough.
        let kept = (all as f64 * self.kept_share.clamp(0.0, 1.0)).ceil() as u64;
        all.saturating_sub(kept)
    }
}

/// What something is spent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Somebody waits for YouTube's data, or asked for it and got an older one meanwhile.
    Interactive,
    /// Somebody wants an analysis.
    Analysis,
    /// The cache is filled ahead of being asked. Nobody waits.
    Warm,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Analysis, Self::Warm];

    /// The name in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Analysis => "analysis",
            Self::Warm => "warm",
        }
    }

    /// Whether nobody waits for it: it stops before the others have to.
    pub const fn is_background(self) -> bool {
        match self {
            Self::Interactive | Self::Analysis => false,
            Self::Warm => true,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// For whom something is spent, and what for. A fetch that is shared is the one's who began it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// The user.
    pub user: UserId,
    /// What for.
    pub purpose: Purpose,
}

impl Payer {
    /// A user who waits for YouTube's data.
    pub const fn interactive(user: UserId) -> Self {
        Self { user, purpose: Purpose::Interactive }
    }

    /// A user's analysis.
    pub const fn analysis(user: UserId) -> Self {
        Self { user, purpose: Purpose::Analysis }
    }

    /// The operator's warming.
    pub fn warm() -> Self {
        Self { user: UserId::local(), purpose: Purpose::Warm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_leaves_a_share_to_those_who_wait() {
        let budgets = Budgets { shared_units: 99, kept_share: 0.2, ..Budgets::default() };
        assert_eq!(budgets.units_for(Bucket::Shared, Purpose::Interactive), 99);
        assert_eq!(budgets.units_for(Bucket::Shared, Purpose::Warm), 79);
        let none = Budgets { kept_share: 0.0, ..budgets.clone() };
        assert_eq!(none.units_for(Bucket::Shared, Purpose::Warm), 99);
        let all = Budgets { kept_share: 1.0, ..budgets };
        assert_eq!(all.units_for(Bucket::Shared, Purpose::Warm), 0);
    }
}
