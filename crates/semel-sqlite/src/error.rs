//! What SQLite's errors mean, and what to do about them.

use std::path::Path;

use rusqlite::ErrorCode;
use semel_core::StoreError;
use semel_core::store::Trouble;

/// Whether a failed transaction may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It surely was not.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

/// Translates an error of SQLite.
pub(crate) fn translate(
    path: &Path,
    operation: &'static str,
    error: &rusqlite::Error,
) -> StoreError {
    let (trouble, help) = judge(error);
    new(path, trouble, operation, error.to_string(), help)
}

/// An error about the file at `path`.
pub(crate) fn new(
    path: &Path,
    trouble: Trouble,
    operation: &'static str,
    reason: impl Into<String>,
    help: &str,
) -> StoreError {
    StoreError {
        trouble,
        store: format!("sqlite:{}", path.display()),
        operation,
        reason: reason.into(),
        help: help.to_owned(),
    }
}

/// Whether a COMMIT that ended with `error` may have been applied all the same.
pub(crate) fn certainty(error: &rusqlite::Error) -> Certainty {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::ConstraintViolation
            | ErrorCode::TooBig,
        ) => Certainty::NotApplied,
        _ => Certainty::Unknown,
    }
}

fn judge(error: &rusqlite::Error) -> (Trouble, &'static str) {
    let Some(code) = error.sqlite_error_code() else {
        return (
            Trouble::Broken,
            "The tables are not as Semel made them: restore a backup, or undo the change.",
        );
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            Trouble::Unavailable,
            "Another program holds the write lock: end its transaction (is the file open in a \
             shell or a backup?).",
        ),
        ErrorCode::DiskFull => {
            (Trouble::Full, "The disk is full: free some space; work goes on by itself.")
        }
        ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory => (
            Trouble::Unavailable,
            "Look at the disk and the system's log; work goes on by itself once writes succeed.",
        ),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            (Trouble::Broken, "Make the file and its folder writable for this user.")
        }
        ErrorCode::CannotOpen => {
            (Trouble::Broken, "Check that the folder exists and that this user may write into it.")
        }
        ErrorCode::NotADatabase => (
            Trouble::Broken,
            "Something else is in this file: name another file, or move this one away.",
        ),
        ErrorCode::DatabaseCorrupt => (
            Trouble::Broken,
            "Stop all workers, keep a copy, and restore a backup (or try `.recover` of sqlite3).",
        ),
        ErrorCode::TooBig => (Trouble::TooLarge, "Store or send less in one piece."),
        _ => (
            Trouble::Broken,
            "The tables are not as Semel made them: restore a backup, or undo the change.",
        ),
    }
}
