//! The Message derive of Semel.
