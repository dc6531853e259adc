//! Semel's embedded store and queue: one SQLite file.
//!
//! State, inbox, outbox and queue lie in the same file, so that receiving a message, changing the
//! state and sending further messages are one transaction. One writer thread commits whatever has
//! queued up as one transaction (group commit); each request in it stands and falls alone.
//!
//! Several processes may use the file at the same time. Open it with `sqlite3` to look inside:
//!
//! | table | one row is |
//! |---|---|
//! | `entity` | the state of an entity |
//! | `queue` | a message that waits or is in work |
//! | `dead_letter` | a message parked for a person |
//! | `inbox` | the identity of a processed message |
//! | `outbox` | effects that wait for their dispatch (only with a broker elsewhere) |
//! | `token` | the right to process a message in flight |
//! | `reply` | an answer given under an idempotency key |
//! | `endpoint`, `subscription` | what workers registered |
//! | `counter` | the source of versions |
//!
//! Times are milliseconds since the Unix epoch.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod broker;
mod changes;
mod error;
mod file;
#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod killed;
mod operator;
mod queue;
mod reader;
mod row;
mod schema;
mod store;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semel_core::{Clock, StoreError, SystemClock};
use tokio::sync::Notify;

use file::Place;
use reader::Reader;
use writer::Writer;

/// The largest item or message, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What to do where there is no file yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make one.
    Create,
    /// Fail: for programs that only look. They change no tables, and a file that this user may
    /// only read will do while a worker has it open.
    Refuse,
}

/// How to open the file.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do where there is no file yet.
    pub missing: Missing,
    /// Tells when leases and windows end.
    pub clock: Arc<dyn Clock>,
    /// How long a request waits for another process that holds the write lock.
    pub lock_wait: Duration,
    /// How large the file may grow, in bytes; what needs more room ends with [`Trouble::Full`],
    /// receiving large messages included. The log beside it takes some megabytes more.
    ///
    /// [`Trouble::Full`]: semel_core::store::Trouble::Full
    pub file_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            missing: Missing::Create,
            clock: Arc::new(SystemClock),
            lock_wait: Duration::from_secs(10),
            file_bytes_max: u64::MAX,
        }
    }
}

/// One SQLite file as store and queue.
///
/// ```no_run
/// # fn main() -> Result<(), semel_core::StoreError> {
/// use std::sync::Arc;
///
/// let file = semel_sqlite::Sqlite::open("shop.db")?;
/// let backend = semel_core::Backend::in_one(Arc::new(file));
/// # Ok(()) }
/// ```
pub struct Sqlite {
    place: Arc<Place>,
    writer: Writer,
    reader: Arc<Reader>,
    clock: Arc<dyn Clock>,
    /// Tells receivers in this process that something was queued.
    queued: Arc<Notify>,
}

impl Sqlite {
    /// Opens the file, or makes it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Options::default())
    }

    /// Opens the file as `options` say.
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let (place, connection) = Place::open(path.as_ref(), &options)?;
        let place = Arc::new(place);
        let queued = Arc::new(Notify::new());
        let writer = Writer::start(connection, &place, options.clock.clone(), &queued)?;
        Ok(Self {
            reader: Arc::new(Reader::new(&place)),
            place,
            writer,
            clock: options.clock,
            queued,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.place.path().to_owned()
    }

    /// How many transactions this handle has committed durably: a batch of messages shares one.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.place.path().display())
    }
}
