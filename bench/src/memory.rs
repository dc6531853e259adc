//! Whether memory stays flat over many messages.

use std::path::Path;
use std::sync::Arc;

use semel::sqlite::Sqlite;
use semel::{Backend, Endpoint, Host};

use crate::Result;
use crate::report::Memory;
use crate::work::{Load, deposit, fill, fresh_file};

/// Messages that are queued and processed in one go.
const PORTION: usize = 10_000;

/// Processes `messages` in portions and looks at the resident memory after each.
pub(crate) async fn measure(folder: &Path, messages: usize, entities: usize) -> Result<Memory> {
    let (_folder, path) = fresh_file(folder)?;
    let file = Arc::new(Sqlite::open(&path)?);
    let mut resident_mib = Vec::new();
    for portion in 0..messages.div_ceil(PORTION) {
        let load = Load { messages: PORTION, entities };
        fill(&file, load, portion * PORTION).await?;
        let accounts = Endpoint::new("accounts").handle(deposit);
        Host::new(Backend::in_one(file.clone())).endpoint(accounts).run_until_idle().await?;
        resident_mib.push(of_this_process("VmRSS")?);
    }
    Ok(Memory::new(resident_mib, PORTION))
}

/// A kind of memory of this process in MiB, as Linux tells it.
pub(crate) fn of_this_process(kind: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.strip_prefix(kind).is_some_and(is_value));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib = kib.ok_or_else(|| format!("no {kind} in status"))?;
    Ok(kib.parse::<f64>()? / 1_024.0)
}

fn is_value(rest: &str) -> bool {
    rest.starts_with(':')
}
