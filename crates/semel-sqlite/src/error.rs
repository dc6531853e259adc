//! What SQLite's errors mean, and what to do about them.

use std::path::Path;

use rusqlite::ErrorCode;
use semel_core::StoreError;
use semel_core::store::Trouble;

/// Whether a failed transaction may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It never began: another program holds the write lock.
    NotBegun,
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

/// What is known if no transaction could be begun.
pub(crate) fn certainty_of_begin(error: &rusqlite::Error) -> Certainty {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Certainty::NotBegun,
        _ => Certainty::NotApplied,
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
            (Trouble::Full, "No room is left: free some on the disk; work goes on by itself.")
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

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::{Certainty, certainty};

    /// Only what SQLite surely undid may be called so: whoever hears it may do something else.
    #[test]
    fn a_commit_that_failed_is_in_doubt_unless_sqlite_undid_it() {
        let undone = [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
            ffi::SQLITE_TOOBIG,
        ];
        let in_doubt = [
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_INTERNAL,
        ];
        let cases = undone.map(|code| (code, Certainty::NotApplied)).into_iter();
        for (code, expected) in cases.chain(in_doubt.map(|code| (code, Certainty::Unknown))) {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(certainty(&error), expected, "{error}");
        }
    }
}
