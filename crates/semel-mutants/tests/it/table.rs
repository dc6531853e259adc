//! How each mutant dies: its world, what is violated, and the steps of the shortest trace.
//!
//! `SEMEL_MUTANTS=print cargo test -p semel-mutants -- --nocapture` prints the actual rows.

/// A mutant, its world, what is violated, and in how many steps.
pub(super) type Row = (&'static str, &'static str, &'static str, usize);

#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
];
