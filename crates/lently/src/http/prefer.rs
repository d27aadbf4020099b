//! `Prefer: wait=N` (RFC 7240): how long a client is ready to wait for a result. Anything unreadable is ignored, as the
//! RFC asks.

use std::time::Duration;

use axum::http::HeaderMap;

/// The wait that the client asks for, at most `limit`; `None` where it asks for none.
pub(super) fn wait(headers: &HeaderMap, limit: Duration) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let seconds = values.flat_map(|value| value.split(',')).find_map(|preference| {
        let preference = preference.split(';').next()?;
        let (name, value) = preference.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u32>().ok()).flatten()
    })?;
    Some(Duration::from_secs(u64::from(seconds)).min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(prefer: &'static str) -> Option<u64> {
        let headers = [("prefer", prefer)].map(|(name, value)| {
            (name.parse().expect("a name"), axum::http::HeaderValue::from_static(value))
        });
        wait(&headers.into_iter().collect(), Duration::from_secs(60)).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_read_wherever_it_stands_and_bounded() {
        assert_eq!(asked("wait=30"), Some(30));
        assert_eq!(asked("respond-async, Wait = \"5\"; x=y"), Some(5));
        assert_eq!(asked("wait=100000"), Some(60));
        for nothing in ["wait", "wait=soon", "wait=-1", "handling=lenient"] {
            assert_eq!(asked(nothing), None, "{nothing}");
        }
    }
}
