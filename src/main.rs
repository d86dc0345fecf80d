//! The `palisade` program: parse the arguments, run the command, return its status.

fn main() {}
