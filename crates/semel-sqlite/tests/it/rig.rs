//! A file in a folder of its own, a clock that stands still, and short names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use rusqlite::types::FromSql;
use semel_core::broker::{
    DeadReason, Delivery, Destination, FailureRecord, Outgoing, Receive, SendOutcome, Settlement,
};
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, Trouble, Version, WriteOutcome};
use semel_core::{Broker, Envelope, ManualClock, Store, StoreError, Timestamp};
use semel_sqlite::{Options, Sqlite};
use tempfile::TempDir;

pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const QUEUE: &str = "orders";

pub(crate) struct Rig {
    folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::default() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder().join("place.db")
    }

    pub(crate) fn options(&self) -> Options {
        Options { clock: self.clock.clone(), ..Options::default() }
    }

    pub(crate) fn open(&self) -> Sqlite {
        Sqlite::open_with(self.path(), self.options()).unwrap()
    }

    /// A connection like that of a person with a shell.
    pub(crate) fn shell(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// The answer to a question of one row and column.
    pub(crate) fn ask<T: FromSql>(&self, sql: &str) -> T {
        ask(&self.path(), sql)
    }

    /// Another program that holds the write lock until it is dropped.
    pub(crate) fn lock(&self) -> Lock {
        let shell = self.shell();
        shell.execute_batch("BEGIN IMMEDIATE").unwrap();
        Lock { _shell: shell }
    }
}

/// Held by a connection; closing it rolls back.
pub(crate) struct Lock {
    _shell: Connection,
}

pub(crate) fn ask<T: FromSql>(path: &Path, sql: &str) -> T {
    let shell = Connection::open(path).unwrap();
    shell.query_row(sql, (), |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

pub(crate) fn list(path: &Path, sql: &str) -> Vec<String> {
    let shell = Connection::open(path).unwrap();
    let mut statement = shell.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// SQLite keeps its log and the log's index beside the file.
pub(crate) fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", path.display())))
}

pub(crate) fn entity(name: impl Into<String>) -> ItemKey {
    ItemKey::new(Space::Entity, "shop", name)
}

pub(crate) fn inbox(name: impl Into<String>) -> ItemKey {
    ItemKey::new(Space::Inbox, "shop", name)
}

pub(crate) fn put(key: ItemKey, value: impl Into<Bytes>) -> Change {
    put_if(key, value, Expect::Anything)
}

pub(crate) fn put_if(key: ItemKey, value: impl Into<Bytes>, expect: Expect) -> Change {
    Change::Put { key, value: value.into(), expect, keep: Keep::Always }
}

pub(crate) fn message(id: impl Into<String>) -> Envelope {
    Envelope::new(id, "/shop", "order.placed", br#"{"total":3}"#.as_slice())
}

pub(crate) fn queued(envelope: Envelope) -> Outgoing {
    let to = Destination::Endpoint(QUEUE.to_owned());
    Outgoing { to, envelope, delay: Duration::ZERO }
}

pub(crate) fn failure() -> FailureRecord {
    let at = Timestamp::from_unix_ms(1_798_135_200_000);
    FailureRecord { at, reason: "no credit".to_owned(), worker: "worker-1".to_owned() }
}

pub(crate) fn dead_letter() -> Settlement {
    Settlement::DeadLetter { reason: DeadReason::HandlerFailed, failure: failure(), entity: None }
}

pub(crate) const RELEASE: Settlement = Settlement::Release { after: Duration::ZERO };

/// Up to `max` deliveries, without waiting.
pub(crate) fn receive(max: usize) -> Receive {
    Receive { endpoint: QUEUE.to_owned(), max, lease: LEASE, wait: Duration::ZERO }
}

pub(crate) async fn take(file: &Sqlite, max: usize) -> Vec<Delivery> {
    file.receive(&receive(max)).await.unwrap()
}

pub(crate) async fn send(file: &Sqlite, id: impl Into<String>) {
    let [outcome] = <[_; 1]>::try_from(file.send(vec![queued(message(id))]).await).unwrap();
    assert!(matches!(outcome, SendOutcome::Sent), "{outcome:?}");
}

/// The versions that an applied batch left behind.
#[track_caller]
pub(crate) fn applied(outcome: WriteOutcome) -> Vec<Option<Version>> {
    match outcome {
        WriteOutcome::Applied(versions) => versions,
        other => panic!("not applied: {other:?}"),
    }
}

pub(crate) async fn value(file: &Sqlite, key: ItemKey) -> Option<Bytes> {
    file.read(&key).await.unwrap().map(|item| item.value)
}

/// Asserts what kind of trouble it is, and that the text has every one of the `words`.
#[track_caller]
pub(crate) fn assert_says(error: &StoreError, trouble: Trouble, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.trouble, trouble, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

/// A sequence that looks random and is the same in every run.
pub(crate) struct Scatter(pub(crate) u64);

impl Scatter {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed >> 33) as usize) % end
    }
}
