//! How large a world may be: each is explored in a process of its own, so that its peak of memory is
//! its own.

use std::process::Command;
use std::time::Instant;

use semel::check::{World, relational, relational_apart};
use semel::core::store::{QueueHome, StoreLimits};
use serde::{Deserialize, Serialize};

use super::shared::{ACCOUNTS, Scene};
use crate::work::deposit;
use crate::{Result, memory};

/// A large world. Deposits go into one account, and what they send leaves the world.
struct Size {
    workers: usize,
    messages: usize,
    faults: u32,
    store: StoreLimits,
}

const SIZES: [Size; 4] = [
    Size { workers: 2, messages: 1, faults: 3, store: relational() },
    Size { workers: 2, messages: 1, faults: 3, store: relational_apart() },
    Size { workers: 3, messages: 2, faults: 1, store: relational() },
    Size { workers: 3, messages: 2, faults: 1, store: relational_apart() },
];

/// What a large world took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Which world.
    pub(crate) world: String,
    /// How many states there are.
    pub(crate) states: u64,
    /// How many moves lead from one to another.
    pub(crate) moves: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// The most memory at any time.
    pub(crate) peak_mib: f64,
    /// Whether everything was covered.
    pub(crate) complete: bool,
}

impl Size {
    fn world(&self) -> World {
        let queue = match self.store.queue {
            QueueHome::Inside => "inside",
            QueueHome::Elsewhere => "elsewhere",
        };
        let Self { workers, messages, faults, .. } = self;
        let name =
            format!("{workers} workers, {messages} messages, {faults} faults, queue {queue}");
        let accounts = semel::Endpoint::new(ACCOUNTS).handle(deposit);
        let world = World::new(name).endpoint(accounts).store(self.store);
        let deposits = Scene { messages: *messages }.deposits();
        let world = deposits.fold(world, |world, (id, deposit)| world.send(&id, ACCOUNTS, deposit));
        world.workers(*workers).faults(*faults)
    }
}

/// Explores one of the worlds in this process.
pub(crate) fn explore(number: usize) -> Result<Figures> {
    let size = SIZES.get(number).ok_or("there is no such size")?;
    let started = Instant::now();
    let report = size.world().check();
    let seconds = started.elapsed().as_secs_f64();
    if report.counterexample().is_some() {
        return Err(report.to_string().into());
    }
    Ok(Figures {
        states: report.coverage.states,
        moves: report.coverage.moves,
        complete: report.coverage.is_complete(),
        world: report.world,
        seconds,
        peak_mib: memory::of_this_process("VmHWM")?,
    })
}

/// Explores each of them in a process of its own.
pub(crate) fn each_alone() -> Result<Vec<Figures>> {
    let mut all = Vec::new();
    for (number, size) in SIZES.iter().enumerate() {
        eprintln!("{}", size.world().name());
        let mut alone = Command::new(std::env::current_exe()?);
        let output = alone.args(["check", "--size", &number.to_string()]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        all.push(serde_json::from_slice(&output.stdout)?);
    }
    Ok(all)
}
