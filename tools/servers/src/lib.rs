//! Private servers for Semel's tests and benchmarks: real ones, on free ports of the loopback
//! interface, each with a folder of its own.
//!
//! `cargo xtask test` starts one of each and writes their addresses under `target/servers`, where
//! [`address`] finds them. A test that stops, kills or fills its server starts one for itself.
//!
//! | server | address |
//! |---|---|
//! | [`Postgres`] | `postgres://postgres@127.0.0.1:PORT/postgres` |
//! | [`Nats`] | `nats://127.0.0.1:PORT` |
//! | [`Rabbit`] | `amqp://guest:guest@127.0.0.1:PORT/%2f` |

#![warn(missing_docs)]

mod as_server;
mod beside_postgres;
mod daemon;
mod nats;
mod packages;
mod postgres;
mod proxy;
mod rabbit;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

pub use beside_postgres::{PgBouncer, Pooling, Standby};
pub use nats::Nats;
pub use packages::{install_missing, set_clock};
pub use postgres::{Durability, Postgres};
pub use proxy::{Cut, Framing, Proxy, Weather};
pub use rabbit::Rabbit;

/// The first of the ports that servers get, and how many there are.
const FIRST_PORT: u16 = 20_000;
const PORTS: u64 = 12_000;

/// Why a server could not be had, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}\nto do: {remedy}")]
pub struct ServerError {
    /// What failed.
    pub what: String,
    /// What a person can do about it.
    pub remedy: String,
}

impl ServerError {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// The kinds of server that all tests share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// NATS with JetStream.
    Nats,
    /// RabbitMQ.
    Rabbit,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Nats, Self::Rabbit];

    /// Its name, also of its file with the address.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats => "nats",
            Self::Rabbit => "rabbitmq",
        }
    }
}

/// The address of the server that all tests share.
///
/// The environment variable `SEMEL_POSTGRES`, `SEMEL_NATS` or `SEMEL_RABBITMQ` decides; without it,
/// what `cargo xtask servers` started.
pub fn address(kind: Kind) -> Result<String, ServerError> {
    let variable = format!("SEMEL_{}", kind.name().to_uppercase());
    if let Ok(address) = std::env::var(&variable) {
        return Ok(address);
    }
    let file = address_file(kind);
    match fs::read_to_string(&file) {
        Ok(address) => Ok(address.trim().to_owned()),
        Err(error) => Err(ServerError::new(
            format!("no {} server is running: {}: {error}", kind.name(), file.display()),
            format!("run `cargo xtask servers` beside the tests, or set {variable} to an address"),
        )),
    }
}

/// Tells all tests where a server is.
pub fn announce(kind: Kind, address: &str) -> Result<(), ServerError> {
    let file = address_file(kind);
    let written = fs::create_dir_all(folder()).and_then(|()| fs::write(&file, address));
    written.map_err(|error| {
        let remedy = "make the folder `target` writable";
        ServerError::new(format!("cannot write {}: {error}", file.display()), remedy)
    })
}

/// Tells all tests that a server is gone.
pub fn withdraw(kind: Kind) {
    // Without the file there is nothing to withdraw.
    let _ = fs::remove_file(address_file(kind));
}

/// Ends what a program that was itself killed left running with its data under `folder`.
pub fn end_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        daemon::kill_leftovers(&entry.path());
    }
}

/// Where shared servers keep their data and addresses: `target/servers` of this workspace.
pub fn folder() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2).unwrap_or(manifest);
    root.join("target/servers")
}

fn address_file(kind: Kind) -> PathBuf {
    folder().join(format!("{}.address", kind.name()))
}

/// A port that nobody uses now, below those that the system gives to outgoing connections.
pub fn free_port() -> Result<u16, ServerError> {
    let seed = RandomState::new().build_hasher().finish();
    let ports = (0..PORTS).map(|at| FIRST_PORT + ((seed.wrapping_add(at * 7919)) % PORTS) as u16);
    let free = ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or_else(|| ServerError::new("no free port", "end some programs"))
}

/// An empty folder: earlier content is removed.
fn fresh(folder: &Path) -> Result<(), ServerError> {
    daemon::kill_leftovers(folder);
    let emptied = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    };
    emptied.map_err(|error| {
        let what = format!("cannot empty {}: {error}", folder.display());
        ServerError::new(what, "remove it by hand")
    })
}
