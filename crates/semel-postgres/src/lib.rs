//! Semel's store and queue on PostgreSQL.
//!
//! State, inbox, outbox and queue lie in one schema, so that receiving a message, changing the state
//! and sending further messages are one transaction. Two tasks commit whatever was asked meanwhile
//! as one transaction each (group commit), with one statement for each kind of change; each request
//! in it stands and falls alone.
//!
//! ```no_run
//! # async fn open() -> Result<(), semel_core::StoreError> {
//! use std::sync::Arc;
//!
//! let database = semel_postgres::Postgres::connect("postgres://shop@127.0.0.1/shop").await?;
//! let backend = semel_core::Backend::in_one(Arc::new(database));
//! # Ok(()) }
//! ```
//!
//! # Tables
//! They are made at the first start in the schema `semel` ([`Options::schema`]); [`Tables::Check`]
//! and [`grant_sql`] are for roles that may not. Look inside with `psql`:
//!
//! | table | one row is |
//! |---|---|
//! | `entity` | the state of an entity |
//! | `queue` | a message that waits or is in work |
//! | `dead_letter` | a message parked for a person |
//! | `inbox` | the identity of a processed message |
//! | `outbox` | effects that wait for their dispatch (only with a broker elsewhere) |
//! | `token` | the right to process a message in flight |
//! | `reply` | an answer given under an idempotency key |
//! | `endpoint`, `subscription` | what workers registered |
//!
//! # How it works with the server
//! - A transaction goes out whole, its `COMMIT` included, in one round trip. A worker that stops in
//!   the middle holds no locks.
//! - The end of a connection after that leaves the outcome unknown, and is reported so. What the
//!   server says it undid (a deadlock, a serialisation failure) is done again.
//! - Leases and windows go by the server's clock; the clocks of workers do not matter.
//! - Leases are written without waiting for the disk: a crash of the server may end them early, which
//!   costs a second delivery and nothing else. All else waits for the disk. A server or role with
//!   `synchronous_commit = off` is refused.
//! - Receivers hear of new messages by `LISTEN` on a connection of their own, and look once a second
//!   besides.
//!
//! # Behind pgbouncer
//! Nothing but listening needs a session. In transaction mode use [`Wake::Look`] (or connect past
//! the pooler), and a pgbouncer of version 1.21 or newer with `max_prepared_statements` above zero.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod bells;
mod broker;
mod error;
mod group;
mod lane;
mod operator;
mod options;
mod own_tables;
mod place;
#[cfg(test)]
mod plans;
mod queue;
mod read;
mod row;
mod schema;
mod send;
mod session;
mod store;
mod tables;
mod tasks;
mod write;
mod writers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use semel_core::StoreError;
use semel_core::store::{ItemKey, Trouble};
use tokio::task::JoinHandle;

pub use options::{Options, Tables, Wake};
pub use own_tables::{InTransaction, SqlError, Transaction, transaction};
pub use schema::{grant_sql, tables_sql};
pub use send::Sender;
pub use tokio_postgres;

use bells::Bells;
use lane::Lane;
use options::Way;
use place::Place;
use session::Server;
use writers::Writers;

/// The largest item or message, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// One schema of a PostgreSQL database as store and queue.
///
/// It works inside the tokio runtime in which it was opened, and ends with it.
pub struct Postgres {
    place: Arc<Place>,
    writes: Writers,
    reads: Lane<Vec<ItemKey>, read::Answer>,
    poll_every: Duration,
    /// Those that do not end by themselves.
    tasks: Vec<JoinHandle<()>>,
}

impl Postgres {
    /// Opens the schema `semel` of a database, and makes the tables if they are missing.
    ///
    /// The address is a URL, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or the `key=value` form
    /// of libpq. A server elsewhere is talked to under TLS, and its certificate is checked, unless
    /// the address says `sslmode=disable`.
    pub async fn connect(address: &str) -> Result<Self, StoreError> {
        Self::connect_with(address, Options::default()).await
    }

    /// Opens a database with options of its own.
    pub async fn connect_with(address: &str, options: Options) -> Result<Self, StoreError> {
        let way = Way::new(address, &options)?;
        let server = Server {
            pool: pool(&way, &options)?,
            handlers: pool(&way, &options)?,
            place: way.place.clone(),
            answer_wait: options.answer_wait,
        };
        let schema = format!("\"{}\"", options.schema);
        let client = server.client("connect").await?;
        let patience = options.answer_wait;
        schema::prepare(&way.place, &client, &schema, options.tables, patience).await?;
        drop(client);

        let place =
            Arc::new(Place { server, schema, clock: options.clock, bells: Bells::default() });
        let (reads, to_read) = Lane::new();
        // This one ends when nobody can ask any more: what was asked is answered first.
        tokio::spawn(read::serve(place.clone(), to_read));
        let mut tasks = vec![tokio::spawn(tasks::purge(place.clone()))];
        if options.wake == Wake::Listen {
            tasks.push(tokio::spawn(tasks::listen(place.clone(), way)));
            tasks.push(tokio::spawn(tasks::tell(place.clone())));
        }
        let writes = Writers::start(&place);
        Ok(Self { place, writes, reads, poll_every: options.look_every, tasks })
    }
}

impl Postgres {
    /// Whether it hears at once of messages that other processes queue. Until then, and while the
    /// connection for it is cut, receivers look by themselves.
    pub fn is_listening(&self) -> bool {
        self.place.bells.hears_others()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.server.place)
    }
}

fn pool(way: &Way, options: &Options) -> Result<Pool, StoreError> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(way.config.clone(), way.tls.clone(), config);
    Pool::builder(manager)
        .max_size(options.connections_max)
        .wait_timeout(Some(options.answer_wait))
        .create_timeout(Some(options.answer_wait))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|failed| {
            let help = "This is a defect in Semel; please report it.";
            error::new(&way.place, Trouble::Broken, "connect", failed.to_string(), help)
        })
}
