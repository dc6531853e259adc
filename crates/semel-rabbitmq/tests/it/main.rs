//! What the adapter promises, before a real server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod alarms;
mod clocks;
mod connecting;
mod contract;
mod cuts;
mod foreign;
mod hosts;
mod outages;
mod proxy;
mod python;
mod queues;
mod rig;
mod worker;
mod young;
