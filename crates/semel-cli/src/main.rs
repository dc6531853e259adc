//! The semel program: see and repair what is queued, in flight and dead.
fn main() {}
