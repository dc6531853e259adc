//! Errors as clients see them: the JSON of RFC 9457.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use semel_core::StoreError;
use semel_core::store::Trouble;
use serde::Serialize;

/// The header that an action asks for is not there: 400.
pub const KEY_MISSING: &str = "urn:semel:problem:key-missing";
/// The header is there, but it is not one key of 1 to 255 characters: 400.
pub const KEY_MALFORMED: &str = "urn:semel:problem:key-malformed";
/// The key was used for another request: 422.
pub const KEY_REUSED: &str = "urn:semel:problem:key-reused";
/// An earlier request on the same data set has not ended yet: 409.
pub const IN_PROGRESS: &str = "urn:semel:problem:in-progress";
/// No data set has this id: 404.
pub const UNKNOWN_ID: &str = "urn:semel:problem:unknown-id";
/// The body is not the JSON that was expected: 400.
pub const BODY_MALFORMED: &str = "urn:semel:problem:body-malformed";
/// The body, or what it would make the server store, is too large: 413.
pub const TOO_LARGE: &str = "urn:semel:problem:too-large";
/// The body is not declared to be JSON: 415.
pub const NOT_JSON: &str = "urn:semel:problem:not-json";
/// The server cannot reach its data, or others were always faster: 503. Nothing was done.
pub const UNAVAILABLE: &str = "urn:semel:problem:unavailable";
/// It may have been done, or not: 503. The detail says how to find out.
pub const OUTCOME_UNKNOWN: &str = "urn:semel:problem:outcome-unknown";

/// When a client may try again what failed for a passing reason.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An error as the client sees it: `application/problem+json`.
///
/// ```
/// use axum::http::StatusCode;
/// use semel_http::Problem;
///
/// let closed = Problem::new(StatusCode::CONFLICT, "This cart was ordered already.")
///     .of_kind("https://shop.example/problems/ordered", "The cart is closed");
/// assert_eq!(closed.to_string(), "409 The cart is closed: This cart was ordered already.");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    kind: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem that its status names well enough (`about:blank` in RFC 9457). `detail` tells the
    /// client what to do about this one.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Problem").into(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// The same as one of a kind: a URI that names the kind for programs, and its title for people.
    #[must_use]
    pub fn of_kind(
        self,
        kind: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind: kind.into(), title: title.into(), ..self }
    }

    /// The same with a `Retry-After` header, in whole seconds.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// A defect or a fault of ours: 500. The reason goes to the log and not to the client.
    pub fn internal(reason: impl fmt::Display) -> Self {
        tracing::error!(%reason, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The server failed. Its log says why.")
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The URI of its kind (`type` in RFC 9457).
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What a person can do about it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn key_missing() -> Self {
        let detail = "This request needs an Idempotency-Key header: choose a key, and send the \
                      same one with every repetition of the request.";
        Self::new(StatusCode::BAD_REQUEST, detail)
            .of_kind(KEY_MISSING, "Idempotency-Key is missing")
    }

    pub(crate) fn key_malformed(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
            .of_kind(KEY_MALFORMED, "Idempotency-Key is malformed")
    }

    pub(crate) fn key_reused() -> Self {
        let detail = "This Idempotency-Key was used for another request. Send that request \
                      unchanged, or choose another key for this one.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            .of_kind(KEY_REUSED, "Idempotency-Key is already used")
    }

    pub(crate) fn in_progress() -> Self {
        let detail = "An earlier request is still in progress. Send this one again, unchanged.";
        Self::new(StatusCode::CONFLICT, detail)
            .of_kind(IN_PROGRESS, "A request is outstanding")
            .retry_after(AGAIN_AFTER)
    }

    pub(crate) fn unknown_id() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Nothing has this id. Ids are given by the server.")
            .of_kind(UNKNOWN_ID, "Unknown id")
    }

    /// Nothing was done because others were always faster.
    pub(crate) fn busy() -> Self {
        let detail = "Too many requests change the same thing. Nothing was done: send it again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .of_kind(UNAVAILABLE, "Unavailable for now")
            .retry_after(AGAIN_AFTER)
    }

    /// It may have been done. `detail` says how the client finds out.
    pub(crate) fn outcome_unknown(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .of_kind(OUTCOME_UNKNOWN, "The outcome is not known yet")
            .retry_after(AGAIN_AFTER)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.title, self.detail)
    }
}

impl std::error::Error for Problem {}

/// What the store said goes to the log and not to the client.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error.trouble {
            Trouble::Unavailable | Trouble::Full | Trouble::Broken => {
                tracing::error!(%error, "a request failed");
                let detail = "The server cannot reach its data. Send the same request again.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                    .of_kind(UNAVAILABLE, "Unavailable for now")
                    .retry_after(AGAIN_AFTER)
            }
            Trouble::TooLarge => {
                tracing::warn!(%error, "a request was refused");
                let detail = "The server cannot store that much in one piece. Send less.";
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail).of_kind(TOO_LARGE, "Too large")
            }
            Trouble::Unsupported => Self::internal(error),
        }
    }
}

#[derive(Serialize)]
struct Members<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let members = Members {
            kind: &self.kind,
            title: &self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        // Texts and a number can always be written.
        let body = serde_json::to_vec(&members).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
