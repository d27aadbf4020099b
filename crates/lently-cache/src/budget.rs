//! Who pays may say no: before a value that is still there is fetched anew, the budget is asked.

use std::{fmt, sync::Arc, time::Duration};

use crate::policy::{Cost, Kind};

/// What the budget says of fetching a value anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// It may be fetched.
    Refresh,
    /// It is not fetched as long as it has not been fresh for less than this (within its retention): callers who go by the
    /// policy, or would take it after a failure, get it as it is. Nor is anything fetched ahead.
    Spare {
        /// The tolerated staleness.
        stale_for: Duration,
    },
}

type Ask = dyn Fn(Kind, Cost) -> Allowance + Send + Sync;

/// Decides whether values are fetched anew that the cache still has: ahead of their end, behind a stale answer, or by a caller
/// who waits. It is told the kind, and what the last fetch took. A value that no tier has is fetched without asking it, as is
/// one for a caller whose [`Controls`](crate::Controls) want it anew.
///
/// It is asked on the path of an answer: it must neither block nor wait.
#[derive(Clone, Default)]
pub struct Budget(Option<Arc<Ask>>);

impl Budget {
    /// Everything may be refreshed. The default.
    pub const UNLIMITED: Self = Self(None);

    /// Asks `ask`.
    pub fn new(ask: impl Fn(Kind, Cost) -> Allowance + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    pub(crate) fn allows(&self, kind: Kind, cost: Cost) -> Allowance {
        self.0.as_ref().map_or(Allowance::Refresh, |ask| ask(kind, cost))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Budget(asked)" } else { "Budget(unlimited)" })
    }
}
