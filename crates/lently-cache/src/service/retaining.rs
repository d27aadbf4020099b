//! What lies in the tiers and for how long yet: told, listed, and swept where no server does it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::CacheService;
use crate::{
    entry::{PatternReport, Tier},
    error::CacheError,
    pattern::Pattern,
    remote::Remote,
};

/// What a tier holds of what a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierHolding {
    /// Which tier.
    pub tier: Tier,
    /// How much, since when and until when.
    pub report: PatternReport,
}

/// What a sweep dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Values in memory that were beyond their retention.
    pub memory: u64,
    /// Values in the disk file that were. Redis drops its own.
    pub disk: u64,
}

impl CacheService {
    /// What each tier holds of what matches: of what is in both, memory has a copy.
    ///
    /// # Errors
    /// The remote tier could not be asked.
    pub async fn holdings(&self, pattern: &Pattern) -> Result<Vec<TierHolding>, CacheError> {
        let inner = &self.0;
        let report = inner.memory.measure(pattern, inner.clock.now());
        let mut holdings = vec![TierHolding { tier: Tier::Memory, report }];
        if let Some(tier) = inner.remote.tier() {
            let report = inner.swallow_count(inner.remote.measure_pattern(pattern).await)?;
            holdings.push(TierHolding { tier, report });
        }
        Ok(holdings)
    }

    /// The keys of values that match, in whichever tier they lie, in order. It takes memory for all of them.
    ///
    /// # Errors
    /// The remote tier could not be asked.
    pub async fn keys(&self, pattern: &Pattern) -> Result<Vec<String>, CacheError> {
        let inner = &self.0;
        let remote = inner.swallow_count(inner.remote.keys(pattern).await)?;
        let here = inner.memory.matching(pattern).into_iter().map(|(key, _)| key.to_string());
        Ok(remote.into_iter().chain(here).collect::<BTreeSet<String>>().into_iter().collect())
    }

    /// Frees what is beyond its retention, and damaged disk files that were set aside a day ago. Nothing of it would be served
    /// anyway; Redis drops what has expired by itself.
    ///
    /// # Errors
    /// The disk file could not be written to; memory has been swept.
    pub async fn sweep(&self) -> Result<Swept, CacheError> {
        let inner = &self.0;
        let memory = inner.memory.sweep(inner.clock.now());
        let disk = match &inner.remote {
            Remote::Disk(disk) => inner.swallow_count(disk.sweep().await)?,
            Remote::None | Remote::Redis(_) => 0,
        };
        Ok(Swept { memory, disk })
    }
}
