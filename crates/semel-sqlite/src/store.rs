//! The store.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use semel_core::store::{
    Atomicity, Change, Item, ItemKey, Listing, Page, QueueHome, Space, StoreLimits, Version,
    WriteOutcome,
};
use semel_core::{Store, StoreError};

use crate::changes::CHANGES_MAX;
use crate::error::Certainty;
use crate::schema::{Table, table};
use crate::writer::{Answer, Failed, Request};
use crate::{BYTES_MAX, Sqlite, row};

#[async_trait]
impl Store for Sqlite {
    fn limits(&self) -> StoreLimits {
        StoreLimits {
            atomicity: Atomicity::Everything,
            batch_changes_max: CHANGES_MAX,
            item_bytes_max: BYTES_MAX,
            listing: Listing::Supported,
            queue: QueueHome::Inside,
        }
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        self.reader.ask("read", |connection| read_item(connection, key))
    }

    async fn read_all(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, StoreError> {
        let read =
            |connection: &Connection| keys.iter().map(|key| read_item(connection, key)).collect();
        self.reader.ask("read", read)
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        match self.writer.ask(Request::Write(changes)).await {
            Ok(Answer::Applied(versions)) => WriteOutcome::Applied(versions),
            Ok(Answer::Conflict(at)) => WriteOutcome::Conflict(at),
            Ok(Answer::Refused(error)) => WriteOutcome::Refused(error),
            Ok(other) => WriteOutcome::Unknown(self.wrong_answer("write", &other)),
            Err(Failed { error, certainty: Certainty::NotApplied }) if !error.is_passing() => {
                WriteOutcome::Refused(error)
            }
            Err(Failed { error, .. }) => WriteOutcome::Unknown(error),
        }
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        let page = page.clone();
        let question = move |connection: &Connection| {
            let Table { name, partition, key, value } = table(page.space);
            let sql = format!(
                "SELECT {partition}, {key}, {value}, version FROM {name} \
                 WHERE ({partition}, {key}) > (?1, ?2) \
                 AND typeof({partition}) = 'text' AND typeof({key}) = 'text' \
                 ORDER BY {partition}, {key} LIMIT ?3"
            );
            let (after_partition, after_key) =
                page.after.map_or_else(Default::default, |after| (after.partition, after.key));
            let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
            connection
                .prepare_cached(&sql)?
                .query_map(params![after_partition, after_key, limit], |row| {
                    let key = ItemKey::new(
                        page.space,
                        row.get::<_, String>(0)?,
                        row.get::<_, String>(1)?,
                    );
                    Ok(Item {
                        key,
                        value: row::read_bytes(row, 2)?,
                        version: read_version(row, 3)?,
                    })
                })?
                .collect()
        };
        self.reader.ask("list", question)
    }
}

fn read_item(connection: &Connection, key: &ItemKey) -> rusqlite::Result<Option<Item>> {
    let found = connection
        .prepare_cached(read_sql(key.space))?
        .query_row([&key.partition, &key.key], |row| {
            Ok((row::read_bytes(row, 0)?, read_version(row, 1)?))
        })
        .optional()?;
    Ok(found.map(|(value, version)| Item { key: key.clone(), value, version }))
}

/// The statement that reads one item.
const fn read_sql(space: Space) -> &'static str {
    match space {
        Space::Entity => "SELECT state, version FROM entity WHERE endpoint = ?1 AND entity_id = ?2",
        Space::Inbox => "SELECT entity_id, version FROM inbox WHERE endpoint = ?1 AND message = ?2",
        Space::Outbox => "SELECT effects, version FROM outbox WHERE endpoint = ?1 AND message = ?2",
        Space::Token => "SELECT value, version FROM token WHERE endpoint = ?1 AND token = ?2",
        _ => "SELECT reply, version FROM reply WHERE resource = ?1 AND idempotency_key = ?2",
    }
}

fn read_version(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Version> {
    Ok(Version::new(row::read_text(row, column)?.unwrap_or_default()))
}
