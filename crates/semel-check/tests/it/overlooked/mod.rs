//! What the checker once overlooked: each world here passed, or hung, until that was mended.

mod calls;
mod finishers;
mod rounds;
mod settling;
mod versions;
mod waits;

use semel_check::{Breach, Property, Report, World};
use semel_core::protocols::{Outcome, Protocol, Step, Work};

use crate::bank::{accounts, one};
use crate::mutants::kit::{self, Kept, Raw};

/// One deposit, for one worker.
fn world(protocol: impl Protocol) -> World {
    one(accounts().protocol(protocol)).workers(1)
}

/// The world violates this property, and the shortest way has so many steps.
#[track_caller]
fn breaks(world: World, property: Property, steps: usize) -> Report {
    fails(world, &Breach::Property(property), steps)
}

/// The world goes round and round, and does so after so many steps.
#[track_caller]
fn livelocks(world: World, steps: usize) -> Report {
    fails(world, &Breach::Livelock, steps)
}

#[track_caller]
fn fails(world: World, breach: &Breach, steps: usize) -> Report {
    let report = world.check();
    let found = report.assert_violated();
    assert_eq!((&found.violation.breach, found.trace.steps.len()), (breach, steps), "{report}");
    report
}

/// Reads the entity, runs the handler, and commits what it has decided.
async fn commit(work: &Work<'_>) -> Result<Vec<Kept>, Outcome> {
    let (state, expect) = kit::load::<Option<Raw>>(work).await?;
    let (state, messages) = kit::decide(work, state.as_ref()).await?;
    work.begin(Step::CommitState);
    kit::put_entity(work, &state, expect).await?;
    Ok(messages)
}
