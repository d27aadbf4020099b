//! What one analysis has caused Gemini to be paid: charged where a call ends, for its share of the call, whoever uses the answer too.
//! Calls that end when the analysis has long been told what it cost are on nobody's account but Gemini's client's own.

use std::sync::{Arc, Mutex, PoisonError};

use lently_cache::Cost;

/// A running account. Cheap to clone; clones are the same account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Purse(Arc<Mutex<Cost>>);

impl Purse {
    pub(crate) fn charge(&self, cost: Cost) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = *spent + cost;
    }

    pub(crate) fn spent(&self) -> Cost {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
