//! The contracts, run on an adapter in memory, and on that adapter with one mistake at a time.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panic")]

mod adapters;
mod memory;
mod mutants;
mod suites;
