//! Semel with its queues on NATS and on RabbitMQ, beside the brokers' own confirmed rate.
//!
//! The work: a deposit changes an account in a SQLite file and sends a message; that message is
//! consumed and changes an entity too; one deposit in twenty comes twice. The broker's own rate is
//! that of its client alone: publishes that are confirmed, and receipts whose acknowledgement is.
//! Both are counted in messages that went through the broker, in and out.

mod plain_nats;
mod plain_rabbitmq;
mod through_semel;

use std::path::PathBuf;

use comfy_table::Table;
use semel_servers::{Nats, Rabbit};
use serde::Serialize;

use crate::Result;
use crate::cpu::Cpu;
use crate::report::{Latency, median};
use crate::work::Load;

/// What to run.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Deposits of Semel in one round; the client alone passes twice as many messages.
    #[arg(long, default_value_t = 3_000)]
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
    #[arg(long, default_value_t = 10)]
    latency_seconds: u32,
    /// Where servers and files lie while it runs: choose the disk to be measured.
    #[arg(long, default_value = "target/bench/brokers")]
    folder: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench/brokers.json")]
    json: PathBuf,
}

/// One contender in one round.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    /// Messages per second that went through the broker, in and out.
    messages_per_second: f64,
    /// Messages per second into it.
    sent_per_second: f64,
    /// Messages per second out of it, with whatever is done about them.
    received_per_second: f64,
    /// Processor time of this process, in microseconds per message.
    own_cpu_micros: f64,
    /// Processor time of the server, in microseconds per message.
    server_cpu_micros: f64,
}

impl Sample {
    /// The figures of so many messages in and out, and what it took.
    fn new(sent: (usize, f64), received: (usize, f64), cpu: Cpu) -> Self {
        let per = |seconds: f64| seconds * 1e6 / received.0 as f64;
        Self {
            // What is sent while others are received is in their time.
            messages_per_second: received.0 as f64 / (sent.1 + received.1),
            sent_per_second: sent.0 as f64 / sent.1,
            received_per_second: received.0 as f64 / received.1,
            own_cpu_micros: per(cpu.worker_seconds),
            server_cpu_micros: per(cpu.server_seconds),
        }
    }
}

/// Both contenders on one broker.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    client_alone: Sample,
    semel: Sample,
}

/// What came of one broker.
#[derive(Debug, Serialize)]
struct Broker {
    name: &'static str,
    rounds: Vec<Round>,
    /// Median over the rounds.
    semel_to_client_alone: f64,
    latency: Option<Latency>,
}

#[derive(Debug, Serialize)]
struct Report {
    messages: usize,
    brokers: Vec<Broker>,
}

/// Runs everything, and prints the table.
pub(crate) async fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.folder)?;
    let folder = std::fs::canonicalize(&args.folder)?;
    let nats = Nats::start(&folder.join("nats"))?;
    let rabbit = Rabbit::start(&folder.join("rabbitmq"))?;
    let (on_nats, on_rabbit) = (nats.process(), rabbit.process());
    let load = Load { messages: args.messages, entities: args.accounts };
    let (mut nats_rounds, mut rabbit_rounds) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        nats_rounds.push(Round {
            client_alone: plain_nats::run(&nats.address(), load, on_nats).await?,
            semel: through_semel::on_nats(&nats.address(), &folder, load, on_nats).await?,
        });
        rabbit_rounds.push(Round {
            client_alone: plain_rabbitmq::run(&rabbit.address(), load, on_rabbit).await?,
            semel: through_semel::on_rabbitmq(&rabbit.address(), &folder, load, on_rabbit).await?,
        });
    }
    let (mut nats_latency, mut rabbit_latency) = (None, None);
    if args.latency_seconds > 0 {
        eprintln!("latency at {}/s", args.rate);
        let (rate, seconds) = (args.rate, args.latency_seconds);
        let (_file, backend) = through_semel::nats_backend(&nats.address(), &folder).await?;
        nats_latency = Some(crate::latency::measure_on(backend, rate, seconds).await?);
        let (_file, backend) = through_semel::rabbitmq_backend(&rabbit.address(), &folder).await?;
        rabbit_latency = Some(crate::latency::measure_on(backend, rate, seconds).await?);
    }
    drop((nats, rabbit));
    std::fs::remove_dir_all(folder.join("nats"))?;
    std::fs::remove_dir_all(folder.join("rabbitmq"))?;
    let brokers = vec![
        Broker::new("nats", nats_rounds, nats_latency),
        Broker::new("rabbitmq", rabbit_rounds, rabbit_latency),
    ];
    print(&brokers);
    let report = Report { messages: args.messages, brokers };
    std::fs::write(&args.json, serde_json::to_vec_pretty(&report)?)?;
    println!("figures as JSON: {}", args.json.display());
    Ok(())
}

impl Broker {
    fn new(name: &'static str, rounds: Vec<Round>, latency: Option<Latency>) -> Self {
        let ratio = |round: &Round| {
            round.semel.messages_per_second / round.client_alone.messages_per_second
        };
        let semel_to_client_alone = median(rounds.iter().map(ratio));
        Self { name, rounds, semel_to_client_alone, latency }
    }
}

fn print(brokers: &[Broker]) {
    let mut table = Table::new();
    table.set_header([
        "broker",
        "contender",
        "messages/s",
        "sent/s",
        "received/s",
        "own cpu µs each",
        "server's cpu µs each",
    ]);
    for broker in brokers {
        for round in &broker.rounds {
            for (name, sample) in [("client alone", round.client_alone), ("semel", round.semel)] {
                table.add_row([
                    broker.name.to_owned(),
                    name.to_owned(),
                    format!("{:.0}", sample.messages_per_second),
                    format!("{:.0}", sample.sent_per_second),
                    format!("{:.0}", sample.received_per_second),
                    format!("{:.0}", sample.own_cpu_micros),
                    format!("{:.0}", sample.server_cpu_micros),
                ]);
            }
        }
    }
    println!("{table}");
    for Broker { name, semel_to_client_alone, latency, .. } in brokers {
        println!("{name}: semel to the client alone: {semel_to_client_alone:.2}");
        if let Some(latency) = latency {
            let (rate, words) = (latency.rate_per_second, latency.words());
            println!("{name}: latency at {rate}/s over two hops: {words}");
        }
    }
}
