//! What policy means for one packet: which rules it matches, what policies decide, what its node
//! does with it, and which nodes it passes.
//!
//! In: [`Resolved`](crate::resolve::Resolved) policy, and a [`Flow`](crate::packet::Flow) or
//! [`Packet`](crate::packet::Packet). Out: the verdict, with everything that led to it. Absent:
//! chains and scripts, and sets of packets. `packet_space` and `verify` ask the same for sets.

pub mod evaluate;
pub mod node;
pub mod path;
pub(crate) mod rule_match;
pub(crate) mod source_validation;

pub use rule_match::{RulePart, SidePart};
pub use source_validation::ForgedSource;

#[cfg(test)]
mod tests;
