//! A server as a child process that ends with its owner.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::ServerError;

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(90);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// A running program and what it started. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    name: &'static str,
}

impl Daemon {
    /// Starts `command` with its output in `log`, and waits until `is_ready`.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self, ServerError> {
        let fail = |what: String| {
            let remedy = format!("read {}; `cargo xtask servers` starts it alone", log.display());
            ServerError::new(format!("{name} does not start: {what}"), remedy)
        };
        let output = File::options().create(true).append(true).open(log);
        let output = output.map_err(|error| fail(error.to_string()))?;
        let errors = output.try_clone().map_err(|error| fail(error.to_string()))?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        // A group of its own: some servers are started by a script that stays beside them.
        command.process_group(0);
        let child = command.spawn().map_err(|error| fail(error.to_string()))?;
        let mut daemon = Self { child, name };
        // Should we be killed, the next start finds what we leave.
        let _ = fs::write(log.with_file_name(format!("{name}.pid")), daemon.id().to_string());
        let since = Instant::now();
        while !is_ready() {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                return Err(fail(format!("it ended with {status}")));
            }
            if since.elapsed() > START_MAX {
                return Err(fail(format!("not ready after {} s", START_MAX.as_secs())));
            }
            thread::sleep(POLL);
        }
        Ok(daemon)
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, signal: &str) -> Result<(), ServerError> {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{signal}")).arg("--").arg(format!("-{}", self.child.id()));
        match kill.stderr(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(()),
            other => Err(ServerError::new(
                format!("cannot send {signal} to {}: {other:?}", self.name),
                "look whether it still runs",
            )),
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power cut would, and waits for its end.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.signal("KILL");
        let _ = self.child.wait();
    }

    /// Waits for its end after a signal.
    pub(crate) fn wait(&mut self) {
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The programs that we start.
const NAMES: [&str; 5] = ["postgres", "pgbouncer", "nats", "rabbitmq", "epmd"];

/// Kills what an owner that was itself killed left running with its data in `folder`.
pub(crate) fn kill_leftovers(folder: &Path) {
    for name in NAMES {
        let file = folder.join(format!("{name}.pid"));
        let Ok(process) = fs::read_to_string(file) else { continue };
        let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        // The number may be another program's by now.
        if String::from_utf8_lossy(&command).contains(name) {
            let group = format!("-{process}");
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        }
    }
}

/// Whether something listens on this port.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
