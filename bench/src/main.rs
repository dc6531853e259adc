//! Throughput, latency and memory of Semel, as ratios inside one run.
//!
//! Disks and processors change their speed between hours, so a figure means little by itself. Each
//! round runs every contender once, on a fresh file on the same file system, and what is reported
//! is the median of the ratios, round by round.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program does")]

mod brokers;
mod by_hand;
mod check;
mod cpu;
mod host;
mod latency;
mod long_run;
mod memory;
mod postgres;
mod report;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Measures Semel against itself and against a loop without any framework.
#[derive(Parser, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Messages of one contender in one round.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// Rounds; each runs every contender once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Entities that the messages are spread over.
    #[arg(long, default_value_t = 1_000)]
    entities: usize,
    /// Messages per second while latency is measured.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// For how many seconds latency is measured; 0 leaves it out.
    #[arg(long, default_value_t = 10)]
    latency_seconds: u32,
    /// Messages over which memory is watched; 0 leaves it out.
    #[arg(long, default_value_t = 1_000_000)]
    memory_messages: usize,
    /// Where the files lie while it runs: choose the disk to be measured.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench/report.json")]
    json: PathBuf,
}

/// What else can be measured.
#[derive(clap::Subcommand, Debug)]
enum Other {
    /// Measures the checker, beside another one on the same handler.
    Check(check::Args),
    /// Looks at what is left of many messages, protocol by protocol.
    LongRun(long_run::Args),
    /// Measures Semel on NATS and RabbitMQ, beside their clients alone.
    Brokers(brokers::Args),
    /// Measures Semel on PostgreSQL, beside loops without any framework.
    Postgres(postgres::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.other {
        Some(Other::Check(args)) => check::run(args),
        Some(Other::LongRun(args)) => long_run::run(args).await,
        Some(Other::Brokers(args)) => brokers::run(args).await,
        Some(Other::Postgres(args)) => postgres::run(args).await,
        None => run(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Any error ends the run with its message.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

async fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.folder)?;
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        rounds.push(one_round(args).await?);
    }
    let latency = match args.latency_seconds {
        0 => None,
        seconds => Some(latency::measure(&args.folder, args.rate, seconds).await?),
    };
    let memory = match args.memory_messages {
        0 => None,
        messages => Some(memory::measure(&args.folder, messages, args.entities).await?),
    };
    let report = report::Report::new(args.messages, rounds, latency, memory);
    report.print();
    std::fs::write(&args.json, serde_json::to_vec_pretty(&report)?)?;
    println!("figures as JSON: {}", args.json.display());
    Ok(())
}

/// Runs every contender once. The order is fixed: what one leaves in the caches, the next finds
/// the same in every round.
async fn one_round(args: &Args) -> Result<report::Round> {
    let load = work::Load { messages: args.messages, entities: args.entities };
    Ok(report::Round {
        by_hand: by_hand::run(&args.folder, load).await?,
        exactly_once: host::run(&args.folder, load, semel::Transactional::default()).await?,
        at_least_once: host::run(&args.folder, load, semel::AtLeastOnce).await?,
    })
}
