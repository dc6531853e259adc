//! The adapter against the written contracts, and what only a file can suffer.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panic, in its helpers too")]

mod child;
mod model;
mod rig;

mod contract;
mod crashes;
mod damaged_pages;
mod damaged_rows;
mod groups;
mod isolation;
mod locked;
mod migration;
mod numbers;
mod opening;
mod order;
mod processes;
mod readers;
mod room;
mod tables;
mod vanished;
mod windows;
