//! How a handler says that it could not do its work.

use std::error::Error;
use std::fmt;

/// What shall happen to a message whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, according to the endpoint's retry policy.
    Retry,
    /// Trying again cannot help: dead-letter it now.
    DeadLetter,
}

/// Why a handler failed.
///
/// Any error turns into one with `?` and is retried:
///
/// ```
/// use semel_core::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse::<u32>()?)
/// }
/// assert!(parse("seven").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: String,
    verdict: Verdict,
}

impl Failure {
    /// A failure that another attempt may get past.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), verdict: Verdict::Retry }
    }

    /// A failure that no attempt gets past: the message is dead-lettered at once.
    pub fn dead_letter(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), verdict: Verdict::DeadLetter }
    }

    /// What went wrong, with its causes.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What shall happen to the message.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Keeps the whole chain of causes. `Failure` itself is no [`Error`], which leaves room for this.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            reason.push_str(": ");
            reason.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self::retry(reason)
    }
}

/// What a handler may return: nothing, or a `Result` whose error becomes a [`Failure`].
pub trait HandlerResult {
    /// The same as a `Result`.
    fn into_result(self) -> Result<(), Failure>;
}

impl HandlerResult for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> HandlerResult for Result<(), E> {
    fn into_result(self) -> Result<(), Failure> {
        self.map_err(Into::into)
    }
}
