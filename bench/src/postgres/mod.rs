//! Semel on PostgreSQL, beside loops that someone wrote for just this purpose.
//!
//! The work: a deposit changes an account and sends a message; that message is consumed and changes
//! an entity too; one deposit in twenty comes twice. Everything waits for the disk.

mod by_hand;
mod host;
mod idle;
mod latency;
mod steady;
mod work;

use std::path::PathBuf;

use comfy_table::Table;
use semel_servers::{Durability, Postgres};
use serde::Serialize;

use crate::Result;
use crate::report::{Latency, median};
use crate::work::Load;

/// What to run.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Deposits of one contender in one round.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// Accounts that they are spread over.
    #[arg(long, default_value_t = 1_000)]
    accounts: usize,
    /// Rounds; each runs every contender once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Messages per second while latency is measured.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// For how many seconds latency is measured; 0 leaves it out.
    #[arg(long, default_value_t = 20)]
    latency_seconds: u32,
    /// For how many seconds a worker without messages is watched; 0 leaves it out.
    #[arg(long, default_value_t = 20)]
    idle_seconds: u32,
    /// For how many seconds the sizes of the tables are watched; 0 leaves it out.
    #[arg(long, default_value_t = 300)]
    steady_seconds: u32,
    /// Messages per second meanwhile.
    #[arg(long, default_value_t = 1_000)]
    steady_rate: u32,
    /// Where the server lies while it runs: choose the disk to be measured.
    #[arg(long, default_value = "target/bench/postgres")]
    folder: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench/postgres.json")]
    json: PathBuf,
}

/// One contender in one round.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    /// Deposits per second; each is two messages consumed.
    deposits_per_second: f64,
    /// Statements per deposit, as the server counted them, those for transactions included.
    statements_per_deposit: f64,
    /// Commits per deposit, as the server counted them.
    commits_per_deposit: f64,
    /// Processor time of this process, in microseconds per deposit.
    cpu_micros_per_deposit: f64,
    /// Processor time of the server, in microseconds per deposit.
    server_cpu_micros_per_deposit: f64,
    /// What the write-ahead log grew by, in bytes per deposit.
    log_bytes_per_deposit: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    loop_of_50: Sample,
    loop_of_50_twice: Sample,
    loop_of_1: Option<Sample>,
    semel: Sample,
}

#[derive(Debug, Serialize)]
struct Report {
    messages: usize,
    rounds: Vec<Round>,
    /// Median over the rounds.
    semel_to_loop_of_50: f64,
    /// Median over the rounds.
    semel_to_loop_of_50_twice: f64,
    latency: Option<Latency>,
    idle: Option<idle::Idle>,
    steady: Option<steady::Steady>,
}

/// Runs everything, and prints the table.
pub(crate) async fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.folder)?;
    let folder = std::fs::canonicalize(&args.folder)?;
    let settings = [
        "shared_preload_libraries = 'pg_stat_statements'",
        "shared_buffers = 512MB",
        "pg_stat_statements.track_planning = on",
    ];
    let server = Postgres::start_with(&folder.join("server"), Durability::PowerCut, &settings)?;
    server.run("CREATE EXTENSION pg_stat_statements")?;
    let load = Load { messages: args.messages, entities: args.accounts };
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        let loop_of_50 = by_hand::run(&server, load, 50).await?;
        let loop_of_50_twice = by_hand::run_two(&server, load, 50).await?;
        // One by one takes long, and tells little that a tenth of it would not.
        let few = Load { messages: load.messages / 10, ..load };
        let loop_of_1 = if round == 1 { Some(by_hand::run(&server, few, 1).await?) } else { None };
        let semel = host::run(&server, load).await?;
        rounds.push(Round { loop_of_50, loop_of_50_twice, loop_of_1, semel });
    }
    let ratio = |to: fn(&Round) -> Sample| {
        median(
            rounds
                .iter()
                .map(|round| round.semel.deposits_per_second / to(round).deposits_per_second),
        )
    };
    let report = Report {
        messages: args.messages,
        semel_to_loop_of_50: ratio(|round| round.loop_of_50),
        semel_to_loop_of_50_twice: ratio(|round| round.loop_of_50_twice),
        rounds,
        latency: match args.latency_seconds {
            0 => None,
            seconds => Some(latency::measure(&server, args.rate, seconds).await?),
        },
        idle: match args.idle_seconds {
            0 => None,
            seconds => Some(idle::measure(&server, seconds).await?),
        },
        steady: match args.steady_seconds {
            0 => None,
            seconds => Some(steady::measure(&server, args.steady_rate, seconds).await?),
        },
    };
    drop(server);
    std::fs::remove_dir_all(folder.join("server"))?;
    report.print();
    std::fs::write(&args.json, serde_json::to_vec_pretty(&report)?)?;
    println!("figures as JSON: {}", args.json.display());
    Ok(())
}

impl Report {
    fn print(&self) {
        let mut table = Table::new();
        table.set_header([
            "contender",
            "deposits/s",
            "statements each",
            "commits each",
            "cpu µs each",
            "server's cpu µs each",
            "log bytes each",
        ]);
        let mut add = |name: &str, sample: Sample| {
            table.add_row([
                name.to_owned(),
                format!("{:.0}", sample.deposits_per_second),
                format!("{:.3}", sample.statements_per_deposit),
                format!("{:.4}", sample.commits_per_deposit),
                format!("{:.0}", sample.cpu_micros_per_deposit),
                format!("{:.0}", sample.server_cpu_micros_per_deposit),
                format!("{:.0}", sample.log_bytes_per_deposit),
            ]);
        };
        for round in &self.rounds {
            add("loop, 50 a commit", round.loop_of_50);
            add("the same on two connections", round.loop_of_50_twice);
            if let Some(sample) = round.loop_of_1 {
                add("loop, one by one", sample);
            }
            add("semel, transactional", round.semel);
        }
        println!(
            "{table}\nsemel to the loop of 50: {:.2}, to that on two connections: {:.2} (medians of \
             the rounds)",
            self.semel_to_loop_of_50, self.semel_to_loop_of_50_twice
        );
        if let Some(latency) = &self.latency {
            let (rate, words) = (latency.rate_per_second, latency.words());
            println!("from when a message was due to the end of its commit, at {rate}/s: {words}");
        }
        if let Some(idle) = &self.idle {
            idle.print();
        }
        if let Some(steady) = &self.steady {
            steady.print();
        }
    }
}
