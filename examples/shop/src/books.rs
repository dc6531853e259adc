//! The ledgers that the services wrote, read with SQL from the file itself.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use semel::core::protocols::state_in;
use serde::de::DeserializeOwned;
use shop_services::marketing::Customer;
use shop_services::orders::Order;
use shop_services::payments::Account;
use shop_services::shipping::Consignment;
use shop_services::{MARKETING, ORDERS, PAYMENTS, SHIPPING};

/// What the services wrote, by entity.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) consignments: BTreeMap<String, Consignment>,
    pub(crate) customers: BTreeMap<String, Customer>,
    /// Messages that nobody has processed.
    pub(crate) queued: u64,
    /// Messages parked for a person.
    pub(crate) dead_letters: u64,
    /// Tokens of messages that came over HTTP and are in flight.
    pub(crate) tokens: u64,
}

/// Why the books cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BooksError {
    #[error("the books cannot be read: {0}; look at the file with `sqlite3`")]
    Sql(#[from] rusqlite::Error),
    #[error("the state of {endpoint}/{entity} is not as the service writes it: {reason}")]
    State { endpoint: &'static str, entity: String, reason: String },
}

impl Books {
    /// Reads the file. All that Semel helps with is to find the state among what its protocols
    /// keep beside it.
    pub(crate) fn read(path: &Path) -> Result<Self, BooksError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "query_only", true)?;
        let count = |table: &str| -> Result<u64, rusqlite::Error> {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0))
        };
        Ok(Self {
            orders: entities(&connection, ORDERS)?,
            accounts: entities(&connection, PAYMENTS)?,
            consignments: entities(&connection, SHIPPING)?,
            customers: entities(&connection, MARKETING)?,
            queued: count("queue")?,
            dead_letters: count("dead_letter")?,
            tokens: count("token")?,
        })
    }
}

fn entities<T: DeserializeOwned>(
    connection: &Connection,
    endpoint: &'static str,
) -> Result<BTreeMap<String, T>, BooksError> {
    let mut statement =
        connection.prepare("SELECT entity_id, state FROM entity WHERE endpoint = ?1")?;
    let rows = statement.query_map([endpoint], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut found = BTreeMap::new();
    for row in rows {
        let (entity, item): (String, String) = row?;
        match state(item.as_bytes()) {
            Ok(state) => found.extend(state.map(|state| (entity, state))),
            Err(reason) => return Err(BooksError::State { endpoint, entity, reason }),
        }
    }
    Ok(found)
}

/// The state in an entity's item, whichever protocol wrote it; none where there is none yet.
pub(crate) fn state<S: DeserializeOwned>(item: &[u8]) -> Result<Option<S>, String> {
    let Some(state) = state_in(item)? else { return Ok(None) };
    serde_json::from_slice(&state).map(Some).map_err(|error| error.to_string())
}
