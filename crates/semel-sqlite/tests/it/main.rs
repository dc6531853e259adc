//! The adapter against the written contracts, and what only a file can suffer.

mod contract;
