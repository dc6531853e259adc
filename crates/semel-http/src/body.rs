//! Bodies of requests, and what a request is compared by.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Problem, problem};

/// The SHA-256 of a request: two requests with the same one are the same request.
///
/// As an axum extractor it reads the body and takes nothing else from it: for actions that are
/// asked for without one. Where there is a body, see [`JsonBody`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a request with this method, this path with its query, and this body.
    ///
    /// ```
    /// use semel_http::Fingerprint;
    ///
    /// let one = Fingerprint::of("POST", "/carts/7/order", b"{}");
    /// assert_eq!(one, Fingerprint::of("POST", "/carts/7/order", b"{}"));
    /// assert_ne!(one, Fingerprint::of("POST", "/carts/7/order", b"{ }"));
    /// ```
    pub fn of(method: &str, path_and_query: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), path_and_query.as_bytes(), body] {
            // The length first, so that no two lists of parts look alike.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(format!("{:x}", hash.finalize()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Fingerprint {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read(request, state).await.map(|(_, fingerprint)| fingerprint)
    }
}

/// The JSON body of a request, with the request's fingerprint: an axum extractor.
///
/// The largest body is what axum's `DefaultBodyLimit` says: 2 MB, unless a layer says otherwise.
/// A larger one is answered with 413, another content type with 415, and what is not the JSON of a
/// `T` with 400 (422 has another meaning here).
#[derive(Clone, Debug)]
pub struct JsonBody<T> {
    /// What the body says.
    pub value: T,
    /// What the request is compared by when it comes again.
    pub fingerprint: Fingerprint,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "Send the body as JSON, with Content-Type: application/json.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                .of_kind(problem::NOT_JSON, "The body is not JSON"));
        }
        let (body, fingerprint) = read(request, state).await?;
        match serde_json::from_slice(&body) {
            Ok(value) => Ok(Self { value, fingerprint }),
            // The parser names places and members of the client's own body, nothing of ours.
            Err(error) => Err(malformed(format!("The body is not the JSON expected: {error}."))),
        }
    }
}

async fn read<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<(Bytes, Fingerprint), Problem> {
    let method = request.method().clone();
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let body = Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large. Send less.",
            )
            .of_kind(problem::TOO_LARGE, "Too large");
        }
        malformed("The body ended too early.".to_owned())
    })?;
    let fingerprint = Fingerprint::of(method.as_str(), &path, &body);
    Ok((body, fingerprint))
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
        .of_kind(problem::BODY_MALFORMED, "The body is malformed")
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}
