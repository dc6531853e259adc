//! The shipping protocols with one edit each.
//!
//! The build copies the files of `semel-core/src/protocols` and makes one edit in each copy, so that
//! a mutant is never older than what it mutates. An edit whose place is gone fails the build. The
//! tests then show that the checker catches every one, in a world in which the file as it ships
//! holds.

use std::sync::Arc;

use semel_core::protocols::Protocol;

mod mutants;

pub use mutants::{Mutant, all};

include!(concat!(env!("OUT_DIR"), "/families.rs"));

/// The protocol of a mutant, or, under the name of its file, a copy without an edit.
pub fn by_name(name: &str) -> Option<Arc<dyn Protocol>> {
    made(name)
}
