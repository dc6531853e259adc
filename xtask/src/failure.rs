//! The one error type of the tasks.

use std::fmt;

/// What failed and what to do about it. Both are fields, so that no task can fail without advice.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    remedy: String,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    /// The same failure as part of a larger task, which `again` runs alone.
    pub(crate) fn within(self, task: &str, again: &str) -> Self {
        let Self { what, remedy } = self;
        Self::new(format!("{task} failed: {what}"), format!("{remedy}\nto run it alone: {again}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\nto do: {}", self.what, self.remedy)
    }
}
