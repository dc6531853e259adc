//! The store.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};
use semel_core::store::{
    Atomicity, Change, Item, ItemKey, Listing, Page, QueueHome, StoreLimits, Version, WriteOutcome,
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
        let question = |connection: &rusqlite::Connection| {
            let Table { name, partition, key: column, value } = table(key.space);
            let sql = format!(
                "SELECT {value}, version FROM {name} WHERE {partition} = ?1 AND {column} = ?2"
            );
            let found = connection
                .prepare_cached(&sql)?
                .query_row([&key.partition, &key.key], |row| {
                    Ok((row::read_bytes(row, 0)?, read_version(row, 1)?))
                })
                .optional()?;
            Ok(found.map(|(value, version)| Item { key: key.clone(), value, version }))
        };
        self.reader.ask("read", question)
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
        let question = move |connection: &rusqlite::Connection| {
            let Table { name, partition, key, value } = table(page.space);
            let sql = format!(
                "SELECT {partition}, {key}, {value}, version FROM {name} \
                 WHERE ({partition}, {key}) > (?1, ?2) ORDER BY {partition}, {key} LIMIT ?3"
            );
            let (after_partition, after_key) =
                page.after.map_or_else(Default::default, |after| (after.partition, after.key));
            let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
            connection
                .prepare_cached(&sql)?
                .query_map(params![after_partition, after_key, limit], |row| {
                    let key = ItemKey::new(page.space, row.get::<_, String>(0)?, row.get::<_, String>(1)?);
                    Ok(Item { key, value: row::read_bytes(row, 2)?, version: read_version(row, 3)? })
                })?
                .collect()
        };
        self.reader.ask("list", question)
    }
}

fn read_version(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Version> {
    Ok(Version::new(row.get::<_, i64>(column)?.to_string()))
}
