//! NATS with JetStream.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::{Daemon, listens};
use crate::{ServerError, fresh};

/// A NATS server with JetStream. Dropping it kills it.
#[derive(Debug)]
pub struct Nats {
    folder: PathBuf,
    port: u16,
    arguments: Vec<String>,
    daemon: Option<Daemon>,
}

impl Nats {
    /// Starts one on a free port; earlier content of `folder` is removed.
    pub fn start(folder: &Path) -> Result<Self, ServerError> {
        Self::start_with(folder, &[])
    }

    /// The same with further arguments, for example of a cluster.
    pub fn start_with(folder: &Path, arguments: &[String]) -> Result<Self, ServerError> {
        fresh(folder)?;
        let port = crate::free_port()?;
        let arguments = arguments.to_vec();
        let mut server = Self { folder: folder.to_owned(), port, arguments, daemon: None };
        server.resume()?;
        Ok(server)
    }

    /// Starts it again on the same port and data, if it was killed.
    pub fn resume(&mut self) -> Result<(), ServerError> {
        if self.daemon.is_some() {
            return Ok(());
        }
        let mut command = Command::new("/usr/sbin/nats-server");
        command.args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string()]);
        command.arg("-sd").arg(self.folder.join("data")).args(&self.arguments);
        let log = self.folder.join("log");
        self.daemon = Some(Daemon::start("nats", command, &log, || listens(self.port))?);
        Ok(())
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Sends it a signal, by its name without `SIG`: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) -> Result<(), ServerError> {
        self.daemon.as_ref().map_or(Ok(()), |daemon| daemon.signal(signal))
    }

    /// Its process.
    pub fn process(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::id)
    }

    /// Whether it runs; `false` if it was killed, by whomever.
    pub fn is_alive(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(Daemon::is_alive)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}
