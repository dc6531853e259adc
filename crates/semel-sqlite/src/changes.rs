//! One transaction, and the conditional changes in it.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, Trouble, Version};
use semel_core::{StoreError, Timestamp};

use crate::error;
use crate::file::Place;
use crate::row::Readable;
use crate::schema::{Table, table};
use crate::writer::{Answer, Request};
use crate::{BYTES_MAX, queue};

/// The most changes in one batch.
pub(crate) const CHANGES_MAX: usize = 10_000;
/// Far beyond what any file can have counted to.
const VERSION_MAX: i64 = 1 << 60;
/// How many records are dropped in one go, so that dropping never holds up work for long.
const PURGE_MAX: usize = 500;

/// How requests are kept apart within a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Not at all: good as long as none is rejected after it has changed something.
    Shared,
    /// Each has a savepoint to go back to.
    Savepoints,
}

/// Why a transaction cannot go on.
pub(crate) enum Stopped {
    /// A request was rejected that had changed something: begin anew, with savepoints.
    NeedsSavepoints,
    /// SQLite failed; the whole transaction is in doubt.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// An open transaction. Each request in it stands or falls alone.
pub(crate) struct Transaction<'a> {
    inner: rusqlite::Transaction<'a>,
    isolation: Isolation,
    path: &'a Path,
    now: Timestamp,
    first_version: i64,
    next_version: i64,
    has_queued: bool,
}

/// Why a request had no effect.
pub(crate) enum Rejected {
    /// The condition of the change at this position did not hold.
    Conflict(usize),
    /// It breaks a limit.
    Refused(StoreError),
    /// It had changed something, and there is no savepoint to go back to.
    NeedsSavepoints,
    /// SQLite failed; the whole transaction is in doubt.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Rejected {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl<'a> Transaction<'a> {
    pub(crate) fn begin(
        inner: rusqlite::Transaction<'a>,
        place: &'a Place,
        now: Timestamp,
        isolation: Isolation,
    ) -> rusqlite::Result<Self> {
        let next_version = inner
            .prepare_cached("SELECT value FROM counter WHERE name = 'next_version'")?
            .query_row((), |row| row.get(0))?;
        // Only a person can have brought it there.
        if !(1..VERSION_MAX).contains(&next_version) {
            return Err(rusqlite::Error::IntegralValueOutOfRange(0, next_version));
        }
        Ok(Self {
            inner,
            isolation,
            path: place.path(),
            now,
            first_version: next_version,
            next_version,
            has_queued: false,
        })
    }

    pub(crate) fn commit(self) -> rusqlite::Result<()> {
        if self.next_version != self.first_version {
            self.inner
                .prepare_cached("UPDATE counter SET value = ? WHERE name = 'next_version'")?
                .execute([self.next_version])?;
        }
        self.inner.commit()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.inner
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn note_queued(&mut self) {
        self.has_queued = true;
    }

    pub(crate) fn has_queued(&self) -> bool {
        self.has_queued
    }

    /// A number that no version or receipt of this file ever had.
    pub(crate) fn mint_version(&mut self) -> i64 {
        self.next_version += 1;
        self.next_version - 1
    }

    /// Applies one request, or nothing of it.
    pub(crate) fn apply(&mut self, request: &Request) -> Result<Answer, Stopped> {
        let applied = match request {
            Request::Write(changes) => self.isolated(|tx| tx.write(changes)),
            Request::Receive(request) => {
                queue::receive(self, request).map(Answer::Deliveries).map_err(Rejected::from)
            }
            Request::Extend(receipts, lease) => {
                queue::extend(self, receipts, *lease).map(Answer::Leases).map_err(Rejected::from)
            }
            Request::Settle(receipt, settlement) => self.isolated(|tx| {
                let is_settled = queue::settle(tx, receipt, settlement)?;
                Ok(if is_settled { Answer::Settled } else { Answer::Stale })
            }),
            Request::Send(messages) => {
                let mut answers = Vec::with_capacity(messages.len());
                for message in messages {
                    answers.push(match self.isolated(|tx| queue::enqueue(tx, message)) {
                        Ok(()) => Ok(()),
                        Err(Rejected::Refused(error)) => Err(error),
                        Err(Rejected::NeedsSavepoints) => return Err(Stopped::NeedsSavepoints),
                        Err(Rejected::Sqlite(error)) => return Err(error.into()),
                        // Queueing has no condition.
                        Err(Rejected::Conflict(_)) => Ok(()),
                    });
                }
                Ok(Answer::Sent(answers))
            }
            Request::Register(registration) => {
                self.isolated(|tx| queue::register(tx, registration).map(|()| Answer::Registered))
            }
        };
        match applied {
            Ok(answer) => Ok(answer),
            Err(Rejected::Conflict(at)) => Ok(Answer::Conflict(vec![at])),
            Err(Rejected::Refused(error)) => Ok(Answer::Refused(error)),
            Err(Rejected::NeedsSavepoints) => Err(Stopped::NeedsSavepoints),
            Err(Rejected::Sqlite(error)) => Err(error.into()),
        }
    }

    /// Runs `work` such that nothing of it stays if it is rejected.
    fn isolated<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Rejected>,
    ) -> Result<T, Rejected> {
        if self.isolation == Isolation::Shared {
            let before = self.inner.total_changes();
            let result = work(self);
            return match result {
                Err(Rejected::Conflict(_) | Rejected::Refused(_))
                    if self.inner.total_changes() != before =>
                {
                    Err(Rejected::NeedsSavepoints)
                }
                result => result,
            };
        }
        self.inner.prepare_cached("SAVEPOINT request")?.execute(())?;
        let result = work(self);
        if let Err(Rejected::Conflict(_) | Rejected::Refused(_)) = &result {
            self.inner.prepare_cached("ROLLBACK TO request")?.execute(())?;
        }
        if !matches!(result, Err(Rejected::Sqlite(_))) {
            self.inner.prepare_cached("RELEASE request")?.execute(())?;
        }
        result
    }

