//! The contracts of Semel's store and broker as functions that any adapter can run.
//!
//! Each function states a sentence of a contract, takes a fresh place from the adapter's test,
//! and panics with the broken sentence and what it saw instead. The suites:
//!
//! | suite | contract | for |
//! |---|---|---|
//! | [`store`] | [`Store`](semel_core::Store) | every store |
//! | [`broker`] | [`Broker`](semel_core::Broker) | every broker |
//! | [`operator`] | [`Operator`](semel_core::operator::Operator) | every broker that a person can look into |
//! | [`queue_in_store`] | settling, state and sends in one batch | every store that says [`QueueHome::Inside`](semel_core::store::QueueHome::Inside) |
//!
//! # An adapter's test
//! It says how to come by a fresh place (a [rig](Rig)), and names the suites:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use async_trait::async_trait;
//! use semel_conformance::{Rig, StoreRig, suite};
//! use semel_core::{ManualClock, Store};
//! # #[derive(Debug)] struct MyStore;
//! # impl MyStore { fn open(_: &str, _: Arc<ManualClock>) -> Arc<dyn Store> { panic!("only an example") } }
//!
//! struct MyRig {
//!     place: String,
//!     clock: Arc<ManualClock>,
//! }
//!
//! async fn fresh() -> MyRig {
//!     MyRig { place: "a new folder, schema or prefix".to_owned(), clock: Arc::default() }
//! }
//!
//! #[async_trait]
//! impl Rig for MyRig {
//!     async fn pass(&self, span: Duration) {
//!         self.clock.advance(span); // or sleep, where the server has a clock of its own
//!     }
//! }
//!
//! #[async_trait]
//! impl StoreRig for MyRig {
//!     async fn store(&self) -> Arc<dyn Store> {
//!         MyStore::open(&self.place, self.clock.clone())
//!     }
//! }
//!
//! suite!(store, fresh());
//! ```
//!
//! # Why a macro
//! A runner that calls everything in one test would stop at the first broken sentence and name none
//! of them in its report. A list of calls in each adapter shows every sentence as a test of its own,
//! but a contract that is written later would be missing in each list without anybody noticing.
//! [`suite!`] is that list, kept here: one line a contract, one test each, and nothing else in it.
//! The functions stay plain, so that a test with special needs can call one by hand.
//!
//! # Differences between adapters
//! Nothing is skipped. What a store or broker offers is read from its limits, and where a limit says
//! that something is not offered, the functions assert that it is refused clearly, with nothing
//! written. A limit too large to be tried (16 MiB, 500 changes) is tried up to there.

#![warn(missing_docs)]
#![allow(clippy::panic, reason = "asserting is this crate's work")]

pub mod broker;
mod concurrency;
pub mod operator;
pub mod queue_in_store;
mod rig;
mod sample;
pub mod store;
mod suite;
mod verdict;

pub use rig::{BrokerRig, OperatorRig, QueueRig, Rig, StoreRig};
