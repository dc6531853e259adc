//! RabbitMQ.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::{Daemon, listens};
use crate::{ServerError, fresh};

/// Besides the address to listen at: how long a server waits until it tries again to hand on a message
/// whose wait has ended, in milliseconds. It tries for the first time before it has recovered its
/// exchanges, and then rests three minutes unless told otherwise.
const ARGUMENTS: &str = "-kernel inet_dist_use_interface {127,0,0,1} \
    -rabbit dead_letter_worker_publisher_confirm_timeout 5000";

/// A RabbitMQ server. Dropping it kills it, and the port mapper that it started.
#[derive(Debug)]
pub struct Rabbit {
    folder: PathBuf,
    port: u16,
    mapper_port: u16,
    distribution_port: u16,
    daemon: Option<Daemon>,
    mapper: Option<Daemon>,
}

impl Rabbit {
    /// Starts one on free ports; earlier content of `folder` is removed. It takes some seconds.
    pub fn start(folder: &Path) -> Result<Self, ServerError> {
        fresh(folder)?;
        let mut server = Self {
            folder: folder.to_owned(),
            port: crate::free_port()?,
            mapper_port: crate::free_port()?,
            distribution_port: crate::free_port()?,
            daemon: None,
            mapper: None,
        };
        server.resume()?;
        Ok(server)
    }

    /// Starts it again on the same port and data, if it was killed.
    pub fn resume(&mut self) -> Result<(), ServerError> {
        if self.daemon.is_some() {
            return Ok(());
        }
        let log = self.folder.join("log");
        let mapper_port = self.mapper_port.to_string();
        // Started here, so that it ends with us: the server would leave its own running.
        let mut epmd = Command::new("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &mapper_port]);
        self.mapper = Some(Daemon::start("epmd", epmd, &log, || listens(self.mapper_port))?);

        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", format!("semel{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.folder.join("data"))
            .env("RABBITMQ_LOG_BASE", self.folder.join("logs"))
            // It reads its settings from the system's folder otherwise.
            .env("RABBITMQ_CONFIG_FILE", self.folder.join("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.join("plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ARGUMENTS)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", &mapper_port);
        self.daemon = Some(Daemon::start("rabbitmq", command, &log, || listens(self.port))?);
        Ok(())
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.daemon = None;
        self.mapper = None;
        // What a script started is nobody's to wait for: it is gone when its port is.
        while listens(self.port) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
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
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
    }
}
