//! All routes in reading order, grouped by who calls them, and all layers with the reason for their order.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    middleware,
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use tokio::sync::Semaphore;
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};

use super::{
    analysis, auth, cache_admin, comments, compare, error::Problem, events, export, guard,
    idempotency::IdempotencyKeys, ledger, observe, retention, system, usage, warm, youtube,
};
use crate::app::App;

/// The most streams of events at a time; each is a connection and a few hundred bytes.
const STREAMS_MAX: usize = 1_024;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct HttpState {
    pub app: App,
    pub idempotency: Arc<IdempotencyKeys>,
    /// One permit for each request that is worked on.
    pub places: Arc<Semaphore>,
    /// One permit for each stream of events: these hold no place, for they wait and do not work.
    pub streams: Arc<Semaphore>,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Anyone who reaches the server.
    Public,
    /// A user: for now the one there is.
    User,
    /// Whoever has the admin key.
    Admin,
}

/// A route as the index shows it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct RouteInfo {
    /// The method, in capitals.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
    /// What it does.
    pub what: &'static str,
}

struct Route {
    info: RouteInfo,
    handler: MethodRouter<HttpState>,
}

/// Every route there is.
#[must_use]
pub fn route_table() -> Vec<RouteInfo> {
    routes().into_iter().map(|route| route.info).collect()
}

#[rustfmt::skip]
fn routes() -> Vec<Route> {
    use Who::{Admin, Public, User};
    vec![
        // Users: analyses.
        post(User, "/api/analysis/start", "begin an analysis, or get it if it is there", analysis::start),
        post(User, "/api/analysis/estimate", "what an analysis would cost; spends nothing", ledger::estimate),
        get(User, "/api/analysis/{analysis_id}", "a result, or how far it is", analysis::read),
        get(User, "/api/analysis/{analysis_id}/events", "how far it is, as it goes on (server-sent events)", events::follow),
        post(User, "/api/analysis/{analysis_id}/cancel", "want it no more; what is paid for is kept", analysis::cancel),
        get(User, "/api/analysis/{analysis_id}/export", "a result as a file: html, json, csv or md", export::read),
        delete(User, "/api/analysis/{analysis_id}", "erase an analysis from your history", analysis::erase),
        get(User, "/api/analysis/{analysis_id}/comments", "the comments behind an analysis, searched and filtered", comments::find),
        get(User, "/api/compare", "analyses side by side, of several videos or of one at two times", compare::compare),
        get(User, "/api/analyses", "your analyses, the latest first", analysis::list),
        get(User, "/api/usage", "your plan, what you used of it, and what you spent today", usage::read),
        // Users: YouTube's data.
        get(User, "/api/youtube/videos/{video_id}", "a video's metadata", youtube::video),
        get(User, "/api/youtube/videos/{video_id}/comments", "a video's comments", youtube::comments),
        get(User, "/api/youtube/videos/{video_id}/transcript", "a video's transcript", youtube::transcript),
        // Anyone: how it is.
        get(Public, "/", "this list", system::index),
        get(Public, "/health", "status and features", system::health),
        get(Public, "/livez", "whether the process lives", system::livez),
        get(Public, "/readyz", "whether it takes requests", system::readyz),
        get(Public, "/metrics", "numbers for Prometheus", system::metrics),
        get(Public, "/api/cache/stats", "hits and misses", cache_admin::stats),
        // The operator.
        post(Admin, "/api/cache/stats/reset", "count anew", cache_admin::reset_stats),
        get(Admin, "/api/cache/value", "a key's value as it is stored", cache_admin::value),
        get(Admin, "/api/cache/explain", "what is held of a key, and what comes next", cache_admin::explain),
        delete(Admin, "/api/cache/analysis/{analysis_id}", "forget one analysis", cache_admin::delete_analysis),
        delete(Admin, "/api/cache/video/{video_id}", "forget a video's comments, metadata and transcripts", cache_admin::delete_video),
        delete(Admin, "/api/cache/user/{user_id}", "forget a user's analyses and quota", cache_admin::delete_user),
        delete(Admin, "/api/cache/pattern", "forget all keys that match, or count them", cache_admin::delete_pattern),
        delete(Admin, "/api/cache/all", "forget everything", cache_admin::flush),
        post(Admin, "/api/cache/warm", "store entries, fetch videos", warm::warm),
        get(Admin, "/api/ledger", "what was spent in a day, by whom, and what is left", ledger::read),
        get(Admin, "/api/retention", "what is kept, since when, and what is due next", retention::report),
        post(Admin, "/api/retention/sweep", "delete what is beyond its time now", retention::sweep),
        delete(Admin, "/api/retention/video/{video_id}", "erase all that is held of a video, or count it", retention::erase_video),
        delete(Admin, "/api/retention/author", "erase an author's comments and what quotes them, or count it", retention::erase_author),
        put(Admin, "/api/users/{user_id}/plan", "change a user's plan", usage::set_plan),
    ]
}

/// Joins routes and layers over `app`.
pub fn router(app: App) -> Router {
    let state = HttpState {
        places: Arc::new(Semaphore::new(app.config.http.max_requests)),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        idempotency: Arc::default(),
        app,
    };
    let (mut open, mut admin) = (Router::new(), Router::new());
    for Route { info, handler } in routes() {
        match info.who {
            Who::Public | Who::User => open = open.route(info.path, handler),
            Who::Admin => admin = admin.route(info.path, handler),
        }
    }
    // On the whole admin router, so that a new route cannot forget it, and an unknown path stays 404.
    let admin = admin.route_layer(middleware::from_fn_with_state(state.clone(), auth::require_admin));
    let routes =
        open.merge(admin).fallback(system::not_found).method_not_allowed_fallback(system::wrong_method);
    layered(routes, &state).with_state(state)
}

/// The layers, the last being the outermost.
fn layered(routes: Router<HttpState>, state: &HttpState) -> Router<HttpState> {
    let body_bytes = state.app.config.http.body_bytes;
    routes
        .layer(DefaultBodyLimit::max(body_bytes))
        // Nearest to the handlers: what panics there must not take the connection along.
        .layer(CatchPanicLayer::custom(panicked))
        // Around the panics: a place is free again and the time is over, however the handler ends.
        .layer(middleware::from_fn_with_state(state.clone(), guard::bounded))
        // Before a place is taken: a request that was not meant for us costs nothing.
        .layer(middleware::from_fn(guard::meant_for_us))
        // Gives each request its id, and every refusal from within its body.
        .layer(middleware::from_fn(observe::observe))
        // Outside of the bodies that `observe` writes.
        .layer(CompressionLayer::new())
}

/// The default hook has printed the panic by now; the client learns that it is not its fault.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal("the request met a defect of ours").into_response()
}

macro_rules! verbs {
    ($($name:ident $filter:ident;)*) => {$(
        fn $name<H, T>(who: Who, path: &'static str, what: &'static str, handler: H) -> Route
        where
            H: Handler<T, HttpState>,
            T: 'static,
        {
            let info = RouteInfo { method: stringify!($filter), path, who, what };
            Route { info, handler: on(MethodFilter::$filter, handler) }
        }
    )*};
}

verbs! {
    get GET;
    post POST;
    put PUT;
    delete DELETE;
}

#[cfg(test)]
mod tests;
