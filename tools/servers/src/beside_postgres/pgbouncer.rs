//! A pooler before a server.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::as_server::{as_server, hand_over, output};
use crate::daemon::{Daemon, listens};
use crate::{Postgres, ServerError, fresh};

/// When pgbouncer gives a server's session to the next client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// When its client leaves.
    Session,
    /// After each transaction.
    Transaction,
}

/// A pgbouncer before a [`Postgres`]. Dropping it kills it.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _daemon: Daemon,
}

impl PgBouncer {
    /// Starts one on a free port; earlier content of `folder` is removed. `settings` are further
    /// lines of its file.
    pub fn before(
        server: &Postgres,
        folder: &Path,
        pooling: Pooling,
        settings: &[&str],
    ) -> Result<Self, ServerError> {
        fresh(folder)?;
        hand_over(folder)?;
        let port = crate::free_port()?;
        let pooling = match pooling {
            Pooling::Session => "session",
            Pooling::Transaction => "transaction",
        };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = users\npool_mode = {pooling}\n\
             {}\n",
            server.port(),
            settings.join("\n")
        );
        let file = folder.join("pgbouncer.ini");
        let users = fs::write(folder.join("users"), "\"postgres\" \"\"\n");
        users.and_then(|()| fs::write(&file, text)).map_err(|error| {
            let what = format!("cannot write {}: {error}", file.display());
            ServerError::new(what, "make the folder `target` writable")
        })?;
        let mut command = as_server(program(), folder);
        command.arg(&file);
        let daemon = Daemon::start("pgbouncer", command, &folder.join("log"), || listens(port))?;
        Ok(Self { port, _daemon: daemon })
    }

    /// Its version, as in `1.18`: major and minor.
    pub fn version() -> Result<(u32, u32), ServerError> {
        let told = output(Command::new(program()).arg("--version"))?;
        let version = told.lines().next().and_then(|line| line.strip_prefix("PgBouncer "));
        let mut parts = version.into_iter().flat_map(|it| it.split('.')).map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
            _ => {
                Err(ServerError::new(format!("no version of pgbouncer: {told}"), "mend this test"))
            }
        }
    }

    /// The server's address through it.
    pub fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

/// The system's, or another one that `SEMEL_PGBOUNCER` names.
fn program() -> OsString {
    std::env::var_os("SEMEL_PGBOUNCER").unwrap_or_else(|| "/usr/sbin/pgbouncer".into())
}