    fn write(&mut self, changes: &[Change]) -> Result<Answer, Rejected> {
        self.check_batch(changes)?;
        let mut versions = Vec::with_capacity(changes.len());
        for (at, change) in changes.iter().enumerate() {
            versions.push(self.change(at, change)?);
        }
        Ok(Answer::Applied(versions))
    }

    fn change(&mut self, at: usize, change: &Change) -> Result<Option<Version>, Rejected> {
        match change {
            Change::Put { key, value, expect, keep } => {
                self.put(at, key, value, expect, *keep).map(Some)
            }
            Change::Delete { key, expect } => self.delete(at, key, expect).map(|()| None),
            Change::Enqueue(message) => queue::enqueue(self, message).map(|()| None),
            Change::Settle { receipt, settlement } => {
                match queue::settle(self, receipt, settlement)? {
                    true => Ok(None),
                    false => Err(Rejected::Conflict(at)),
                }
            }
        }
    }

    fn put(
        &mut self,
        at: usize,
        key: &ItemKey,
        value: &[u8],
        expect: &Expect,
        keep: Keep,
    ) -> Result<Version, Rejected> {
        if value.len() > BYTES_MAX {
            return Err(self.too_large(&format!("the item {key}"), value.len()));
        }
        let version = self.mint_version();
        let expires_at = match keep {
            Keep::Always => None,
            Keep::For(span) => Some(self.now.after(span).unix_ms()),
        };
        let sql = SQL[space_index(key.space)];
        let value = Readable(value);
        let changed = match expect {
            Expect::Absent => self.inner.prepare_cached(sql.insert)?.execute(params![
                key.partition,
                key.key,
                value,
                version,
                expires_at
            ])?,
            Expect::Anything => self.inner.prepare_cached(sql.upsert)?.execute(params![
                key.partition,
                key.key,
                value,
                version,
                expires_at
            ])?,
            Expect::Version(expected) => {
                self.inner.prepare_cached(sql.update)?.execute(params![
                    key.partition,
                    key.key,
                    value,
                    version,
                    expires_at,
                    expected.as_str()
                ])?
            }
        };
        if changed == 0 {
            return Err(Rejected::Conflict(at));
        }
        Ok(Version::new(version.to_string()))
    }

    fn delete(&mut self, at: usize, key: &ItemKey, expect: &Expect) -> Result<(), Rejected> {
        let sql = SQL[space_index(key.space)];
        match expect {
            Expect::Anything => {
                self.inner.prepare_cached(sql.delete)?.execute([&key.partition, &key.key])?;
                Ok(())
            }
            Expect::Absent => {
                let found = self
                    .inner
                    .prepare_cached(sql.exists)?
                    .query_row([&key.partition, &key.key], |_| Ok(()))
                    .optional()?;
                found.map_or(Ok(()), |()| Err(Rejected::Conflict(at)))
            }
            Expect::Version(expected) => {
                let deleted = self.inner.prepare_cached(sql.delete_version)?.execute(params![
                    key.partition,
                    key.key,
                    expected.as_str()
                ])?;
                if deleted == 0 { Err(Rejected::Conflict(at)) } else { Ok(()) }
            }
        }
    }

