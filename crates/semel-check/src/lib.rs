//! Checks message handlers and protocols by running them: through every interleaving, crash and
//! ambiguous write of a small world.
//!
//! See `docs/checking.md` for the first world in five minutes, and [`World`] for all of it.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod check;
pub mod compare;
mod explore;
mod fault;
mod handler;
mod hash;
pub mod history;
mod judge;
mod memo;
mod model;
mod monitor;
mod moves;
mod objects;
mod parts;
pub mod practice;
mod quiet;
mod report;
mod state;
mod step;
mod tag;
mod task;
pub mod trace;
mod view;
mod watch;
mod world;
pub mod worlds;

pub use check::CrossCheck;
pub use fault::{Fault, Faults};
pub use handler::{Answer, HandlerCheck, HandlerReport, handler};
pub use judge::{Breach, Violation};
pub use objects::Objects;
pub use report::{Counterexample, Coverage, Finding, Report, Strategy, Unprocessed};
pub use semel_core::Property;
pub use view::View;
pub use world::{World, WorldError, items_only, partitions, relational, relational_apart};

use semel_core::Timestamp;

/// When every world begins: Christmas Eve 2026.
const fn epoch() -> Timestamp {
    Timestamp::from_unix_ms(1_798_135_200_000)
}
