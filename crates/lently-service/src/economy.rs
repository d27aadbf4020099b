//! The means by which Lently avoids to pay twice. All of them are on wherever it runs for somebody; only the simulation turns one
//! off, to tell what it is worth.

/// Which means are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Economy {
    /// Verdicts and summaries that were paid for are used again; without it, every analysis pays for all of its texts.
    pub verdicts: bool,
}

impl Default for Economy {
    fn default() -> Self {
        Self { verdicts: true }
    }
}
