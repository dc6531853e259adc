//! The tests of the core from outside.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panic, in its helpers too"
)]

mod designs;
mod envelope;
