//! The processes of a day: one server and two workers.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use semel::core::protocols::Protocol;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::Stop;

/// How long a process may take to stop by itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// How to start the processes.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    /// Where the file and the logs lie.
    pub(crate) folder: PathBuf,
    /// Where faults are written down; `None` injects none.
    pub(crate) chaos: Option<PathBuf>,
    pub(crate) seed: u64,
    pub(crate) protocol: Arc<dyn Protocol>,
    /// The port of the web pages; 0 takes a free one.
    pub(crate) port: u16,
}

impl Launcher {
    /// The file that keeps everything.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("shop.db")
    }

    /// Starts the server, and waits until it says where it listens.
    pub(crate) async fn server(&self) -> Result<(Child, String), Stop> {
        let mut command = self.command("serve", "server", self.seed)?;
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        command.args(["--services", "elsewhere"]).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Stop::trouble)?;
        let output =
            child.stdout.take().ok_or_else(|| Stop::trouble("the server has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let line = lines.next_line().await.map_err(Stop::trouble)?.unwrap_or_default();
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        match url {
            Some(url) => Ok((child, url.trim_end_matches('/').to_owned())),
            None => Err(Stop::trouble(format!(
                "the server did not start:\n{}",
                std::fs::read_to_string(self.log("server")).unwrap_or_default()
            ))),
        }
    }

    /// Starts a worker; `life` makes the faults of each start different.
    pub(crate) fn worker(&self, name: &str, life: u64) -> Result<Child, Stop> {
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(life);
        let mut command = self.command("worker", name, seed)?;
        command.stdout(Stdio::null());
        command.spawn().map_err(Stop::trouble)
    }

    /// Whether the process was killed by a signal. One that ended by itself has said why: the day
    /// cannot go on.
    pub(crate) fn was_killed(&self, child: &mut Child, name: &str) -> Result<bool, Stop> {
        match child.try_wait().map_err(Stop::trouble)? {
            None => Ok(false),
            Some(status) if status.code().is_none() => Ok(true),
            Some(status) => Err(Stop::trouble(format!(
                "{name} ended with {status}:\n{}",
                std::fs::read_to_string(self.log(name)).unwrap_or_default()
            ))),
        }
    }

    fn command(&self, verb: &str, name: &str, seed: u64) -> Result<Command, Stop> {
        let program = std::env::current_exe().map_err(Stop::trouble)?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log(name))
            .map_err(Stop::trouble)?;
        let mut command = Command::new(program);
        command.arg(verb).arg("--store").arg(format!("sqlite:{}", self.file().display()));
        command.arg("--tied");
        command.arg("--seed").arg(seed.to_string());
        command.arg("--protocol").arg(self.protocol.name());
        if let Some(faults) = &self.chaos {
            command.arg("--chaos").arg(faults);
        }
        // The input stays open as long as this process lives: no child outlives it.
        command.stdin(Stdio::piped()).stderr(log).kill_on_drop(true);
        Ok(command)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

/// Lets a process end by itself, and insists after a while.
pub(crate) async fn stop(mut child: Child) -> Result<(), Stop> {
    drop(child.stdin.take());
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        child.kill().await.map_err(Stop::trouble)?;
    }
    Ok(())
}

/// Counts the faults in the file at `path`, by name.
pub(crate) fn count_faults(path: &Path) -> std::collections::BTreeMap<String, u64> {
    let mut counts = std::collections::BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}
