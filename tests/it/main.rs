//! All integration tests, in one binary.

mod enforced;
mod golden;
mod kernel;
mod layers;
mod palisade;
mod readme;
