//! All integration tests, in one binary.

mod agree;
mod enforced;
mod golden;
mod kernel;
mod layers;
mod palisade;
