//! Every guarantee of a shipping protocol has a mutant that the checker catches.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panic, in its helpers too")]

mod account;
mod cast;
mod deaths;
mod holes;
mod table;
mod worlds;
