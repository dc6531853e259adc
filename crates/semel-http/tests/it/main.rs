//! The edge on real SQLite files, and over real HTTP where HTTP matters.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panic, in its helpers too"
)]

mod actions;
mod apart;
mod client;
mod data_sets;
mod doubt;
mod faults;
mod headers;
mod http;
mod progress;
mod races;
mod rig;
mod tokens;
