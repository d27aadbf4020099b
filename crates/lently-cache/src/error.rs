//! What opening or changing the cache may fail with. Reading never fails: it misses.

use std::path::PathBuf;

/// Why the cache could not be opened or changed. Never holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The key is empty, too long or has a control character in it.
    #[error("unusable cache key: {0}")]
    BadKey(&'static str),
    /// The value is larger than the cache takes.
    #[error("the value has {bytes} bytes, the cache takes at most {limit}")]
    TooLarge {
        /// The value's size.
        bytes: u64,
        /// `CacheConfig::max_value_bytes`.
        limit: u64,
    },
    /// The remote tier is not reachable at the moment; memory has been changed.
    #[error("the remote cache tier is resting: {reason}")]
    Resting {
        /// The last error seen.
        reason: String,
    },
    /// The remote tier answered an error.
    #[error("the remote cache tier answered: {0}")]
    Remote(String),
    /// The key holds something that is no cached value: another program's list, say. Writing replaces it.
    #[error("the key holds something else than a cached value")]
    WrongType,
    /// The disk tier's file cannot be used.
    #[error("cannot use the cache file {path}: {reason}", path = path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system said.
        reason: String,
    },
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
}
