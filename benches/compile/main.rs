//! Time, memory and output of each stage on synthetic clusters.

fn main() {}
