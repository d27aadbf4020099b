//! Damaged files of the disk tier that were set aside: they hold copies of values, and so go soon.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

/// How long one is left for whoever wants to look. Nothing says how old the values in it are, and their retention goes on.
const KEPT: Duration = Duration::from_secs(24 * 3_600);
const MARK: &str = "damaged-";

/// What a file that is set aside is called.
pub(super) fn name(path: &Path, now: Timestamp) -> PathBuf {
    path.with_extension(format!("{MARK}{}", now.as_millisecond()))
}

/// Removes those that have been left for long enough. One that cannot be removed is tried again at the next round.
pub(super) fn drop_old(path: &Path, now: i64) {
    let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    let Some(beside) = path.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return };
    for aside in beside.flatten().map(|file| file.path()) {
        let set_aside_at = aside
            .extension()
            .and_then(|extension| extension.to_str()?.strip_prefix(MARK)?.parse::<i64>().ok());
        let ours = aside.file_stem() == path.file_stem();
        if !ours || set_aside_at.is_none_or(|at| now.saturating_sub(at) < kept) {
            continue;
        }
        if let Err(error) = fs::remove_file(&aside) {
            tracing::warn!(file = %aside.display(), %error, "a damaged file of the disk cache cannot be removed");
        }
    }
}
