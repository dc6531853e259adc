//! The adapter against the written contracts, and what only a server can suffer.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panic, in its helpers too")]

mod rig;

mod clocks;
mod cluster;
mod contract;
mod cuts;
mod exactly_once;
mod fences;
mod last_message;
mod messages;
mod outage;
mod python;
mod server_faults;
mod skewed;
mod topology;
