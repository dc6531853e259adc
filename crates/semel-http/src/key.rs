//! The `Idempotency-Key` header, and a request as it is recognised again.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::HeaderValue;
use axum::http::request::Parts;

use crate::{Fingerprint, Problem};

const HEADER: &str = "idempotency-key";
/// The longest key, in characters.
const CHARACTERS_MAX: usize = 255;

/// The identity that a client chose for a request.
///
/// As an axum extractor it asks for the header `Idempotency-Key`, once: without it the answer is
/// 400. `Option<IdempotencyKey>` lets it be absent, but not malformed.
///
/// The draft wants a string in double quotes (`sf-string` of RFC 8941, without parameters). Most
/// clients send the bare key, and so that is taken too: `"k"` and `k` are the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the value of the header.
    ///
    /// ```
    /// use semel_http::IdempotencyKey;
    ///
    /// assert_eq!(IdempotencyKey::parse(b"\"8e03978e\"")?, IdempotencyKey::parse(b"8e03978e")?);
    /// assert!(IdempotencyKey::parse(b"").is_err());
    /// # Ok::<(), semel_http::Problem>(())
    /// ```
    pub fn parse(value: &[u8]) -> Result<Self, Problem> {
        let value = value.trim_ascii();
        let key = match value.strip_prefix(b"\"") {
            Some(rest) => read_quoted(rest),
            None => read_bare(value),
        };
        let key = key.ok_or_else(|| {
            Problem::key_malformed("The key must be a string in double quotes, or a bare word.")
        })?;
        match key.len() {
            0 => Err(Problem::key_malformed("The key is empty.")),
            1..=CHARACTERS_MAX => Ok(Self(key)),
            _ => Err(Problem::key_malformed("The key is longer than 255 characters.")),
        }
    }

    /// The key without its quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What follows the opening quote, up to a closing quote that ends the value.
fn read_quoted(rest: &[u8]) -> Option<String> {
    let mut key = String::new();
    let mut rest = rest.iter();
    loop {
        match rest.next()? {
            b'"' if rest.as_slice().is_empty() => return Some(key),
            b'\\' => match rest.next()? {
                escaped @ (b'"' | b'\\') => key.push(char::from(*escaped)),
                _ => return None,
            },
            plain @ (b' ' | b'!' | b'#'..=b'~') => key.push(char::from(*plain)),
            _ => return None,
        }
    }
}

/// A bare word has nothing in it that means something else in a structured field.
fn read_bare(value: &[u8]) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\,;".contains(byte);
    value.iter().all(is_plain).then(|| value.iter().copied().map(char::from).collect())
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(HeaderValue::as_bytes(value)).map(Some),
            (Some(_), Some(_)) => Err(Problem::key_malformed("The header is there twice.")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let key = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        key.ok_or_else(Problem::key_missing)
    }
}

/// A request for an action, as it is recognised when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) fingerprint: Fingerprint,
}

impl Submission {
    /// A request under a key; or, where the action asks for none, an `Option` of one. Without a
    /// key, the rule that an action happens once per data set protects alone.
    pub fn new(key: impl Into<Option<IdempotencyKey>>, fingerprint: Fingerprint) -> Self {
        Self { key: key.into(), fingerprint }
    }
}
