//! States whose changes may be repeated and reordered, for handlers that need no memory of
//! messages.
//!
//! Under [`AtLeastOnce`](crate::protocols::AtLeastOnce) a message may be processed again, at once
//! or much later, and in any order. A handler that changes nothing but such states does not mind.
//! `docs/idempotence.md` shows when that is enough, and what breaks the naive ways.
//!
//! | type | is | grows with |
//! |---|---|---|
//! | [`GrowOnlySet`] | elements that are never removed | the different elements |
//! | [`TwoPhaseSet`] | elements that are removed for good | the same, the removed ones included |
//! | [`CreateOnce`] | a value given once; another is a conflict | nothing: two values at most |
//! | [`LastVersion`] | what has the greatest version number | nothing: two values at most |
//! | [`Greatest`] | the greatest value so far | nothing: one value at most |
//!
//! # Laws
//! What each of them holds is determined by the *set* of the changes made to it. So:
//! - idempotent: a change made again, at once or after others, changes nothing;
//! - free of order: the same changes in any order lead to the same state, to the byte;
//! - total: no change fails or panics, and none depends on what was there before.
//!
//! The laws carry over to a struct of such types, and to a `BTreeMap` of them whose entries are
//! made by `entry(key).or_default()` and never removed. They rest on one condition: `Ord` tells
//! all values apart that are not the same, as a derived one does.
//!
//! # No change says what it did
//! Whether an element was new depends on order and on duplicates. A handler that sends a message
//! only if it was, loses that message: the state is durable, the worker dies before it sends, and
//! the redelivery finds nothing new. So let effects depend on the message alone, and declare them
//! each time.
//!
//! # Stored form
//! JSON, as each type says. It is a format: names and shapes stay as they are.
//!
//! # Sources
//! M. Shapiro, N. Preguiça, C. Baquero, M. Zawirski: *A comprehensive study of Convergent and
//! Commutative Replicated Data Types*, INRIA RR-7506, 2011, below called *RR-7506*. P. Helland:
//! *Immutability Changes Everything*, CIDR 2015.

mod create_once;
mod greatest;
mod grow_only_set;
mod last_version;
mod two_phase_set;

pub use create_once::{CreateOnce, Held};
pub use greatest::Greatest;
pub use grow_only_set::GrowOnlySet;
pub use last_version::{Content, LastVersion};
pub use two_phase_set::TwoPhaseSet;
