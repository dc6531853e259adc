//! A replica that can take over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::as_server::{ask, hand_over, output, program};
use crate::daemon::Daemon;
use crate::{Postgres, ServerError, fresh};

/// How long a replica may take to catch up, or to take over.
const PATIENCE: Duration = Duration::from_secs(60);

/// A streaming replica of a [`Postgres`]. Dropping it kills it.
#[derive(Debug)]
pub struct Standby {
    folder: PathBuf,
    port: u16,
    _daemon: Daemon,
}

impl Standby {
    /// Starts one on a free port; earlier content of `folder` is removed. From now on the primary
    /// answers a commit when this replica has it on its disk.
    pub fn of(primary: &Postgres, folder: &Path) -> Result<Self, ServerError> {
        fresh(folder)?;
        hand_over(folder)?;
        let (port, data) = (crate::free_port()?, folder.join("data"));
        let mut copy = program("pg_basebackup", folder)?;
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream", "-c", "fast"]);
        output(copy.args(["--no-sync", "-p", &primary.port().to_string()]).arg("-D").arg(&data))?;
        let mut server = program("postgres", folder)?;
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        let probe = address(port);
        let is_ready = || ask(folder, &probe, "SELECT 1").is_ok();
        let daemon = Daemon::start("postgres", server, &folder.join("log"), is_ready)?;
        let standby = Self { folder: folder.to_owned(), port, _daemon: daemon };
        primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        primary.run("SELECT pg_reload_conf()")?;
        let state = "SELECT sync_state FROM pg_stat_replication";
        until("the replica is waited for", || primary.run(state).is_ok_and(|it| it == "sync"))?;
        Ok(standby)
    }

    /// Makes it the primary.
    pub fn promote(&self) -> Result<(), ServerError> {
        self.run("SELECT pg_promote(wait => true)").map(drop)?;
        let only_reads = "SELECT pg_is_in_recovery()";
        until("the replica takes over", || self.run(only_reads).is_ok_and(|it| it == "f"))
    }

    /// Runs a statement as its owner, with `psql`.
    pub fn run(&self, sql: &str) -> Result<String, ServerError> {
        ask(&self.folder, &self.address(), sql)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, as the owner of everything in it.
    pub fn address(&self) -> String {
        address(self.port)
    }
}

fn address(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

fn until(what: &str, is_so: impl Fn() -> bool) -> Result<(), ServerError> {
    let since = Instant::now();
    while !is_so() {
        if since.elapsed() > PATIENCE {
            let reason = format!("after {} s it is not so that {what}", PATIENCE.as_secs());
            return Err(ServerError::new(reason, "read the servers' logs"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
