//! What the services wrote since the last look, read from the SQLite file itself.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, params};
use semel::Message as _;
use serde::de::DeserializeOwned;
use shop_services::marketing::Customer;
use shop_services::messages::PlaceOrder;
use shop_services::orders::Order;
use shop_services::payments::Account;
use shop_services::shipping::Consignment;
use shop_services::{MARKETING, ORDERS, PAYMENTS, SHIPPING};

use crate::books::state;

/// How long to wait where the file is locked as a whole, which is seldom: while its log is reset.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The entities of the services that were written after a version. The carts, which are most of
/// the file, are passed over.
const CHANGED: &str = "\
    SELECT endpoint, entity_id, state, version FROM entity \
    WHERE endpoint IN (?1, ?2, ?3, ?4) AND version > ?5";

/// The orders that Orders has not heard of yet, or could not take.
const PLACEMENTS: &str = "\
    SELECT data FROM queue WHERE endpoint = ?1 AND type = ?2 UNION ALL \
    SELECT data FROM dead_letter WHERE endpoint = ?1 AND type = ?2";

/// Something that stands in the file.
#[derive(Debug)]
pub(super) enum Told {
    /// An order on its way to Orders.
    Placement(PlaceOrder),
    Order(String, Order),
    Account(String, Account),
    Consignment(String, Consignment),
    Customer(String, Customer),
}

/// Reads the file, and remembers how far.
#[derive(Debug)]
pub(super) struct Ledgers {
    path: PathBuf,
    connection: Option<Connection>,
    /// The highest version seen.
    ///
    /// Versions come from one counter in the file, which a transaction raises while it holds the
    /// only write lock. So they grow from commit to commit: what is committed after a look has a
    /// higher version than anything that the look could see, and nothing slips in below.
    mark: i64,
    /// The state of the file at the last look, as SQLite numbers it for this connection.
    seen: Option<i64>,
    /// The entities whose state is not as their service writes it.
    unreadable: BTreeSet<(String, String)>,
}

impl Ledgers {
    /// Will read the file at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, connection: None, mark: 0, seen: None, unreadable: BTreeSet::new() }
    }

    /// How many entities cannot be read. They are passed over: the others can.
    pub(super) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// What was written since the last look that succeeded. After one that failed, the file is
    /// opened anew.
    pub(super) fn look(&mut self) -> rusqlite::Result<Vec<Told>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.seen = None;
                self.open()?
            }
        };
        let told = self.read(&mut connection)?;
        self.connection = Some(connection);
        Ok(told)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(LOCK_WAIT)?;
        Ok(connection)
    }

    fn read(&mut self, connection: &mut Connection) -> rusqlite::Result<Vec<Told>> {
        // One read transaction: an order is in the queue or with Orders, and never in neither.
        let moment = connection.transaction()?;
        let state: i64 = moment.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.seen == Some(state) {
            return Ok(Vec::new());
        }
        let (mut told, mut mark) = (Vec::new(), self.mark);
        let mut changed = moment.prepare_cached(CHANGED)?;
        let mut rows = changed.query(params![ORDERS, PAYMENTS, SHIPPING, MARKETING, self.mark])?;
        while let Some(row) = rows.next()? {
            told.extend(self.entity(row)?);
            mark = mark.max(row.get(3)?);
        }
        let mut placements = moment.prepare_cached(PLACEMENTS)?;
        let mut rows = placements.query([ORDERS, PlaceOrder::TYPE])?;
        while let Some(row) = rows.next()? {
            // Bytes that are no order are a dead letter, or will be: they show in that number.
            told.extend(serde_json::from_slice(bytes(row, 0)?).ok().map(Told::Placement));
        }
        (self.mark, self.seen) = (mark, Some(state));
        Ok(told)
    }

    fn entity(&mut self, row: &Row<'_>) -> rusqlite::Result<Option<Told>> {
        let (endpoint, id): (String, String) = (row.get(0)?, row.get(1)?);
        let told = Told::of(&endpoint, &id, bytes(row, 2)?);
        let entity = (endpoint, id);
        match told {
            Ok(told) => {
                self.unreadable.remove(&entity);
                Ok(told)
            }
            Err(error) => {
                tracing::error!(?entity, %error, "a state is not as its service writes it");
                self.unreadable.insert(entity);
                Ok(None)
            }
        }
    }
}

impl Told {
    /// What is told of the state in an entity's item, if there is one yet; or why it cannot be read.
    pub(super) fn of(endpoint: &str, id: &str, item: &[u8]) -> Result<Option<Self>, String> {
        let id = id.to_owned();
        match endpoint {
            ORDERS => told(item, |state| Self::Order(id, state)),
            PAYMENTS => told(item, |state| Self::Account(id, state)),
            SHIPPING => told(item, |state| Self::Consignment(id, state)),
            _ => told(item, |state| Self::Customer(id, state)),
        }
    }
}

fn told<S: DeserializeOwned>(
    item: &[u8],
    tell: impl FnOnce(S) -> Told,
) -> Result<Option<Told>, String> {
    Ok(state(item)?.map(tell))
}

/// The bytes of a text or blob; anything else was written by nobody we know.
fn bytes<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_bytes().unwrap_or_default())
}
