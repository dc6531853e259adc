//! Throughput, latency and memory of Semel, as ratios inside one run.
fn main() {}
