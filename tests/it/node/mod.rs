//! The node: plans, and what they do to a kernel.

mod hitless;
mod model;
mod plans;
mod several;
