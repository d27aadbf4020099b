//! The layers, around routes that misbehave as no route of ours should.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::*;
use crate::config::{Config, Env};

async fn state(env: &[(&str, &str)]) -> (HttpState, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().to_str().expect("a path in UTF-8");
    let pairs = [("HOME", home), ("LENTLY_CACHE_TIER", "none")];
    let config =
        Config::from_env(&Env::from_pairs(pairs.iter().chain(env).copied())).expect("a configuration");
    let app = App::open(config).await.expect("an app");
    let places = Arc::new(Semaphore::new(app.config.http.max_requests));
    let streams = Arc::new(Semaphore::new(1));
    (HttpState { app, idempotency: Arc::default(), places, streams }, directory)
}

fn serve(route: MethodRouter<HttpState>, state: &HttpState) -> Router {
    layered(Router::new().route("/api/bad", route), state).with_state(state.clone())
}

async fn call(router: Router) -> (u16, Value) {
    let request =
        Request::get("/api/bad").header("host", "localhost").body(Body::empty()).expect("a request");
    let response = router.oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_panic_is_a_problem_that_tells_nothing_of_it() {
    let (state, _directory) = state(&[]).await;
    let (status, body) = call(serve(axum::routing::get(panics), &state)).await;
    assert_eq!((status, body["code"].as_str()), (500, Some("internal")));
    assert!(!body.to_string().contains("hunter2"), "{body}");
}

async fn panics() {
    panic!("hunter2");
}

#[tokio::test]
async fn a_request_without_a_place_is_refused_and_a_place_is_free_again_after_a_panic() {
    let (state, _directory) = state(&[("LENTLY_HTTP_MAX_REQUESTS", "1")]).await;
    call(serve(axum::routing::get(panics), &state)).await;

    let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (reached, release) = (Arc::clone(&reached), Arc::clone(&release));
        move || async move {
            reached.notify_one();
            release.notified().await;
        }
    };
    let router = serve(axum::routing::get(handler), &state);
    let second = async {
        reached.notified().await;
        let refused = call(router.clone()).await;
        release.notify_one();
        refused
    };
    let ((first, _), (second, body)) = tokio::join!(call(router.clone()), second);
    assert_eq!((first, second, body["code"].as_str()), (200, 503, Some("busy")));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_not_taken_for_a_fetch_that_did() {
    let (state, _directory) = state(&[("LENTLY_HTTP_TIMEOUT_SECONDS", "60")]).await;
    let router = serve(axum::routing::get(std::future::pending::<()>), &state);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let (status, body) = call(router).await;
    assert_eq!((status, body["code"].as_str()), (504, Some("still-working")));
    assert_eq!(Problem::from(lently_service::ServiceError::TimedOut).code(), "timed-out");
    assert_eq!(began.elapsed().as_secs(), Duration::from_secs(60).as_secs());
}
