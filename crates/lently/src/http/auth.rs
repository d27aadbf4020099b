//! Who asks. There is one user for now; the admin routes need a key. A key is never logged, kept or compared in a way
//! that takes longer the more of it is right.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use lently_service::UserId;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::{error::Problem, routes::HttpState};

const ADMIN_KEY: &str = "x-admin-key";

/// The user of a request. A `Bearer` header is accepted and means the same user.
pub(super) struct CurrentUser(pub UserId);

impl FromRequestParts<HttpState> for CurrentUser {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &HttpState) -> Result<Self, Infallible> {
        Ok(Self(state.app.user()))
    }
}

/// Lets a request with the admin key through, and writes down what came of it.
pub(super) async fn require_admin(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let given = request.headers().get(ADMIN_KEY).map(HeaderValue::as_bytes);
    let response = match check(state.app.config.admin_key.as_ref(), given) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let status = response.status().as_u16();
    tracing::info!(target: "lently::audit", %method, route, status, "admin request");
    response
}

fn check(wanted: Option<&SecretString>, given: Option<&[u8]>) -> Result<(), UnauthorizedOr> {
    let Some(wanted) = wanted else {
        let detail = "the admin routes are closed: ADMIN_API_KEY is not set on this server";
        return Err(UnauthorizedOr::Other(Problem::new(StatusCode::FORBIDDEN, "admin-disabled", detail)));
    };
    let Some(given) = given else {
        return Err(UnauthorizedOr::Unauthorized("admin-key-missing", "send the admin key as `X-Admin-Key`"));
    };
    // Hashes have one length, so not even the key's length is told by the time this takes.
    let (wanted, given) = (blake3::hash(wanted.expose_secret().as_bytes()), blake3::hash(given));
    if bool::from(wanted.as_bytes().ct_eq(given.as_bytes())) {
        return Ok(());
    }
    Err(UnauthorizedOr::Unauthorized("admin-key-wrong", "this is not the admin key"))
}

/// A refusal, with the challenge that RFC 9110 (15.5.2) wants beside a 401.
enum UnauthorizedOr {
    Unauthorized(&'static str, &'static str),
    Other(Problem),
}

impl UnauthorizedOr {
    fn into_response(self) -> Response {
        match self {
            Self::Other(problem) => problem.into_response(),
            Self::Unauthorized(code, detail) => {
                let mut response = Problem::new(StatusCode::UNAUTHORIZED, code, detail).into_response();
                let challenge =
                    HeaderValue::from_static("ApiKey realm=\"lently admin\", header=\"X-Admin-Key\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
        }
    }
}
