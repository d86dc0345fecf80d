//! The nouns of every question: packets and flows, hooks, verdicts, and the endpoints that are
//! asked about.
//!
//! Absent: what becomes of a packet. That is for `semantics` to say of policy, and for `netfilter`
//! to say of scripts.

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
