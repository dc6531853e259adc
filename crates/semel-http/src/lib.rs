//! Semel's HTTP edge.
