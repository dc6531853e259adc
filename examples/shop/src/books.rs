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
pub struct Books {
    pub orders: BTreeMap<String, Order>,
    pub accounts: BTreeMap<String, Account>,
    pub consignments: BTreeMap<String, Consignment>,
    pub customers: BTreeMap<String, Customer>,
    /// Messages that nobody has processed.
    pub queued: u64,
    /// Messages parked for a person.
    pub dead_letters: u64,
    /// Tokens of messages that came over HTTP and are in flight.
    pub tokens: u64,
}

/// Why the books cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    #[error("the books cannot be read: {0}; look at the file with `sqlite3`")]
    Sql(#[from] rusqlite::Error),
    #[error("the state of {endpoint}/{entity} is not as the service writes it: {reason}")]
    State { endpoint: &'static str, entity: String, reason: String },
}

/// The items of the services' entities as they lie in a store, by endpoint and entity.
pub type Items = BTreeMap<(String, String), Vec<u8>>;

impl Books {
    /// Reads the file. All that Semel helps with is to find the state among what its protocols
    /// keep beside it.
    pub fn read(path: &Path) -> Result<Self, BooksError> {
        let connection = open(path)?;
        let count = |table: &str| -> Result<u64, rusqlite::Error> {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0))
        };
        Ok(Self {
            queued: count("queue")?,
            dead_letters: count("dead_letter")?,
            tokens: count("token")?,
            ..Self::of(&items_of(&connection)?)?
        })
    }

    /// What the services wrote into these items; nothing is known of messages.
    pub fn of(items: &Items) -> Result<Self, BooksError> {
        Ok(Self {
            orders: entities(items, ORDERS)?,
            accounts: entities(items, PAYMENTS)?,
            consignments: entities(items, SHIPPING)?,
            customers: entities(items, MARKETING)?,
            ..Self::default()
        })
    }
}

/// Opens the file to look at it.
pub fn open(path: &Path) -> Result<Connection, BooksError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The items in the file.
pub fn items_of(connection: &Connection) -> Result<Items, BooksError> {
    let sql = "SELECT endpoint, entity_id, state FROM entity WHERE endpoint IN (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map(SERVICES, |row| {
        let state: String = row.get(2)?;
        Ok(((row.get(0)?, row.get(1)?), state.into_bytes()))
    })?;
    Ok(rows.collect::<Result<Items, _>>()?)
}

/// Every service.
pub const SERVICES: [&str; 4] = [ORDERS, PAYMENTS, SHIPPING, MARKETING];

fn entities<T: DeserializeOwned>(
    items: &Items,
    endpoint: &'static str,
) -> Result<BTreeMap<String, T>, BooksError> {
    let mut found = BTreeMap::new();
    for ((_, entity), item) in items.iter().filter(|((owner, _), _)| owner == endpoint) {
        match state(item) {
            Ok(state) => found.extend(state.map(|state| (entity.clone(), state))),
            Err(reason) => {
                return Err(BooksError::State { endpoint, entity: entity.clone(), reason });
            }
        }
    }
    Ok(found)
}

/// The state in an entity's item, whichever protocol wrote it; none where there is none yet.
pub fn state<S: DeserializeOwned>(item: &[u8]) -> Result<Option<S>, String> {
    let Some(state) = state_in(item)? else { return Ok(None) };
    serde_json::from_slice(&state).map(Some).map_err(|error| error.to_string())
}
