//! The tables, and how older files come up to date.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use semel_core::StoreError;
use semel_core::store::{Space, Trouble};

use crate::{Missing, error};

/// Marks the file as Semel's: "SEML" in ASCII.
const APPLICATION_ID: i32 = 0x5345_4d4c;

/// One entry for each version of the tables; the version is the position, from 1. Entries are
/// never changed once released.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];

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
        _ => Table { name: "reply", partition: "resource", key: "idempotency_key", value: "reply" },
    }
}

/// Makes the tables in a new file, brings an older one up to date, and refuses what is not ours.
pub(crate) fn prepare(
    path: &Path,
    connection: &mut Connection,
    missing: Missing,
) -> Result<(), StoreError> {
    let translate = |error: rusqlite::Error| error::translate(path, "open", &error);
    let found = Found::look(connection).map_err(translate)?;
    found.check(path, missing)?;
    if found.is_current() {
        return Ok(());
    }
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(translate)?;
    if mode != "wal" {
        let help = "Put the file on a local disk whose folder this user may write.";
        let reason = format!("the journal mode stays `{mode}`, Semel needs `wal`");
        return Err(error::new(path, Trouble::Broken, "open", reason, help));
    }
    migrate(path, connection)
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
