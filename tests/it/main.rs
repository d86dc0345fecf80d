//! All integration tests, in one binary.

mod agree;
mod apply;
mod bad_files;
mod bad_input;
mod bad_input_fuzz;
mod build_roots;
mod cli;
mod connectivity;
mod deploy;
mod diff;
mod documents;
mod enforced;
mod file_graph;
mod golden;
mod hosts;
mod hostile;
mod kernel;
mod layers;
mod line_diff;
mod node;
mod page_transcripts;
mod palisade;
mod places;
mod programs;
mod readme;
mod reconcile;
mod spoofing;
mod status;
mod surprises;
mod tampered;
#[path = "../tools/mod.rs"]
mod tools;
mod transcripts;
mod unused_fields;
mod verify;
mod validation;
