//! Manifest to policy: defaults filled in, orders fixed, selectors parsed and scoped, everything checked.
mod model;
pub use model::*;
