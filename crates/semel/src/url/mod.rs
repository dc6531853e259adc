//! Backends by URL.

mod broker;
mod error;
#[cfg(any(feature = "postgres", feature = "nats", feature = "rabbitmq"))]
mod query;

use semel_core::Backend;

pub use error::OpenError;

/// Opens the backend at `url`, and makes it if there is none: state and queue in one place.
///
/// | URL | with the feature | backend |
/// |---|---|---|
/// | `sqlite:PATH` | `sqlite` | a file |
/// | `postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=SCHEMA` | `postgres` | a schema, by default `semel` |
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("semel-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("shop.db").display().to_string();
/// let backend = semel::open(&format!("sqlite:{path}")).await?;
/// # drop(backend);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(()) }
/// ```
pub async fn open(url: &str) -> Result<Backend, OpenError> {
    store(url, Access::MayCreate).await
}

/// Opens the backend at `url`, which must exist: for programs that look.
pub async fn open_existing(url: &str) -> Result<Backend, OpenError> {
    store(url, Access::MustExist).await
}

/// Opens the store at `store` and the queues of the broker at `broker`, and makes what is missing.
///
/// The store is one of [`open`]; its own queue stays empty.
///
/// | URL of the broker | with the feature | queues |
/// |---|---|---|
/// | `nats://USER:PASSWORD@HOST:PORT?prefix=P&replicas=N`, `tls://…`; several hosts with commas | `nats` | streams of NATS JetStream |
/// | `amqp://USER:PASSWORD@HOST:PORT/VIRTUAL_HOST?prefix=P&heartbeat=S`, `amqps://…` | `rabbitmq` | queues of RabbitMQ; the virtual host `/` is written `%2f` |
///
/// The names of all queues begin with the prefix, by default `semel`. `replicas` is how many servers
/// of a cluster keep each message of a stream that is made, by default 1. `heartbeat` is in seconds. A
/// parameter that is none of these is an error, or the client's. What a URL cannot say, the options of
/// [`semel_nats`](https://docs.rs/semel-nats) and [`semel_rabbitmq`](https://docs.rs/semel-rabbitmq)
/// can, with [`Backend::apart`].
///
/// ```no_run
/// # async fn example() -> Result<(), semel::OpenError> {
/// let backend = semel::open_apart(
///     "postgres://shop@db.internal/shop",
///     "nats://n1.internal,n2.internal,n3.internal?replicas=3&prefix=shop",
/// )
/// .await?;
/// # Ok(()) }
/// ```
///
/// Endpoints need a protocol for a broker elsewhere, for example
/// [`OutboxInbox`](semel_core::protocols::OutboxInbox).
pub async fn open_apart(store: &str, broker: &str) -> Result<Backend, OpenError> {
    apart(store, broker, Access::MayCreate).await
}

/// Opens the store at `store`, which must exist, and the queues of the broker at `broker`: for
/// programs that look.
///
/// A broker makes the few things that it needs before any endpoint is there, if they are missing.
pub async fn open_existing_apart(store: &str, broker: &str) -> Result<Backend, OpenError> {
    apart(store, broker, Access::MustExist).await
}

#[derive(Clone, Copy)]
enum Access {
    MayCreate,
    MustExist,
}

async fn apart(store_url: &str, broker_url: &str, access: Access) -> Result<Backend, OpenError> {
    let broker = broker::BrokerUrl::parse(broker_url)?;
    let store = store(store_url, access).await?;
    let backend = broker.beside(&store).await?;
    Ok(backend.with_books(store.operator().clone()))
}

async fn store(url: &str, access: Access) -> Result<Backend, OpenError> {
    let _ = access;
    match url.split_once(':') {
        #[cfg(feature = "sqlite")]
        Some(("sqlite", path)) if !path.is_empty() => {
            use semel_sqlite::{Missing, Options, Sqlite};
            let missing = match access {
                Access::MayCreate => Missing::Create,
                Access::MustExist => Missing::Refuse,
            };
            // `sqlite:///x` and `sqlite:/x` both mean the file `/x`.
            let path = path.strip_prefix("//").unwrap_or(path);
            let file = Sqlite::open_with(path, Options { missing, ..Options::default() })?;
            Ok(Backend::in_one(std::sync::Arc::new(file)))
        }
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => {
            use semel_postgres::{Options, Postgres, Tables};
            let (address, schema) = query::take(url, "schema");
            let mut options = Options::default();
            options.schema = schema.unwrap_or(options.schema);
            if let Access::MustExist = access {
                options.tables = Tables::Check;
            }
            let database = Postgres::connect_with(&address, options).await?;
            Ok(Backend::in_one(std::sync::Arc::new(database)))
        }
        _ => Err(OpenError::of_store(url)),
    }
}
