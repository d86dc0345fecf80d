//! The node: plans, and what they do to a kernel.

mod hitless;
mod judge;
mod model;
mod plans;
mod several;
mod small;
