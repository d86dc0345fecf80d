//! Questions about policy and about scripts: what becomes of a flow, and why.
//!
//! In: [`Resolved`](crate::resolve::Resolved) policy or the text of a node's scripts, and a [`Flow`]. Out: what becomes of it,
//! with everything it passed on the way. Absent: `lower` and `render`. [`evaluate`] gives policy its meaning without a chain,
//! and [`netfilter`] reads scripts as the kernel's tools do, so that the one can judge the other.

pub mod allowed;
pub mod connectivity;
pub mod evaluate;
mod flow;
mod matching;
pub mod netfilter;
pub mod peers;
pub mod space;
pub mod subject;

pub use flow::{Flow, Message, PortPair, Side};

#[cfg(test)]
mod tests;
