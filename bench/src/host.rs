//! The work done by Semel.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use semel::core::protocols::Protocol;
use semel::sqlite::Sqlite;
use semel::{Backend, Endpoint, Host};

use crate::Result;
use crate::report::Sample;
use crate::work::{Load, check_books, deposit, fill, fresh_file};

/// Runs the load through a host under `protocol`.
pub(crate) async fn run(folder: &Path, load: Load, protocol: impl Protocol) -> Result<Sample> {
    let (_folder, path) = fresh_file(folder)?;
    let file = Arc::new(Sqlite::open(&path)?);
    fill(&file, load, 0).await?;
    let before = file.commits();
    let backend = Backend::in_one(file.clone());
    let accounts = Endpoint::new("accounts").handle(deposit).protocol(protocol);
    let started = Instant::now();
    Host::new(backend).endpoint(accounts).run_until_idle().await?;
    let seconds = started.elapsed().as_secs_f64();
    let commits = file.commits() - before;
    drop(file);
    check_books(&path, load)?;
    Ok(Sample::new(load.messages, seconds, commits))
}
