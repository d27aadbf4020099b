//! The means by which Lently avoids to pay twice. All of them are on wherever it runs for somebody; only the simulation turns one
//! off, to tell what it is worth.

/// Which means are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Economy {
    /// Verdicts and summaries that were paid for are used again; without it, every analysis pays for all of its texts.
    pub verdicts: bool,
    /// One entry of comments serves requests for any amount of the same order; without it, each amount has an entry of its own, and the
    /// store keeps none.
    pub supersets: bool,
    /// The statistics are asked first whether anything has changed; without it, what is no longer fresh is read again.
    pub statistics_first: bool,
    /// Only what is new is read; without it, comments are read in full each time.
    pub increments: bool,
    /// Texts that are to be judged wait a moment for those of other analyses; without it, for those of their own alone. Requests that never
    /// overlap would wait in vain.
    pub gathering: bool,
}

impl Default for Economy {
    fn default() -> Self {
        Self { verdicts: true, supersets: true, statistics_first: true, increments: true, gathering: true }
    }
}
