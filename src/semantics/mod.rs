//! The meaning of policy for one packet: which rules match, what policies decide, what the node
//! does with the packet, and which nodes it passes.
//!
//! In: [`ResolvedPolicy`](crate::resolve::ResolvedPolicy) and a [`Flow`](crate::packet::Flow) or
//! [`Packet`](crate::packet::Packet). Out: the verdict, with every tier, policy and rule that led
//! to it. Absent: chains, scripts, and sets of packets. `packet_space` and `verify` answer the same
//! questions for sets of packets.

pub mod evaluate;
pub mod node;
pub mod path;
pub(crate) mod rule_match;
pub(crate) mod source_validation;

pub use rule_match::{RulePart, SidePart};
pub use source_validation::ForgedSource;

#[cfg(test)]
mod tests;
