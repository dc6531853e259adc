//! Tests on a real server: `cargo xtask test` starts one, `cargo xtask servers` does so by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod again;
mod clocks;
mod contract;
mod cuts;
mod disk;
mod failover;
mod migrating;
mod opening;
mod order;
mod outages;
mod own_tables;
mod pooler;
mod rig;
mod senders;
mod work;
