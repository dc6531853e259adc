//! Tests on a real server: `cargo xtask test` starts one, `cargo xtask servers` does so by hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod contract;
mod rig;
