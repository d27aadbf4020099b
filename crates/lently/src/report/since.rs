//! What has changed since an analysis was made last, in a few lines for people.

use lently_analysis::{ThemeChange, grouped};
use lently_service::BodySince;

use super::text::clean;

/// The most themes named of each sort.
const THEMES: usize = 3;

/// The lines, without a heading.
pub(super) fn lines(since: &BodySince) -> Vec<String> {
    let changes = &since.changes;
    let mut lines = vec![format!(
        "{}: {} new, {} no longer there",
        since.created_at.strftime("%Y-%m-%d %H:%M UTC"),
        counted(since.new_comments),
        grouped(since.gone_comments)
    )];
    let moved: Vec<String> = changes
        .sentiment
        .iter()
        .chain(&changes.categories)
        .filter(|share| share.significant)
        .map(|share| format!("{} {:+.1} points", share.name, share.change * 100.0))
        .collect();
    lines.push(if moved.is_empty() {
        format!("no share has changed by more than chance; mean {:+.2}", changes.mean_change)
    } else {
        format!("{}; mean {:+.2}", moved.join(", "), changes.mean_change)
    });
    let named = |what: &str, is: &dyn Fn(&ThemeChange) -> bool| {
        let themes: Vec<String> = changes
            .themes
            .iter()
            .filter(|theme| is(theme))
            .take(THEMES)
            .map(|theme| clean(&theme.label))
            .collect();
        (!themes.is_empty()).then(|| format!("{what}: {}", themes.join(", ")))
    };
    lines.extend(named("new themes", &|theme| theme.before.is_none()));
    lines.extend(named("themes no longer there", &|theme| theme.after.is_none()));
    lines.extend(named("grown", &|theme| theme.significant && theme.change > 0.0));
    lines
}

fn counted(comments: u64) -> String {
    format!("{} comment{}", grouped(comments), if comments == 1 { "" } else { "s" })
}
