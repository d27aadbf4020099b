//! What a request must pass before a handler sees it: meant for this server, not too long, a place and a time limit.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{error::Problem, routes::HttpState};

/// The longest path and query; every id and pattern there is fits.
const URL_BYTES_MAX: usize = 8 << 10;
/// All headers together, names and values. The connection has a limit of its own beyond it.
const HEADER_BYTES_MAX: usize = 32 << 10;

/// Refuses what a browser was talked into sending: a name that somebody pointed at loopback (DNS rebinding), a request
/// that another site's page makes.
pub(super) async fn meant_for_us(request: Request, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(request: &Request) -> Result<(), Problem> {
    let url_bytes = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    if url_bytes > URL_BYTES_MAX {
        let detail = format!("the URL has {url_bytes} bytes, at most {URL_BYTES_MAX} are read");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "url-too-long", detail));
    }
    let header_bytes: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header_bytes > HEADER_BYTES_MAX {
        let detail = format!("the headers have {header_bytes} bytes, at most {HEADER_BYTES_MAX} are read");
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", detail));
    }
    let host = request.uri().authority().map(Authority::as_str).or_else(|| text(request.headers(), "host"));
    if !host.is_some_and(is_loopback_name) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host-not-allowed",
            "this server answers to localhost and loopback addresses only; use one of them in the URL",
        ));
    }
    let from_another_site = text(request.headers(), "sec-fetch-site") == Some("cross-site");
    if from_another_site && request.uri().path().starts_with("/api/") {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "pages of other sites may not use this API; call it from your own program",
        ));
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a `Host` (with or without a port) names this machine and can name nothing else.
fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Works on a bounded number of requests, each for a bounded time. The probes need no place: they are asked for when
/// the server is full.
pub(super) async fn bounded(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let needs_place = request.uri().path().starts_with("/api/");
    let place = if needs_place { state.places.try_acquire().map(Some) } else { Ok(None) };
    let Ok(_place) = place else { return Problem::busy().into_response() };
    let at_most = state.app.config.http.timeout;
    tokio::time::timeout(at_most, next.run(request)).await.unwrap_or_else(|_| {
        let detail = format!(
            "no answer within {} s; an analysis or fetch that was begun goes on and is kept, so ask again",
            at_most.as_secs_f64()
        );
        // Not `timed-out`: that is an analysis or fetch that was ended, while here only the waiting is over.
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "still-working", detail).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback_names() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "127.9.9.9", "[::1]:8000", "a.localhost"]
        {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com", "10.0.0.1:8000", "0.0.0.0", "x@127.0.0.1", "[::]"]
        {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
