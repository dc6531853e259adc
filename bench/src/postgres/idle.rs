//! What a worker costs that has nothing to do.

use std::sync::Arc;
use std::time::Duration;

use semel::postgres::{Options, Postgres as Place, Wake};
use semel::{Backend, Endpoint, Host};
use semel_servers::Postgres;
use serde::Serialize;

use super::work::options;
use crate::Result;
use crate::cpu::Cpu;
use crate::work::note;

/// What it costs, by how it is woken.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Idle {
    listen: Cost,
    look: Cost,
}

/// What one worker with four endpoints costs in a second.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    statements: f64,
    transactions: f64,
    cpu_ms: f64,
    server_cpu_ms: f64,
}

/// Watches a worker with four endpoints for so long, for each way of being woken.
pub(super) async fn measure(server: &Postgres, seconds: u32) -> Result<Idle> {
    eprintln!("idle: twice {seconds} s");
    Ok(Idle {
        listen: watch(server, Wake::Listen, seconds).await?,
        look: watch(server, Wake::Look, seconds).await?,
    })
}

async fn watch(server: &Postgres, wake: Wake, seconds: u32) -> Result<Cost> {
    let options = Options { wake, ..options()? };
    let place = Arc::new(Place::connect_with(&server.address(), options).await?);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let host =
        ["a", "b", "c", "d"].into_iter().fold(Host::new(Backend::in_one(place)), |host, name| {
            host.endpoint(Endpoint::new(name).handle(note))
        });
    let host = tokio::spawn(host.run(async {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    }));
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.run("SELECT pg_stat_statements_reset()")?;
    let before = Cpu::now(server.process())?;
    tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
    let cpu = Cpu::now(server.process())?.since(before);
    // Without those of whoever asks here.
    let count = |which: &str| -> Result<f64> {
        let sql = format!(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query !~ 'pg_stat_|pg_read' \
             AND {which}"
        );
        Ok(server.run(&sql)?.parse::<f64>()? / f64::from(seconds))
    };
    let (statements, transactions) = (count("true")?, count("query = 'COMMIT'")?);
    drop(stop);
    host.await??;
    let ms = |used: f64| used * 1_000.0 / f64::from(seconds);
    Ok(Cost {
        statements,
        transactions,
        cpu_ms: ms(cpu.worker_seconds),
        server_cpu_ms: ms(cpu.server_seconds),
    })
}

impl Idle {
    pub(super) fn print(&self) {
        for (how, cost) in [("listens", self.listen), ("only looks", self.look)] {
            println!(
                "an idle worker with 4 endpoints that {how}, each second: {:.1} transactions of {:.1} \
                 statements in all, {:.1} ms of its processor time, {:.1} ms of the server's",
                cost.transactions, cost.statements, cost.cpu_ms, cost.server_cpu_ms
            );
        }
    }
}
