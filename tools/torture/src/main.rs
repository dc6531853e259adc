//! Torture: the shop as real processes on real servers, while processes are killed and stopped,
//! servers fail, connections are cut, and messages come twice; then the books.
//!
//! The plan of faults follows from a seed. What the operating system makes of it does not: a seed
//! replays the same plan, not the same run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program does")]

mod books;
mod crew;
mod histories;
mod plan;
mod report;
mod stack;
mod storm;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use semel::core::protocols;
use semel_servers::ServerError;
use shop::audit::Audit;

use books::Leftovers;
use crew::Orders;
use plan::{Kind, Shape};
use report::Report;
use stack::Stack;
use storm::Course;

/// The shop on real servers, under faults from a seed, and its books afterwards.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask torture", version)]
struct Args {
    /// What the shop stands on; may be given several times. Without it, everything in turn.
    #[arg(long, value_enum)]
    stack: Vec<Stack>,
    /// The plan of faults follows from this number; drawn, if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// For how many seconds customers buy and faults happen, on each stack. Ctrl-C ends it early.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=604_800))]
    seconds: u32,
    /// Orders a second.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Workers of each of the four services.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    workers: u8,
    /// How messages are processed.
    #[arg(long, default_value = "transactional")]
    protocol: String,
    /// Only these kinds of faults, with commas between.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Option<Vec<Kind>>,
    /// Let no process do harm to its own messages and commits: no duplicates, no replays.
    #[arg(long)]
    no_chaos: bool,
    /// By how many seconds the clocks of processes are off, some ahead, others behind. A file has
    /// one machine, and one clock.
    #[arg(long, default_value_t = 3_600)]
    skew: u32,
    /// How many seconds everything may take to be worked off after healing.
    #[arg(long, default_value_t = 180)]
    patience: u32,
    /// Print the plan of faults, and do nothing else.
    #[arg(long)]
    plan: bool,
    /// Print each fault when it happens.
    #[arg(long)]
    loud: bool,
    /// Where logs, histories and the servers' data lie. What is there is removed.
    #[arg(long, default_value = "target/torture")]
    folder: PathBuf,
}

/// Why a run came to no verdict.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Trouble(String);

impl Trouble {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    fn io(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }

    fn died(error: tokio::task::JoinError) -> Self {
        Self(format!("a defect of this program: {error}"))
    }

    fn customers(stop: shop::Stop) -> Self {
        Self(format!("customers cannot be made: {stop}"))
    }

    fn look(error: impl std::fmt::Display) -> Self {
        Self(format!("the books cannot be read: {error}"))
    }
}

impl From<ServerError> for Trouble {
    fn from(error: ServerError) -> Self {
        Self(error.to_string())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // The processes of the shop are this program too: `… shop worker --store …`.
    if arguments.get(1).is_some_and(|verb| verb == "shop") {
        return shop::run(arguments.into_iter().skip(1)).await;
    }
    let args = Args::parse();
    if protocols::by_name(&args.protocol).is_none() {
        let known: Vec<&str> = protocols::all().iter().map(|protocol| protocol.name()).collect();
        eprintln!("no protocol is called `{}`; name one of {}", args.protocol, known.join(", "));
        return ExitCode::from(2);
    }
    let seed = args.seed.unwrap_or_else(drawn_seed);
    let stacks = match args.stack.is_empty() {
        true => Stack::value_variants(),
        false => &args.stack,
    };
    let mut worst = 0;
    for stack in stacks {
        let shape = shape(&args, *stack, seed);
        if args.plan {
            println!("{}, seed {seed}", name(*stack));
            for (member, ahead_s) in shape.clocks().iter().filter(|(_, ahead_s)| **ahead_s != 0) {
                println!("     clock  {member}: {ahead_s:+} s");
            }
            for event in plan::plan(&shape) {
                println!("{:>8.1} s  {}", event.at.as_secs_f64(), event.act);
            }
            continue;
        }
        match run(&args, shape).await {
            Ok(report) if report.is_clean() => {}
            // Damage is damage, whatever comes of other stacks.
            Ok(_) => worst = 1,
            Err(trouble) => {
                eprintln!("{} with seed {seed} came to no verdict: {trouble}", name(*stack));
                eprintln!("logs lie in {}", args.folder.display());
                worst = if worst == 1 { 1 } else { 3 };
            }
        }
    }
    ExitCode::from(worst)
}

/// Any number that a person can type.
fn drawn_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_millis() as u64 % 1_000_000)
}

fn name(stack: Stack) -> String {
    stack.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn shape(args: &Args, stack: Stack, seed: u64) -> Shape {
    let all = || Kind::value_variants().iter().copied().collect::<BTreeSet<_>>();
    Shape {
        stack,
        seed,
        length: Duration::from_secs(args.seconds.into()),
        workers: args.workers.into(),
        skew_s: args.skew,
        kinds: args.faults.as_ref().map_or_else(all, |kinds| kinds.iter().copied().collect()),
    }
}

async fn run(args: &Args, shape: Shape) -> Result<Report, Trouble> {
    let (stack, seed, members) = (name(shape.stack), shape.seed, shape.members());
    let folder = fresh(&args.folder.join(&stack))?;
    println!("\n{stack}: {} s at {} orders/s, seed {seed}", args.seconds, args.rate);
    let orders = Orders {
        folder: folder.clone(),
        protocol: args.protocol.clone(),
        seed,
        clocks: shape.clocks(),
        has_chaos: !args.no_chaos,
    };
    let patience = Duration::from_secs(args.patience.into());
    let course = Course { shape, orders, rate: args.rate.into(), patience, is_loud: args.loud };
    let aftermath = storm::run(course).await?;
    let items = books::items(&aftermath.ground)?;
    let findings = histories::check(&folder, &members, &items)?;
    let audit = Audit::of(&aftermath.accepted, &books::books(&items)?);
    let urls = aftermath.ground.urls();
    let left = Leftovers::look(&urls, &aftermath.ground).await?;
    let has_struck = aftermath.planned == 0 || !aftermath.faults.is_empty();
    if findings.operations == 0 || !has_struck {
        return Err(Trouble::new("nothing was bought, or no fault struck: let it run for longer"));
    }
    let report = Report::new(&stack, seed, &args.protocol, aftermath, audit, findings, &left);
    report.print();
    let json = folder.join("report.json");
    let text = serde_json::to_vec_pretty(&report).map_err(Trouble::look)?;
    std::fs::write(&json, text).map_err(Trouble::io("the report cannot be written"))?;
    Ok(report)
}

/// An empty folder that servers under another user may enter.
fn fresh(folder: &Path) -> Result<PathBuf, Trouble> {
    semel_servers::end_leftovers(folder);
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Trouble::io("the folder cannot be emptied")(error));
        }
        _ => {}
    }
    let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::canonicalize(folder));
    made.map_err(Trouble::io("the folder cannot be made"))
}
