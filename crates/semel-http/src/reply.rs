//! The response of an action, as it is kept and given again.

use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::Problem;

/// The response of an action: kept with the data set, and given again byte for byte.
///
/// ```
/// use axum::http::StatusCode;
/// use semel_http::Reply;
///
/// #[derive(serde::Serialize)]
/// struct Ordered { order: &'static str }
///
/// let reply = Reply::json(StatusCode::CREATED, &Ordered { order: "17" })?.at("/orders/17");
/// assert_eq!(reply.body(), r#"{"order":"17"}"#);
/// # Ok::<(), semel_http::Problem>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    status: u16,
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    body: String,
}

impl Reply {
    /// A reply with a text as its body.
    pub fn new(
        status: StatusCode,
        content_type: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        let (content_type, body) = (content_type.into(), body.into());
        Self { status: status.as_u16(), content_type, location: None, body }
    }

    /// A reply with `value` as JSON.
    pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Self, Problem> {
        match serde_json::to_string(value) {
            Ok(body) => Ok(Self::new(status, "application/json", body)),
            Err(error) => Err(Problem::internal(error)),
        }
    }

    /// The same with a `Location` header.
    #[must_use]
    pub fn at(self, location: impl Into<String>) -> Self {
        Self { location: Some(location.into()), ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Whether this can be sent. Asked before it is kept: it could never be mended after.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        self.head().map(drop)
    }

    fn head(&self) -> Result<(StatusCode, HeaderValue, Option<HeaderValue>), Problem> {
        let status = StatusCode::from_u16(self.status).map_err(Problem::internal)?;
        let content_type = HeaderValue::from_str(&self.content_type).map_err(Problem::internal)?;
        let location = self.location.as_deref().map(HeaderValue::from_str).transpose();
        Ok((status, content_type, location.map_err(Problem::internal)?))
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (status, content_type, location) = match self.head() {
            Ok(head) => head,
            Err(problem) => return problem.into_response(),
        };
        let mut response = (status, self.body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        if let Some(location) = location {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}
