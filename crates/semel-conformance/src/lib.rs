#![allow(clippy::panic, clippy::indexing_slicing, reason = "asserting is this crate's work")]
pub mod broker;
mod concurrency;
pub mod operator;
pub mod queue_in_store;
mod rig;
mod sample;
pub mod store;
mod suite;
mod verdict;
pub use rig::*;
