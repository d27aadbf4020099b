//! How far an analysis is, as server-sent events, until it ends. Only the latest state is told: a slow reader misses steps, and never the end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::stream;
use lently_service::{AnalysisId, AnalysisState, Progress, ServiceError, Stage, UserId};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{auth::CurrentUser, error::Problem, extract::Id, routes::HttpState};

/// Sent where nothing happens for so long, so that nobody between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The id of the last event: who has it has all.
const END: &str = "end";

/// Follows an analysis. `Last-Event-ID` leaves out a state that the reader has; with that of the end there is nothing more to come: 204,
/// at which a browser stops asking.
pub(super) async fn follow(
    State(state): State<HttpState>,
    CurrentUser(user): CurrentUser,
    Id(id): Id<AnalysisId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Whether there is such an analysis, and it is this user's.
    state.app.lently.analysis(&user, &id).await?;
    let told = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    if told.as_deref() == Some(END) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = Arc::clone(&state.streams).try_acquire_owned().map_err(|_| Problem::busy())?;
    let reader = Reader { state, user, id, told, over: false, _permit: permit };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<Event, Infallible>(event), reader))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Reader {
    state: HttpState,
    user: UserId,
    id: AnalysisId,
    /// The id of the last event.
    told: Option<String>,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// The next event; none after the last, or when the server stops.
    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let lently = self.state.app.lently.clone();
        if let Some(mut progress) = lently.progress(&self.id) {
            match self.advance(&mut progress).await {
                Step::Told(event) => return Some(event),
                Step::Ended => {}
                Step::Stopping => return None,
            }
        }
        self.over = true;
        Some(match lently.analysis(&self.user, &self.id).await {
            Ok(AnalysisState::Ready(_)) => self.end("completed", json!({})),
            Ok(AnalysisState::Failed { code, message }) => self.failed(&code, &message),
            // Another attempt has begun meanwhile.
            Ok(AnalysisState::Running(progress)) => {
                self.over = false;
                self.event(progress)
            }
            Err(ServiceError::NotFound) => {
                self.failed("not-found", "it was erased, or given up by all who asked")
            }
            Err(error) => self.failed(error.code(), &error.to_string()),
        })
    }

    /// Waits for a state that the reader does not have.
    async fn advance(&mut self, progress: &mut watch::Receiver<Progress>) -> Step {
        let draining = self.state.app.tasks.drain_signal();
        loop {
            let current = *progress.borrow_and_update();
            if current.stage == Stage::Done {
                return Step::Ended;
            }
            if self.told.as_deref() != Some(&event_id(current)) {
                return Step::Told(self.event(current));
            }
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return Step::Ended },
                () = draining.cancelled() => return Step::Stopping,
            }
        }
    }

    fn event(&mut self, progress: Progress) -> Event {
        let id = event_id(progress);
        self.told = Some(id.clone());
        let body = serde_json::to_value(progress).unwrap_or_default();
        Event::default().event("progress").id(id).data(body.to_string())
    }

    fn failed(&self, code: &str, message: &str) -> Event {
        self.end("failed", json!({ "error": { "code": code, "message": message } }))
    }

    fn end(&self, status: &'static str, more: Value) -> Event {
        let mut body = json!({
            "analysis_id": self.id, "status": status, "links": { "self": format!("/api/analysis/{}", self.id) },
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        Event::default().event(status).id(END).data(body.to_string())
    }
}

enum Step {
    Told(Event),
    Ended,
    Stopping,
}

/// A state by name and number: the same state has the same one on every connection.
fn event_id(progress: Progress) -> String {
    let stage = serde_json::to_value(progress.stage).unwrap_or_default();
    format!("{}.{}", stage.as_str().unwrap_or_default(), progress.done)
}
