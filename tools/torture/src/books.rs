//! What is left in a store and its queues, and what the services wrote: read with SQL, past Semel.

use std::path::Path;

use shop::books::{Books, Items, SERVICES, items_of, open};

use crate::Trouble;
use crate::stack::Ground;

/// The store, and the broker if it is elsewhere.
type Urls = (String, Option<String>);

/// What is not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Messages queued or in work, by endpoint.
    pub(crate) messages: Vec<(String, u64)>,
    /// Messages parked for a person.
    pub(crate) dead_letters: u64,
    /// Committed effects that were not sent.
    pub(crate) outbox: u64,
    /// Tokens of messages that nobody consumed.
    pub(crate) tokens: u64,
}

impl Leftovers {
    /// Whether nothing is left to do. Dead letters are: but nobody works on them.
    pub(crate) fn is_nothing(&self) -> bool {
        self.messages.is_empty() && self.outbox == 0 && self.tokens == 0
    }

    /// Looks at everything.
    pub(crate) async fn look(urls: &Urls, ground: &Ground) -> Result<Self, Trouble> {
        let (store, broker) = urls;
        let backend = match broker {
            None => semel::open_existing(store).await,
            Some(broker) => semel::open_existing_apart(store, broker).await,
        };
        let report = backend.map_err(Trouble::look)?.operator().inspect().await;
        let endpoints = report.map_err(Trouble::look)?.endpoints;
        let dead_letters = endpoints.values().map(|endpoint| endpoint.dead_letters).sum();
        let count = |(name, endpoint): (String, semel::core::operator::EndpointReport)| {
            (name, endpoint.ready + endpoint.delayed + endpoint.in_flight)
        };
        let messages = endpoints.into_iter().map(count).filter(|(_, count)| *count > 0).collect();
        let counts = |sql: &str| -> Result<u64, Trouble> {
            match ground.ask(&sql.replace("FROM ", "FROM semel.")) {
                Some(answer) => Ok(answer?.parse().map_err(Trouble::look)?),
                None => {
                    let file = open(path(store)).map_err(Trouble::look)?;
                    let count = file.query_row(sql, (), |row| row.get(0));
                    count.map_err(Trouble::look)
                }
            }
        };
        let outbox = counts("SELECT count(*) FROM outbox")?;
        let tokens = counts("SELECT count(*) FROM token")?;
        Ok(Self { messages, dead_letters, outbox, tokens })
    }
}

fn path(store: &str) -> &Path {
    Path::new(store.strip_prefix("sqlite:").unwrap_or(store))
}

/// The items of all entities of the services.
pub(crate) fn items(ground: &Ground) -> Result<Items, Trouble> {
    let services = SERVICES.map(|name| format!("'{name}'")).join(", ");
    let sql = format!(
        "SELECT endpoint || chr(9) || entity_id || chr(9) || encode(state, 'hex') \
         FROM semel.entity WHERE endpoint IN ({services})"
    );
    match ground.ask(&sql) {
        Some(rows) => rows?.lines().map(item).collect(),
        None => {
            let file = open(path(&ground.urls().0)).map_err(Trouble::look)?;
            items_of(&file).map_err(Trouble::look)
        }
    }
}

fn item(row: &str) -> Result<((String, String), Vec<u8>), Trouble> {
    let strange = || Trouble::new(format!("a row of the books cannot be read: {row}"));
    let [endpoint, entity, hex] = row.split('\t').collect::<Vec<_>>()[..] else {
        return Err(strange());
    };
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let state: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    Ok(((endpoint.to_owned(), entity.to_owned()), state.ok_or_else(strange)?))
}

/// What the services wrote.
pub(crate) fn books(items: &Items) -> Result<Books, Trouble> {
    Books::of(items).map_err(Trouble::look)
}

#[cfg(test)]
mod tests {
    use super::item;

    #[test]
    fn a_row_is_endpoint_entity_and_bytes() {
        let read = item("orders\tcustomer holly\t7b7d").unwrap();
        assert_eq!(read, (("orders".to_owned(), "customer holly".to_owned()), b"{}".to_vec()));
        for strange in ["orders\tx", "orders\tx\t7", "orders\tx\tzz"] {
            assert!(item(strange).is_err(), "{strange}");
        }
    }
}
