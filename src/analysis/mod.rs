//! Questions about policy and about scripts: what becomes of a flow, and why.
//!
//! In: [`Resolved`](crate::resolve::Resolved) policy or the text of a node's scripts, and a
//! [`Flow`] or [`Packet`]. Out: what becomes of it, with everything it passed on the way. Absent:
//! `lower` and `render`. [`evaluate`] gives policy its meaning without a chain, [`node`] says what
//! a node owes a packet, and [`netfilter`] reads scripts as the kernel's tools do, so that the one
//! can judge the other.

pub mod allowed;
pub mod assertions;
pub mod connectivity;
pub mod diff;
pub mod evaluate;
pub mod explain;
mod flow;
mod matching;
pub mod netfilter;
pub mod node;
mod packet;
mod validation;
pub mod peers;
pub mod question;
pub mod route;
pub mod space;
pub mod subject;
pub mod verify;
mod what;

pub use crate::net::{Side, State};
pub use flow::{Conversation, Flow, Message, Party, PortPair};
pub use matching::{Part, SidePart};
pub use packet::{Hook, Original, Packet, ReversePath, Verdict};
pub use validation::Forged;
pub use what::What;

#[cfg(test)]
mod tests;
