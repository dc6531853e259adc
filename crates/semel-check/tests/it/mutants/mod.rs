//! Deliberately broken protocols, and that the checker catches each.
//!
//! Each is correct but for one switch, and first shown to be correct without it. These test the
//! checker: protocols as others build them (tokens that are items of their own, an outbox that is
//! polled, records that a clock removes), with the shortest way to each property and trap pinned.
//! Mutants of the protocols that ship, which test our worlds, are in `semel-mutants`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panic, in its helpers too")]

pub(crate) mod account;
mod correct;
mod detached;
mod inbox;
pub(crate) mod kit;
mod outbox;
mod outbox_inbox;
mod polled;
mod properties;
mod table;
pub(crate) mod token;
mod traps;

use semel_check::{Breach, Property, Report, World};

/// The world holds, and everything was covered.
#[track_caller]
fn holds(world: World) {
    let report = world.check();
    report.assert_holds();
    compare(&report, 0);
}

/// The world violates this property, and the checker finds the shortest way.
#[track_caller]
fn breaks(world: World, property: Property) {
    let report = world.check();
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Property(property), "{report}");
    compare(&report, found.trace.steps.len());
}

#[track_caller]
fn compare(report: &Report, steps: usize) {
    let actual = (&*report.world, steps, report.coverage.states);
    if std::env::var_os("SEMEL_MUTANTS").is_some() {
        println!("{report}\nrow    {actual:?},");
        return;
    }
    let pinned = table::TABLE.iter().find(|row| row.0 == report.world);
    assert_eq!(pinned, Some(&actual), "{report}");
}
