//! The servers that tests talk to.

use std::ffi::OsString;
use std::io::Read as _;
use std::process::ExitCode;
use std::thread;

use semel_servers::{Durability, Kind, Nats, Postgres, Rabbit, ServerError};

use crate::failure::Failure;

/// One server of each kind, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Servers {
    postgres: Postgres,
    nats: Nats,
    rabbit: Rabbit,
}

impl Servers {
    /// Starts them side by side, and tells where they are.
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = semel_servers::folder();
        let (postgres, nats, rabbit) = thread::scope(|scope| {
            let rabbit = scope.spawn(|| Rabbit::start(&folder.join("rabbitmq")));
            let postgres =
                scope.spawn(|| Postgres::start(&folder.join("postgres"), Durability::Kill));
            (postgres.join(), Nats::start(&folder.join("nats")), rabbit.join())
        });
        let died = |_| Failure::new("a thread that starts a server panicked", "report it");
        let servers = Self {
            postgres: postgres.map_err(died)??,
            nats: nats?,
            rabbit: rabbit.map_err(died)??,
        };
        semel_servers::announce(Kind::Postgres, &servers.postgres.address())?;
        semel_servers::announce(Kind::Nats, &servers.nats.address())?;
        semel_servers::announce(Kind::Rabbit, &servers.rabbit.address())?;
        Ok(servers)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        Kind::ALL.into_iter().for_each(semel_servers::withdraw);
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::new(error.what, error.remedy)
    }
}

/// Installs what is missing.
pub(crate) fn install_missing() -> Result<(), Failure> {
    Ok(semel_servers::install_missing()?)
}

/// Runs the servers until its input ends or a key is pressed.
pub(crate) fn verb(_: &[OsString]) -> Result<ExitCode, Failure> {
    install_missing()?;
    let servers = Servers::start()?;
    for kind in Kind::ALL {
        println!("{:<9} {}", kind.name(), semel_servers::address(kind)?);
    }
    println!("Tests find them by themselves. Press Enter to stop them.");
    // The end of the input is as good as a key.
    let _ = std::io::stdin().read(&mut [0]);
    drop(servers);
    Ok(ExitCode::SUCCESS)
}
