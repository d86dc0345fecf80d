//! The data types of every question: packets, flows, hooks, verdicts, and patterns of endpoints.
//!
//! Absent: decisions about packets. `semantics` decides what policy does with a packet, and
//! `netfilter` decides what scripts do with it.

mod flow;
pub mod endpoint_pattern;
#[expect(
    clippy::module_inception,
    reason = "the noun that the room is named for"
)]
mod packet;

pub use flow::{Conversation, Flow, IcmpMessage, Party, PortPair};
pub(crate) use packet::LOOPBACK;
pub use packet::{Hook, Packet, PreDnatDestination, ReversePath, Verdict};

#[cfg(test)]
mod tests;
