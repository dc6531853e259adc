//! Torture: the shop on real servers, under faults.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::failure::Failure;
use crate::{servers, shell};

/// A short run of one stack, with its servers' start and the clean-up, on a slow and busy machine.
const SHORT_RUN_LIMIT: Duration = Duration::from_secs(420);

/// Each with enough faults for all kinds to strike somewhere among them.
const SHORT_RUNS: &[(&[&str], i32)] = &[
    (&["--stack", "sqlite", "--seconds", "10", "--seed", "11"], 0),
    (&["--stack", "postgres", "--seconds", "15", "--seed", "12"], 0),
    (&["--stack", "postgres-nats", "--seconds", "15", "--seed", "13"], 0),
    (&["--stack", "postgres-rabbitmq", "--seconds", "15", "--seed", "14"], 0),
    // Audit and histories can tell when nothing is promised.
    (&["--stack", "sqlite", "--seconds", "8", "--seed", "3", "--protocol", "at-least-once"], 1),
];

/// Installs the servers that are missing, builds in sight, then becomes the program.
pub(crate) fn verb(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    servers::install_missing()?;
    build()?;
    let mut torture = program();
    torture.args(arguments);
    shell::hand_over(torture)
}

/// Short runs on every stack.
pub(crate) fn short_runs() -> Result<(), Failure> {
    build()?;
    for (arguments, expected) in SHORT_RUNS {
        let mut torture = program();
        torture.args(*arguments);
        let status = shell::run_within(SHORT_RUN_LIMIT, &mut torture)?;
        if status.code() != Some(*expected) {
            let what = format!("torture {}: {status}, not {expected}", arguments.join(" "));
            let remedy = format!(
                "read what it says above; `cargo xtask torture {}` replays the plan",
                arguments.join(" ")
            );
            return Err(Failure::new(what, remedy));
        }
    }
    both_have_noticed()
}

/// The last run was the damaged one: the books tell of it, and the histories.
fn both_have_noticed() -> Result<(), Failure> {
    let report = shell::read("target/torture/sqlite/report.json", "what torture found")?;
    for kind in ["duplicated", "histories without an order"] {
        if !report.contains(&format!("\"{kind}\"")) {
            let what = format!("torture without protection did not tell: {kind}");
            return Err(Failure::new(what, "find out why the damage is not seen any more"));
        }
    }
    Ok(())
}

fn build() -> Result<(), Failure> {
    let what = ["build", "--locked", "-p", "semel-torture"];
    shell::run(&mut shell::cargo(what), "repair what the compiler names")
}

fn program() -> Command {
    shell::cargo(["run", "--quiet", "--locked", "-p", "semel-torture", "--"])
}
