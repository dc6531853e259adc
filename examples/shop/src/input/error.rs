//! Why a whole input file cannot be used. A single bad line is no error: see `rejects`.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why no orders could be read; each message ends with what to do.
#[derive(Debug, Error)]
pub(crate) enum InputError {
    /// Nothing is at the path.
    #[error("there is no file {}: check the path", path.display())]
    NotFound {
        /// The file of orders.
        path: PathBuf,
    },
    /// The path leads to a directory.
    #[error("{} is a directory: give the path of one CSV file", path.display())]
    Directory {
        /// The file of orders.
        path: PathBuf,
    },
    /// The file may not be read.
    #[error("{} may not be read: give this user the permission, or use a copy", path.display())]
    Permission {
        /// The file of orders.
        path: PathBuf,
    },
    /// Not one byte, or nothing but blank lines.
    #[error("{} is empty: give a CSV file with a line of column names and a line for each item", path.display())]
    Empty {
        /// The file of orders.
        path: PathBuf,
    },
    /// Column names and nothing below them.
    #[error("{} holds column names but no orders: add a line for each item ordered", path.display())]
    HeaderOnly {
        /// The file of orders.
        path: PathBuf,
    },
    /// UTF-16, as spreadsheets save "Unicode text".
    #[error("{} is UTF-16 text: save it as CSV in UTF-8", path.display())]
    Utf16 {
        /// The file of orders.
        path: PathBuf,
    },
    /// The first line cannot be split into column names.
    #[error("the first line of {} is no line of column names ({why}): begin it with {needed}", path.display())]
    Header {
        /// The file of orders.
        path: PathBuf,
        /// What is wrong with the line.
        why: &'static str,
        /// The names it needs.
        needed: String,
    },
    /// Columns that the shop needs are not there.
    #[error("{} has no column {missing}: name the columns in its first line, separated by commas (found: {found})", path.display())]
    MissingColumns {
        /// The file of orders.
        path: PathBuf,
        /// The names that were not found.
        missing: String,
        /// The names that were.
        found: String,
    },
    /// Two columns of one name.
    #[error("{} has the column {name} twice: rename or remove one", path.display())]
    DuplicateColumn {
        /// The file of orders.
        path: PathBuf,
        /// The name.
        name: &'static str,
    },
    /// Reading broke off.
    #[error("reading {} failed ({source}): nothing was used; check the disk and run again", path.display())]
    Read {
        /// The file of orders.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The rejects would overwrite the orders.
    #[error("the rejects would overwrite the orders in {}: give the rejects another path", path.display())]
    RejectsOverOrders {
        /// The file of orders.
        path: PathBuf,
    },
    /// The rejects could not be written, and without them lines would be lost silently.
    #[error("the rejects file {} cannot be written ({source}): give a path that can be", path.display())]
    Rejects {
        /// The file of rejects.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl InputError {
    /// The error for what the system said when the file was opened or read.
    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::IsADirectory => Self::Directory { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path },
            _ => Self::Read { path, source },
        }
    }
}
