//! The functions of this crate, run on an adapter in memory, and on that adapter with mistakes.
mod adapters;
mod memory;
mod matrix;
