//! One test's files, clock and books.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _};
use semel::core::broker::{Destination, Outgoing, SendOutcome};
use semel::core::operator::{DeadLetter, DeadLetterFilter};
use semel::sqlite::{Options, Sqlite};
use semel::{Backend, Clock as _, Endpoint, Envelope, Host, ManualClock, RetryPolicy, Settings};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Where the queue lives, seen from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the same file.
    Inside,
    /// In a file of its own.
    Apart,
}

impl Home {
    pub(crate) const BOTH: [Self; 2] = [Self::Inside, Self::Apart];
}

/// The files of one test, and the clock that every handle on them reads.
#[derive(Debug)]
pub(crate) struct Rig {
    folder: TempDir,
    home: Home,
    pub(crate) clock: Arc<ManualClock>,
}

/// How much of what lies in the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) queued: u64,
    pub(crate) dead: u64,
    pub(crate) inbox: u64,
    pub(crate) outbox: u64,
}

impl Rig {
    /// State and queue in one file.
    pub(crate) fn new() -> Self {
        Self::at(Home::Inside)
    }

    pub(crate) fn at(home: Home) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), home, clock: Arc::default() }
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    pub(crate) fn queue_path(&self) -> PathBuf {
        match self.home {
            Home::Inside => self.store_path(),
            Home::Apart => self.folder.path().join("queue.db"),
        }
    }

    /// A new handle on the file of the store, as another process would have one.
    pub(crate) fn open_store(&self) -> Arc<Sqlite> {
        self.open(self.store_path())
    }

    fn open(&self, path: PathBuf) -> Arc<Sqlite> {
        // A test may hold the write lock for as long as it likes.
        let lock_wait = Duration::from_secs(600);
        let options = Options { clock: self.clock.clone(), lock_wait, ..Options::default() };
        Arc::new(Sqlite::open_with(path, options).unwrap())
    }

    /// A backend on new handles, as another process would have one.
    pub(crate) fn backend(&self) -> Backend {
        let store = self.open_store();
        let backend = match self.home {
            Home::Inside => Backend::in_one(store),
            Home::Apart => Backend::apart(store, self.open(self.queue_path())),
        };
        backend.with_clock(self.clock.clone())
    }

    /// Keeps a copy of a file, as a backup does.
    pub(crate) fn back_up(&self, path: PathBuf) -> PathBuf {
        let copy = path.with_extension("backup");
        let to = copy.to_str().unwrap();
        connect(path).execute("VACUUM INTO ?1", [to]).unwrap();
        copy
    }

    /// Puts a copy in the place of a file that nobody has open.
    pub(crate) fn restore(&self, copy: &PathBuf, path: &PathBuf) {
        for end in ["-wal", "-shm"] {
            let mut beside = path.clone().into_os_string();
            beside.push(end);
            let _ = std::fs::remove_file(beside);
        }
        std::fs::copy(copy, path).unwrap();
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// Milliseconds from now to `at_ms`.
    pub(crate) fn ms_until(&self, at_ms: i64) -> i64 {
        at_ms - self.clock.now().unix_ms()
    }

    /// The first column of the first row of a question about the store.
    pub(crate) fn ask_store<T: FromSql>(&self, sql: &str) -> Option<T> {
        ask(&connect(self.store_path()), sql)
    }

    /// The first column of the first row of a question about the queue.
    pub(crate) fn ask_queue<T: FromSql>(&self, sql: &str) -> Option<T> {
        ask(&connect(self.queue_path()), sql)
    }

    /// Changes the file of the queue behind everyone's back.
    pub(crate) fn damage_queue(&self, sql: &str) {
        let changed = connect(self.queue_path()).execute(sql, ()).unwrap();
        assert!(changed > 0, "`{sql}` changed nothing");
    }

    /// Changes the file of the store behind everyone's back.
    pub(crate) fn damage_store(&self, sql: &str) {
        let changed = connect(self.store_path()).execute(sql, ()).unwrap();
        assert!(changed > 0, "`{sql}` changed nothing");
    }

    /// Holds the write lock of the store's file until it is dropped.
    pub(crate) fn lock_store(&self) -> Connection {
        let connection = connect(self.store_path());
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    }

    /// The state of an entity, if it has one, whichever protocol keeps it.
    pub(crate) fn state<S: DeserializeOwned>(&self, endpoint: &str, entity: &str) -> Option<S> {
        let text: Option<String> = connect(self.store_path())
            .query_row(
                "SELECT state FROM entity WHERE endpoint = ?1 AND entity_id = ?2",
                [endpoint, entity],
                |row| row.get(0),
            )
            .optional()
            .unwrap();
        let state = semel::core::protocols::state_in(text?.as_bytes()).unwrap()?;
        Some(serde_json::from_slice(&state).unwrap())
    }

    pub(crate) fn books(&self) -> Books {
        let count = |connection: &Connection, table: &str| -> u64 {
            ask(connection, &format!("SELECT count(*) FROM {table}")).unwrap()
        };
        let (store, queue) = (connect(self.store_path()), connect(self.queue_path()));
        Books {
            queued: count(&queue, "queue"),
            dead: count(&queue, "dead_letter"),
            inbox: count(&store, "inbox"),
            outbox: count(&store, "outbox"),
        }
    }
}

fn connect(path: PathBuf) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(600)).unwrap();
    connection
}

fn ask<T: FromSql>(connection: &Connection, sql: &str) -> Option<T> {
    connection.query_row(sql, (), |row| row.get(0)).optional().unwrap()
}

/// Works on everything that can be received now, in a host of its own.
pub(crate) async fn work_off<const N: usize>(backend: &Backend, endpoints: [Endpoint; N]) {
    host(backend, endpoints).run_until_idle().await.unwrap();
}

pub(crate) fn host<const N: usize>(backend: &Backend, endpoints: [Endpoint; N]) -> Host {
    endpoints.into_iter().fold(Host::new(backend.clone()).worker("w1"), Host::endpoint)
}

/// The default settings with another retry policy.
pub(crate) fn retrying(retry: RetryPolicy) -> Settings {
    Settings { retry, ..Settings::default() }
}

/// Delivers a failing message this often in one run.
pub(crate) fn at_once(delayed: u32) -> RetryPolicy {
    RetryPolicy { delayed, ..RetryPolicy::NONE }
}

pub(crate) async fn dead_letters(backend: &Backend) -> Vec<DeadLetter> {
    let filter = DeadLetterFilter { limit: 1_000, ..DeadLetterFilter::default() };
    backend.operator().dead_letters(&filter).await.unwrap()
}

/// Queues `envelope` as it is.
pub(crate) async fn put(backend: &Backend, endpoint: &str, envelope: Envelope) {
    let to = Destination::Endpoint(endpoint.to_owned());
    let message = Outgoing { to, envelope, delay: Duration::ZERO };
    for sent in backend.broker().send(vec![message]).await {
        assert!(matches!(sent, SendOutcome::Sent), "{sent:?}");
    }
}
