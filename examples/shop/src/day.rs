//! A day of the shop: start it, feed it, break it, audit it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use semel::core::protocols::Protocol;
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::{Accepted, Audit};
use crate::books::Books;
use crate::chaos::{Chaos, Fault};
use crate::feeder::{Fed, Feeder};
use crate::input::rejects::RejectSummary;
use crate::input::{Invoice, christmas_orders, read_orders};
use crate::processes::{Launcher, count_faults, stop};
use crate::report::Report;
use crate::{Stop, protocol};

/// How many of a thousand made-up orders are cancelled. Orders from a file are left as they are:
/// their own credit notes are all the returns they have.
const CANCEL: usize = 30;
/// How long a customer keeps asking before giving up on the shop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the services may take to work off what is queued when the feeding is over.
const QUIET_DEADLINE: Duration = Duration::from_secs(120);

/// Options of `shop day`.
#[derive(Args, Debug)]
pub(crate) struct DayArgs {
    /// Orders to run on, as CSV (InvoiceNo, StockCode, Description, Quantity, UnitPrice,
    /// CustomerID); without it the day makes its own Christmas orders.
    #[arg(long, value_name = "FILE")]
    orders: Option<PathBuf>,
    /// Faults, and made-up orders, follow from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how many seconds orders are fed. With a file: until its end, unless given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration: Option<u32>,
    /// Orders per second. With a file and a duration: what it takes, unless given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    rate: Option<u32>,
    /// How messages are processed.
    #[arg(long, default_value = protocol::DEFAULT, value_parser = protocol::parser())]
    protocol: Arc<dyn Protocol>,
    /// Inject no faults.
    #[arg(long)]
    no_chaos: bool,
    /// Leave the file behind, and say where.
    #[arg(long)]
    keep: bool,
    /// The port of the web pages; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where rejected lines of the orders file go.
    #[arg(long, value_name = "FILE", default_value = "rejects.csv")]
    rejects: PathBuf,
}

/// What is fed, and how fast.
struct Plan {
    invoices: Vec<Invoice>,
    /// Invoices that the duration leaves no time for.
    not_fed: usize,
    rate: f64,
    rejects: Option<(u64, RejectSummary)>,
}

