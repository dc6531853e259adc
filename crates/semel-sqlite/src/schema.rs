//! The tables, and how older files come up to date.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use semel_core::StoreError;
use semel_core::store::{Space, Trouble};

use crate::{Missing, error};

/// Marks the file as Semel's: "SEML" in ASCII.
const APPLICATION_ID: i32 = 0x5345_4d4c;

/// One entry for each version of the tables; the version is the position, from 1. Entries are
/// never changed once released.
const MIGRATIONS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// What the table of a space is called, and its columns for partition, key and value.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) partition: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
}

/// The table of a space.
pub(crate) const fn table(space: Space) -> Table {
    match space {
        Space::Entity => {
            Table { name: "entity", partition: "endpoint", key: "entity_id", value: "state" }
        }
        Space::Inbox => {
            Table { name: "inbox", partition: "endpoint", key: "message", value: "entity_id" }
        }
        Space::Outbox => {
            Table { name: "outbox", partition: "endpoint", key: "message", value: "effects" }
        }
        Space::Token => {
            Table { name: "token", partition: "endpoint", key: "token", value: "value" }
        }
        _ => Table { name: "reply", partition: "resource", key: "idempotency_key", value: "reply" },
    }
}

/// Refuses what is not ours. Unless we only look, makes the tables in a new file and brings an older
/// one up to date.
pub(crate) fn prepare(
    path: &Path,
    connection: &mut Connection,
    missing: Missing,
    lock_wait: Duration,
) -> Result<(), StoreError> {
    let translate = |error: rusqlite::Error| error::translate(path, "open", &error);
    // In one transaction: another process may be making the tables at this moment.
    let moment = connection.transaction().map_err(translate)?;
    let found = Found::look(&moment).map_err(translate)?;
    drop(moment);
    found.check(path, missing)?;
    if missing == Missing::Refuse {
        return Ok(());
    }
    use_log(path, connection, lock_wait)?;
    if found.is_current() { Ok(()) } else { migrate(path, connection) }
}

/// With a log, readers and the writer do not wait for each other. A copy of a file may lack it.
fn use_log(path: &Path, connection: &Connection, lock_wait: Duration) -> Result<(), StoreError> {
    let since = Instant::now();
    let is_busy = |error: &rusqlite::Error| {
        error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && since.elapsed() < lock_wait
    };
    let mode: String = loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)) {
            Ok(mode) => break mode,
            // This is the one lock for which SQLite does not wait by itself.
            Err(error) if is_busy(&error) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error::translate(path, "open", &error)),
        }
    };
    if mode == "wal" {
        return Ok(());
    }
    let help = "Put the file on a local disk whose folder this user may write.";
    let reason = format!("the journal mode stays `{mode}`, Semel needs `wal`");
    Err(error::new(path, Trouble::Broken, "open", reason, help))
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let translate = |error: rusqlite::Error| error::translate(path, "migrate", &error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(translate)?;
    // Another process may have migrated while we waited for the lock.
    let found = Found::look(&transaction).map_err(translate)?;
    found.check(path, Missing::Create)?;
    for migration in &MIGRATIONS[found.version.min(MIGRATIONS.len())..] {
        transaction.execute_batch(migration).map_err(translate)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(translate)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(translate)?;
    transaction.commit().map_err(translate)
}

/// What lies in the file.
struct Found {
    application_id: i32,
    version: usize,
    tables: usize,
}

impl Found {
    fn look(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(Self {
            application_id: connection
                .pragma_query_value(None, "application_id", |row| row.get(0))?,
            version: usize::try_from(version).unwrap_or(usize::MAX),
            tables: connection
                .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?,
        })
    }

    fn is_current(&self) -> bool {
        self.application_id == APPLICATION_ID && self.version == MIGRATIONS.len()
    }

    fn check(&self, path: &Path, missing: Missing) -> Result<(), StoreError> {
        let refuse = |reason: String, help: &str| {
            Err(error::new(path, Trouble::Broken, "open", reason, help))
        };
        if self.tables == 0 && missing == Missing::Refuse {
            return refuse(
                "the file is empty".to_owned(),
                "Check the path; a worker makes the tables when it first starts.",
            );
        }
        if self.tables > 0 && self.application_id != APPLICATION_ID {
            return refuse(
                "this SQLite file belongs to another program".to_owned(),
                "Name another file: Semel keeps its tables in a file of their own.",
            );
        }
        if self.version < MIGRATIONS.len() && missing == Missing::Refuse {
            return refuse(
                format!(
                    "its tables have version {}, this program needs version {}",
                    self.version,
                    MIGRATIONS.len()
                ),
                "Start a worker of this version: it brings the tables up to date.",
            );
        }
        if self.version > MIGRATIONS.len() {
            return refuse(
                format!(
                    "its tables have version {}, this program knows versions up to {}",
                    self.version,
                    MIGRATIONS.len()
                ),
                "Use the newer version of Semel that wrote it.",
            );
        }
        Ok(())
    }
}
