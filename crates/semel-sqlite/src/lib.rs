//! Semel's embedded store and queue: one SQLite file.
