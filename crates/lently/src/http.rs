//! The HTTP server: extracts, calls one service, wraps. No rule of the domain lives here, and nothing here fetches or
//! caches by itself.
//!
//! A request goes through `routes` (which layers, which handler), a handler, and back through `cached` or `error`.

mod routes;
mod server;

mod analysis;
mod cache_admin;
mod export;
mod system;
mod usage;
mod warm;
mod youtube;

mod auth;
mod cached;
mod comments;
mod compare;
mod controls;
mod error;
mod events;
mod extract;
mod guard;
mod idempotency;
mod ledger;
mod observe;
mod prefer;
mod retention;

pub(crate) use self::warm::Warming;
pub use self::{
    error::Problem,
    routes::{RouteInfo, Who, route_table, router},
    server::{ServeError, bind, serve},
};
