//! Tests of the checker.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panic, in its helpers too"
)]

mod alone;
mod bank;
mod begun;
mod compared;
mod cross;
mod drawn;
mod found;
mod mutants;
mod odd;
mod outside;
mod overlooked;
mod played;
mod ported;
mod rest;
mod shipping;
mod state_types;
mod stateright_agrees;
mod stateright_model;
mod stateright_steps;
mod told;
mod trace_pictures;
mod trace_real;
mod trace_text;
mod unusable;
