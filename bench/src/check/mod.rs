//! The checker measured: beside shuttle on the same handler and protocol, and by the size of worlds.
//!
//! What is compared is how fast real code is run through executions, and what that covers. Shuttle
//! knows nothing of faults and judges nothing but assertions, so the worlds it shares have no faults;
//! ours are judged by all properties all the same.

mod places;
mod report;
mod shared;
mod sizes;
mod through_semel;
mod through_shuttle;

use std::path::PathBuf;

use crate::Result;
use report::{Report, Round};
use shared::Scene;

/// What to measure.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Rounds; each runs every explorer once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Executions of the random explorers, and the most that shuttle makes depth-first.
    #[arg(long, default_value_t = 200_000)]
    executions: usize,
    /// For how many seconds explorations that come to an end are repeated.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Leave out the large worlds, which take minutes.
    #[arg(long)]
    no_sizes: bool,
    /// Explore one of the large worlds, and print its figures as JSON.
    #[arg(long, hide = true)]
    size: Option<usize>,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench/check.json")]
    json: PathBuf,
}

/// Measures, prints the tables, and writes the figures.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(number) = args.size {
        println!("{}", serde_json::to_string(&sizes::explore(number)?)?);
        return Ok(());
    }
    let mut scenes = Vec::new();
    for scene in [Scene { messages: 1 }, Scene { messages: 2 }] {
        let mut rounds = Vec::new();
        for round in 1..=args.rounds {
            eprintln!("{scene}: round {round} of {}", args.rounds);
            rounds.push(one_round(args, scene)?);
        }
        scenes.push(report::Scene::new(scene, rounds));
    }
    let sizes = if args.no_sizes { Vec::new() } else { sizes::each_alone()? };
    let report = Report { scenes, sizes };
    report.print();
    if let Some(folder) = args.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.json, serde_json::to_vec_pretty(&report)?)?;
    println!("figures as JSON: {}", args.json.display());
    Ok(())
}

/// Runs every explorer once, in a fixed order.
fn one_round(args: &Args, scene: Scene) -> Result<Round> {
    Ok(Round {
        merged: through_semel::exhaustive(scene, args.seconds)?,
        unmerged: through_semel::unmerged(scene, args.seconds)?,
        random: through_semel::random(scene, args.executions)?,
        forgetful: through_semel::forgetful(scene, args.executions)?,
        shuttle_depth_first: through_shuttle::depth_first(scene, args.executions),
        shuttle_random: through_shuttle::random(scene, args.executions),
    })
}
