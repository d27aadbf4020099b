//! Bodies, queries and path parameters as typed values, refused with a problem that names what is wrong.

use std::str::FromStr;

use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::error::Problem;

/// A JSON body.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(of_json(&rejection)),
        }
    }
}

fn of_json(rejection: &JsonRejection) -> Problem {
    let status = rejection.status();
    match rejection {
        JsonRejection::JsonDataError(_) => Problem::new(status, "invalid-request", rejection.body_text()),
        JsonRejection::JsonSyntaxError(_) => Problem::new(status, "invalid-json", rejection.body_text()),
        _ if status == StatusCode::BAD_REQUEST => {
            Problem::new(status, "invalid-request", "the body could not be read to its end")
        }
        _ => Problem::of_status(status),
    }
}

/// The query, as a struct.
pub(super) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        match query {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Problem::new(StatusCode::BAD_REQUEST, "invalid-request", rejection.body_text()))
            }
        }
    }
}

/// The one parameter in the path, as whatever reads itself from text.
pub(super) struct Id<T>(pub T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: FromStr<Err: std::fmt::Display> + PathField,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Ok(Path(text)) = text else {
            let detail = format!("`{}` in the path is not UTF-8", T::FIELD);
            return Err(
                Problem::new(StatusCode::BAD_REQUEST, "invalid-request", detail).with("field", T::FIELD)
            );
        };
        text.parse().map(Self).map_err(|error: T::Err| Problem::invalid(T::FIELD, error.to_string()))
    }
}

/// What a path parameter is called in a problem.
pub(super) trait PathField {
    const FIELD: &'static str;
}

impl PathField for lently_service::AnalysisId {
    const FIELD: &'static str = "analysis_id";
}

impl PathField for lently_service::UserId {
    const FIELD: &'static str = "user_id";
}

impl PathField for lently_upstream::VideoId {
    const FIELD: &'static str = "video_id";
}
