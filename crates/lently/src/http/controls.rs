//! What a client wants of the cache: the request directives of RFC 9111 (5.2.1), as the cache understands them.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use lently_cache::{AcceptStale, Controls};

/// A client's wishes. A directive that is not known, or has no number where one belongs, is passed over, as RFC 9111 (5.2)
/// asks of what it does not define.
pub(super) fn controls(headers: &HeaderMap) -> Controls {
    let mut controls = Controls::DEFAULT;
    let mut max_stale = None;
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = || argument.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" => controls.no_cache = true,
            "no-store" => controls.no_store = true,
            "only-if-cached" => controls.only_if_cached = true,
            "max-age" => controls.max_age = seconds().or(controls.max_age),
            // Without a number: however stale.
            "max-stale" if argument.is_empty() => max_stale = Some(Duration::MAX),
            "max-stale" => max_stale = seconds().or(max_stale),
            _ => {}
        }
    }
    if let Some(limit) = max_stale {
        controls.stale = AcceptStale::Within(limit);
    }
    controls
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Controls {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CACHE_CONTROL, HeaderValue::from_str(value).expect("a value"));
        }
        controls(&headers)
    }

    #[test]
    fn every_directive_is_understood_in_any_case_and_over_several_headers() {
        let plain = Controls::DEFAULT;
        let seconds = Duration::from_secs;
        assert_eq!(of(&[]), plain);
        assert_eq!(of(&["No-Cache"]), Controls::NO_CACHE);
        assert_eq!(
            of(&["no-store, only-if-cached"]),
            Controls { no_store: true, only_if_cached: true, ..plain }
        );
        let aged = Controls { max_age: Some(seconds(60)), ..plain };
        assert_eq!(of(&["max-age = \"60\""]), aged);
        assert_eq!(
            of(&["max-age=60", "MAX-STALE=30"]),
            Controls { stale: AcceptStale::Within(seconds(30)), ..aged }
        );
        assert_eq!(of(&["max-stale"]), Controls { stale: AcceptStale::Within(Duration::MAX), ..plain });
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        for value in ["max-age", "max-age=-1", "max-age=soon", "max-stale=x", "min-fresh=5", "private", ",,="]
        {
            assert_eq!(of(&[value]), Controls::DEFAULT, "{value}");
        }
        assert_eq!(of(&["max-age=5, max-age=x"]).max_age, Some(Duration::from_secs(5)));
    }
}
