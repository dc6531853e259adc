//! The host and the protocols on the embedded store, from outside.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panic, in its helpers too"
)]

mod apart_by_url;
mod bank;
#[cfg(feature = "check")]
mod book;
#[cfg(feature = "check")]
mod book_idempotence;
mod by_hand;
mod costs;
mod fault;
mod gate;
#[cfg(feature = "check")]
mod page;
mod rig;

mod crash;
mod host_abandoned;
mod host_conflicts;
mod host_deadlines;
mod host_drain;
mod host_duplicates;
mod host_failures;
mod host_handlers;
mod host_identity;
mod host_leases;
mod host_order;
mod host_outages;
mod host_poison;
mod host_routing;
mod host_startup;
mod host_unknown;
mod host_vanished;
mod protocol_apart;
mod protocol_at_least_once;
mod protocol_budgets;
mod protocol_costs;
mod protocol_dead_letters;
mod protocol_operations;
mod protocol_waits;
mod protocol_window;
mod restores;
