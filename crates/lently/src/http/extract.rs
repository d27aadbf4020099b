//! Bodies, queries and path parameters as typed values, refused with a problem that names what is wrong.

use std::{fmt::Display, str::FromStr};

use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Request,
        rejection::{JsonRejection, PathRejection},
    },
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::error::Problem;

/// As much of a client's value is repeated to it.
const REPEATED: usize = 80;

/// A JSON body: always an object.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body: Result<Json<Box<RawValue>>, JsonRejection> = Json::from_request(request, state).await;
        let Json(body) = body.map_err(|rejection| of_json(&rejection))?;
        // A derived struct would be read from a list, too, by the order of its fields.
        if !body.get().starts_with('{') {
            let detail = "the body must be a JSON object";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", detail));
        }
        let mut json = serde_json::Deserializer::from_str(body.get());
        serde_path_to_error::deserialize(&mut json).map(Self).map_err(|error| of_value(&error))
    }
}

fn of_json(rejection: &JsonRejection) -> Problem {
    let status = rejection.status();
    match rejection {
        JsonRejection::JsonDataError(_) | JsonRejection::JsonSyntaxError(_) => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid-json", rejection.body_text())
        }
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

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(query).map(Self).map_err(|error| of_value(&error))
    }
}

/// A value that is of another type than it must be: 422, with its field where that is known.
fn of_value<E: Display>(error: &serde_path_to_error::Error<E>) -> Problem {
    let message = error.inner().to_string();
    // A body is one line as often as not, and its place in it says less than its name.
    let message = message.rfind(" at line ").map_or(message.as_str(), |end| &message[..end]);
    let mut field = error.path().to_string();
    let about = |what: &str| message.strip_prefix(what).and_then(|rest| rest.split_once('`'));
    let named = ["missing", "unknown", "duplicate"]
        .iter()
        .find_map(|what| Some((*what, about(&format!("{what} field `"))?)));
    if let Some((_, (name, _))) = named {
        field = match field.as_str() {
            "." | "?" => name.to_owned(),
            path if path == name || path.ends_with(&format!(".{name}")) => field,
            path => format!("{}.{name}", path.trim_end_matches(".?")),
        };
    }
    let field: String = field.chars().take(REPEATED).collect();
    let detail = match named {
        Some(("missing", _)) => format!("`{field}` is missing"),
        Some(("duplicate", _)) => format!("`{field}` is given twice"),
        Some((_, (_, expected))) => format!("`{field}` is not known{expected}"),
        None if field == "." => in_words(message),
        None => format!("`{field}`: {}", in_words(message)),
    };
    if field == "." {
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", detail);
    }
    Problem::invalid(&field, detail)
}

/// What a deserializer says, without the names that types have in Rust.
fn in_words(message: &str) -> String {
    let (got, expected) = match message {
        "expected value" => ("", "a string"),
        "provided string was not `true` or `false`" => ("", "`true` or `false`"),
        _ if message.contains("invalid digit") || message.contains("parse integer") => ("", "u64"),
        _ if message.starts_with("number too") => ("", "u32"),
        _ => match message.rsplit_once(", expected ") {
            Some(parts) => parts,
            None => return message.chars().take(3 * REPEATED).collect(),
        },
    };
    let expected = match expected {
        "u8" | "u16" | "u64" | "usize" => "a whole number from 0",
        "u32" => "a whole number from 0 to 4294967295",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "string or map" => "a string",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    };
    let got = ["invalid type: ", "invalid value: ", "unknown variant "]
        .iter()
        .fold(got, |got, what| got.strip_prefix(what).unwrap_or(got));
    match got.char_indices().nth(REPEATED) {
        None if got.is_empty() => format!("expected {expected}"),
        None => format!("expected {expected}, not {got}"),
        Some((end, _)) => format!("expected {expected}, not {}…", &got[..end]),
    }
}

/// The one parameter in the path, as whatever reads itself from text.
pub(super) struct Id<T>(pub T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: FromStr<Err: Display> + PathField,
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
