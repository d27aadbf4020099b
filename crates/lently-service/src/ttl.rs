//! How long each kind of entry lives, and how long its fetch may take. It never decides what is cached.

use std::time::Duration;

use lently_cache::{AfterWait, FailureTtl, Policy, Tags};

use crate::keys::EntryKind;

/// Nothing that came from YouTube is kept longer. YouTube asks for a refresh or a deletion within 30 calendar days
/// (YouTube API Services Developer Policies, III.E.4, read 2026-11-23); two days are our margin.
pub const RETENTION: Duration = Duration::from_secs(28 * 24 * 3_600);

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// What Gemini blocks (`forbidden`) it will block tomorrow; a text of which nothing usable comes even where it stands alone
/// (`permanent`) would spoil the batch of others for the next hour, too. Whatever else fails says nothing of a text, and is
/// forgotten after a second (`transient`).
const VERDICT_FAILURES: FailureTtl = FailureTtl {
    not_found: Duration::ZERO,
    forbidden: Duration::from_secs(DAY),
    rate_limited: Duration::from_secs(1),
    transient: Duration::from_secs(1),
    permanent: Duration::from_secs(HOUR),
};

/// How long an entry of each kind is fresh. Plain fields: the configuration may change any of them before the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTtl {
    /// Default one hour.
    pub analysis: Duration,
    /// Default half an hour.
    pub comments: Duration,
    /// Default one hour.
    pub video: Duration,
    /// Default two hours.
    pub transcript: Duration,
    /// Default five minutes.
    pub quota: Duration,
    /// Default 28 days, the retention itself: the same text, judged by the same model and prompt, has the same verdict.
    pub verdict: Duration,
    /// Default 28 days: the same facts, put to the same model by the same prompt, need no other words.
    pub summary: Duration,
    /// The most that one whole analysis may take, waiting for nothing but its upstreams. Default 15 minutes.
    pub analysis_timeout: Duration,
    /// The most that one harvest of comments may take, all pages and retries in it. Default 10 minutes.
    pub comments_timeout: Duration,
    /// The most that any other fetch may take. Default one minute.
    pub fetch_timeout: Duration,
}

impl Default for CacheTtl {
    fn default() -> Self {
        Self {
            analysis: Duration::from_secs(HOUR),
            comments: Duration::from_secs(HOUR / 2),
            video: Duration::from_secs(HOUR),
            transcript: Duration::from_secs(2 * HOUR),
            quota: Duration::from_secs(300),
            verdict: RETENTION,
            summary: RETENTION,
            analysis_timeout: Duration::from_secs(15 * 60),
            comments_timeout: Duration::from_secs(10 * 60),
            fetch_timeout: Duration::from_secs(60),
        }
    }
}

impl CacheTtl {
    /// How long an entry of the kind is fresh.
    pub const fn fresh(&self, kind: EntryKind) -> Duration {
        match kind {
            EntryKind::Analysis => self.analysis,
            EntryKind::Comments => self.comments,
            EntryKind::Video => self.video,
            EntryKind::Transcript => self.transcript,
            EntryKind::Quota => self.quota,
            EntryKind::Verdict => self.verdict,
            EntryKind::Summary => self.summary,
        }
    }

    /// How long ago comments may have been checked when an analysis is made of them. It is taken off the analysis' own time, so that
    /// both together are no older than that: of an hour, 15 and 45 minutes.
    pub(crate) fn unchecked(&self) -> Duration {
        self.analysis / 4
    }

    /// Where the configuration writes how long an entry of the kind is fresh.
    pub const fn fresh_mut(&mut self, kind: EntryKind) -> &mut Duration {
        match kind {
            EntryKind::Analysis => &mut self.analysis,
            EntryKind::Comments => &mut self.comments,
            EntryKind::Video => &mut self.video,
            EntryKind::Transcript => &mut self.transcript,
            EntryKind::Quota => &mut self.quota,
            EntryKind::Verdict => &mut self.verdict,
            EntryKind::Summary => &mut self.summary,
        }
    }

    /// The whole policy of a kind. Freshness never exceeds the retention, whatever was configured.
    pub fn policy(&self, kind: EntryKind) -> Policy {
        let retention = match kind {
            EntryKind::Quota => Duration::from_secs(DAY),
            EntryKind::Analysis
            | EntryKind::Comments
            | EntryKind::Video
            | EntryKind::Transcript
            | EntryKind::Verdict
            | EntryKind::Summary => RETENTION,
        };
        let stale = match kind {
            EntryKind::Analysis | EntryKind::Video => Duration::from_secs(DAY),
            EntryKind::Comments => Duration::from_secs(6 * HOUR),
            EntryKind::Transcript => Duration::from_secs(7 * DAY),
            EntryKind::Quota | EntryKind::Verdict | EntryKind::Summary => Duration::ZERO,
        };
        let fetch_timeout = match kind {
            EntryKind::Analysis => self.analysis_timeout,
            EntryKind::Comments => self.comments_timeout,
            EntryKind::Video | EntryKind::Transcript | EntryKind::Quota => self.fetch_timeout,
            // An analysis waits for these no longer than it may take itself. A call that it has begun goes on to its end all the
            // same: it is paid for.
            EntryKind::Verdict | EntryKind::Summary => self.analysis_timeout.saturating_mul(2),
        };
        let failures = match kind {
            EntryKind::Verdict => VERDICT_FAILURES,
            _ => FailureTtl::default(),
        };
        Policy {
            kind: kind.kind(),
            fresh: self.fresh(kind).min(retention),
            stale,
            retention,
            refresh_ahead: Duration::ZERO,
            fetch_timeout,
            after_wait: AfterWait::Fetch,
            failures,
            tags: Tags::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_as_documented() {
        let seconds: Vec<u64> =
            EntryKind::ALL.iter().map(|kind| CacheTtl::default().fresh(*kind).as_secs()).collect();
        assert_eq!(seconds, [3_600, 1_800, 3_600, 7_200, 300, 2_419_200, 2_419_200]);
    }

    #[test]
    fn nothing_stays_fresh_beyond_its_retention() {
        let mut ttl = CacheTtl::default();
        for kind in EntryKind::ALL {
            *ttl.fresh_mut(kind) = Duration::from_secs(u64::from(u32::MAX));
            let policy = ttl.policy(kind);
            assert!(policy.fresh <= policy.retention, "{}", kind.name());
            assert!(policy.retention <= RETENTION);
        }
    }
}
