//! Explorations by our own checker.

use std::time::Instant;

use semel::check::{self, World, relational_apart};

use super::report::{Extent, Sample};
use super::shared::{ACCOUNT, ACCOUNTS, SINK, Scene, WORKERS, endpoints};
use crate::Result;

const SEED: u64 = 1;
/// Orders of moves are many more than states: beyond that many, exploring them is given up.
const STATES_MAX: usize = 2_000_000;

fn world(scene: Scene) -> World {
    let mut world = World::new(scene.to_string()).workers(WORKERS).store(relational_apart());
    for endpoint in endpoints() {
        world = world.endpoint(endpoint);
    }
    for (id, deposit) in scene.deposits() {
        world = world.send(&id, ACCOUNTS, deposit);
    }
    world.finally("the books are right", move |view| {
        scene.is_right(view.entity(ACCOUNTS, ACCOUNT).as_ref(), view.entity(SINK, ACCOUNT).as_ref())
    })
}

/// Every state, merged.
pub(crate) fn exhaustive(scene: Scene, seconds: f64) -> Result<Sample> {
    repeat(seconds, || world(scene).check())
}

/// Every order of dependent moves.
pub(crate) fn unmerged(scene: Scene, seconds: f64) -> Result<Sample> {
    repeat(seconds, || world(scene).states_max(STATES_MAX).check_unmerged())
}

/// Random runs; what the code does at each step is remembered from run to run.
pub(crate) fn random(scene: Scene, executions: usize) -> Result<Sample> {
    repeat(0.0, || world(scene).check_random(SEED, executions as u64))
}

/// Random runs; the code is run anew in each.
pub(crate) fn forgetful(scene: Scene, executions: usize) -> Result<Sample> {
    repeat(0.0, || world(scene).forgetful().check_random(SEED, executions as u64))
}

/// Explores at least once, and again until that many seconds have passed: small worlds are done
/// before a clock can tell.
fn repeat(seconds: f64, explore: impl Fn() -> check::Report) -> Result<Sample> {
    let started = Instant::now();
    let mut times = 0;
    loop {
        let report = explore();
        times += 1;
        if let check::Finding::Violated(_) | check::Finding::Unusable(_) = report.finding {
            return Err(report.to_string().into());
        }
        let passed = started.elapsed().as_secs_f64();
        if passed >= seconds {
            let coverage = &report.coverage;
            return Ok(Sample {
                executions: coverage.executions,
                moves: coverage.moves,
                code_runs: coverage.code_runs,
                states: Some(coverage.states),
                extent: if coverage.is_complete() { Extent::Everything } else { Extent::Part },
                seconds: passed / f64::from(times),
            });
        }
    }
}
