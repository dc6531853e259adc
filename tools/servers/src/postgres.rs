//! PostgreSQL.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::as_server::{as_server, ask, hand_over, output, program};
use crate::daemon::{Daemon, listens};
use crate::{ServerError, fresh};

/// How long killed processes may take to be gone.
const CHILDREN_MAX: Duration = Duration::from_secs(10);

/// Whether the server survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It does: for benchmarks.
    PowerCut,
    /// Only the end of its processes: for tests, several times as fast.
    Kill,
}

/// A PostgreSQL server with TLS on. Dropping it kills it.
///
/// It must not run as root: root starts it as the user `postgres`.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    daemon: Option<Daemon>,
}

impl Postgres {
    /// Starts one on a free port; earlier content of `folder` is removed.
    pub fn start(folder: &Path, durability: Durability) -> Result<Self, ServerError> {
        Self::start_with(folder, durability, &[])
    }

    /// The same with settings of its own, as lines of `postgresql.conf`.
    pub fn start_with(
        folder: &Path,
        durability: Durability,
        settings: &[&str],
    ) -> Result<Self, ServerError> {
        fresh(folder)?;
        let port = crate::free_port()?;
        let mut server = Self { folder: folder.to_owned(), port, daemon: None };
        server.create(durability, settings)?;
        server.resume()?;
        Ok(server)
    }

    fn create(&self, durability: Durability, settings: &[&str]) -> Result<(), ServerError> {
        hand_over(&self.folder)?;
        let data = self.data();
        let mut initdb = program("initdb", &self.folder)?;
        initdb.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8"]);
        initdb.args(["--no-sync", "--locale=C.UTF-8"]);
        succeed(&mut initdb)?;
        self.make_certificate()?;
        let mut lines = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             max_connections = 200\nssl = on\n",
            self.port
        );
        if durability == Durability::Kill {
            lines.push_str("fsync = off\nfull_page_writes = off\n");
        }
        for setting in settings {
            let _ = writeln!(lines, "{setting}");
        }
        let file = data.join("postgresql.conf");
        let text = fs::read_to_string(&file).map(|text| text + "\n" + &lines);
        text.and_then(|text| fs::write(&file, text)).map_err(|error| {
            let what = format!("cannot write {}: {error}", file.display());
            ServerError::new(what, "make the folder `target` writable")
        })
    }

    /// A certificate for `localhost` that signs itself: `server.crt` beside the data.
    fn make_certificate(&self) -> Result<(), ServerError> {
        let data = self.data();
        let mut openssl = as_server("openssl", &self.folder);
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-days", "3650", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost"]);
        // Not an authority's: clients refuse one as a server's.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(data.join("server.key"));
        openssl.arg("-out").arg(data.join("server.crt"));
        succeed(&mut openssl)
    }

    /// Starts it again on the same port and data, if it was stopped or killed.
    pub fn resume(&mut self) -> Result<(), ServerError> {
        if self.daemon.is_some() {
            return Ok(());
        }
        // What a killed server left behind; no other can use this folder.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let mut command = program("postgres", &self.folder)?;
        command.arg("-D").arg(self.data());
        let log = self.folder.join("log");
        let is_ready = || listens(self.port) && self.answers();
        self.daemon = Some(Daemon::start("postgres", command, &log, is_ready)?);
        Ok(())
    }

    fn answers(&self) -> bool {
        let Ok(mut probe) = program("pg_isready", &self.folder) else { return false };
        probe.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    }

    /// Ends it after it wrote everything down; sessions are cut.
    pub fn stop(&mut self) -> Result<(), ServerError> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        self.signal_postmaster("INT")?;
        daemon.wait();
        Ok(())
    }

    /// Kills it and all its sessions at once, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // Once it is gone, its number may be another's.
            let process = self.process().filter(|_| daemon.is_alive());
            let children = process.map(children_of).unwrap_or_default();
            if process.is_some() {
                let _ = self.signal_postmaster("KILL");
            }
            daemon.wait();
            // Some are gone already.
            let _ = send_signal("KILL", &children);
            // They hold its memory: without them gone, it does not start again.
            let until = Instant::now() + CHILDREN_MAX;
            while children.iter().any(|child| exists(*child)) && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Sends a signal to all its processes, by its name without `SIG`: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) -> Result<(), ServerError> {
        let Some(process) = self.process() else { return Ok(()) };
        // It first: once it is stopped, it starts no further ones.
        send_signal(signal, &[process])?;
        // Those that end meanwhile need no signal.
        let _ = send_signal(signal, &children_of(process));
        Ok(())
    }

    /// Runs a statement as its owner, with `psql`.
    pub fn run(&self, sql: &str) -> Result<String, ServerError> {
        ask(&self.folder, &self.address(), sql)
    }

    /// Whether it runs; `false` if it was killed, by whomever.
    pub fn is_alive(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(Daemon::is_alive)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its certificate, which signs itself, for `localhost`.
    pub fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    /// Its address, as the owner of everything in it.
    pub fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The process that started all its others.
    pub fn process(&self) -> Option<u32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next()?.parse().ok()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn signal_postmaster(&self, signal: &str) -> Result<(), ServerError> {
        let Some(process) = self.process() else { return Ok(()) };
        send_signal(signal, &[process])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process is there, and has not ended.
fn exists(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// The processes that this one started.
fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name before it may hold anything.
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let processes = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(is_child).collect()
}

fn send_signal(signal: &str, processes: &[u32]) -> Result<(), ServerError> {
    if processes.is_empty() {
        return Ok(());
    }
    let mut kill = Command::new("kill");
    kill.arg(format!("-{signal}")).args(processes.iter().map(u32::to_string));
    succeed(&mut kill)
}

fn succeed(command: &mut Command) -> Result<(), ServerError> {
    output(command).map(drop)
}
