//! The file: opening it, and noticing that it is no longer the same.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, MAIN_DB, OpenFlags};
use semel_core::StoreError;
use semel_core::store::Trouble;

use crate::{Missing, Options, error, schema};

/// How large the log may grow before its pages go back into the file, in pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 4_000;

/// The longest wait that SQLite can be told.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// An opened file: where it is, which it is, and how patient we are with others who use it.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    lock_wait: Duration,
    log: PathBuf,
    file_identity: Identity,
    /// `None` if there was no log: the file is from a backup, and we only look.
    log_identity: Option<Identity>,
}

/// Which file lies at a path: another one has another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Place {
    /// Opens the file, and brings its tables up to date unless we only look.
    pub(crate) fn open(path: &Path, options: &Options) -> Result<(Self, Connection), StoreError> {
        // An absolute path stays right when the process changes its folder.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let missing = options.missing;
        let lock_wait = options.lock_wait.min(LOCK_WAIT_MAX);
        let create = match missing {
            Missing::Create => OpenFlags::SQLITE_OPEN_CREATE,
            Missing::Refuse => OpenFlags::empty(),
        };
        check_kind(&path, missing)?;
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | create, lock_wait)?;
        let translate = |error: rusqlite::Error| error::translate(&path, "open", &error);
        if connection.is_readonly(MAIN_DB).map_err(translate)? {
            check_read_only(&path, missing)?;
        }
        schema::prepare(&path, &mut connection, missing, lock_wait)?;
        configure(&connection, options.file_bytes_max).map_err(translate)?;
        let log = beside(&path, "-wal");
        let file_identity = Identity::of(&path).map_err(|error| vanished(&path, "open", &error))?;
        let log_identity = Identity::of(&log).ok();
        Ok((Self { path, lock_wait, log, file_identity, log_identity }, connection))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A further connection that only reads.
    pub(crate) fn open_reader(&self) -> Result<Connection, StoreError> {
        let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE, self.lock_wait);
        // Looked at after opening, so that what was opened is the file we know.
        self.check_identity("open")?;
        let connection = connection?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(|error| self.translate("open", &error))?;
        Ok(connection)
    }

    /// How much longer a request that came at `since` waits for the write lock, to the millisecond.
    pub(crate) fn patience(&self, since: Instant) -> Duration {
        let left = self.lock_wait.saturating_sub(since.elapsed());
        Duration::from_millis(left.as_millis() as u64)
    }

    /// Fails if the file or its log was deleted or replaced since we opened it: what we write would
    /// go nowhere.
    pub(crate) fn check_identity(&self, operation: &'static str) -> Result<(), StoreError> {
        let check = |path: &Path, opened: Identity| match Identity::of(path) {
            Ok(found) if found == opened => Ok(()),
            Ok(_) => {
                let reason = format!("another file lies at {}", path.display());
                Err(vanished(&self.path, operation, &reason))
            }
            Err(error) => Err(vanished(&self.path, operation, &error)),
        };
        check(&self.path, self.file_identity)?;
        self.log_identity.map_or(Ok(()), |opened| check(&self.log, opened))
    }

    pub(crate) fn translate(&self, operation: &'static str, error: &rusqlite::Error) -> StoreError {
        error::translate(&self.path, operation, error)
    }
}

impl Identity {
    #[cfg(unix)]
    fn of(path: &Path) -> Result<Self, String> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(path) {
            Ok(found) => Ok(Self { device: found.dev(), inode: found.ino() }),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// This system does not let an open file be replaced.
    #[cfg(not(unix))]
    fn of(_: &Path) -> Result<Self, String> {
        Ok(Self { device: 0, inode: 0 })
    }
}

fn connect(path: &Path, flags: OpenFlags, lock_wait: Duration) -> Result<Connection, StoreError> {
    let translate = |error: rusqlite::Error| error::translate(path, "open", &error);
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(translate)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.busy_timeout(lock_wait).map_err(translate)?;
    #[cfg(all(test, unix))]
    let connection = crate::killed::watched(connection);
    Ok(connection)
}

fn configure(connection: &Connection, file_bytes_max: u64) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages_max = (file_bytes_max / u64::from(page_bytes)).clamp(1, u64::from(u32::MAX) - 1);
    connection.pragma_update_and_check(None, "max_page_count", pages_max as u32, |_| Ok(()))
}

fn check_kind(path: &Path, missing: Missing) -> Result<(), StoreError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(refused(path, "this is a folder", "Name a file in it, for example `shop.db`."))
        }
        Ok(_) => Ok(()),
        Err(_) if missing == Missing::Create => Ok(()),
        Err(error) => Err(refused(
            path,
            &error.to_string(),
            "Check the path; a worker makes the file when it first starts.",
        )),
    }
}

/// Whether a file that this user may only read can be of use.
///
/// Only while another has it open: the first to open it would have to make the files beside it, and
/// the worker that comes after could not write those.
fn check_read_only(path: &Path, missing: Missing) -> Result<(), StoreError> {
    if missing == Missing::Refuse && beside(path, "-shm").exists() {
        return Ok(());
    }
    Err(refused(
        path,
        "this user may only read the file",
        "Make the file and its folder writable for this user; whoever may only read can look while \
         a worker runs.",
    ))
}

/// What SQLite keeps beside the file. It follows links first.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn refused(path: &Path, reason: &str, help: &str) -> StoreError {
    error::new(path, Trouble::Broken, "open", reason, help)
}

fn vanished(path: &Path, operation: &'static str, reason: &str) -> StoreError {
    error::new(
        path,
        Trouble::Broken,
        operation,
        format!("the file was deleted or replaced while it was in use: {reason}"),
        "Put the file back, then start the workers again; what was not acknowledged was not done.",
    )
}
