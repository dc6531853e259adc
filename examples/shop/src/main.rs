//! A shop on Semel: orders, payments, shipping, marketing, and a day of chaos.
fn main() {}
