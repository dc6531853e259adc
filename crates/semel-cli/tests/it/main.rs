//! The `semel` program, run as a person would run it, on real files.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panic, in its helpers too"
)]

mod broker;
mod check;
mod compare;
mod discard;
mod errors;
mod inspect;
mod list;
mod postgres;
mod replay;
mod rig;
mod show;