    fn check_batch(&self, changes: &[Change]) -> Result<(), Rejected> {
        if changes.len() > CHANGES_MAX {
            let reason = format!("{} changes, the limit is {CHANGES_MAX}", changes.len());
            let help = "Let one message do less.";
            return Err(self.refuse(Trouble::TooLarge, reason, help));
        }
        let mut keys = BTreeSet::new();
        for change in changes {
            if let Change::Put { key, .. } | Change::Delete { key, .. } = change
                && !keys.insert(key)
            {
                let reason = format!("two changes of one batch name the item {key}");
                return Err(self.refuse(Trouble::Unsupported, reason, "Make one change of them."));
            }
        }
        Ok(())
    }

    pub(crate) fn too_large(&self, what: &str, bytes: usize) -> Rejected {
        let reason = format!("{what} takes {bytes} bytes, the limit is {BYTES_MAX}");
        self.refuse(Trouble::TooLarge, reason, "Store or send less in one piece.")
    }

    fn refuse(&self, trouble: Trouble, reason: String, help: &str) -> Rejected {
        Rejected::Refused(error::new(self.path, trouble, "write", reason, help))
    }
}

/// The statements on the table of one space.
#[derive(Clone, Copy)]
struct Sql {
    insert: &'static str,
    upsert: &'static str,
    update: &'static str,
    delete: &'static str,
    delete_version: &'static str,
    exists: &'static str,
}

macro_rules! sql {
    ($table:literal, $partition:literal, $key:literal, $value:literal) => {
        Sql {
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (",
                $partition,
                ", ",
                $key,
                ", ",
                $value,
                ", version, expires_at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING"
            ),
            upsert: concat!(
                "INSERT INTO ",
                $table,
                " (",
                $partition,
                ", ",
                $key,
                ", ",
                $value,
                ", version, expires_at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET ",
                $value,
                " = ?3, version = ?4, expires_at = ?5"
            ),
            update: concat!(
                "UPDATE ",
                $table,
                " SET ",
                $value,
                " = ?3, version = ?4, expires_at = ?5 WHERE ",
                $partition,
                " = ?1 AND ",
                $key,
                " = ?2 AND version = ?6"
            ),
            delete: concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $partition,
                " = ?1 AND ",
                $key,
                " = ?2"
            ),
            delete_version: concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $partition,
                " = ?1 AND ",
                $key,
                " = ?2 AND version = ?3"
            ),
            exists: concat!(
                "SELECT 1 FROM ",
                $table,
                " WHERE ",
                $partition,
                " = ?1 AND ",
                $key,
                " = ?2"
            ),
        }
    };
}

/// In the order of [`Space::ALL`].
const SQL: [Sql; 5] = [
    sql!("entity", "endpoint", "entity_id", "state"),
    sql!("inbox", "endpoint", "message", "entity_id"),
    sql!("outbox", "endpoint", "message", "effects"),
    sql!("reply", "resource", "idempotency_key", "reply"),
    sql!("token", "endpoint", "token", "value"),
];

const fn space_index(space: Space) -> usize {
    match space {
        Space::Entity => 0,
        Space::Inbox => 1,
        Space::Outbox => 2,
        Space::Token => 4,
        _ => 3,
    }
}

/// What a purge left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purged {
    /// Nothing that is past its window.
    All,
    /// Perhaps more of the same.
    Portion,
}

/// Drops records past their window, a bounded number from each table.
pub(crate) fn purge(
    transaction: rusqlite::Transaction<'_>,
    now: Timestamp,
) -> rusqlite::Result<Purged> {
    let mut purged = Purged::All;
    for space in Space::ALL {
        let Table { name, partition, key, .. } = table(space);
        let sql = format!(
            "DELETE FROM {name} WHERE ({partition}, {key}) IN \
             (SELECT {partition}, {key} FROM {name} WHERE expires_at IS NOT NULL \
              AND expires_at < ?1 ORDER BY expires_at LIMIT {PURGE_MAX})"
        );
        if transaction.prepare_cached(&sql)?.execute([now.unix_ms()])? == PURGE_MAX {
            purged = Purged::Portion;
        }
    }
    transaction.commit()?;
    Ok(purged)
}
