//! Semel on PostgreSQL, beside loops that someone wrote for just this purpose.
//!
//! The work: a deposit changes an account and sends a message; that message is consumed and changes
//! an entity too; one deposit in twenty comes twice. Everything waits for the disk.

mod by_hand;
mod host;
mod work;

use std::path::PathBuf;

use comfy_table::Table;
use semel_servers::{Durability, Postgres};
use serde::Serialize;

use crate::Result;
use work::Load;

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
    /// Processor time of this process and of the server, in microseconds per deposit.
    cpu_micros_per_deposit: f64,
    /// What the write-ahead log grew by, in bytes per deposit.
    log_bytes_per_deposit: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    loop_of_50: Sample,
    loop_of_1: Option<Sample>,
    semel: Sample,
}

#[derive(Debug, Serialize)]
struct Report {
    messages: usize,
    rounds: Vec<Round>,
    /// Median over the rounds.
    semel_to_loop_of_50: f64,
}

/// Runs everything, and prints the table.
pub(crate) async fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.folder)?;
    let folder = std::fs::canonicalize(&args.folder)?;
    let settings = ["shared_preload_libraries = 'pg_stat_statements'", "shared_buffers = 512MB"];
    let server = Postgres::start_with(&folder.join("server"), Durability::PowerCut, &settings)?;
    server.run("CREATE EXTENSION pg_stat_statements")?;
    let load = Load { messages: args.messages, accounts: args.accounts };
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        let loop_of_50 = by_hand::run(&server, load, 50).await?;
        // One by one takes long, and tells little that a tenth of it would not.
        let few = Load { messages: load.messages / 10, ..load };
        let loop_of_1 = if round == 1 { Some(by_hand::run(&server, few, 1).await?) } else { None };
        let semel = host::run(&server, load).await?;
        rounds.push(Round { loop_of_50, loop_of_1, semel });
    }
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round.semel.deposits_per_second / round.loop_of_50.deposits_per_second)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let semel_to_loop_of_50 = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    print(&rounds, semel_to_loop_of_50);
    let report = Report { messages: args.messages, rounds, semel_to_loop_of_50 };
    std::fs::write(&args.json, serde_json::to_vec_pretty(&report)?)?;
    println!("figures as JSON: {}", args.json.display());
    Ok(())
}

fn print(rounds: &[Round], ratio: f64) {
    let mut table = Table::new();
    table.set_header([
        "contender",
        "deposits/s",
        "statements each",
        "commits each",
        "cpu µs each",
        "log bytes each",
    ]);
    let mut add = |name: &str, sample: Sample| {
        table.add_row([
            name.to_owned(),
            format!("{:.0}", sample.deposits_per_second),
            format!("{:.3}", sample.statements_per_deposit),
            format!("{:.4}", sample.commits_per_deposit),
            format!("{:.0}", sample.cpu_micros_per_deposit),
            format!("{:.0}", sample.log_bytes_per_deposit),
        ]);
    };
    for round in rounds {
        add("loop, 50 a commit", round.loop_of_50);
        if let Some(sample) = round.loop_of_1 {
            add("loop, one by one", sample);
        }
        add("semel, transactional", round.semel);
    }
    println!("{table}\nsemel to the loop of 50: {ratio:.2} (median of the rounds)");
}
