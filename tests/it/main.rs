//! All integration tests, in one binary.

mod agree;
mod bad_input;
mod cli;
mod connectivity;
mod enforced;
mod golden;
mod kernel;
mod layers;
mod palisade;
mod readme;
