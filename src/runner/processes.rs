//! Real processes and files.

/// Runs processes, each in a process group of its own, and keeps files in two directories.
#[derive(Debug)]
pub struct Processes;
