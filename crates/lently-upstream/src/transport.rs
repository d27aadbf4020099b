//! One HTTP exchange with an upstream: bounded in time and size, without redirects, its failures already sorted.
//! Never puts a key into an address, and lets no address out: reqwest's errors lose theirs here.

use std::{sync::OnceLock, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap, redirect::Policy};

use crate::error::{UpstreamError, word};

/// The largest answer read; a full page of 100 long threads is below 2 MiB.
const MAX_BODY_BYTES: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most that a pause grows to where the upstream gives no hint.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A hint is lengthened by up to this part of it: calls that were refused together must not come back together.
const HINT_JITTER: f64 = 0.25;

/// An answer, whatever its status.
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A client that is made when it is first needed: that reads the system's root certificates, some 5 ms that a process
/// which only serves hits should not pay.
pub(crate) struct Http {
    timeout: Duration,
    client: OnceLock<Client>,
}

impl Http {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, client: OnceLock::new() }
    }

    pub(crate) fn client(&self) -> Result<&Client, UpstreamError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = make(self.timeout)?;
        Ok(self.client.get_or_init(|| made))
    }
}

fn make(timeout: Duration) -> Result<Client, UpstreamError> {
    // Google compresses only for agents that say so in their name, too (YouTube Data API, "Performance").
    Client::builder()
        .user_agent(concat!("lently/", env!("CARGO_PKG_VERSION"), " (gzip)"))
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .redirect(Policy::none())
        .tcp_nodelay(true)
        .build()
        .map_err(|error| sort(&error.without_url()))
}

pub(crate) async fn exchange(request: RequestBuilder) -> Result<Reply, UpstreamError> {
    let mut response = request.send().await.map_err(|error| sort(&error.without_url()))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| sort(&error.without_url()))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(UpstreamError::BadRequest { reason: "its answer is larger than 16 MiB".to_owned() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, headers, body: body.freeze() })
}

/// Runs `call` up to `attempts` times while its failure is one to retry: with growing, jittered pauses, or those the
/// upstream asks for and a little more. A hint longer than `longest_hint` ends it at once: that is the caller's to wait
/// for. So the pauses are together at most `attempts - 1` times 1.25 times the longest hint.
pub(crate) async fn with_retries<T, Fut>(
    attempts: u32,
    longest_hint: Duration,
    to_retry: impl Fn(&UpstreamError) -> bool,
    call: impl FnMut() -> Fut,
) -> Result<T, UpstreamError>
where
    Fut: Future<Output = Result<T, UpstreamError>>,
{
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(attempts.saturating_sub(1) as usize)
        .with_jitter();
    call.retry(pauses)
        .when(to_retry)
        .adjust(|error, pause| match error.retry_after() {
            Some(hint) => pause.and((hint <= longest_hint).then(|| lengthened(hint))),
            None => pause,
        })
        .await
}

fn lengthened(hint: Duration) -> Duration {
    hint.mul_f64(1.0 + rand::random_range(0.0..=HINT_JITTER))
}

/// `Retry-After` in seconds. Google sends no dates there.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(86_400)))
}

fn sort(error: &reqwest::Error) -> UpstreamError {
    if error.is_timeout() {
        return UpstreamError::TimedOut;
    }
    let reason = if error.is_connect() {
        "it cannot be reached"
    } else if error.is_builder() {
        return UpstreamError::BadRequest { reason: word("the request cannot be built") };
    } else {
        "the connection broke"
    };
    UpstreamError::Transient { reason: reason.to_owned(), retry_after: None }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Fails with `error` until the last of four attempts; how often it was called, and how long that took.
    async fn attempts(error: UpstreamError) -> (u32, Duration) {
        let (calls, begin) = (Cell::new(0), Instant::now());
        let call = || async {
            calls.set(calls.get() + 1);
            if calls.get() < 4 { Err(error.clone()) } else { Ok(()) }
        };
        let _ = with_retries(4, 20 * SECOND, UpstreamError::is_retryable, call).await;
        (calls.get(), begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_stay_bounded() {
        let (calls, took) = attempts(UpstreamError::TimedOut).await;
        assert_eq!(calls, 4);
        // 250, 500 and 1000 ms, and as much again at most for jitter.
        assert!((Duration::from_millis(1_750)..Duration::from_millis(3_600)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_is_the_pause_and_a_long_one_the_end() {
        let limited = |seconds| UpstreamError::RateLimited { retry_after: Some(seconds * SECOND) };
        let overloaded = |seconds| UpstreamError::Transient {
            reason: "overloaded".to_owned(),
            retry_after: Some(seconds * SECOND),
        };
        for (near, far) in [(limited(7), limited(21)), (overloaded(7), overloaded(21))] {
            let (calls, took) = attempts(near).await;
            assert_eq!(calls, 4);
            // Three times the hint, and a quarter of that at most for jitter; timers are exact to a millisecond.
            assert!((21 * SECOND..27 * SECOND).contains(&took), "{took:?}");
            assert_eq!(attempts(far).await, (1, Duration::ZERO));
        }
        assert_eq!(attempts(UpstreamError::KeyInvalid).await, (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn those_refused_together_do_not_come_back_together() {
        let limited = || UpstreamError::RateLimited { retry_after: Some(20 * SECOND) };
        let (first, second, third) =
            tokio::join!(attempts(limited()), attempts(limited()), attempts(limited()));
        assert!(first.1 != second.1 || second.1 != third.1, "{first:?} {second:?} {third:?}");
    }
}
