//! The file: opening it, and noticing that it is no longer the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use semel_core::StoreError;
use semel_core::store::Trouble;

use crate::{Missing, error, schema};

/// How large the log may grow before its pages go back into the file, in pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 4_000;

/// Where the file is, and how patient we are with others who use it.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    lock_wait: Duration,
}

/// Which file lies at the path: another one has another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Place {
    pub(crate) fn new(path: &Path, lock_wait: Duration) -> Self {
        // An absolute path stays right when the process changes its folder.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, lock_wait }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for writing and brings its tables up to date.
    pub(crate) fn open(&self, missing: Missing) -> Result<Connection, StoreError> {
        self.check_kind(missing)?;
        let mut connection = self.connect(
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | match missing {
                    Missing::Create => OpenFlags::SQLITE_OPEN_CREATE,
                    Missing::Refuse => OpenFlags::empty(),
                },
        )?;
        schema::prepare(&self.path, &mut connection, missing)?;
        self.configure(&connection).map_err(|error| self.translate("open", &error))?;
        Ok(connection)
    }

    /// A further connection that only reads.
    pub(crate) fn open_reader(&self) -> Result<Connection, StoreError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(|error| self.translate("open", &error))?;
        Ok(connection)
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, StoreError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)
            .map_err(|error| self.translate("open", &error))?;
        connection.set_prepared_statement_cache_capacity(128);
        connection.busy_timeout(self.lock_wait).map_err(|error| self.translate("open", &error))?;
        Ok(connection)
    }

    fn configure(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "cache_size", -32_768)?;
        Ok(())
    }

    fn check_kind(&self, missing: Missing) -> Result<(), StoreError> {
        match std::fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Err(self.broken(
                "open",
                "this is a folder",
                "Name a file in it, for example `shop.db`.",
            )),
            Ok(_) => Ok(()),
            Err(_) if missing == Missing::Create => Ok(()),
            Err(error) => Err(self.broken(
                "open",
                &error.to_string(),
                "Check the path; a worker makes the file when it first starts.",
            )),
        }
    }

    /// Which file lies at the path now.
    #[cfg(unix)]
    pub(crate) fn identity(&self) -> Result<Identity, StoreError> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(&self.path) {
            Ok(found) => Ok(Identity { device: found.dev(), inode: found.ino() }),
            Err(error) => Err(self.vanished(&error.to_string())),
        }
    }

    /// Which file lies at the path now. This system does not let an open file be replaced.
    #[cfg(not(unix))]
    pub(crate) fn identity(&self) -> Result<Identity, StoreError> {
        Ok(Identity { device: 0, inode: 0 })
    }

    /// Fails if the file was deleted or replaced since it had this identity: what we write would go
    /// nowhere.
    pub(crate) fn check_identity(&self, opened: Identity) -> Result<(), StoreError> {
        if self.identity()? == opened {
            Ok(())
        } else {
            Err(self.vanished("another file lies in its place"))
        }
    }

    fn vanished(&self, reason: &str) -> StoreError {
        self.broken(
            "commit",
            &format!("the file was deleted or replaced while it was in use: {reason}"),
            "Put the file back, then start the workers again; what was not acknowledged was not \
             done.",
        )
    }

    fn broken(&self, operation: &'static str, reason: &str, help: &str) -> StoreError {
        error::new(&self.path, Trouble::Broken, operation, reason, help)
    }

    pub(crate) fn translate(&self, operation: &'static str, error: &rusqlite::Error) -> StoreError {
        error::translate(&self.path, operation, error)
    }
}
