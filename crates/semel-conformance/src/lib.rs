//! The contracts of Semel's store and broker as functions that any adapter can run.
