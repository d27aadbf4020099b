//! What [`CacheService::explain`](crate::CacheService::explain) tells of a key: plain data for people and programs. It holds no
//! byte of any value; the key and its tags are told as they are, so it is for those who may know them.

use jiff::Timestamp;
use serde::Serialize;

use crate::{entry::Tier, policy::Cost, repair::debt::Change};

/// What is held of a key, who is at work on it, and what would be done for the next caller.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The key, without prefix.
    pub key: String,
    /// The name of the kind that it was asked for as.
    pub kind: &'static str,
    /// When it was looked at, by the cache's clock.
    pub at: Timestamp,
    /// The tiers, in the order in which they are asked; one that is switched off is not among them.
    pub tiers: Vec<TierReport>,
    /// Who may fetch it for the cluster.
    pub lease: LeaseReport,
    /// What this process is doing for it.
    pub flight: FlightState,
    /// Why a stale value of it is not fetched anew for the moment: that failed a moment ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resting: Option<FailureReport>,
    /// What Redis was not told of it yet by this process, in the order in which it is told: before anyone here reads it from there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<OwedReport>,
    /// What [`get_or_set`](crate::CacheService::get_or_set) would do now.
    pub next: NextReport,
    /// Where there is no value: a few keys that have one and differ little, the nearest first. Not all there are: memory is looked
    /// through, the remote tier is asked for a handful of names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearReport>,
}

/// What a tier holds of a key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TierReport {
    /// Which tier.
    pub tier: Tier,
    /// What there is, in a word.
    pub state: TierState,
    /// The size of what there is: in memory the value, in the remote tier what is stored, header and all; 0 for nothing.
    pub bytes: u64,
    /// The value's times and origin, where they can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueReport>,
    /// The failure that is remembered of its last fetch: beside the memory tier by this process, beside Redis for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
}

/// What a tier holds, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TierState {
    /// Nothing.
    Absent,
    /// A value that is served.
    Fresh,
    /// A value that is no longer fresh, within its retention.
    Stale,
    /// No value, and it is remembered that there is none, or none that may be read.
    Negative,
    /// No value, and it is remembered that fetching it failed.
    Failed,
    /// A value of which a tag was invalidated: it is not served.
    Invalidated,
    /// A value whose retention is over: it is not served.
    Expired,
    /// Something that is no value of the kind: garbage, a truncated value, another schema version.
    Unreadable,
    /// The tier cannot be asked.
    Unknown,
}

impl TierState {
    /// Whether there is something that may be served.
    pub(crate) fn is_served(self) -> bool {
        matches!(self, Self::Fresh | Self::Stale)
    }
}

/// What is known of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ValueReport {
    /// Since when it is there, in whole seconds.
    pub age_seconds: u64,
    /// For how long it is fresh; below zero, for how long it has not been.
    pub ttl_seconds: i64,
    /// For how long it may be served while it is fetched anew; 0 when that is over.
    pub stale_left_seconds: u64,
    /// For how long it is kept.
    pub retention_left_seconds: u64,
    /// What fetching it took.
    pub cost: Cost,
    /// Its validator.
    pub etag: String,
    /// Its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagReport>,
    /// Whether it is served without asking the tier behind. A copy in memory is not while changes are not told, or one was heard
    /// of.
    pub believed: bool,
}

/// A tag of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TagReport {
    /// The tag.
    pub tag: String,
    /// What it says of the value.
    pub state: TagState,
}

/// What a tag says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TagState {
    /// Nothing: it is of the tag's version.
    Current,
    /// The tag was expired since: the value is stale.
    Expired,
    /// The tag was invalidated since, or its version was never known: the value is not served.
    Outdated,
    /// The version cannot be asked: the value is not served.
    Unknown,
}

/// A failure that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailureReport {
    /// The [name](crate::FailureClass::name) of its class.
    pub class: &'static str,
    /// For how long it is remembered, in milliseconds.
    pub left_ms: u64,
}

/// A change that Redis was not told yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OwedReport {
    /// Which.
    pub change: Change,
    /// The pattern that the key matches, or the tag that what is there of it has, where it is no change of the key itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The size of the value that is owed; 0 where none is.
    pub bytes: u64,
    /// How long ago it was changed, or its fetch began, in milliseconds.
    pub age_ms: u64,
    /// How often it was tried in vain to tell it, since it could not be told at first.
    pub attempts: u32,
}

/// A key that nearly matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NearReport {
    /// The key, without prefix.
    pub key: String,
    /// Which tier has it.
    pub tier: Tier,
    /// In what it differs.
    pub difference: Difference,
}

/// In what a key that nearly matched differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// In one character, or in capitals.
    Spelling,
    /// In its kind alone.
    Kind,
    /// It is of the same thing, and one part behind that is another, or is there or not.
    Part,
}

/// The lease of a key: the right to fetch it for the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeaseReport {
    /// There are none: the remote tier is not Redis, or its user may not run scripts.
    NotUsed,
    /// Redis cannot be asked.
    Unknown,
    /// Nobody has it.
    Free,
    /// Somebody fetches.
    Held {
        /// Whether it is this process.
        here: bool,
        /// Which process: sixteen hexadecimal digits that it drew at its start.
        owner: String,
        /// When it ends, unless its owner gives a sign of life.
        left_ms: u64,
    },
    /// Somebody fetches what was changed since: it is not to be stored, and anyone may fetch.
    Forbidden,
    /// A failure lies in its place; the Redis tier tells which.
    Failed,
}

/// What this process is doing for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlightState {
    /// Nothing.
    None,
    /// It looks into the tiers, or waits for another process that fetches.
    Looking,
    /// It fetches.
    Fetching,
    /// It fetches, and a tag was changed since: the next caller begins anew.
    Outdated,
}

/// What would be done for the next caller who wants nothing otherwise than the policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NextReport {
    /// The step, in a word.
    pub step: NextStep,
    /// Out of which tier the value comes, if out of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The reason, in a sentence.
    pub why: String,
}

/// What would be done for the next caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NextStep {
    /// It gets a fresh value.
    Serve,
    /// It gets a fresh value, which is fetched anew behind.
    ServeAndRefresh,
    /// It gets a stale value.
    ServeStale,
    /// It gets a stale value, which is fetched anew behind.
    ServeStaleAndRefresh,
    /// It waits for what this process is doing already.
    Join,
    /// It waits for another process, which fetches.
    Wait,
    /// It waits for its own fetch.
    Fetch,
    /// It gets a failure that is remembered.
    Fail,
}