/// Runs the day. Exit code 0 if the books balance, 1 if they do not.
pub(crate) async fn run(args: DayArgs) -> Result<ExitCode, Stop> {
    let plan = plan(&args)?;
    let folder = Folder::make(args.keep)?;
    let faults = folder.path.join("faults.txt");
    let chaos = match args.no_chaos {
        true => None,
        false => {
            Some(Arc::new(Chaos::new(args.seed, &faults, Duration::ZERO).map_err(Stop::trouble)?))
        }
    };
    let launcher = Launcher {
        folder: folder.path.clone(),
        chaos: chaos.as_ref().map(|_| faults.clone()),
        seed: args.seed,
        protocol: args.protocol.clone(),
        port: args.port,
    };
    let (mut processes, url) = Processes::start(launcher.clone(), chaos.clone()).await?;
    println!("{}", opening(&args, &plan, &url));
    let feeder = Feeder::new(url, chaos, if args.orders.is_some() { 0 } else { CANCEL }, PATIENCE)?;
    let started = Instant::now();
    let fed = feed(&plan, feeder, &mut processes).await?;
    let is_quiet = processes.wait_until_quiet().await?;
    let killed_by_others = processes.killed_by_others;
    processes.stop().await?;
    let (accepted, refused) = sort(fed);
    let books = Books::read(&launcher.file()).map_err(Stop::trouble)?;
    let report = Report {
        audit: Audit::of(&accepted, &books),
        accepted: accepted.len(),
        refused,
        not_fed: plan.not_fed,
        rejects: plan.rejects,
        faults: count_faults(&faults),
        protocol: args.protocol,
        queued: books.queued,
        tokens: books.tokens,
        dead_letters: books.dead_letters,
        seconds: started.elapsed().as_secs(),
        is_quiet,
        killed_by_others,
    };
    report.print();
    folder.finish(&launcher);
    Ok(if report.is_balanced() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn plan(args: &DayArgs) -> Result<Plan, Stop> {
    const RATE: u32 = 20;
    const DURATION: u32 = 30;
    let Some(path) = &args.orders else {
        let rate = args.rate.unwrap_or(RATE);
        let count = rate as usize * args.duration.unwrap_or(DURATION) as usize;
        let invoices = christmas_orders(args.seed, count);
        return Ok(Plan { invoices, not_fed: 0, rate: f64::from(rate), rejects: None });
    };
    let mut day = read_orders(path, &args.rejects).map_err(Stop::usage)?;
    let count = day.invoices.len();
    let (rate, room) = match (args.rate, args.duration) {
        (rate, None) => (f64::from(rate.unwrap_or(RATE)), count),
        (None, Some(seconds)) => ((count as f64 / f64::from(seconds)).max(1.0), count),
        (Some(rate), Some(seconds)) => (f64::from(rate), rate as usize * seconds as usize),
    };
    day.invoices.truncate(room);
    Ok(Plan {
        not_fed: count - day.invoices.len(),
        invoices: day.invoices,
        rate,
        rejects: Some((day.lines_read, day.rejects)),
    })
}

fn opening(args: &DayArgs, plan: &Plan, url: &str) -> String {
    let faults = if args.no_chaos { "no faults" } else { "faults" };
    format!(
        "{} invoices at {:.0} a second, protocol {}, {faults} from seed {}\n\
         watch it live: {url}/live",
        plan.invoices.len(),
        plan.rate,
        args.protocol.name(),
        args.seed
    )
}

/// The processes of the day: a server, and two workers, one of which dies every now and then.
struct Processes {
    launcher: Launcher,
    chaos: Option<Arc<Chaos>>,
    server: Child,
    workers: Vec<Child>,
    lives: u64,
    next_kill: Instant,
    /// How many were killed by someone else, and started again.
    killed_by_others: u64,
}

impl Processes {
    /// Starts them; the text is the address of the pages.
    async fn start(
        mut launcher: Launcher,
        chaos: Option<Arc<Chaos>>,
    ) -> Result<(Self, String), Stop> {
        let (server, url) = launcher.server().await?;
        // A server that is started again must be found where it was.
        launcher.port = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let workers = vec![launcher.worker("worker-1", 1)?, launcher.worker("worker-2", 2)?];
        let next_kill = Instant::now() + Duration::from_secs(2);
        let processes =
            Self { launcher, chaos, server, workers, lives: 2, next_kill, killed_by_others: 0 };
        Ok((processes, url))
    }

    /// Kills a worker when its time has come, and starts what someone else killed again.
    async fn tend(&mut self) -> Result<(), Stop> {
        if let Some(chaos) = self.chaos.clone()
            && Instant::now() >= self.next_kill
        {
            let pause_ms = 1_000 + chaos.below(2_000) as u64;
            self.next_kill = Instant::now() + Duration::from_millis(pause_ms);
            let victim = chaos.below(self.workers.len());
            self.workers[victim].kill().await.map_err(Stop::trouble)?;
            chaos.note(Fault::WorkerKilled);
            self.start_worker(victim)?;
        }
        for index in 0..self.workers.len() {
            let name = format!("worker-{}", index + 1);
            if self.launcher.was_killed(&mut self.workers[index], &name)? {
                self.killed_by_others += 1;
                self.start_worker(index)?;
            }
        }
        if self.launcher.was_killed(&mut self.server, "server")? {
            self.killed_by_others += 1;
            (self.server, _) = self.launcher.server().await?;
        }
        Ok(())
    }

    fn start_worker(&mut self, index: usize) -> Result<(), Stop> {
        self.lives += 1;
        self.workers[index] = self.launcher.worker(&format!("worker-{}", index + 1), self.lives)?;
        Ok(())
    }

    /// Waits until nothing is queued or in work any more; `false` if that takes too long.
    async fn wait_until_quiet(&mut self) -> Result<bool, Stop> {
        // The worst is over: whoever is still killed now is killed by others.
        self.chaos = None;
        let deadline = Instant::now() + QUIET_DEADLINE;
        while Instant::now() < deadline {
            self.tend().await?;
            if Books::read(&self.launcher.file()).map_err(Stop::trouble)?.queued == 0 {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(false)
    }

    async fn stop(self) -> Result<(), Stop> {
        for child in self.workers.into_iter().chain([self.server]) {
            stop(child).await?;
        }
        Ok(())
    }
}

/// Feeds all invoices at the steady rate of the plan, while workers die.
async fn feed(plan: &Plan, feeder: Feeder, processes: &mut Processes) -> Result<Vec<Fed>, Stop> {
    let bar = progress_bar(plan.invoices.len() as u64);
    let started = Instant::now();
    let mut pending = JoinSet::new();
    let mut fed = Vec::new();
    let mut waiting = plan.invoices.iter().enumerate().peekable();
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while waiting.peek().is_some() || !pending.is_empty() {
        tokio::select! {
            _ = beat.tick() => {
                let due = (started.elapsed().as_secs_f64() * plan.rate) as usize;
                while let Some((_, invoice)) = waiting.next_if(|(index, _)| *index <= due) {
                    let (feeder, invoice) = (feeder.clone(), invoice.clone());
                    pending.spawn(async move { feeder.feed(invoice).await });
                }
                processes.tend().await?;
            }
            Some(ended) = pending.join_next() => {
                fed.push(ended.map_err(Stop::trouble)??);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(fed)
}

fn progress_bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} invoices  {elapsed}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn sort(fed: Vec<Fed>) -> (Vec<Accepted>, Vec<String>) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for fed in fed {
        match fed {
            Fed::Accepted(invoice) => accepted.push(invoice),
            Fed::Refused { number, reason } => refused.push(format!("{number}: {reason}")),
        }
    }
    (accepted, refused)
}

/// Where the day keeps its files.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: bool) -> Result<Self, Stop> {
        let path = std::env::temp_dir().join(format!("shop-day-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).map_err(|error| {
            Stop::trouble(format!("the folder {} cannot be made: {error}", path.display()))
        })?;
        Ok(Self { path, keep })
    }

    fn finish(&self, launcher: &Launcher) {
        if self.keep {
            println!("the file stays: {}", launcher.file().display());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Left-overs in the folder for temporary files do no harm.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
