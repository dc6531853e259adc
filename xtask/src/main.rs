//! Development tasks: demo, test, bench, tidy.
fn main() {}
