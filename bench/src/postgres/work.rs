//! The load, and how it is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use semel::postgres::{Options, Postgres};

use super::Sample;
use crate::Result;
use crate::cpu::Cpu;
use crate::work::{Load, fill_doubled};

/// A fresh schema with the load in its queue.
pub(crate) async fn fresh(
    server: &semel_servers::Postgres,
    load: Load,
) -> Result<(String, Arc<Postgres>)> {
    let (schema, place) = place(server).await?;
    fill_doubled(&*place, load).await?;
    server.run("CHECKPOINT")?;
    Ok((schema, place))
}

/// Options with a schema that no other contender has.
pub(super) fn options() -> Result<Options> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Options { schema: format!("bench_{}", since.as_millis()), ..Options::default() })
}

/// A fresh schema.
pub(super) async fn place(server: &semel_servers::Postgres) -> Result<(String, Arc<Postgres>)> {
    let options = options()?;
    let schema = options.schema.clone();
    Ok((schema, Arc::new(Postgres::connect_with(&server.address(), options).await?)))
}

/// Takes the figures of `work`, and fails unless the schema holds what it must have left.
pub(crate) async fn measured<F: Future<Output = Result<()>>>(
    server: &semel_servers::Postgres,
    schema: &str,
    load: Load,
    work: F,
) -> Result<Sample> {
    server.run("SELECT pg_stat_statements_reset()")?;
    let log = |server: &semel_servers::Postgres| -> Result<f64> {
        Ok(server.run("SELECT pg_current_wal_insert_lsn() - '0/0'")?.parse()?)
    };
    let commits = |server: &semel_servers::Postgres| -> Result<f64> {
        // Statistics of sessions reach the server's own a moment late.
        std::thread::sleep(Duration::from_millis(1_200));
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'";
        Ok(server.run(sql)?.parse()?)
    };
    let (log_before, commits_before) = (log(server)?, commits(server)?);
    let cpu_before = Cpu::now(server.process())?;
    let started = Instant::now();
    work.await?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = Cpu::now(server.process())?.since(cpu_before);
    let statements: f64 = server.run("SELECT sum(calls) FROM pg_stat_statements")?.parse()?;
    let sample = Sample {
        deposits_per_second: load.messages as f64 / seconds,
        statements_per_deposit: statements / load.messages as f64,
        commits_per_deposit: (commits(server)? - commits_before) / load.messages as f64,
        cpu_micros_per_deposit: cpu.worker_seconds * 1e6 / load.messages as f64,
        server_cpu_micros_per_deposit: cpu.server_seconds * 1e6 / load.messages as f64,
        log_bytes_per_deposit: (log(server)? - log_before) / load.messages as f64,
    };
    check_books(server, schema, load)?;
    Ok(sample)
}

fn check_books(server: &semel_servers::Postgres, schema: &str, load: Load) -> Result<()> {
    let count = |endpoint: &str| {
        server.run(&format!(
            "SELECT coalesce(sum((coalesce(s.j #> '{{state,json}}', s.j) ->> 'deposits')::bigint), 0) \
             FROM {schema}.entity, LATERAL (SELECT convert_from(state, 'UTF8')::jsonb AS j) AS s \
             WHERE endpoint = '{endpoint}'"
        ))
    };
    let (deposits, notes) = (count("accounts")?, count("sink")?);
    let left = server.run(&format!("SELECT count(*) FROM {schema}.queue"))?;
    let expected = load.messages.to_string();
    if deposits == expected && notes == expected && left == "0" {
        return Ok(());
    }
    Err(format!("of {expected}: {deposits} deposits, {notes} notes, {left} left").into())
}
