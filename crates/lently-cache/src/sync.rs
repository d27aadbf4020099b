//! What threads share state by: the standard library's locks and counters; in unit tests those of the model checker, which work
//! inside of its schedules alone (see `model.rs`). Whatever opens a whole cache is an integration test and has the real ones.

pub(crate) use std::sync::{Arc, OnceLock, PoisonError, Weak};
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(test)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
